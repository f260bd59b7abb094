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

/// How the service reads the claims of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The issuer. It decides how a token of a client differs from a token of a person.
    pub issuer: IssuerKind,
    /// The claim with the scopes.
    pub scopes: Cow<'static, str>,
    /// The claim with the groups.
    pub groups: Cow<'static, str>,
    /// The group whose members are admins.
    pub admin_group: Cow<'static, str>,
    /// The claim with the subject.
    pub subject: Cow<'static, str>,
    /// The claim with the subject of a token without [`Self::subject`].
    pub subject_without_user: Option<&'static str>,
}

impl Default for ClaimNames {
    /// The claims of a user pool of Amazon Cognito, as behind a REST API.
    fn default() -> Self {
        Self::of(IssuerKind::Cognito)
    }
}

/// What the `userId` of a client begins with. No escaped subject begins with it, because after `~` an
/// escaped subject has two digits.
const CLIENT: &str = "~client-";

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
            issuer,
            scopes: scopes.into(),
            groups: groups.into(),
            admin_group: "admin".into(),
            subject: subject.into(),
            // A token of Okta has no `uid` if it is for a client alone.
            subject_without_user: (issuer == IssuerKind::Okta).then_some("cid"),
        }
    }

    /// The `userId` of the caller whose token has these claims. `None` if the token has no subject.
    ///
    /// A `userId` has no characters that a URI percent-encodes. So the `userId` of a person is the
    /// percent-encoded subject, with `~` in the place of `%`: `auth0|abc` is `auth0~7Cabc`. Different
    /// subjects have different `userId`s, because `~` is escaped too.
    ///
    /// A client that acts without a user (the client credentials grant, RFC 6749 section 4.4) may have
    /// an id that somebody chose, and that is the subject of a person (RFC 9068 section 5). So its
    /// `userId` begins with `~client-`, as no `userId` of a person does.
    pub fn user_id<'a>(&self, claim: impl Fn(&str) -> Option<Cow<'a, str>>) -> Option<String> {
        let claim = |name: &str| claim(name).filter(|value| !value.is_empty());
        let subject = claim(&self.subject).or_else(|| claim(self.subject_without_user?))?;
        let mut user_id = String::with_capacity(CLIENT.len() + subject.len());
        if self.is_of_client(claim) {
            user_id.push_str(CLIENT);
        }
        push_escaped(&mut user_id, &subject);
        Some(user_id)
    }

    /// Whether a token with these claims is for a client alone.
    fn is_of_client<'a>(&self, claim: impl Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        let is_subject = |client: &str| {
            let subject = claim("sub");
            subject.is_some() && claim(client) == subject
        };
        match self.issuer {
            // The subject of a person has the name of its connection and `|` at its start.
            // https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles
            IssuerKind::Auth0 => {
                claim("sub").is_some_and(|sub| sub.ends_with("@clients") && !sub.contains('|'))
            }
            // https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
            IssuerKind::Cognito => is_subject("client_id"),
            // https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
            IssuerKind::Entra => {
                claim("scp").is_none() || claim("idtyp").is_some_and(|it| it == "app")
            }
            // The user of a service account. Its client has the scope `service_account`, which adds
            // `client_id`. https://www.keycloak.org/docs/latest/server_admin/#_service_accounts
            IssuerKind::Keycloak => {
                let username = claim("preferred_username");
                claim("client_id").is_some()
                    || username.is_some_and(|it| it.starts_with("service-account-"))
            }
            // https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/
            IssuerKind::Okta => claim("uid").is_none(),
            // RFC 9068 section 2.2 has `client_id`. OpenID Connect Core section 2 has `azp`.
            IssuerKind::Other => is_subject("client_id") || is_subject("azp"),
        }
    }
}

fn push_escaped(user_id: &mut String, subject: &str) {
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            user_id.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(user_id, "~{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::UserId;

    /// The `userId` of a token with these claims.
    fn user_id(issuer: IssuerKind, claims: &[(&str, &'static str)]) -> Option<String> {
        ClaimNames::of(issuer).user_id(|name| {
            let claim = claims.iter().find(|(own, _)| *own == name);
            claim.map(|(_, value)| Cow::Borrowed(*value))
        })
    }

    #[test]
    fn subjects_of_each_issuer_become_ids_that_a_new_user_may_have() {
        for (subject, expected) in [
            ("5f0c54ac-3b6e-4a1c-9a43-0f3a1b2c3d4e", None),
            ("00uid4BxXw6I6TV4m0g3", None),
            (
                "auth0|5f7c8ec7c33c6c004bbafe82",
                Some("auth0~7C5f7c8ec7c33c6c004bbafe82"),
            ),
            ("a~7Cb", Some("a~7E7Cb")),
            ("~client-a", Some("~7Eclient-a")),
            ("ä b", Some("~C3~A4~20b")),
        ] {
            let made = user_id(IssuerKind::Other, &[("sub", subject)]).unwrap();
            assert_eq!(made, expected.unwrap_or(subject));
            assert!(UserId::for_creation(made).is_ok(), "{subject}");
        }
        assert_eq!(user_id(IssuerKind::Other, &[("sub", "")]), None);
        assert_eq!(user_id(IssuerKind::Other, &[("azp", "")]), None);
    }

    #[test]
    fn a_claim_of_each_issuer_tells_a_client_from_a_person() {
        use IssuerKind::{Auth0, Cognito, Entra, Keycloak, Okta, Other};
        type Claims = &'static [(&'static str, &'static str)];
        let cases: &[(IssuerKind, Claims, &str)] = &[
            (Auth0, &[("sub", "a@clients")], "~client-a~40clients"),
            // A database of one's own chooses what is after the connection.
            (Auth0, &[("sub", "auth0|a@clients")], "auth0~7Ca~40clients"),
            (Cognito, &[("sub", "a"), ("client_id", "a")], "~client-a"),
            (Cognito, &[("sub", "a"), ("client_id", "b")], "a"),
            (Cognito, &[("sub", "a")], "a"),
            (Entra, &[("oid", "a")], "~client-a"),
            (
                Entra,
                &[("oid", "a"), ("scp", "users/read"), ("idtyp", "app")],
                "~client-a",
            ),
            (
                Entra,
                &[("oid", "a"), ("scp", "users/read"), ("idtyp", "user")],
                "a",
            ),
            (Keycloak, &[("sub", "a"), ("client_id", "b")], "~client-a"),
            (
                Keycloak,
                &[("sub", "a"), ("preferred_username", "service-account-b")],
                "~client-a",
            ),
            (
                Keycloak,
                &[("sub", "a"), ("azp", "a"), ("preferred_username", "b")],
                "a",
            ),
            (Okta, &[("sub", "a"), ("cid", "00u1")], "~client-00u1"),
            (Okta, &[("uid", "00u1"), ("cid", "00u1")], "00u1"),
            (Okta, &[("uid", ""), ("cid", "00u1")], "~client-00u1"),
            (Other, &[("sub", "a"), ("client_id", "a")], "~client-a"),
            (Other, &[("sub", "a"), ("azp", "a")], "~client-a"),
            (Other, &[("sub", "a"), ("azp", "b")], "a"),
        ];
        for (issuer, claims, expected) in cases {
            let made = user_id(*issuer, claims).unwrap();
            assert_eq!(made, *expected, "{issuer:?} {claims:?}");
            assert!(UserId::for_creation(made).is_ok());
        }
    }
}
