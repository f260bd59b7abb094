//! The conditions of a request: `If-Match` and `If-None-Match` (RFC 9110 section 13.1), and the
//! entity-tags that they name.
//!
//! The crate `headers` is not used. It skips list members that it cannot parse, so a condition
//! could be lost. Here, a malformed list is an error.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{IF_MATCH, IF_NONE_MATCH},
};
use sha2::{Digest, Sha256};

use super::error::{Error, invalid_header};
use crate::{service::Precondition, user::User};

/// The number of bytes of the hash in an entity-tag.
const ENTITY_TAG_BYTES: usize = 16;

/// The entity-tag of a representation of a user: a strong validator (RFC 9110 section 8.8.1). It is
/// the SHA-256 of the body, cut to 128 bits, in base64url. Equal tags mean equal bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag of the representation `body`.
    pub fn of_json(json: &str) -> Self {
        let hash = Sha256::digest(json);
        Self(BASE64_URL_SAFE_NO_PAD.encode(&hash[..ENTITY_TAG_BYTES]))
    }

    /// The value of the header field `ETag`: the tag in quotes.
    pub fn to_header_value(&self) -> HeaderValue {
        HeaderValue::try_from(format!("\"{}\"", self.0)).expect("base64url is visible ASCII")
    }
}

/// `If-Match`: the representations of a user for which the request is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Any: there is no `If-Match`, or its value is `*`.
    Any,
    /// One of these. The list is empty if the header has only weak tags, which match nothing.
    OneOf(Vec<EntityTag>),
}

impl IfMatch {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] if the value is not a list of entity-tags.
    pub fn read(headers: &HeaderMap) -> Result<Self, Error> {
        Ok(match EntityTags::read(headers, &IF_MATCH, "If-Match")? {
            None | Some(EntityTags::Any) => Self::Any,
            // `If-Match` uses the strong comparison: a weak tag matches nothing.
            Some(EntityTags::List(tags)) => {
                let strong = tags.into_iter().filter(|(strength, _)| *strength == Strong);
                Self::OneOf(strong.map(|(_, tag)| tag).collect())
            }
        })
    }

    /// Whether `user` meets the condition.
    pub fn holds(&self, current: &EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(current),
        }
    }

    /// The precondition of a write. `holds` calls [`IfMatch::holds`].
    pub fn precondition<'a>(&self, holds: &'a (dyn Fn(&User) -> bool + Sync)) -> Precondition<'a> {
        match self {
            Self::Any => Precondition::None,
            Self::OneOf(_) => Precondition::Holds(holds),
        }
    }
}

/// `If-None-Match`: in a read, the representations that the client has already; in a write, those
/// that must not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// There is no `If-None-Match`.
    Absent,
    /// `*`: any representation.
    Any,
    /// The representations with these tags.
    NoneOf(Vec<EntityTag>),
}

impl IfNoneMatch {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] if the value is not a list of entity-tags.
    pub fn read(headers: &HeaderMap) -> Result<Self, Error> {
        Ok(
            match EntityTags::read(headers, &IF_NONE_MATCH, "If-None-Match")? {
                None => Self::Absent,
                Some(EntityTags::Any) => Self::Any,
                // `If-None-Match` uses the weak comparison: `W/"a"` matches `"a"`.
                Some(EntityTags::List(tags)) => {
                    Self::NoneOf(tags.into_iter().map(|(_, tag)| tag).collect())
                }
            },
        )
    }

    /// Whether the header field names the representation of `user`.
    pub fn excludes(&self, current: &EntityTag) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::NoneOf(tags) => tags.contains(current),
        }
    }
}

/// Whether an entity-tag is strong or weak (RFC 9110 section 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}
use Strength::{Strong, Weak};

enum EntityTags {
    Any,
    List(Vec<(Strength, EntityTag)>),
}

impl EntityTags {
    /// Reads the header field `header`. `name` is its name in messages.
    fn read(
        headers: &HeaderMap,
        header: &HeaderName,
        name: &'static str,
    ) -> Result<Option<Self>, Error> {
        if !headers.contains_key(header) {
            return Ok(None);
        }
        let lines = headers.get_all(header).iter();
        let tags = lines
            .map(|line| line.to_str())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| "must be ETags of this service, which are ASCII")
            .and_then(|lines| Self::parse(&lines.join(",")));
        tags.map(Some)
            .map_err(|message| invalid_header(name, message))
    }

    fn parse(list: &str) -> Result<Self, &'static str> {
        let mut rest = list.trim_matches(LIST_PADDING);
        match rest {
            "" => return Err("must not be empty"),
            "*" => return Ok(Self::Any),
            _ => {}
        }
        let mut tags = Vec::new();
        while !rest.is_empty() {
            let (strength, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (Weak, quoted),
                None => (Strong, rest),
            };
            let (opaque, after) = quoted
                .strip_prefix('"')
                .and_then(|text| text.split_once('"'))
                .filter(|(_, after)| after.is_empty() || after.starts_with(LIST_PADDING))
                .ok_or("must be *, or ETags in their quotes, as this service gave them")?;
            tags.push((strength, EntityTag(opaque.to_owned())));
            rest = after.trim_start_matches(LIST_PADDING);
        }
        Ok(Self::List(tags))
    }
}

/// The characters that may stand between the elements of a list (RFC 9110 section 5.6.1).
const LIST_PADDING: [char; 3] = [',', ' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    fn if_match(value: &'static str) -> Result<IfMatch, Error> {
        IfMatch::read(&HeaderMap::from_iter([(IF_MATCH, value.parse().unwrap())]))
    }

    #[test]
    fn a_list_of_entity_tags_is_read_and_a_weak_one_matches_nothing() {
        for (header, tags) in [
            ("\"1\"", vec!["1"]),
            ("\"1\", \"2\"", vec!["1", "2"]),
            (" ,\"1\" ,,\t\"0\",", vec!["1", "0"]),
            ("W/\"1\", \"2\"", vec!["2"]),
            ("\"01\", \"a,b\", \"\"", vec!["01", "a,b", ""]),
        ] {
            let tags = tags.into_iter().map(|tag| EntityTag(tag.to_owned()));
            let expected = IfMatch::OneOf(tags.collect());
            assert_eq!(if_match(header).unwrap(), expected, "{header}");
        }
        assert_eq!(if_match("*").unwrap(), IfMatch::Any);
    }

    #[test]
    fn what_is_no_list_of_entity_tags_is_refused() {
        for header in ["1", "\"1", "\"1\"\"2\"", "*, \"1\"", "w/\"1\"", "", ","] {
            assert!(if_match(header).is_err(), "{header}");
        }
    }
}
