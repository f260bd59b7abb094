//! The caller that the gateway names to the service.

use std::{borrow::Cow, fmt, str::FromStr};

use hyper::header::HeaderName;
use serde_json::{Value, json};

use crate::{http::docs::HeaderField, service::ClaimNames};

/// The header field in which a request names its caller, as a [`LocalCaller`]. Only this gateway
/// understands it; API Gateway takes the caller from a signature or a token.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-local-caller");

/// The description of [`HEADER`] for the contract.
pub(super) const HEADER_FIELD: HeaderField = HeaderField {
    name: "X-Local-Caller",
    description: "Whom this gateway takes for the caller: the `sub` of a user, and maybe groups \
                  after a colon, such as `ada` or `root:admin`. Without it, a service calls, or whom \
                  `--as` names.",
};

/// A user who calls with a token for all scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCaller {
    sub: String,
    groups: Vec<String>,
}

impl LocalCaller {
    /// The `userId` of the caller's own user.
    pub fn user_id(&self) -> String {
        let claim = |name: &str| (name == "sub").then_some(Cow::Borrowed(&*self.sub));
        ClaimNames::default().user_id(claim).unwrap_or_default()
    }

    /// The claims of the token, as a REST API passes them on.
    pub(super) fn claims(&self) -> Value {
        json!({
            "sub": self.sub,
            "cognito:groups": self.groups.join(","),
            "scope": "users/read users/write",
            "token_use": "access",
        })
    }
}

/// Reads `sub[:group,…]`.
impl FromStr for LocalCaller {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sub, groups) = text.split_once(':').unwrap_or((text, ""));
        if sub.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be a sub, and maybe groups after a colon: ada:admin,editors");
        }
        let groups = groups.split(',').filter(|group| !group.is_empty());
        Ok(Self {
            sub: sub.to_owned(),
            groups: groups.map(str::to_owned).collect(),
        })
    }
}

/// `ada`, or `ada, in the groups admin and editors`.
impl fmt::Display for LocalCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sub)?;
        match self.groups.as_slice() {
            [] => Ok(()),
            [group] => write!(f, ", in the group {group}"),
            groups => write!(f, ", in the groups {}", groups.join(" and ")),
        }
    }
}
