//! Every operation of the API: route the request, act on the store, answer.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use lambda_http::http::{Method, header::IF_MATCH};
use tracing::{error, info};

#[cfg(feature = "docs")]
use crate::docs::HeaderField;
use crate::{
    access::{AuthMode, Caller},
    error::Error,
    idempotency::{IdempotencyKey, KeyedCreation},
    page::{Cursor, Limit},
    precondition::{IfMatch, IfNoneMatch},
    request::{BasePath, Request, invalid_parameter},
    response::{self, AllowedOrigins, Response},
    router::{Resource, Route},
    store::UserStore,
    user::{Change, EmailKey, Replacement, Timestamp, User, UserId, UserInput, UserPatch},
};

/// The user service, whatever stands before it.
#[derive(Clone, Debug)]
pub struct Api {
    store: UserStore,
    clock: fn() -> SystemTime,
    auth_mode: AuthMode,
    allowed_origins: AllowedOrigins,
    base_path: BasePath,
    #[cfg(feature = "docs")]
    gateway_header: Option<HeaderField>,
}

impl Api {
    /// The service over `store`, at the time that `clock` tells, for the callers whom
    /// `auth_mode` lets in.
    pub fn new(
        store: UserStore,
        clock: fn() -> SystemTime,
        auth_mode: AuthMode,
        allowed_origins: AllowedOrigins,
        base_path: BasePath,
    ) -> Self {
        Self {
            store,
            clock,
            auth_mode,
            allowed_origins,
            base_path,
            #[cfg(feature = "docs")]
            gateway_header: None,
        }
    }

    /// The same service, whose contract has one more header field in each operation: one that the
    /// gateway before it understands.
    #[cfg(feature = "docs")]
    pub fn with_gateway_header(self, gateway_header: HeaderField) -> Self {
        Self {
            gateway_header: Some(gateway_header),
            ..self
        }
    }

    /// The base path of the custom domain.
    pub fn base_path(&self) -> &BasePath {
        &self.base_path
    }

    /// Answers a request. It does not fail: every failure is an answer, and is
    /// logged here, once.
    pub async fn handle(&self, request: Request) -> Response {
        let started = (self.clock)();
        let store = self.store.for_request(request.time_left(started));
        let resource = Resource::find(&request.path);
        let mut caller = Caller::known(&request.credentials);
        let outcome = AssertUnwindSafe(self.act(&request, resource, &store, &mut caller))
            .catch_unwind()
            .await;
        let outcome = outcome.unwrap_or(Err(Error::Panic));
        let (answer, error) = match outcome {
            Ok(answer) => (answer, None),
            Err(error) => (response::problem(&error, &request.id), Some(error)),
        };
        let answer = response::finish(answer, &request, &self.allowed_origins);
        let elapsed = (self.clock)().duration_since(started).unwrap_or_default();
        log(
            &request,
            resource,
            caller.as_ref(),
            &answer,
            error.as_ref(),
            &store,
            elapsed,
        );
        answer
    }

    /// Sets `known` to the caller as soon as the caller is known.
    async fn act(
        &self,
        request: &Request,
        resource: Option<Resource<'_>>,
        store: &UserStore,
        known: &mut Option<Caller>,
    ) -> Result<Response, Error> {
        let method = request.method()?;
        let resource = resource.ok_or(Error::RouteNotFound)?;
        let route = Route::find(&method, resource, &request.query)?;
        let caller = self.auth_mode.authorize(&request.credentials, &route)?;
        known.get_or_insert_with(|| caller.clone());
        match route {
            Route::ListUsers => list_users(request, store).await,
            Route::FindUser(email) => find_user(request, store, &email).await,
            Route::CreateUser => self.create_user(request, store, &caller).await,
            Route::GetUser(user_id) => get_user(request, store, &user_id).await,
            Route::ReplaceUser(user_id) => {
                self.replace_user(request, store, &caller, user_id).await
            }
            Route::PatchUser(user_id) => self.patch_user(request, store, &user_id).await,
            Route::DeleteUser(user_id) => delete_user(request, store, &user_id).await,
            Route::Options(methods) => Ok(response::options(methods)),
            #[cfg(feature = "docs")]
            Route::GetDocument(document) => {
                Ok(document.answer(request, self.gateway_header.as_ref()))
            }
        }
    }

