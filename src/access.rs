//! Who may do what.
//!
//! The caller is who the gateway says (`requestContext`), which has checked the signature
//! or the token; nothing that a client sends itself is taken for it.

use crate::{
    error::Error,
    request::{Credentials, Token},
    router::Route,
    user::UserId,
};

/// What the gateway asks of callers before it lets them through: the parameter `AuthMode`
/// of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// A signature.
    Iam,
    /// A token of a Cognito user pool.
    Cognito,
    /// A signature, and of readers nothing.
    None,
}

impl AuthMode {
    /// Reads `IAM`, `COGNITO` or `NONE`.
    ///
    /// # Errors
    /// What to change, as a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "IAM" => Ok(Self::Iam),
            "COGNITO" => Ok(Self::Cognito),
            "NONE" => Ok(Self::None),
            _ => Err("AUTH_MODE is IAM, COGNITO or NONE"),
        }
    }

    /// Who calls, where that caller may take `route`.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::AccessDenied`], and [`Error::UserHidden`] for
    /// another user.
    pub fn authorize(self, credentials: &Credentials, route: &Route) -> Result<Caller, Error> {
        let (operation, user_id) = match route {
            Route::Options(_) => return Ok(Caller::Anyone),
            #[cfg(feature = "docs")]
            Route::GetDocument(_) => return Ok(Caller::Anyone),
            Route::ListUsers => (Operation::List, None),
            Route::FindUser(_) => (Operation::FindByEmail, None),
            // The user whom it names, if any, `Caller::user_id_to_create` looks at.
            Route::CreateUser => (Operation::Create, None),
            Route::GetUser(user_id) => (Operation::Read, Some(user_id)),
            Route::ReplaceUser(user_id) => (Operation::Replace, Some(user_id)),
            Route::PatchUser(user_id) => (Operation::Patch, Some(user_id)),
            Route::DeleteUser(user_id) => (Operation::Delete, Some(user_id)),
        };
        let caller = self.caller(credentials, operation.rule().scope)?;
        caller.may(operation, user_id)?;
        Ok(caller)
    }

    /// Whoever the gateway has let in by a token or a signature is believed in every mode,
    /// for a changed mode reaches the gateway and the function at different times.
    fn caller(self, credentials: &Credentials, scope: Scope) -> Result<Caller, Error> {
        if let Some(caller) = Caller::known(credentials) {
            return Ok(caller);
        }
        match self {
            Self::None if scope == Scope::Read => Ok(Caller::Anyone),
            Self::None | Self::Iam => Err(Error::Unauthenticated {
                challenge: "AWS4-HMAC-SHA256",
                message: "The request is not signed by a service; sign it with AWS Signature Version 4",
            }),
            Self::Cognito => Err(Error::Unauthenticated {
                challenge: "Bearer",
                message: "There is no access token; sign in and send one in Authorization",
            }),
        }
    }
}

/// What is asked of users, or of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// All of them, a page at a time.
    List,
    /// The one with an email address.
    FindByEmail,
    /// One.
    Read,
    /// A new one.
    Create,
    /// All that a client may write of one.
    Replace,
    /// Some of it.
    Patch,
    /// One is to go.
    Delete,
}

/// What a token has to be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `users/read`.
    Read,
    /// `users/write`.
    Write,
}

impl Scope {
    /// As the token writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "users/read",
            Self::Write => "users/write",
        }
    }
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Allowed,
    /// 403.
    Denied,
    /// 404, as if there were no such user.
    Hidden,
}

/// Who may do an operation: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The scope that a token needs.
    pub scope: Scope,
    /// For a service, which signs its requests.
    pub service: Verdict,
    /// For a user of the group `admin`.
    pub admin: Verdict,
    /// For any other user, on itself.
    pub own: Verdict,
    /// For any other user, on another.
    pub anothers: Verdict,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::List,
        Self::FindByEmail,
        Self::Read,
        Self::Create,
        Self::Replace,
        Self::Patch,
        Self::Delete,
    ];

    /// The rules. docs/api.md shows the same table; a test holds both.
    pub const fn rule(self) -> Rule {
        use {
            Scope::{Read, Write},
            Verdict::{Allowed as Yes, Denied, Hidden},
        };
        let (scope, [service, admin, own, anothers]) = match self {
            Self::List => (Read, [Yes, Yes, Denied, Denied]),
            Self::FindByEmail => (Read, [Yes, Yes, Denied, Denied]),
            Self::Read => (Read, [Yes, Yes, Yes, Hidden]),
            Self::Create => (Write, [Yes, Yes, Yes, Denied]),
            Self::Replace => (Write, [Yes, Yes, Yes, Hidden]),
            Self::Patch => (Write, [Yes, Yes, Yes, Hidden]),
            Self::Delete => (Write, [Yes, Yes, Yes, Hidden]),
        };
        Rule {
            scope,
            service,
            admin,
            own,
            anothers,
        }
    }
}

