//! The JSON API: routes, bodies, conditions, and errors as problem documents.
//!
//! Only this module names status codes and writes sentences for clients. (The local gateway writes
//! the answers that API Gateway itself would give.)

pub mod answer;
pub mod base_path;
pub mod body;
pub mod conditional;
pub mod cors;
mod deleted_users;
#[cfg(feature = "docs")]
pub mod docs;
pub mod error;
mod history;
pub mod host;
mod log_line;
pub mod operations;
mod page;
pub mod problem;
pub mod request;
pub mod router;
mod trace;
mod users;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;

#[cfg(feature = "docs")]
use self::docs::HeaderField;
use self::{
    cors::AllowedOrigins,
    error::{Error, describe},
    log_line::{LogLine, Start},
    request::Request,
    router::{Resource, Route},
    users::Call,
};
use crate::service::{AuthMode, Caller, UserService};

/// An answer. Its body is empty or text.
pub type Response = http::Response<String>;

/// The JSON API over the operations on users.
#[derive(Clone, Debug)]
pub struct Api {
    users: UserService,
    auth_mode: AuthMode,
    allowed_origins: AllowedOrigins,
    start: Arc<Start>,
    #[cfg(feature = "docs")]
    gateway_header: Option<HeaderField>,
}

impl Api {
    /// The API of `users`. `auth_mode` says which callers the gateway lets in. Pages of
    /// `allowed_origins` may read the answers.
    pub fn new(users: UserService, auth_mode: AuthMode, allowed_origins: AllowedOrigins) -> Self {
        Self {
            users,
            auth_mode,
            allowed_origins,
            start: Arc::default(),
            #[cfg(feature = "docs")]
            gateway_header: None,
        }
    }

    /// The same API, in a process that took this long to open its connection to DynamoDB during init,
    /// if it did so. The log line of the first request says so.
    pub fn primed(self, priming: Option<Duration>) -> Self {
        Self {
            start: Arc::new(Start::primed(priming)),
            ..self
        }
    }

    /// The same API with one more header field in the contract of each operation. The gateway
    /// understands this field.
    #[cfg(feature = "docs")]
    pub fn with_gateway_header(self, gateway_header: HeaderField) -> Self {
        Self {
            gateway_header: Some(gateway_header),
            ..self
        }
    }

    /// Answers a request. A failure also becomes an answer, and is logged here once.
    pub async fn handle(&self, request: Request) -> Response {
        let started = self.users.now();
        let time_left = request.time_left(started);
        let users = self.users.for_request(&request.id, time_left);
        let resource = Resource::find(&request.path);
        let mut caller = Caller::known(&request.credentials);
        let outcome = AssertUnwindSafe(self.route(&request, resource, &users, &mut caller))
            .catch_unwind()
            .await
            .unwrap_or(Err(Error::Panic));
        let (answer, error) = match outcome {
            Ok(answer) => (answer, None),
            Err(error) => {
                let description = describe(&error, &request.method);
                (problem::of(&description, &request), Some(description))
            }
        };
        let answer = answer::finish(answer, &request, &self.allowed_origins);
        let elapsed = self.users.now().duration_since(started);
        LogLine {
            request: &request,
            resource,
            caller: caller.as_ref(),
            answer: &answer,
            error: error.as_ref(),
            usage: users.usage(),
            start: &self.start,
            elapsed: elapsed.unwrap_or_default(),
        }
        .write();
        answer
    }

    /// Finds the operation, checks that the caller may do it, and does it. Sets `known` as soon as
    /// the caller is known.
    async fn route(
        &self,
        request: &Request,
        resource: Option<Resource<'_>>,
        users: &UserService,
        known: &mut Option<Caller>,
    ) -> Result<Response, Error> {
        let method = request.method()?;
        let resource = resource.ok_or(Error::RouteNotFound)?;
        let route = Route::find(&method, resource, &request.query)?;
        let (operation, target) = match route {
            Route::Operation(operation, target) => (operation, target),
            Route::Options(methods) => {
                known.get_or_insert(Caller::Anyone);
                return Ok(answer::options(&methods));
            }
            #[cfg(feature = "docs")]
            Route::Document(document) => {
                known.get_or_insert(Caller::Anyone);
                return Ok(document.answer(request, self.gateway_header.as_ref()));
            }
        };
        let caller =
            self.auth_mode
                .authorize(&request.credentials, &operation.rule, target.user_id())?;
        let call = Call {
            request,
            users,
            caller: known.insert(caller),
        };
        operation.check_parameters(resource.template(), &request.query)?;
        target.answer(call).await
    }
}
