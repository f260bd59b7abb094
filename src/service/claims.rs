//! Which claims of a token say who calls. Issuers have different names for them.

use std::{borrow::Cow, fmt::Write};

/// The issuers whose claims the service knows: the parameter `IssuerKind` of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerKind {
    /// Auth0.
    Auth0,
    /// A user pool of Amazon Cognito.
    Cognito,
    /// Microsoft Entra ID, with tokens of version 2.0.
    Entra,
    /// Keycloak.
    Keycloak,
    /// A custom authorization server of Okta.
    Okta,
    /// Any other issuer of OpenID Connect.
    Other,
}

impl IssuerKind {
    /// Reads `auth0`, `cognito`, `entra`, `keycloak`, `okta` or `other`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auth0" => Some(Self::Auth0),
            "cognito" => Some(Self::Cognito),
            "entra" => Some(Self::Entra),
            "keycloak" => Some(Self::Keycloak),
            "okta" => Some(Self::Okta),
            "other" => Some(Self::Other),
            _ => None,
        }
    }
}

/// The names of the claims that the service reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The claim with the scopes.
    pub scopes: Cow<'static, str>,
    /// The claim with the groups.
    pub groups: Cow<'static, str>,
    /// The claim with the subject.
    pub subject: Cow<'static, str>,
    /// The claim with the subject of a token without [`Self::subject`].
    pub subject_without_user: Option<&'static str>,
    /// Whether the `userId` is the escaped subject: see [`Self::user_id`].
    pub escapes_subject: bool,
}

impl Default for ClaimNames {
    /// The claims of a user pool behind a REST API. Its subjects are UUIDs, and need no escaping.
    fn default() -> Self {
        Self {
            escapes_subject: false,
            ..Self::of(IssuerKind::Cognito)
        }
    }
}

impl ClaimNames {
    /// The claims of the tokens of an issuer. The subject is the id of the user that does not
    /// change, and that is the same for all clients of the issuer.
    pub fn of(issuer: IssuerKind) -> Self {
        let (scopes, groups, subject) = match issuer {
            // The permissions of the API that the roles of the user have.
            IssuerKind::Auth0 => ("scope", "permissions", "sub"),
            IssuerKind::Cognito => ("scope", "cognito:groups", "sub"),
            // `groups` has ids and no names. `sub` is another one for each client.
            IssuerKind::Entra => ("scp", "roles", "oid"),
            IssuerKind::Keycloak | IssuerKind::Other => ("scope", "groups", "sub"),
            // `sub` is the login, which may change.
            IssuerKind::Okta => ("scp", "groups", "uid"),
        };
        Self {
            scopes: scopes.into(),
            groups: groups.into(),
            subject: subject.into(),
            // A token of Okta has no `uid` if it is for a client alone.
            subject_without_user: (issuer == IssuerKind::Okta).then_some("cid"),
            escapes_subject: true,
        }
    }

    /// The `userId` of a subject. A `userId` has no characters that a URI percent-encodes. So an
    /// escaped subject is percent-encoded, with `~` in the place of `%`: `auth0|abc` is
    /// `auth0~7Cabc`. Different subjects have different `userId`s, because `~` is escaped too.
    pub fn user_id(&self, subject: &str) -> String {
        if !self.escapes_subject {
            return subject.to_owned();
        }
        let mut user_id = String::with_capacity(subject.len());
        for byte in subject.bytes() {
            if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
                user_id.push(byte.into());
            } else {
                // Writing to a string does not fail.
                let _ = write!(user_id, "~{byte:02X}");
            }
        }
        user_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::UserId;

    #[test]
    fn subjects_of_each_issuer_become_ids_that_a_new_user_may_have() {
        let names = ClaimNames::of(IssuerKind::Auth0);
        for (subject, user_id) in [
            ("5f0c54ac-3b6e-4a1c-9a43-0f3a1b2c3d4e", None),
            ("00uid4BxXw6I6TV4m0g3", None),
            (
                "auth0|5f7c8ec7c33c6c004bbafe82",
                Some("auth0~7C5f7c8ec7c33c6c004bbafe82"),
            ),
            ("client@clients", Some("client~40clients")),
            ("a~7Cb", Some("a~7E7Cb")),
            ("ä b", Some("~C3~A4~20b")),
        ] {
            let made = names.user_id(subject);
            assert_eq!(made, user_id.unwrap_or(subject));
            assert!(UserId::for_creation(made).is_ok(), "{subject}");
        }
        let of_rest_api = ClaimNames::default();
        assert_eq!(of_rest_api.user_id("auth0|~"), "auth0|~");
    }
}