    async fn create_user(
        &self,
        request: &Request,
        store: &UserStore,
        caller: &Caller,
    ) -> Result<Response, Error> {
        let now = self.now();
        let key = IdempotencyKey::read(&request.headers)?;
        let (asked, input) = UserInput::for_creation(request.json()?)?;
        let keyed =
            key.map(|key| KeyedCreation::new(&caller.name(), key, asked.as_ref(), &input, now));
        let user = User::new(&caller.user_id_to_create(asked)?, input, now);
        let user = store.create(user, keyed.as_ref()).await?;
        Ok(response::created(&user, request))
    }

    async fn replace_user(
        &self,
        request: &Request,
        store: &UserStore,
        caller: &Caller,
        user_id: UserId,
    ) -> Result<Response, Error> {
        let if_match = IfMatch::read(&request.headers)?;
        match IfNoneMatch::read(&request.headers)? {
            IfNoneMatch::Absent => {}
            IfNoneMatch::Any => {
                return self.create_user_at(request, store, caller, user_id).await;
            }
            IfNoneMatch::NoneOf(_) => {
                let message = "of a PUT must be *, which creates the user";
                return Err(Error::InvalidHeader {
                    name: "If-None-Match",
                    message,
                });
            }
        }
        let replacement = Replacement::read(request.json()?, &user_id)?;
        let change = Change::Replacement(replacement);
        let user = store.change(&user_id, &change, &if_match, || self.now());
        Ok(response::user(&user.await?))
    }

    async fn patch_user(
        &self,
        request: &Request,
        store: &UserStore,
        user_id: &UserId,
    ) -> Result<Response, Error> {
        let if_match = IfMatch::read(&request.headers)?;
        refuse_if_none_match(request, "has no meaning for PATCH; send If-Match")?;
        let change = Change::Patch(UserPatch::read(request.merge_patch()?, user_id)?);
        let user = store.change(user_id, &change, &if_match, || self.now());
        Ok(response::user(&user.await?))
    }

    /// `PUT` with `If-None-Match: *`.
    async fn create_user_at(
        &self,
        request: &Request,
        store: &UserStore,
        caller: &Caller,
        user_id: UserId,
    ) -> Result<Response, Error> {
        if request.headers.contains_key(IF_MATCH) {
            let message = "and If-None-Match cannot both hold; send one of them";
            return Err(Error::InvalidHeader {
                name: "If-Match",
                message,
            });
        }
        let user_id = UserId::for_creation(user_id.as_str().to_owned())
            .map_err(|message| invalid_parameter("userId", message))?;
        let input = UserInput::for_creation_at(request.json()?, &user_id)?;
        let user_id = caller.user_id_to_create(Some(user_id))?;
        let user = User::new(&user_id, input, self.now());
        match store.create(user, None).await {
            Ok(user) => Ok(response::created(&user, request)),
            // The client has named this as its condition.
            Err(Error::UserExists(_)) => Err(Error::PreconditionFailed),
            Err(error) => Err(error),
        }
    }

    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }
}

/// The parameters of the query of `GET /users`.
const PARAMETERS: [&str; 5] = ["userId", "email", "limit", "cursor", "consistent"];

async fn list_users(request: &Request, store: &UserStore) -> Result<Response, Error> {
    request.query.refuse_unknown(&PARAMETERS)?;
    let (limit, cursor) = page_parameters(request)?;
    let limit = limit.unwrap_or_default();
    // A list has no entity-tag, so these change nothing here; a mistake is told.
    IfMatch::read(&request.headers)?;
    IfNoneMatch::read(&request.headers)?;
    let consistent = consistent(request)?;
    let page = store.list(limit, cursor.as_ref(), consistent).await?;
    Ok(response::page(page, limit, consistent, request))
}

