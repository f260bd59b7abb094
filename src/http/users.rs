//! The operations of the JSON API: each reads the request, calls the service, and makes the answer.

use http::header::{IF_MATCH, IF_NONE_MATCH};

use super::{
    Response,
    answer::{self, Representation},
    body,
    conditional::{IfMatch, IfNoneMatch},
    error::{Error, invalid_header, invalid_parameter},
    page::{self, List},
    request::Request,
};
use crate::{
    service::{self, Caller, Denial, IdempotencyKey, Precondition, Taking, UserService},
    store::{Consistency, StartKey},
    user::{Change, EmailKey, Replacement, User, UserId, UserInput, UserPatch, View},
};

/// A request, and what its operation needs.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The request.
    pub request: &'a Request,
    /// The service that does the operation.
    pub users: &'a UserService,
    /// The caller.
    pub caller: &'a Caller,
}

/// `GET /users`: one page of users.
pub(super) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    if flag(request, "verified")? {
        return Err(invalid_parameter(
            "verified",
            "is only for a search by email",
        ));
    }
    let (list, start) = list_of(request)?;
    let page = users.list(caller, list.limit, start.as_ref(), list.consistency);
    let view = caller.view();
    let to_json = |user: &User| answer::to_json(user, view);
    Ok(page::answer(page.await?, to_json, &list))
}

/// The list that the request asks for, and where its page starts.
pub(super) fn list_of(request: &Request) -> Result<(List, Option<StartKey>), Error> {
    let (limit, start) = page::parameters(&request.query)?;
    check_conditions(request)?;
    let list = List {
        path: format!("{}{}", request.mount, request.path.trim_end_matches('/')),
        limit: limit.unwrap_or_default(),
        consistency: consistency(request)?,
    };
    Ok((list, start))
}

/// `GET /users?email=`: the user who has this email address. The read is always strongly
/// consistent.
pub(super) async fn find(call: Call<'_>, email: EmailKey) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    page::parameters(&request.query)?;
    consistency(request)?;
    let only_verified = flag(request, "verified")?;
    let found = async {
        let user = users.find(caller, &email).await?;
        match only_verified && !user.has_verified_email() {
            true => Err(service::Error::NotFound),
            false => Ok(user),
        }
    };
    read(call, found).await
}

/// `GET` of one user.
pub(super) async fn get(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    // `GET /users?userId=` has these parameters, too. They have no effect, but an invalid value is
    // an error.
    page::parameters(&request.query)?;
    let consistency = consistency(request)?;
    read(call, users.get(caller, &user_id, consistency)).await
}

async fn read(
    call: Call<'_>,
    user: impl Future<Output = Result<User, service::Error>>,
) -> Result<Response, Error> {
    let headers = &call.request.headers;
    let if_match = IfMatch::read(headers)?;
    let if_none_match = IfNoneMatch::read(headers)?;
    let user = user.await?;
    if !is_matched(&if_match, &user, call.caller) {
        return Err(service::Error::PreconditionFailed.into());
    }
    let user = Representation::of(&user, call.caller.view());
    if if_none_match.excludes(&user.entity_tag) {
        return Ok(answer::not_modified(user));
    }
    Ok(answer::user(user))
}

/// Whether the user has one of the tags. The tag of a view that shows less also counts: in
/// `AuthMode` `NONE`, a service reads without credentials what it then writes with a signature.
fn is_matched(if_match: &IfMatch, user: &User, caller: &Caller) -> bool {
    let matches = |view: &View| if_match.holds(&Representation::of(user, *view).entity_tag);
    *if_match == IfMatch::Any || caller.view().contained().iter().any(matches)
}

/// `POST /users`: a new user.
pub(super) async fn create(call: Call<'_>) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    let key = idempotency_key(request)?;
    let (asked, input) = UserInput::for_creation(body::json(request)?, caller.view())?;
    let user = users.create(caller, key.as_ref(), asked, input).await?;
    Ok(answer::created(&user, caller.view(), request))
}

fn idempotency_key(request: &Request) -> Result<Option<IdempotencyKey>, Error> {
    const NAME: &str = "Idempotency-Key";
    let mut values = request.headers.get_all(NAME).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid_header(NAME, "is given more than once"));
    }
    let key = IdempotencyKey::parse(value.to_str().unwrap_or_default());
    key.map(Some)
        .ok_or_else(|| invalid_header(NAME, "must be 1 to 255 visible ASCII characters"))
}

/// `PUT` of one user: replaces the user, or creates it if the request has `If-None-Match: *`.
pub(super) async fn replace(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    let request = call.request;
    let if_match = IfMatch::read(&request.headers)?;
    match IfNoneMatch::read(&request.headers)? {
        IfNoneMatch::Absent => {}
        IfNoneMatch::Any => return create_at(call, user_id).await,
        IfNoneMatch::NoneOf(_) => {
            return Err(invalid_header(
                "If-None-Match",
                "of a PUT must be *, which creates the user",
            ));
        }
    }
    let replacement = Replacement::read(body::json(request)?, &user_id, call.caller.view())?;
    let change = Change::Replacement(replacement);
    write(call, &user_id, &if_match, &change, Taking::Nothing).await
}

