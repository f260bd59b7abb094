//! Which callers may call which operations.
//!
//! The gateway checks the signature or the token of a request, and tells the service who the caller
//! is. The service ignores any identity in the rest of the request.

use super::Error;
use crate::{
    store::Stored,
    user::{Actor, DeletedUser, User, UserId, View},
};

/// The credentials that the gateway requires: the parameter `AuthMode` of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// An AWS signature.
    Iam,
    /// An access token of a Cognito user pool.
    Cognito,
    /// An access token of any issuer of OpenID Connect. Only an HTTP API can require it.
    Jwt,
    /// An AWS signature for writes. Reads need no credentials.
    None,
}

impl AuthMode {
    /// Reads `IAM`, `COGNITO`, `JWT` or `NONE`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "IAM" => Some(Self::Iam),
            "COGNITO" => Some(Self::Cognito),
            "JWT" => Some(Self::Jwt),
            "NONE" => Some(Self::None),
            _ => None,
        }
    }

    /// The caller with these credentials, if `rule` allows the operation on the user `target`, or
    /// on no particular user.
    ///
    /// Credentials that the gateway has accepted are valid in every mode. The reason is that the
    /// gateway and the function can have different modes for a short time after a change.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::Denied`], [`Error::Hidden`].
    pub fn authorize(
        self,
        credentials: &Credentials,
        rule: &Rule,
        target: Option<&UserId>,
    ) -> Result<Caller, Error> {
        let caller = match (Caller::known(credentials), self) {
            (Some(caller), _) => caller,
            (None, Self::None) if rule.anyone == Verdict::Allowed => Caller::Anyone,
            (None, Self::None | Self::Iam) => {
                return Err(Error::Unauthenticated(Proof::Signature));
            }
            (None, Self::Cognito | Self::Jwt) => {
                return Err(Error::Unauthenticated(Proof::Token));
            }
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

/// Why a caller may not call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The token of the caller lacks this scope.
    Scope(Scope),
    /// Only services and admins may call the operation.
    AdminsOnly,
    /// The caller may create only a user with its own `userId`.
    CreatesOnlyItself,
    /// The `sub` of the caller cannot be the `userId` of a new user.
    SubIsNoUserId,
    /// The caller is a deleted user, and did not delete itself.
    DeletedByAnother,
}

/// The identity of the caller, from the gateway. Both fields are `None` if the gateway required no
/// credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The ARN of the identity that signed the request.
    pub signer: Option<String>,
    /// The claims of the access token in the request.
    pub token: Option<Token>,
}

/// The claims of a token that the gateway has checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// The `userId` of the subject: see [`ClaimNames::user_id`](super::ClaimNames::user_id). It is
    /// empty if the token has no subject.
    pub user_id: String,
    /// The scopes of the token.
    pub scopes: Vec<String>,
    /// Whether the subject is in the group [`ClaimNames::admin_group`](super::ClaimNames::admin_group).
    pub is_admin: bool,
}

/// A scope of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `users/read`.
    Read,
    /// `users/write`.
    Write,
}

impl Scope {
    /// The scope as text in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "users/read",
            Self::Write => "users/write",
        }
    }
}

/// The result of the access check for a kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller may call the operation.
    Allowed,
    /// The caller may not call the operation.
    Denied,
    /// The response is the same as if there were no such user.
    Hidden,
}

/// Which callers may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The scope that a token needs.
    pub scope: Scope,
    /// The verdict for a caller without credentials, where reads need none: see
    /// [`AuthMode::None`]. If it is not allowed, it is asked for credentials.
    pub anyone: Verdict,
    /// The verdict for a service, which signs its requests.
    pub service: Verdict,
    /// The verdict for a user in the group of admins.
    pub admin: Verdict,
    /// The verdict for any other user who acts on itself.
    pub own: Verdict,
    /// The verdict for any other user who acts on another user.
    pub anothers: Verdict,
}

/// The caller of an operation, according to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// An unknown caller. Reads may need no credentials: see [`AuthMode::None`].
    Anyone,
    /// A trusted service, with its ARN. A service signs its requests.
    Service(String),
    /// A user with an access token.
    User {
        /// The `userId` of the subject of the token.
        user_id: UserId,
        /// The scopes of the token that this service knows.
        scopes: Vec<Scope>,
        /// Whether the user is in the group of admins.
        is_admin: bool,
    },
}

impl Caller {
    /// The caller with these credentials. `None` if there are no credentials, or if the `sub` of
    /// the token cannot be a `userId`.
    pub fn known(credentials: &Credentials) -> Option<Self> {
        match (&credentials.token, &credentials.signer) {
            (Some(token), _) => Self::user(token),
            (None, Some(arn)) => Some(Self::service(arn)),
            (None, None) => None,
        }
    }

