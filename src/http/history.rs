//! The history of a user, and the export of all that is kept of it.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Response, answer, deleted_users,
    error::{Error, invalid_parameter},
    page::{self, Body, MAX_PAGE_BYTES, carried_bytes},
    users::{Call, check_conditions, list_of},
};
use crate::{
    service::Export,
    store::{Consistency, HistoryRecord},
    user::{Field, UserId, Version, View, WriteId},
};

/// A record, as a caller sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SeenRecord<'a> {
    id: &'a str,
    r#type: &'a str,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    changed: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<SeenActor<'a>>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct SeenActor<'a> {
    r#type: &'a str,
    id: &'a str,
}

/// The record as JSON. It names only fields that a caller with this `view` sees.
fn to_json(record: &HistoryRecord, view: View) -> String {
    let is_seen = |name: &&str| Field::seen(name, view).is_some();
    let actor = SeenActor {
        r#type: &record.actor_type,
        id: &record.actor_id,
    };
    let seen = SeenRecord {
        id: &record.id,
        r#type: &record.event_type,
        time: &record.time,
        version: record.version().map(Version::get),
        changed: record.changed().filter(is_seen).collect(),
        actor: match view {
            View::Full => Some(actor),
            View::Limited => None,
        },
        request_id: &record.request_id,
    };
    serde_json::to_string(&seen).expect("strings and a number")
}

/// `GET /users/{userId}/history`: one page of the history, newest first. The read is strongly
/// consistent.
pub(super) async fn list(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    let Call {
        request,
        users,
        caller,
    } = call;
    let (mut list, start) = list_of(request)?;
    list.consistency = Consistency::Eventual; // the link does not repeat it
    if start
        .as_deref()
        .is_some_and(|id| WriteId::parse(id).is_none())
    {
        let message = "must be a nextCursor that this history gave";
        return Err(invalid_parameter("cursor", message));
    }
    let page = users.history(caller, &user_id, list.limit, start.as_ref());
    let view = caller.view();
    let to_json = |record: &HistoryRecord| to_json(record, view);
    Ok(page::answer(page.await?, to_json, &list))
}

/// `GET /users/{userId}/export`: what is kept of the user, as far as the caller sees it (GDPR
/// articles 15 and 20).
pub(super) async fn export(call: Call<'_>, user_id: UserId) -> Result<Response, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        deleted_user: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        history: Option<Body>,
    }

    check_conditions(call.request)?;
    let view = call.caller.view();
    let Export { stored, history } = call.users.export(call.caller, &user_id).await?;
    let raw = |json: String| RawValue::from_string(json).expect("a user's JSON is JSON");
    let user = stored.user.map(|user| raw(answer::to_json(&user, view)));
    let deleted_user = stored.deleted;
    let deleted_user = deleted_user.map(|user| raw(deleted_users::to_json(&user, view)));
    let of_users = user.iter().chain(&deleted_user);
    let of_users: usize = of_users.map(|json| carried_bytes(json.get())).sum();
    let max_bytes = MAX_PAGE_BYTES.saturating_sub(of_users);
    let document = Document {
        user,
        deleted_user,
        history: history.map(|page| Body::new(page, |record| to_json(record, view), max_bytes)),
    };
    let json = serde_json::to_string(&document).expect("JSON");
    Ok(answer::ok(json))
}