/// The group whose members act on every user.
const ADMIN: &str = "admin";

/// Who calls, once the gateway is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Whom nothing is asked of.
    Anyone,
    /// A trusted service, which signs its requests, by its ARN.
    Service(String),
    /// A user with a token.
    User {
        /// Its `sub`.
        user_id: UserId,
        /// Those of its scopes that mean something here.
        scopes: Vec<Scope>,
        /// Whether it is in the group `admin`.
        is_admin: bool,
    },
}

impl Caller {
    /// The caller of whom the gateway tells; `None` where it tells of nobody.
    pub fn known(credentials: &Credentials) -> Option<Self> {
        match (&credentials.token, &credentials.signer) {
            (Some(token), _) => Self::user(token),
            (None, Some(arn)) => Some(Self::service(arn)),
            (None, None) => None,
        }
    }

    /// The caller who signed as `arn`. Sessions of one role are one caller: a retry may
    /// come from another of them.
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

    /// Whether it may do `operation` on the user `user_id`, or on itself where that is not
    /// said.
    fn may(&self, operation: Operation, user_id: Option<&UserId>) -> Result<(), Error> {
        let rule = operation.rule();
        let verdict = match self {
            // Only who is let through without credentials, where reads are open.
            Self::Anyone | Self::Service(_) => rule.service,
            Self::User { scopes, .. } if !scopes.contains(&rule.scope) => {
                return Err(Error::AccessDenied(match rule.scope {
                    Scope::Read => "The token lacks the scope users/read",
                    Scope::Write => "The token lacks the scope users/write",
                }));
            }
            Self::User { is_admin: true, .. } => rule.admin,
            Self::User { user_id: own, .. } if user_id.is_none_or(|user_id| user_id == own) => {
                rule.own
            }
            Self::User { .. } => rule.anothers,
        };
        match verdict {
            Verdict::Allowed => Ok(()),
            Verdict::Denied if operation == Operation::Create => Err(Error::AccessDenied(
                "You may create only the user whose userId is your sub; leave userId out",
            )),
            Verdict::Denied => Err(Error::AccessDenied(
                "This is for admins; you may act on the user whose userId is your sub",
            )),
            Verdict::Hidden => Err(Error::UserHidden),
        }
    }

    /// The `userId` of the user that the caller creates: the one it has `asked` for, or a
    /// random one. A user who is no admin can only create itself.
    ///
    /// # Errors
    /// [`Error::AccessDenied`].
    pub fn user_id_to_create(&self, asked: Option<UserId>) -> Result<UserId, Error> {
        match self {
            Self::User {
                user_id: own,
                is_admin: false,
                ..
            } => {
                let asked = asked.as_ref().unwrap_or(own);
                self.may(Operation::Create, Some(asked))?;
                UserId::for_creation(own.as_str().to_owned()).map_err(|_| {
                    Error::AccessDenied(
                        "Your sub cannot be a userId: 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -",
                    )
                })
            }
            Self::Anyone | Self::Service(_) | Self::User { is_admin: true, .. } => {
                Ok(asked.unwrap_or_else(UserId::random))
            }
        }
    }

    /// What it is, for the log: `anyone`, `service`, `admin` or `user`.
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

    /// The ARN of the role of a service, for the log. IAM users and federated users are left
    /// out: their names can be those of people.
    pub fn role_arn(&self) -> Option<&str> {
        match self {
            Self::Service(arn) if arn.contains(":assumed-role/") => Some(arn),
            Self::Service(_) | Self::Anyone | Self::User { .. } => None,
        }
    }

    /// A name for it that no other caller has.
    pub fn name(&self) -> String {
        match self {
            Self::Anyone => String::from("anyone"),
            Self::Service(arn) => format!("service {arn}"),
            Self::User { user_id, .. } => format!("user {}", user_id.as_str()),
        }
    }
}
