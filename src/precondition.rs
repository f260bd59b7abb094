//! Conditions that a request puts on the version of a user: `If-Match` and
//! `If-None-Match` (RFC 9110 section 13.1).

use lambda_http::http::{
    HeaderMap, HeaderName,
    header::{IF_MATCH, IF_NONE_MATCH},
};

use crate::{error::Error, user::Version};

/// Versions that one header can name: as many operands as DynamoDB's `IN` takes.
const MAX_ENTITY_TAGS: usize = 100;

/// Which versions of a user a write may replace or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whichever is there: no header, or `*`.
    Any,
    /// One of these. Empty where the header names tags that no version can have.
    OneOf(Vec<Version>),
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
            Some(EntityTags::List(tags)) => Self::OneOf(
                tags.into_iter()
                    .filter(|tag| !tag.weak)
                    .filter_map(|tag| tag.version())
                    .collect(),
            ),
        })
    }

    /// Whether a write may happen to a user that has this version.
    pub fn allows(&self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

/// Which versions of a user the client does not want to meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// No header: it takes any.
    Absent,
    /// `*`: there is to be no user at all.
    Any,
    /// None of these.
    NoneOf(Vec<Version>),
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
                // The comparison is the weak one: `W/"1"` is `"1"`.
                Some(EntityTags::List(tags)) => {
                    Self::NoneOf(tags.iter().filter_map(EntityTag::version).collect())
                }
            },
        )
    }

    /// Whether the client has this version of the user already.
    pub fn excludes(&self, version: Version) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::NoneOf(versions) => versions.contains(&version),
        }
    }
}

enum EntityTags {
    Any,
    List(Vec<EntityTag>),
}

struct EntityTag {
    weak: bool,
    opaque: String,
}

impl EntityTag {
    /// The version whose tag this is; there is one spelling of each.
    fn version(&self) -> Option<Version> {
        let version = self.opaque.parse().ok().map(Version)?;
        (version.0.to_string() == self.opaque).then_some(version)
    }
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
            let quoted = rest.strip_prefix("W/").unwrap_or(rest);
            let (opaque, after) = quoted
                .strip_prefix('"')
                .and_then(|text| text.split_once('"'))
                .filter(|(_, after)| after.is_empty() || after.starts_with(LIST_PADDING))
                .ok_or_else(|| invalid("must be *, or ETags in their quotes, such as \"3\""))?;
            tags.push(EntityTag {
                weak: rest.starts_with("W/"),
                opaque: opaque.to_owned(),
            });
            rest = after.trim_start_matches(LIST_PADDING);
        }
        if tags.len() > MAX_ENTITY_TAGS {
            return Err(invalid("must name at most 100 ETags"));
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
    fn entity_tags_name_versions_and_only_in_their_one_spelling() {
        for (header, versions) in [
            ("\"1\"", vec![1]),
            ("\"1\", \"2\"", vec![1, 2]),
            (" ,\"1\" ,,\t\"0\",", vec![1, 0]),
            ("W/\"1\", \"2\"", vec![2]),
            ("\"01\", \"+1\", \"a,b\", \"\"", vec![]),
        ] {
            let versions = versions.into_iter().map(Version).collect();
            assert_eq!(
                if_match(header).unwrap(),
                IfMatch::OneOf(versions),
                "{header}"
            );
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
