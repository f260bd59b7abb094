//! The operations on deleted users. Only services and admins call them.

use serde::Serialize;

use super::{
    Response,
    answer::{self, Representation, Seen},
    body,
    error::Error,
    page,
    users::{Call, check_conditions, list_of, refuse_conditions},
};
use crate::user::{DeletedUser, Restoration, Timestamp, UserId, View, json::Json};

/// A deleted user, as a caller sees it. The user is a member of its own, so that its attributes
/// cannot collide with those of the deletion.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SeenDeleted<'a> {
    user_id: &'a str,
    deleted_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_by: Option<Json<&'a serde_dynamo::AttributeValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    user: Seen<'a>,
}

/// The deleted user as JSON, as a caller with this `view` sees it.
pub(super) fn to_json(deleted: &DeletedUser, view: View) -> String {
    let seen = SeenDeleted {
        user_id: deleted.user.user_id(),
        deleted_at: &deleted.deleted_at,
        deleted_by: match view {
            View::Full => Some(Json(&deleted.deleted_by)),
            View::Limited => None,
        },
        expires_at: Timestamp::from_unix_seconds(deleted.expires_at).map(|time| time.to_string()),
        user: Seen(&deleted.user, view),
    };
    serde_json::to_string(&seen).expect("string keys, and numbers from DynamoDB")
}

/// `GET /deleted-users`: one page of deleted users.
pub(super) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    let (list, start) = list_of(request)?;
    let page = users.list_deleted(caller, list.limit, start.as_ref(), list.consistency);
    let view = caller.view();
    let to_json = |deleted: &DeletedUser| to_json(deleted, view);
    Ok(page::answer(page.await?, to_json, &list))
}

/// `GET /deleted-users/{userId}`: one deleted user. The read is strongly consistent.
pub(super) async fn get(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    check_conditions(call.request)?;
    let deleted = call.users.get_deleted(call.caller, &user_id).await?;
    Ok(answer::ok(to_json(&deleted, call.caller.view())))
}

/// `POST /deleted-users/{userId}/restore`: the user is there again.
pub(super) async fn restore(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    refuse_conditions(request)?;
    let restoration = Restoration::read(body::optional_json(request)?)?;
    let user = users.restore(caller, &user_id, &restoration).await?;
    Ok(answer::user(Representation::of(&user, caller.view())))
}

/// `DELETE /deleted-users/{userId}`: the deleted user is gone for good.
pub(super) async fn erase(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    refuse_conditions(call.request)?;
    call.users.erase_deleted(call.caller, &user_id).await?;
    Ok(answer::no_content())
}
