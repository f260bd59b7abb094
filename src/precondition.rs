//! Conditions that a request puts on what is stored of a user: `If-Match` and
//! `If-None-Match` (RFC 9110 section 13.1), and the entity-tags that they name.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use lambda_http::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{IF_MATCH, IF_NONE_MATCH},
};
use sha2::{Digest, Sha256};

use crate::{error::Error, user::User};

/// Bytes of the hash that an entity-tag keeps.
const ENTITY_TAG_BYTES: usize = 16;

/// Names a representation of a user: a strong validator (RFC 9110 section 8.8.1). It is
/// the SHA-256 of the body, cut to 128 bits, in base64url: equal tags mean equal bodies,
/// whoever wrote the item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag of the representation `body`.
    pub fn of_body(body: &str) -> Self {
        let hash = Sha256::digest(body);
        Self(BASE64_URL_SAFE_NO_PAD.encode(&hash[..ENTITY_TAG_BYTES]))
    }

    /// The tag of what a `GET` of `user` answers.
    fn of(user: &User) -> Self {
        Self::of_body(&user.to_json())
    }

    /// As the header field `ETag` has it: in quotes.
    pub fn to_header_value(&self) -> HeaderValue {
        HeaderValue::try_from(format!("\"{}\"", self.0)).expect("base64url is visible ASCII")
    }
}

/// Which representation of a user a write may replace or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whichever is there: no header, or `*`.
    Any,
    /// One of these. Empty where the header has weak tags only, which match nothing.
    OneOf(Vec<EntityTag>),
}

impl IfMatch {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] where it is no list of entity-tags.
    pub fn read(headers: &HeaderMap) -> Result<Self, Error> {
        Ok(match EntityTags::read(headers, &IF_MATCH, "If-Match")? {
            None | Some(EntityTags::Any) => Self::Any,
            // The comparison is the strong one: a weak tag matches nothing.
            Some(EntityTags::List(tags)) => {
                let strong = tags.into_iter().filter(|(strength, _)| *strength == Strong);
                Self::OneOf(strong.map(|(_, tag)| tag).collect())
            }
        })
    }

    /// Checks that `user` is as the header says.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`].
    pub fn check(&self, user: &User) -> Result<(), Error> {
        match self {
            Self::Any => Ok(()),
            Self::OneOf(tags) if tags.contains(&EntityTag::of(user)) => Ok(()),
            Self::OneOf(_) => Err(Error::VersionMismatch),
        }
    }
}

/// Which representation of a user the client does not want to meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// No header: it takes any.
    Absent,
    /// `*`: there is to be no user at all.
    Any,
    /// None of these.
    NoneOf(Vec<EntityTag>),
}

impl IfNoneMatch {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] where it is no list of entity-tags.
    pub fn read(headers: &HeaderMap) -> Result<Self, Error> {
        Ok(
            match EntityTags::read(headers, &IF_NONE_MATCH, "If-None-Match")? {
                None => Self::Absent,
                Some(EntityTags::Any) => Self::Any,
                // The comparison is the weak one: `W/"a"` is `"a"`.
                Some(EntityTags::List(tags)) => {
                    Self::NoneOf(tags.into_iter().map(|(_, tag)| tag).collect())
                }
            },
        )
    }

    /// Whether the client has this representation of `user` already.
    pub fn excludes(&self, user: &User) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::NoneOf(tags) => tags.contains(&EntityTag::of(user)),
        }
    }
}

/// How an entity-tag compares (RFC 9110 section 8.8.3.2).
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
    fn read(
        headers: &HeaderMap,
        header: &HeaderName,
        name: &'static str,
    ) -> Result<Option<Self>, Error> {
        let invalid = |message| Error::InvalidHeader { name, message };
        let lines: Result<Vec<_>, _> = headers
            .get_all(header)
            .iter()
            .map(|line| line.to_str())
            .collect();
        let list = lines
            .map_err(|_| invalid("must be ETags of this service, which are ASCII"))?
            .join(",");
        let mut rest = list.trim_matches(LIST_PADDING);
        if rest.is_empty() {
            return if headers.contains_key(header) {
                Err(invalid("must not be empty"))
            } else {
                Ok(None)
            };
        }
        if rest == "*" {
            return Ok(Some(Self::Any));
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
                .ok_or_else(|| {
                    invalid("must be *, or ETags in their quotes, as this service gave them")
                })?;
            tags.push((strength, EntityTag(opaque.to_owned())));
            rest = after.trim_start_matches(LIST_PADDING);
        }
        Ok(Some(Self::List(tags)))
    }
}

/// What may stand between the elements of a list (RFC 9110 section 5.6.1).
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
