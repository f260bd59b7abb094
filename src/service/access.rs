//! Who may do what.
//!
//! The gateway has checked the signature or the token of a request, and says who the caller is.
//! What a client says about its own identity is ignored.

use super::Error;
use crate::user::UserId;

/// What the gateway asks of callers: the parameter `AuthMode` of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// A signature.
    Iam,
    /// A token of a Cognito user pool.
    Cognito,
    /// A signature; nothing for reads.
    None,
}

impl AuthMode {
    /// Reads `IAM`, `COGNITO` or `NONE`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "IAM" => Some(Self::Iam),
            "COGNITO" => Some(Self::Cognito),
            "NONE" => Some(Self::None),
            _ => None,
        }
    }

    /// The caller with these credentials, if `rule` allows the operation on the user `target`, or
    /// on no particular user.
    ///
    /// The mode does not matter for a caller that the gateway has let in: a changed mode reaches
    /// the gateway and the function at different times.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::Denied`], and [`Error::Hidden`] for another user.
    pub fn authorize(
        self,
        credentials: &Credentials,
        rule: &Rule,
        target: Option<&UserId>,
    ) -> Result<Caller, Error> {
        let caller = match (Caller::known(credentials), self) {
            (Some(caller), _) => caller,
            (None, Self::None) if rule.scope == Scope::Read => Caller::Anyone,
            (None, Self::None | Self::Iam) => {
                return Err(Error::Unauthenticated(Proof::Signature));
            }
            (None, Self::Cognito) => return Err(Error::Unauthenticated(Proof::Token)),
        };
        caller.may(rule, target)?;
        Ok(caller)
    }
}

/// How a caller proves its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An AWS signature.
    Signature,
    /// An access token.
    Token,
}

/// Why a caller may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Its token lacks this scope.
    Scope(Scope),
    /// Only services and admins may do it.
    AdminsOnly,
    /// It may create only itself.
    CreatesOnlyItself,
    /// Its `sub` cannot be a `userId`.
    SubIsNoUserId,
}

/// What the gateway says of the caller. Both are `None` if it asked for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The ARN that signed the request.
    pub signer: Option<String>,
    /// The claims of the token that came with it.
    pub token: Option<Token>,
}

/// The claims of a token that the gateway has checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// The subject.
    pub sub: String,
    /// What the token is for.
    pub scopes: Vec<String>,
    /// The groups of the subject.
    pub groups: Vec<String>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `users/read`.
    Read,
    /// `users/write`.
    Write,
}

impl Scope {
    /// As a token has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "users/read",
            Self::Write => "users/write",
        }
    }
}

/// What an operation answers to a kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Allowed,
    /// The caller may not do it.
    Denied,
    /// As if there were no such user.
    Hidden,
}

/// Who may do an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The scope that a token needs.
    pub scope: Scope,
    /// For a service, which signs its requests.
    pub service: Verdict,
    /// For a user in the group `admin`.
    pub admin: Verdict,
    /// For any other user, on itself.
    pub own: Verdict,
    /// For any other user, on another user.
    pub anothers: Verdict,
}

/// The group whose members act on every user.
const ADMIN: &str = "admin";

/// Who calls, as the gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Anyone, where reads need no credentials.
    Anyone,
    /// A trusted service, which signs its requests, by its ARN.
    Service(String),
    /// A user with a token.
    User {
        /// Its `sub`.
        user_id: UserId,
        /// The scopes that mean something here.
        scopes: Vec<Scope>,
        /// Whether it is in the group `admin`.
        is_admin: bool,
    },
}

impl Caller {
    /// The caller with these credentials; `None` if there are none.
    pub fn known(credentials: &Credentials) -> Option<Self> {
        match (&credentials.token, &credentials.signer) {
            (Some(token), _) => Self::user(token),
            (None, Some(arn)) => Some(Self::service(arn)),
            (None, None) => None,
        }
    }

    /// The caller who signed as `arn`. All sessions of a role are one caller: a retry may come
    /// from another of them.
    fn service(arn: &str) -> Self {
        let mut parts = arn.splitn(3, '/');
        let name = match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(role), Some(_session)) if kind.ends_with(":assumed-role") => {
                format!("{kind}/{role}")
            }
            _ => arn.to_owned(),
        };
        Self::Service(name)
    }

    fn user(token: &Token) -> Option<Self> {
        let has = |scope: &Scope| token.scopes.iter().any(|name| name == scope.as_str());
        Some(Self::User {
            user_id: UserId::for_lookup(token.sub.clone()).ok()?,
            scopes: [Scope::Read, Scope::Write]
                .into_iter()
                .filter(has)
                .collect(),
            is_admin: token.groups.iter().any(|group| group == ADMIN),
        })
    }

    /// Checks that `rule` allows the operation on the user `target`. Without a target, a user acts
    /// on itself.
    fn may(&self, rule: &Rule, target: Option<&UserId>) -> Result<(), Error> {
        let verdict = match self {
            // A caller is `Anyone` only if the operation needs no credentials.
            Self::Anyone | Self::Service(_) => rule.service,
            Self::User { scopes, .. } if !scopes.contains(&rule.scope) => {
                return Err(Error::Denied(Denial::Scope(rule.scope)));
            }
            Self::User { is_admin: true, .. } => rule.admin,
            Self::User { user_id: own, .. } if target.is_none_or(|target| target == own) => {
                rule.own
            }
            Self::User { .. } => rule.anothers,
        };
        match verdict {
            Verdict::Allowed => Ok(()),
            Verdict::Denied => Err(Error::Denied(Denial::AdminsOnly)),
            Verdict::Hidden => Err(Error::Hidden),
        }
    }

    /// The `userId` of the user that the caller creates: the one that it `asked` for, or a random
    /// one. A user who is no admin creates only itself.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub(super) fn user_id_to_create(&self, asked: Option<UserId>) -> Result<UserId, Error> {
        let Self::User {
            user_id: own,
            is_admin: false,
            ..
        } = self
        else {
            return Ok(asked.unwrap_or_else(UserId::random));
        };
        if asked.is_some_and(|asked| asked != *own) {
            return Err(Error::Denied(Denial::CreatesOnlyItself));
        }
        UserId::for_creation(own.as_str().to_owned())
            .map_err(|_| Error::Denied(Denial::SubIsNoUserId))
    }

    /// Its kind, for the log: `anyone`, `service`, `admin` or `user`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Service(_) => "service",
            Self::User { is_admin: true, .. } => "admin",
            Self::User {
                is_admin: false, ..
            } => "user",
        }
    }

    /// The ARN of the role of a service, for the log. IAM users and federated users are left out,
    /// because their ARN can contain a person's name.
    pub fn role_arn(&self) -> Option<&str> {
        match self {
            Self::Service(arn) if arn.contains(":assumed-role/") => Some(arn),
            Self::Service(_) | Self::Anyone | Self::User { .. } => None,
        }
    }

    /// A name for it that no other caller has.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Anyone => String::from("anyone"),
            Self::Service(arn) => format!("service {arn}"),
            Self::User { user_id, .. } => format!("user {}", user_id.as_str()),
        }
    }
}
