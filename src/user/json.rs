//! Converts between JSON and DynamoDB attribute values without loss. Numbers keep all their
//! digits, and a repeated name is an error.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeSet,
    ops::Deref,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;

use super::{
    field_error::{FieldErrors, Place},
    number,
};

/// An attribute value as JSON. The same value always gives the same text: sets become sorted
/// arrays, binary becomes base64 (RFC 4648 section 4), numbers keep the text that DynamoDB
/// returns, and the members of maps are sorted by name.
pub struct Json<T>(pub T);

impl<T: Borrow<AttributeValue>> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.borrow() {
            AttributeValue::S(text) => serializer.serialize_str(text),
            AttributeValue::N(number) => JsonNumber(number).serialize(serializer),
            AttributeValue::Bool(value) => serializer.serialize_bool(*value),
            AttributeValue::Null(_) => serializer.serialize_unit(),
            AttributeValue::B(bytes) => JsonBinary(bytes).serialize(serializer),
            AttributeValue::L(values) => serializer.collect_seq(values.iter().map(Json)),
            AttributeValue::Ss(set) => serializer.collect_seq(sorted(set)),
            AttributeValue::Ns(set) => {
                let mut numbers = sorted(set);
                // Numbers that are equal as f64 stay sorted by their texts.
                let value = |number: &str| number.parse().unwrap_or(f64::NAN);
                numbers.sort_by(|a, b| value(a).total_cmp(&value(b)));
                serializer.collect_seq(numbers.into_iter().map(|n| JsonNumber(n)))
            }
            AttributeValue::Bs(set) => {
                serializer.collect_seq(sorted(set).into_iter().map(|b| JsonBinary(b)))
            }
            AttributeValue::M(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(name, _)| *name);
                serializer.collect_map(entries.into_iter().map(|(name, value)| (name, Json(value))))
            }
        }
    }
}

/// The elements of a set, sorted. DynamoDB returns them in any order.
fn sorted<T: Ord>(set: &[T]) -> Vec<&T> {
    let mut elements: Vec<_> = set.iter().collect();
    elements.sort_unstable();
    elements
}

struct JsonNumber<'a>(&'a str);

impl Serialize for JsonNumber<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match RawValue::from_string(self.0.to_owned()) {
            Ok(number) => number.serialize(serializer),
            // DynamoDB returns only numbers that JSON can express. An emulator might return others.
            Err(_) => serializer.serialize_str(self.0),
        }
    }
}

struct JsonBinary<'a>(&'a [u8]);

impl Serialize for JsonBinary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(self.0))
    }
}

/// A JSON string. It borrows from the JSON text unless the text escapes a character.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The members of a JSON object, in the order of the text. Repeated names are included. Each value
/// is unparsed JSON text.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

impl<'a> Members<'a> {
    /// The value of the first member with this name.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut members = self.0.iter();
        let member = members.find(|(own, _)| own == name);
        member.map(|(_, value)| *value)
    }

    /// All names, and the names that occur more than once.
    pub fn names(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let mut names = BTreeSet::new();
        let given = self.0.iter().map(|(name, _)| &**name);
        let repeated = given.filter(|name| !names.insert(*name)).collect();
        (names, repeated)
    }
}

/// The kind of a JSON value, for messages.
pub fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The text of a JSON string.
///
/// # Errors
/// A message if the value is no string, or if it has a lone surrogate.
pub fn string(raw: &RawValue) -> Result<String, String> {
    if !raw.get().starts_with('"') {
        return Err(format!("must be a string, not {}", kind(raw)));
    }
    serde_json::from_str(raw.get()).map_err(|_| String::from("holds a lone surrogate"))
}