    /// The caller who signed as `arn`. All sessions of a role are one caller, because a retry may
    /// come from another session.
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
            user_id: UserId::for_lookup(token.user_id.clone()).ok()?,
            scopes: [Scope::Read, Scope::Write]
                .into_iter()
                .filter(has)
                .collect(),
            is_admin: token.is_admin,
        })
    }

    /// Checks that `rule` allows the operation on the user `target`. Without a target, the verdict
    /// [`Rule::own`] applies to a user who is not an admin.
    fn may(&self, rule: &Rule, target: Option<&UserId>) -> Result<(), Error> {
        let verdict = match self {
            // The rule allows it, or `authorize` would have asked for credentials.
            Self::Anyone => Verdict::Allowed,
            Self::Service(_) => rule.service,
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

    /// The `userId` of the user that the caller creates. A user who is not an admin creates only
    /// itself. Other callers get the `userId` that they `asked` for, or a random `userId`.
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

    /// How much of a user the caller sees and writes.
    pub fn view(&self) -> View {
        match self {
            Self::Service(_) | Self::User { is_admin: true, .. } => View::Full,
            Self::Anyone
            | Self::User {
                is_admin: false, ..
            } => View::Limited,
        }
    }

    /// The caller as the writer of a user.
    pub(super) fn actor(&self) -> Actor {
        match self {
            // Every write needs credentials.
            Self::Anyone => Actor::Service(String::from("anyone")),
            Self::Service(arn) => Actor::Service(arn.clone()),
            Self::User { user_id, .. } => Actor::User(user_id.as_str().to_owned()),
        }
    }

    /// Whether the caller is the user with this `userId`.
    pub(super) fn is(&self, of: &UserId) -> bool {
        match self {
            Self::User { user_id, .. } => user_id == of,
            Self::Anyone | Self::Service(_) => false,
        }
    }

    /// Checks that the caller may do more with `user` than read its record. A disabled user may not
    /// do so with its own record, even if it is an admin.
    ///
    /// # Errors
    /// [`Error::UserDisabled`].
    pub(super) fn may_act_on(&self, user: &User) -> Result<(), Error> {
        let is_own = self.is(&UserId::stored(user.user_id()));
        match is_own && user.is_disabled() {
            true => Err(Error::UserDisabled),
            false => Ok(()),
        }
    }

    /// Checks that the caller may restore or erase a deleted user. Its own one it may only restore or
    /// erase if it deleted itself: so no user takes back what others decided.
    ///
    /// # Errors
    /// [`Error::UserDisabled`], [`Error::Denied`].
    pub(super) fn may_act_on_deleted(&self, deleted: &DeletedUser) -> Result<(), Error> {
        self.may_act_on(&deleted.user)?;
        let is_own = self.is(&UserId::stored(deleted.user.user_id()));
        match is_own && !deleted.was_deleted_by(&self.actor()) {
            true => Err(Error::Denied(Denial::DeletedByAnother)),
            false => Ok(()),
        }
    }

    /// Checks that the caller may act on others. What is `stored` of it decides: the user or, if there
    /// is none, the deleted user. So a deletion enables nobody.
    ///
    /// # Errors
    /// [`Error::UserDisabled`].
    pub(super) fn may_act_on_others(&self, stored: &Stored) -> Result<(), Error> {
        stored.latest().map_or(Ok(()), |own| self.may_act_on(own))
    }

    /// Checks that the caller may do more with itself than read its record, if its user and its
    /// deleted user are as `stored`.
    ///
    /// # Errors
    /// [`Error::UserDisabled`].
    pub(super) fn may_act_on_all(&self, stored: &Stored) -> Result<(), Error> {
        stored.users().try_for_each(|user| self.may_act_on(user))
    }

    /// The `userId` of the caller, if it is a user and the operation is on another user, or on no
    /// particular one. Then the operation does not read the caller's own record otherwise.
    pub(super) fn beside(&self, target: Option<&UserId>) -> Option<&UserId> {
        match self {
            Self::User { user_id, .. } => Some(user_id).filter(|own| target != Some(own)),
            Self::Anyone | Self::Service(_) => None,
        }
    }

    /// The kind of the caller, for the log: `anyone`, `service`, `admin` or `user`.
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

    /// The ARN of the role of a service, for the log. `None` for other callers. The ARN of an IAM
    /// user or a federated user is not logged, because it can contain the name of a person.
    pub fn role_arn(&self) -> Option<&str> {
        match self {
            Self::Service(arn) if arn.contains(":assumed-role/") => Some(arn),
            Self::Service(_) | Self::Anyone | Self::User { .. } => None,
        }
    }

    /// A name that is unique to this caller.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Anyone => String::from("anyone"),
            Self::Service(arn) => format!("service {arn}"),
            Self::User { user_id, .. } => format!("user {}", user_id.as_str()),
        }
    }
}
