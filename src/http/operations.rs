//! The operations of the API: one row for each.

use futures_util::{FutureExt, future::BoxFuture};
use http::Method;

use super::{
    Response, deleted_users,
    error::Error,
    history,
    request::Query,
    users::{self, Call},
};
use crate::{
    service::{Rule, Scope, Verdict},
    user::{EmailKey, UserId},
};

/// A row of the table: an operation, and who may do it.
#[derive(Debug)]
pub struct Operation {
    /// Its method. A `HEAD` uses the row of the `GET`.
    pub method: Method,
    /// Its path templates, each with its operation id in `openapi.yaml`. If operations share a
    /// path, the template ends in `?` and the query parameter that selects this one.
    pub at: &'static [(&'static str, &'static str)],
    /// Who may do it.
    pub rule: Rule,
    /// Its query parameters, apart from those in its path templates.
    pub parameters: Parameters,
    pub(super) handler: Handler,
}

impl Operation {
    /// Refuses the parameters that the operation does not know, if it is addressed by `template`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`].
    pub(super) fn check_parameters(&self, template: &str, query: &Query) -> Result<(), Error> {
        let Only(known) = self.parameters else {
            return Ok(());
        };
        let templates = self.at.iter().filter_map(|(at, _)| at.split_once('?'));
        let of_template = templates.filter(|(path, _)| *path == template);
        let known: Vec<_> = known
            .iter()
            .copied()
            .chain(of_template.map(|(_, parameter)| parameter))
            .collect();
        query.refuse_unknown(&known)
    }
}

/// The query parameters of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// These. The operation refuses all others.
    Only(&'static [&'static str]),
    /// The operation ignores those that it does not know. The tutorial's clients may send any.
    Any,
}

pub(super) type Answering<'a> = BoxFuture<'a, Result<Response, Error>>;

/// The function that does the operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handler {
    /// For no particular user.
    Users(for<'a> fn(Call<'a>) -> Answering<'a>),
    /// For the user who has the email address in the query.
    Email(for<'a> fn(Call<'a>, EmailKey) -> Answering<'a>),
    /// For the user whose `userId` is in the path or the query.
    User(for<'a> fn(Call<'a>, UserId) -> Answering<'a>),
}

use Handler::{Email, User, Users};
use Parameters::{Any, Only};
use Scope::{Read, Write};
use Verdict::{Allowed as Yes, Denied, Hidden};

/// The parameters of `GET /users`, with or without an email address.
const FIND_USERS: &[&str] = &[
    "userId",
    "email",
    "verified",
    "limit",
    "cursor",
    "consistent",
];

/// All operations. A user is addressed by path or by query.
///
/// A rule has the scope that a token needs, and five verdicts: for a caller without credentials
/// where reads need none, for a service, for an admin, for a user who acts on itself, and for a
/// user who acts on another user. A test compares this table with the one in `docs/api.md`.
pub static OPERATIONS: [Operation; 13] = [
    Operation {
        method: Method::GET,
        at: &[("/users", "findUsers")],
        rule: rule(Read, [Yes, Yes, Yes, Denied, Denied]),
        parameters: Only(FIND_USERS),
        handler: Users(|call| users::list(call).boxed()),
    },
    Operation {
        method: Method::GET,
        at: &[("/users?email", "findUsers")],
        rule: rule(Read, [Yes, Yes, Yes, Denied, Denied]),
        parameters: Only(FIND_USERS),
        handler: Email(|call, email| users::find(call, email).boxed()),
    },
    Operation {
        method: Method::POST,
        at: &[("/users", "createUser")],
        rule: rule(Write, [Denied, Yes, Yes, Yes, Denied]),
        parameters: Only(&[]),
        handler: Users(|call| users::create(call).boxed()),
    },
    Operation {
        method: Method::GET,
        at: &[
            ("/users/{userId}", "getUser"),
            ("/users?userId", "findUsers"),
        ],
        rule: rule(Read, [Yes, Yes, Yes, Yes, Hidden]),
        parameters: Any,
        handler: User(|call, user_id| users::get(call, user_id).boxed()),
    },
    Operation {
        method: Method::PUT,
        at: &[
            ("/users/{userId}", "replaceUser"),
            ("/users?userId", "replaceUserByQuery"),
        ],
        rule: rule(Write, [Denied, Yes, Yes, Yes, Hidden]),
        parameters: Only(&[]),
        handler: User(|call, user_id| users::replace(call, user_id).boxed()),
    },
    Operation {
        method: Method::PATCH,
        at: &[
            ("/users/{userId}", "patchUser"),
            ("/users?userId", "patchUserByQuery"),
        ],
        rule: rule(Write, [Denied, Yes, Yes, Yes, Hidden]),
        parameters: Only(&["takeEmail"]),
        handler: User(|call, user_id| users::patch(call, user_id).boxed()),
    },
    Operation {
        method: Method::DELETE,
        at: &[
            ("/users/{userId}", "deleteUser"),
            ("/users?userId", "deleteUserByQuery"),
        ],
        rule: rule(Write, [Denied, Yes, Yes, Yes, Hidden]),
        parameters: Only(&["erase"]),
        handler: User(|call, user_id| users::delete(call, user_id).boxed()),
    },
    Operation {
        method: Method::GET,
        at: &[("/users/{userId}/history", "listUserHistory")],
        rule: rule(Read, [Denied, Yes, Yes, Yes, Hidden]),
        parameters: Only(&["limit", "cursor"]),
        handler: User(|call, user_id| history::list(call, user_id).boxed()),
    },
    Operation {
        method: Method::GET,
        at: &[("/users/{userId}/export", "exportUser")],
        rule: rule(Read, [Denied, Yes, Yes, Yes, Hidden]),
        parameters: Only(&[]),
        handler: User(|call, user_id| history::export(call, user_id).boxed()),
    },
    Operation {
        method: Method::GET,
        at: &[("/deleted-users", "listDeletedUsers")],
        rule: rule(Read, [Denied, Yes, Yes, Denied, Denied]),
        parameters: Only(&["limit", "cursor", "consistent"]),
        handler: Users(|call| deleted_users::list(call).boxed()),
    },
    Operation {
        method: Method::GET,
        at: &[("/deleted-users/{userId}", "getDeletedUser")],
        rule: rule(Read, [Denied, Yes, Yes, Denied, Denied]),
        parameters: Only(&[]),
        handler: User(|call, user_id| deleted_users::get(call, user_id).boxed()),
    },
    Operation {
        method: Method::POST,
        at: &[("/deleted-users/{userId}/restore", "restoreUser")],
        rule: rule(Write, [Denied, Yes, Yes, Yes, Hidden]),
        parameters: Only(&[]),
        handler: User(|call, user_id| deleted_users::restore(call, user_id).boxed()),
    },
    Operation {
        method: Method::DELETE,
        at: &[("/deleted-users/{userId}", "eraseDeletedUser")],
        rule: rule(Write, [Denied, Yes, Yes, Denied, Denied]),
        parameters: Only(&[]),
        handler: User(|call, user_id| deleted_users::erase(call, user_id).boxed()),
    },
];

const fn rule(scope: Scope, [anyone, service, admin, own, anothers]: [Verdict; 5]) -> Rule {
    Rule {
        scope,
        anyone,
        service,
        admin,
        own,
        anothers,
    }
}