/// Converts JSON to an attribute value without loss. The JSON may have at most `depth` nested
/// containers. Adds errors to `errors`. After an error, do not use the value.
pub fn attribute_value(
    raw: &RawValue,
    place: Place<'_>,
    depth: usize,
    errors: &mut FieldErrors,
) -> AttributeValue {
    let text = raw.get();
    match text.as_bytes().first() {
        _ if errors.is_full() => AttributeValue::Null(true),
        Some(b'{' | b'[') if depth == 0 => {
            errors.push(place, "is nested too deep");
            AttributeValue::Null(true)
        }
        Some(b'{') => map(text, place, depth - 1, errors),
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            let list = elements.into_iter().enumerate().map(|(index, raw)| {
                attribute_value(raw, Place::Element(&place, index), depth - 1, errors)
            });
            AttributeValue::L(list.collect())
        }
        Some(b'"') => AttributeValue::S(string(raw).unwrap_or_else(|message| {
            errors.push(place, message);
            String::new()
        })),
        Some(b't' | b'f') => AttributeValue::Bool(text == "true"),
        Some(b'n') => AttributeValue::Null(true),
        _ => AttributeValue::N(number::canonical(text).unwrap_or_else(|| {
            errors.push(
                place,
                "must be a number of at most 38 digits, with a magnitude from 1e-130 to below 1e126",
            );
            String::new()
        })),
    }
}

fn map(text: &str, place: Place<'_>, depth: usize, errors: &mut FieldErrors) -> AttributeValue {
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else {
        errors.push(place, "has a name with a lone surrogate");
        return AttributeValue::Null(true);
    };
    for name in members.names().1 {
        errors.push(Place::Member(&place, name), "is given more than once");
    }
    let map = members.0.into_iter().map(|(name, raw)| {
        let member = Place::Member(&place, &name);
        if name.is_empty() {
            errors.push(member, "has an empty name");
        }
        let value = attribute_value(raw, member, depth, errors);
        (name.into_owned(), value)
    });
    AttributeValue::M(map.collect())
}

/// Whether `sent` is the value that [`Json`] shows for `stored`. `sent` is a value that
/// [`attribute_value`] returned. Numbers are compared by value, and sets without order.
pub fn shows(stored: &AttributeValue, sent: &AttributeValue) -> bool {
    use AttributeValue::{B, Bool, Bs, L, M, N, Ns, Null, S, Ss};
    match stored {
        S(_) | Bool(_) | Null(_) => stored == sent,
        N(stored) => {
            matches!(sent, N(sent) if number::canonical(stored) == number::canonical(sent))
        }
        B(stored) => matches!(sent, S(sent) if BASE64_STANDARD.encode(stored) == *sent),
        L(stored) => matches!(sent, L(sent) if stored.len() == sent.len()
            && stored.iter().zip(sent).all(|(stored, sent)| shows(stored, sent))),
        M(stored) => matches!(sent, M(sent) if stored.len() == sent.len()
        && stored.iter().all(|(name, stored)| {
            sent.get(name).is_some_and(|sent| shows(stored, sent))
        })),
        Ss(stored) => is_set(stored.iter().map(|text| Element::Text(text.clone())), sent),
        Ns(stored) => is_set(
            stored
                .iter()
                .map(|text| Element::Number(number::canonical(text))),
            sent,
        ),
        Bs(stored) => {
            let texts = stored.iter().map(|bytes| BASE64_STANDARD.encode(bytes));
            is_set(texts.map(Element::Text), sent)
        }
    }
}

/// An element of a set, as JSON shows it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Element {
    Text(String),
    Number(Option<String>),
}

impl Element {
    /// The element for `value`. `None` if JSON never shows such a value in a set.
    fn of(value: &AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::S(text) => Some(Self::Text(text.clone())),
            AttributeValue::N(text) => Some(Self::Number(number::canonical(text))),
            AttributeValue::Bool(_)
            | AttributeValue::Null(_)
            | AttributeValue::B(_)
            | AttributeValue::L(_)
            | AttributeValue::M(_)
            | AttributeValue::Ss(_)
            | AttributeValue::Ns(_)
            | AttributeValue::Bs(_) => None,
        }
    }
}

/// Whether `sent` is a list of the elements in `shown`, in any order.
fn is_set(shown: impl ExactSizeIterator<Item = Element>, sent: &AttributeValue) -> bool {
    let AttributeValue::L(sent) = sent else {
        return false;
    };
    shown.len() == sent.len()
        && sent
            .iter()
            .map(Element::of)
            .collect::<Option<BTreeSet<_>>>()
            == Some(shown.collect())
}