/// Changes the user, if it has one of the tags.
async fn write(
    call: Call<'_>,
    user_id: &UserId,
    if_match: &IfMatch,
    change: &Change,
    taking: Taking,
) -> Result<Response, Error> {
    let Call { users, caller, .. } = call;
    let holds = |user: &User| is_matched(if_match, user, caller);
    let precondition = if_match.precondition(&holds);
    let change = users.change(caller, user_id, change, precondition, taking);
    let user = change.await?;
    Ok(answer::user(Representation::of(&user, caller.view())))
}

async fn create_at(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    if request.headers.contains_key(IF_MATCH) {
        return Err(invalid_header(
            "If-Match",
            "and If-None-Match cannot both hold; send one of them",
        ));
    }
    let user_id = UserId::for_creation(user_id.as_str().to_owned())
        .map_err(|message| invalid_parameter("userId", message))?;
    let input = UserInput::for_creation_at(body::json(request)?, &user_id, caller.view())?;
    match users.create(caller, None, Some(user_id), input).await {
        Ok(user) => Ok(answer::created(&user, caller.view(), request)),
        Err(service::Error::UserExists { .. }) => Err(Error::ExistsAlready),
        Err(error) => Err(error.into()),
    }
}

/// `PATCH` of one user.
pub(super) async fn patch(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    let request = call.request;
    let if_match = IfMatch::read(&request.headers)?;
    refuse_if_none_match(request, "has no meaning for PATCH; send If-Match")?;
    let patch = UserPatch::read(body::merge_patch(request)?, &user_id, call.caller.view())?;
    let taking = taking(call, &patch)?;
    write(call, &user_id, &if_match, &Change::Patch(patch), taking).await
}

/// Whether the patch takes its email address from another user: the parameter `takeEmail`.
fn taking(call: Call<'_>, patch: &UserPatch) -> Result<Taking, Error> {
    if !flag(call.request, "takeEmail")? {
        return Ok(Taking::Nothing);
    }
    if call.caller.view() != View::Full {
        return Err(service::Error::Denied(Denial::AdminsOnly).into());
    }
    if !patch.verifies_email() {
        let message = "needs email, and emailVerified with the value true, in the body";
        return Err(invalid_parameter("takeEmail", message));
    }
    Ok(Taking::UnverifiedEmail)
}

/// `DELETE` of one user. With `erase=true`, nothing of it is kept.
pub(super) async fn delete(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    let erases = flag(request, "erase")?;
    let if_match = IfMatch::read(&request.headers)?;
    refuse_if_none_match(request, "has no meaning for DELETE; send If-Match")?;
    let holds = |user: &User| is_matched(&if_match, user, caller);
    match erases {
        // There may be only a deleted user. Then no condition on the user holds, not even `*`.
        true => {
            let precondition = match request.headers.contains_key(IF_MATCH) {
                true => Precondition::Holds(&holds),
                false => Precondition::None,
            };
            users.erase(caller, &user_id, precondition).await?;
        }
        false => {
            let precondition = if_match.precondition(&holds);
            users.delete(caller, &user_id, precondition).await?;
        }
    }
    Ok(answer::no_content())
}

/// Reads the conditions of a `GET` of what has no entity-tag. They have no effect, but a malformed one
/// is an error.
pub(super) fn check_conditions(request: &Request) -> Result<(), Error> {
    IfMatch::read(&request.headers)?;
    IfNoneMatch::read(&request.headers)?;
    Ok(())
}

/// Refuses the conditions of a write of what has no entity-tag.
pub(super) fn refuse_conditions(request: &Request) -> Result<(), Error> {
    for (name, header) in [("If-Match", IF_MATCH), ("If-None-Match", IF_NONE_MATCH)] {
        if request.headers.contains_key(header) {
            let message = "has no meaning here, where nothing has an ETag; leave it out";
            return Err(invalid_header(name, message));
        }
    }
    Ok(())
}

fn refuse_if_none_match(request: &Request, message: &'static str) -> Result<(), Error> {
    match IfNoneMatch::read(&request.headers)? {
        IfNoneMatch::Absent => Ok(()),
        IfNoneMatch::Any | IfNoneMatch::NoneOf(_) => Err(invalid_header("If-None-Match", message)),
    }
}

fn consistency(request: &Request) -> Result<Consistency, Error> {
    Ok(match flag(request, "consistent")? {
        true => Consistency::Strong,
        false => Consistency::Eventual,
    })
}

/// The parameter `name`: `true`, or `false`, which is the default.
fn flag(request: &Request, name: &str) -> Result<bool, Error> {
    let flag = request.query.parsed(name, |text| {
        text.parse().map_err(|_| "must be true or false")
    })?;
    Ok(flag.unwrap_or(false))
}
