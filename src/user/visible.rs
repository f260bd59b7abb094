//! Which characters of a name are visible.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        CanonicalCombiningClass, DefaultIgnorableCodePoint, EmojiModifier, ExtendedPictographic,
        JoiningType, VariationSelector,
    },
};

/// The effect of a character on a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The character is visible.
    Shows,
    /// The character is white space or a control character. Another rule covers control
    /// characters.
    Space,
    /// The character selects a form of the previous character. Japanese names and emoji need such
    /// characters.
    Selects,
    /// The character joins or separates its neighbors. Persian, Sinhala, Mongolian and emoji need
    /// such characters.
    Joins,
    /// The character is invisible, or reorders the text around it.
    Hides,
}

impl Effect {
    fn of(c: char) -> Self {
        match c {
            // The non-joiner, the joiner and the Mongolian vowel separator.
            '\u{200c}' | '\u{200d}' | '\u{180e}' => Self::Joins,
            // Line and paragraph separators, the blank Braille pattern, and interlinear controls.
            '\u{2028}' | '\u{2029}' | '\u{2800}' | '\u{fff9}'..='\u{fffb}' => Self::Hides,
            c if is_noncharacter(c) => Self::Hides,
            c if CodePointSetData::new::<VariationSelector>().contains(c) => Self::Selects,
            // This set includes all of Bidi_Control.
            c if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) => Self::Hides,
            c if c.is_whitespace() || c.is_control() => Self::Space,
            _ => Self::Shows,
        }
    }
}

/// Whether `text` has no invisible characters and no bidirectional controls. Most of these
/// characters have the Unicode property Default_Ignorable_Code_Point
/// (<https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point>).
///
/// A variation selector may follow a visible character that is not an ASCII letter. A joiner may
/// follow a virama, or a letter that joins the next letter, as in Arabic (RFC 5892 appendix A). A
/// joiner may also stand between two emoji, and makes one emoji of them.
pub(super) fn is_all_visible(text: &str) -> bool {
    let joining = CodePointMapData::<JoiningType>::new();
    let mut before = None;
    // The last visible or white-space character that is not a combining mark.
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

/// The types of letters that join the next letter.
const JOINS_NEXT: [JoiningType; 2] = [JoiningType::DualJoining, JoiningType::LeftJoining];

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn is_emoji(c: Option<char>) -> bool {
    let pictures = CodePointSetData::new::<ExtendedPictographic>();
    let skin_tones = CodePointSetData::new::<EmojiModifier>();
    c.is_some_and(|c| pictures.contains(c) || skin_tones.contains(c))
}

/// Whether `c` is a code point that never represents a character
/// (<https://www.unicode.org/faq/private_use.html#noncharacters>).
fn is_noncharacter(c: char) -> bool {
    let code_point = u32::from(c);
    (0xfdd0..=0xfdef).contains(&code_point) || code_point & 0xfffe == 0xfffe
}
