//! What is wrong with the fields of a user, or with other named values.

use serde::Serialize;

/// The maximum number of errors that are kept. A body of 256 KiB can have tens of thousands of
/// errors.
pub const MAX_FIELD_ERRORS: usize = 100;
/// The maximum length of a pointer, in bytes. A name can be almost as long as the body.
const MAX_POINTER_BYTES: usize = 1024;

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The JSON pointer of the value (RFC 6901).
    pub field: String,
    /// What to change, as a phrase that follows the name of the field.
    pub message: String,
}

impl FieldError {
    /// An error at the JSON pointer `field`. The pointer is cut after 1 KiB.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut field = field.into();
        if field.len() > MAX_POINTER_BYTES {
            field.truncate(field.floor_char_boundary(MAX_POINTER_BYTES));
            field.push('…');
        }
        Self {
            field,
            message: message.into(),
        }
    }
}

/// The place of a value in a JSON text. The JSON pointer is built only for an error.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// The whole text.
    Body,
    /// The member of this name in an object.
    Member(&'a Self, &'a str),
    /// The element at this index of an array.
    Element(&'a Self, usize),
}

impl Place<'_> {
    /// The JSON pointer of the place (RFC 6901). It ends soon after the length at which
    /// [`FieldError::new`] cuts it, because names can be long and errors many.
    pub fn pointer(self) -> String {
        let mut pointer = String::new();
        self.append_to(&mut pointer);
        pointer
    }

    fn append_to(self, pointer: &mut String) {
        match self {
            Self::Body => {}
            Self::Member(parent, name) => {
                parent.append_to(pointer);
                pointer.push('/');
                for character in name.chars() {
                    if pointer.len() > MAX_POINTER_BYTES {
                        break;
                    }
                    match character {
                        '~' => pointer.push_str("~0"),
                        '/' => pointer.push_str("~1"),
                        _ => pointer.push(character),
                    }
                }
            }
            Self::Element(parent, index) => {
                parent.append_to(pointer);
                pointer.push_str(&format!("/{index}"));
            }
        }
    }
}

/// The first 100 errors that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// One error: `message` for the field `name`.
    pub fn of(name: &str, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.push_field(name, message);
        errors
    }

    /// Adds the error `message` for the value at `place`.
    pub fn push(&mut self, place: Place<'_>, message: impl Into<String>) {
        if !self.is_full() {
            self.0.push(FieldError::new(place.pointer(), message));
        }
    }

    /// Adds the error `message` for the field `name`.
    pub fn push_field(&mut self, name: &str, message: impl Into<String>) {
        self.push(Place::Member(&Place::Body, name), message);
    }

    /// Adds the errors of `others`.
    pub fn extend(&mut self, others: &Self) {
        let space = MAX_FIELD_ERRORS.saturating_sub(self.0.len());
        self.0.extend(others.0.iter().take(space).cloned());
    }

    /// Whether the list is full. Further errors are dropped.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_FIELD_ERRORS
    }

    /// The errors.
    pub fn as_slice(&self) -> &[FieldError] {
        &self.0
    }

    /// `value`, if the list is empty.
    ///
    /// # Errors
    /// The list itself, if it is not empty.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_escapes_names_and_ends_soon_after_the_length_at_which_it_is_cut() {
        let long = "é/".repeat(100_000);
        for (place, pointer) in [
            (Place::Body, ""),
            (Place::Member(&Place::Body, "a~b/c"), "/a~0b~1c"),
            (Place::Element(&Place::Member(&Place::Body, ""), 7), "//7"),
        ] {
            assert_eq!(place.pointer(), pointer);
        }
        let outer = Place::Member(&Place::Body, &long);
        let inner = Place::Member(&outer, &long);
        assert!(inner.pointer().len() < MAX_POINTER_BYTES + 8);
        let error = FieldError::new(inner.pointer(), "is wrong");
        assert!(error.field.starts_with("/é~1é~1"));
        assert!(error.field.ends_with('…'));
        assert!(error.field.len() <= MAX_POINTER_BYTES + '…'.len_utf8());
    }
}
