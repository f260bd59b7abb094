//! Which characters of a name can be seen.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        CanonicalCombiningClass, DefaultIgnorableCodePoint, EmojiModifier, ExtendedPictographic,
        JoiningType, VariationSelector,
    },
};

/// What a character does to a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It shows.
    Shows,
    /// It shows as space, or it is a control character. Another rule covers control characters.
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
            // Line and paragraph separator, Braille's blank pattern, and interlinear controls.
            '\u{2028}' | '\u{2029}' | '\u{2800}' | '\u{fff9}'..='\u{fffb}' => Self::Hides,
            c if is_noncharacter(c) => Self::Hides,
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
/// A variation selector may follow a visible character that is not an ASCII letter. A joiner may
/// stand where scripts need it (RFC 5892 appendix A): after a virama, and after a letter that
/// joins the next letter, as in Arabic. Between two emoji, a joiner makes one emoji of them.
pub(super) fn is_all_visible(text: &str) -> bool {
    let joining = CodePointMapData::<JoiningType>::new();
    let mut before = None;
    // The last character that is no mark on another one.
    let mut letter = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let effect = Effect::of(c);
        let is_fine = match effect {
            Effect::Shows | Effect::Space => true,
            Effect::Selects => before.is_some_and(|before: char| {
                Effect::of(before) == Effect::Shows && !before.is_ascii_alphabetic()
            }),
            Effect::Joins => before.is_some_and(|before| {
                let joins = letter.is_some_and(|letter| JOINS_NEXT.contains(&joining.get(letter)));
                let next = characters.peek().copied();
                Effect::of(before) != Effect::Joins
                    && (is_virama(before) || joins || (is_emoji(letter) && is_emoji(next)))
            }),
            Effect::Hides => false,
        };
        if !is_fine {
            return false;
        }
        before = Some(c);
        let is_mark = joining.get(c) == JoiningType::Transparent;
        if matches!(effect, Effect::Shows | Effect::Space) && !is_mark {
            letter = Some(c);
        }
    }
    true
}

/// The types of letters that join the next one.
const JOINS_NEXT: [JoiningType; 2] = [JoiningType::DualJoining, JoiningType::LeftJoining];

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn is_emoji(c: Option<char>) -> bool {
    let pictures = CodePointSetData::new::<ExtendedPictographic>();
    let skin_tones = CodePointSetData::new::<EmojiModifier>();
    c.is_some_and(|c| pictures.contains(c) || skin_tones.contains(c))
}

/// One of the code points that never stand for a character
/// (<https://www.unicode.org/faq/private_use.html#noncharacters>).
fn is_noncharacter(c: char) -> bool {
    let code_point = u32::from(c);
    (0xfdd0..=0xfdef).contains(&code_point) || code_point & 0xfffe == 0xfffe
}