fn refuse_if_none_match(request: &Request, message: &'static str) -> Result<(), Error> {
    match IfNoneMatch::read(&request.headers)? {
        IfNoneMatch::Absent => Ok(()),
        IfNoneMatch::Any | IfNoneMatch::NoneOf(_) => Err(Error::InvalidHeader {
            name: "If-None-Match",
            message,
        }),
    }
}

fn page_parameters(request: &Request) -> Result<(Option<Limit>, Option<Cursor>), Error> {
    let limit = request.query.parsed("limit", Limit::parse)?;
    let cursor = request.query.parsed("cursor", Cursor::decode)?;
    Ok((limit, cursor))
}

async fn get_user(
    request: &Request,
    store: &UserStore,
    user_id: &UserId,
) -> Result<Response, Error> {
    // `GET /users?userId=` has them too; they do nothing there, but a mistake is told.
    page_parameters(request)?;
    let consistent = consistent(request)?;
    read(request, store.get(user_id, consistent)).await
}

async fn find_user(
    request: &Request,
    store: &UserStore,
    email: &EmailKey,
) -> Result<Response, Error> {
    request.query.refuse_unknown(&PARAMETERS)?;
    page_parameters(request)?;
    consistent(request)?; // it always is
    read(request, store.find(email)).await
}

async fn read(
    request: &Request,
    user: impl Future<Output = Result<User, Error>>,
) -> Result<Response, Error> {
    let if_match = IfMatch::read(&request.headers)?;
    let if_none_match = IfNoneMatch::read(&request.headers)?;
    let user = user.await?;
    if_match.check(&user)?;
    if if_none_match.excludes(&user) {
        return Ok(response::not_modified(&user));
    }
    Ok(response::user(&user))
}

async fn delete_user(
    request: &Request,
    store: &UserStore,
    user_id: &UserId,
) -> Result<Response, Error> {
    let if_match = IfMatch::read(&request.headers)?;
    refuse_if_none_match(request, "has no meaning for DELETE; send If-Match")?;
    store.delete(user_id, &if_match).await?;
    Ok(response::no_content())
}

fn consistent(request: &Request) -> Result<bool, Error> {
    let consistent = request.query.parsed("consistent", |text| {
        text.parse().map_err(|_| "must be true or false")
    })?;
    Ok(consistent.unwrap_or(false))
}

/// One line for each request, with nothing in it that a client chose.
///
/// `caller` is `unknown` where the request was refused before anyone was found to call.
fn log(
    request: &Request,
    resource: Option<Resource<'_>>,
    caller: Option<&Caller>,
    answer: &Response,
    error: Option<&Error>,
    store: &UserStore,
    elapsed: Duration,
) {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let method = methods
        .iter()
        .find(|method| *method == request.method.as_str());
    let method = method.map_or("other", Method::as_str);
    let route = resource.map_or("none", Resource::template);
    let caller_arn = caller.and_then(Caller::role_arn);
    let caller = caller.map_or("unknown", Caller::kind);
    let status = answer.status().as_u16();
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let store_calls = store.calls();
    let request_id = request.id.escape_debug().to_string();
    let code = error.map(Error::code);
    let cause = error.and_then(Error::cause);
    macro_rules! line {
        ($level:ident, $message:literal) => {
            $level!(
                method,
                route,
                caller,
                caller_arn,
                status,
                ms,
                store_calls,
                request_id,
                code,
                cause,
                $message
            )
        };
    }
    match error {
        None => line!(info, "answered"),
        Some(error) if error.status().is_server_error() => line!(error, "failed"),
        Some(_) => line!(info, "refused"),
    }
}
