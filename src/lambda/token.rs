//! The claims of a token, as a gateway writes them into its event.
//!
//! A claim that is a list stands there as text: `admin,editors` from a REST API, and `[admin editors]`
//! from an HTTP API. A scope has no space (RFC 6749 section 3.3), but a group can have one: `[IT admin]`
//! is one group or two.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, header::AUTHORIZATION};
use serde_json::{Map, Value, value::RawValue};

use super::event::{text, texts};
use crate::{
    service::{ClaimNames, Token},
    user::json::Members,
};

/// The claims of a token that a gateway has checked.
#[derive(Debug)]
pub(super) enum Claims<'a> {
    /// Those in the event of a REST API.
    Rest(&'a Members<'a>),
    /// Those in the event of an HTTP API, in either payload format.
    Http(&'a Members<'a>),
}

impl Claims<'_> {
    /// What the token says of the caller. `headers` are those of the same event.
    pub(super) fn token(&self, names: &ClaimNames, headers: &HeaderMap) -> Token {
        let claim = |name: &str| self.get(name).map(text);
        Token {
            user_id: names.user_id(claim).unwrap_or_default(),
            scopes: self.scopes(&names.scopes),
            is_admin: self.is_in_group(&names.admin_group, &names.groups, headers),
        }
    }

    fn get(&self, name: &str) -> Option<&RawValue> {
        let (Self::Rest(claims) | Self::Http(claims)) = self;
        claims.get(name)
    }

    /// The scopes of a claim that is a text with spaces, or a list.
    fn scopes(&self, name: &str) -> Vec<String> {
        let Some(claim) = self.get(name) else {
            return Vec::new();
        };
        if let Some(scopes) = texts(claim) {
            return scopes.into_iter().map(Cow::into_owned).collect();
        }
        let scopes = text(claim);
        let list = match self {
            Self::Http(_) => in_brackets(&scopes),
            Self::Rest(_) => None,
        };
        let scopes = list.unwrap_or(&scopes).split(' ');
        scopes.map(str::to_owned).collect()
    }

    /// Whether the claim `name` has this group.
    fn is_in_group(&self, group: &str, name: &str, headers: &HeaderMap) -> bool {
        let Some(claim) = self.get(name) else {
            return false;
        };
        if let Some(groups) = texts(claim) {
            return groups.iter().any(|own| own == group);
        }
        let written = text(claim);
        match self {
            Self::Rest(_) => written.split(',').any(|own| own == group),
            // Most callers are in no such group, and their tokens need not be decoded.
            Self::Http(_) if !written.contains(group) => false,
            Self::Http(claims) => match payload(claims, headers) {
                Some(payload) => has_group(payload.get(name), group),
                // A list of one word has one meaning. Any other list may be one group.
                None => in_brackets(&written).map_or(written == group, |only| {
                    only == group && !only.contains(' ')
                }),
            },
        }
    }
}

/// The elements of a list, as an HTTP API writes it.
fn in_brackets(list: &str) -> Option<&str> {
    list.strip_prefix('[')?.strip_suffix(']')
}

/// Whether a claim of a payload, a list or a text, has this group.
fn has_group(claim: Option<&Value>, group: &str) -> bool {
    match claim {
        Some(Value::Array(groups)) => groups.iter().any(|own| own == group),
        Some(Value::String(own)) => own == group,
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

/// The payload of the token in `Authorization`, in which lists are lists. `None` if it may be another
/// token than the one that the gateway has checked: if the field has more than one value, which payload
/// format 2.0 joins with a comma, or if a claim differs from that of the gateway.
fn payload(claims: &Members<'_>, headers: &HeaderMap) -> Option<Map<String, Value>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?.to_str().ok()?, values.next()) else {
        return None;
    };
    if value.contains(',') {
        return None;
    }
    // The gateway accepts the token with the scheme and without it.
    let (_, token) = value.rsplit_once(' ').unwrap_or(("", value));
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    let payload: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    let is_checked = |(name, value): (&String, &Value)| {
        claims
            .get(name)
            .is_some_and(|checked| text(checked) == written(value))
    };
    payload.iter().all(is_checked).then_some(payload)
}

/// A claim as an HTTP API writes it. AWS does not document it. Events show lists in brackets, numbers
/// and booleans as in JSON, and objects as `map[name:value]`.
fn written(claim: &Value) -> Cow<'_, str> {
    match claim {
        Value::String(text) => text.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => claim.to_string().into(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(written).collect();
            format!("[{}]", items.join(" ")).into()
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{name}:{}", written(value)))
                .collect();
            format!("map[{}]", members.join(" ")).into()
        }
    }
}
