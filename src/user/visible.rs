//! Which characters of a name can be seen.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{CanonicalCombiningClass, DefaultIgnorableCodePoint, VariationSelector},
};

/// What a character does to a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It shows.
    Shows,
    /// It shows as space, or is a control character, for which there is a rule of its own.
    Space,
    /// It chooses a form of the character before it: Japanese names need these, and emoji.
    Selects,
    /// It joins or separates the characters around it. Persian, Sinhala, Mongolian and emoji
    /// need these.
    Joins,
    /// It shows as nothing, or reorders what is around it.
    Hides,
}

impl Effect {
    fn of(c: char) -> Self {
        match c {
            // The non-joiner, the joiner and Mongolian's vowel separator.
            '\u{200c}' | '\u{200d}' | '\u{180e}' => Self::Joins,
            // Line and paragraph separator, and Braille's blank pattern.
            '\u{2028}' | '\u{2029}' | '\u{2800}' => Self::Hides,
            c if CodePointSetData::new::<VariationSelector>().contains(c) => Self::Selects,
            // All of Bidi_Control is among these.
            c if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) => Self::Hides,
            c if c.is_whitespace() || c.is_control() => Self::Space,
            _ => Self::Shows,
        }
    }
}

/// Whether `text` holds nothing invisible, and no control of the direction of writing, by
/// Unicode's Default_Ignorable_Code_Point
/// (<https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point>).
///
/// A variation selector may follow a character that shows. A joiner may stand between two
/// characters that show, if the first is not ASCII or has a variation selector. After a virama
/// a joiner may also end a word, because it changes how the virama shows.
pub(super) fn is_all_visible(text: &str) -> bool {
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let is_fine = match Effect::of(c) {
            Effect::Shows | Effect::Space => true,
            Effect::Selects => before.map(Effect::of) == Some(Effect::Shows),
            Effect::Joins => before.is_some_and(|before: char| {
                let takes_joiner = match Effect::of(before) {
                    Effect::Shows => !before.is_ascii(),
                    Effect::Selects => true,
                    Effect::Space | Effect::Joins | Effect::Hides => false,
                };
                let next = characters.peek().copied().map(Effect::of);
                takes_joiner && (next == Some(Effect::Shows) || is_virama(before))
            }),
            Effect::Hides => false,
        };
        if !is_fine {
            return false;
        }
        before = Some(c);
    }
    true
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}
