//! What others decided of a user, the user does not take back: neither a ban nor a deletion.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    Answer, Copied, Service, Setup, Through, ada,
    events::{Credentials, Gateway, event, with_body},
    history_is_exact, some_email, some_id,
};

const SCOPES: &str = "users/read users/write";
const RACERS: usize = 64;

/// A user with `adminMetadata`, and its `userId`.
async fn created(service: &Service) -> (Value, String) {
    let mut user = ada();
    user["userId"] = json!(some_id());
    user["adminMetadata"] = json!({ "reason": "canary" });
    let user = service.post("/users", &user).await.has_status(201).json();
    let user_id = user["userId"].as_str().unwrap().to_owned();
    (user, user_id)
}

/// A user that a service has disabled and then deleted.
async fn banned(service: &Service) -> (Value, String) {
    let (user, user_id) = created(service).await;
    let path = format!("/users/{user_id}");
    let disabled = service.patch(&path, &json!({ "status": "disabled" })).await;
    let _ = disabled.has_status(200);
    let _ = service.delete(&path).await.has_status(204);
    (user, user_id)
}

fn person(user_id: &str, groups: &str) -> Credentials {
    Credentials::token(user_id, SCOPES, groups)
}

/// Sends a request of this caller, with header fields.
async fn send(
    service: &Service,
    caller: &Credentials,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let mut event = with_body(event(Gateway::Rest, method, path, caller), body);
    for (name, value) in headers {
        event["multiValueHeaders"][*name] = json!([value]);
    }
    service.answer(&event).await
}

/// Creates the user at `path`.
async fn put_new(service: &Service, caller: &Credentials, path: &str, body: &Value) -> Answer {
    let is_new = [("If-None-Match", "*")];
    send(service, caller, "PUT", path, &is_new, body).await
}

/// All requests with which a user could come back, or take away what holds it off.
async fn ways_back(service: &Service, caller: &Credentials, user_id: &str) -> Vec<Answer> {
    let path = format!("/users/{user_id}");
    let erase = format!("{path}?erase=true");
    let restore = format!("/deleted-users/{user_id}/restore");
    let mut itself = ada();
    itself["userId"] = json!(user_id);
    let nothing = json!({});
    vec![
        send(service, caller, "POST", "/users", &[], &itself).await,
        put_new(service, caller, &path, &ada()).await,
        send(service, caller, "POST", &restore, &[], &nothing).await,
        send(service, caller, "DELETE", &erase, &[], &nothing).await,
    ]
}

#[tokio::test]
async fn a_deletion_lifts_no_ban() {
    let service = Service::start().await;
    for groups in ["", "admin"] {
        let (_, user_id) = banned(&service).await;
        let entry = service.item_of(Copied::DeletedUsers, &user_id).await;
        let ada = person(&user_id, groups);
        for answer in ways_back(&service, &ada, &user_id).await {
            let _ = answer.has_problem(403, "user_disabled");
        }
        for closed in ["history", "export"] {
            let path = format!("/users/{user_id}/{closed}");
            let closed = send(&service, &ada, "GET", &path, &[], &json!({})).await;
            let _ = closed.has_problem(403, "user_disabled");
        }
        let kept = service.item_of(Copied::DeletedUsers, &user_id).await;
        assert_eq!(kept, entry);
        assert_eq!(service.item(&user_id).await, Value::Null);
        history_is_exact(&service, &user_id).await;
    }
}

#[tokio::test]
async fn a_ban_ends_when_someone_who_may_lifts_it() {
    let service = Service::start().await;
    let root = person(&some_id(), "admin");
    // A restored user is disabled until it is enabled.
    let (_, user_id) = banned(&service).await;
    let restore = format!("/deleted-users/{user_id}/restore");
    let restored = send(&service, &root, "POST", &restore, &[], &json!({})).await;
    assert_eq!(restored.has_status(200).json()["status"], "disabled");
    for answer in ways_back(&service, &person(&user_id, ""), &user_id).await {
        let _ = answer.has_problem(403, "user_disabled");
    }
    // An admin creates another user over it. The next deletion replaces it.
    let (_, user_id) = banned(&service).await;
    let mut over = ada();
    over["userId"] = json!(user_id);
    let over = send(&service, &root, "POST", "/users", &[], &over).await;
    let _ = over.has_status(201);
    let own = person(&user_id, "");
    let path = format!("/users/{user_id}");
    let deleted = send(&service, &own, "DELETE", &path, &[], &json!({})).await;
    let _ = deleted.has_status(204);
    let restore = format!("/deleted-users/{user_id}/restore");
    let restored = send(&service, &own, "POST", &restore, &[], &json!({})).await;
    assert_eq!(restored.has_status(200).json().get("status"), None);
    // An erasure ends it, too.
    let (_, user_id) = banned(&service).await;
    let erased = service.delete(&format!("/deleted-users/{user_id}")).await;
    let _ = erased.has_status(204);
    let own = person(&user_id, "");
    let again = send(&service, &own, "POST", "/users", &[], &ada()).await;
    let _ = again.has_status(201);
}

#[tokio::test]
async fn a_user_that_another_deleted_neither_creates_nor_restores_nor_erases_itself() {
    let service = Service::start().await;
    for groups in ["", "admin"] {
        let (user, user_id) = created(&service).await;
        let _ = service
            .delete(&format!("/users/{user_id}"))
            .await
            .has_status(204);
        let own = person(&user_id, groups);
        let [post, put, restore, erase] = ways_back(&service, &own, &user_id)
            .await
            .try_into()
            .unwrap();
        for refused in [post, put] {
            let refused = refused.has_problem(409, "user_deleted").json();
            let message = refused["message"].as_str().unwrap();
            assert!(message.contains("only a service"), "{message}");
        }
        for refused in [restore, erase] {
            let _ = refused.has_problem(403, "access_denied");
        }
        if groups == "admin" {
            let path = format!("/deleted-users/{user_id}");
            let erase = send(&service, &own, "DELETE", &path, &[], &json!({})).await;
            let _ = erase.has_problem(403, "access_denied");
        }
        let restore = format!("/deleted-users/{user_id}/restore");
        let restored = service.post(&restore, &json!({})).await.has_status(200);
        assert_eq!(restored.json()["adminMetadata"], user["adminMetadata"]);
    }
}

#[tokio::test]
async fn a_user_that_deleted_itself_comes_back_by_a_restoration_and_not_by_a_creation() {
    let service = Service::start().await;
    for groups in ["", "admin"] {
        let (user, user_id) = created(&service).await;
        let own = person(&user_id, groups);
        let path = format!("/users/{user_id}");
        let restore = format!("/deleted-users/{user_id}/restore");
        let delete = async || {
            let deleted = send(&service, &own, "DELETE", &path, &[], &json!({})).await;
            let _ = deleted.has_status(204);
        };
        delete().await;
        let mut itself = ada();
        itself["userId"] = json!(user_id);
        let refused = send(&service, &own, "POST", "/users", &[], &itself).await;
        let refused = refused.has_problem(409, "user_deleted").json();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("/restore"), "{message}");
        let restored = send(&service, &own, "POST", &restore, &[], &json!({})).await;
        let restored = restored.has_status(200).json();
        assert_eq!(restored["version"], 3);
        assert_eq!(restored["email"], user["email"]);
        // It sees only what it sees of its user.
        assert_eq!(
            restored.get("adminMetadata").is_some(),
            groups == "admin",
            "{restored}"
        );
        delete().await;
        let erase = format!("{path}?erase=true");
        let erased = send(&service, &own, "DELETE", &erase, &[], &json!({})).await;
        let _ = erased.has_status(204);
        let created = put_new(&service, &own, &path, &ada()).await;
        let _ = created.has_status(201);
        history_is_exact(&service, &user_id).await;
    }
}

#[tokio::test]
async fn a_user_restores_no_other_user() {
    let service = Service::start().await;
    let (_, user_id) = created(&service).await;
    let _ = service
        .delete(&format!("/users/{user_id}"))
        .await
        .has_status(204);
    let another = person(&some_id(), "");
    for unknown in [user_id, some_id()] {
        let restore = format!("/deleted-users/{unknown}/restore");
        service.store().take_calls();
        let refused = send(&service, &another, "POST", &restore, &[], &json!({})).await;
        let _ = refused.has_problem(404, "user_not_found");
        assert_eq!(service.store().take_calls(), [""; 0]);
    }
}

#[tokio::test]
async fn a_disabled_user_that_creates_itself_learns_nothing_of_other_users() {
    let service = Service::start().await;
    for groups in ["", "admin"] {
        let (other, _) = created(&service).await;
        let (_, user_id) = created(&service).await;
        let path = format!("/users/{user_id}");
        let disabled = service.patch(&path, &json!({ "status": "disabled" })).await;
        let _ = disabled.has_status(200);
        let own = person(&user_id, groups);
        for email in [other["email"].clone(), json!(some_email())] {
            let body = json!({ "name": "A canary", "email": email });
            let mut itself = body.clone();
            itself["userId"] = json!(user_id);
            let post = send(&service, &own, "POST", "/users", &[], &itself).await;
            let refused = post.has_problem(403, "user_disabled").json();
            assert_eq!(refused.get("errors"), None);
            let put = put_new(&service, &own, &path, &body).await;
            let _ = put.has_problem(403, "user_disabled");
        }
    }
}

#[tokio::test]
async fn the_repeat_of_a_key_is_403_to_a_user_that_was_disabled_or_banned_since() {
    let service = Service::start().await;
    let user_id = some_id();
    let own = person(&user_id, "");
    let path = format!("/users/{user_id}");
    let body = ada();
    let key = [("Idempotency-Key", "canary-1")];
    let repeat = async || send(&service, &own, "POST", "/users", &key, &body).await;
    let first = repeat().await.has_status(201);
    assert_eq!(repeat().await.has_status(201).body, first.body);
    let disabled = service.patch(&path, &json!({ "status": "disabled" })).await;
    let _ = disabled.has_status(200);
    let _ = repeat().await.has_problem(403, "user_disabled");
    let _ = service.delete(&path).await.has_status(204);
    let _ = repeat().await.has_problem(403, "user_disabled");
    let erased = service.delete(&format!("/deleted-users/{user_id}")).await;
    let _ = erased.has_status(204);
    assert_eq!(repeat().await.has_status(201).body, first.body);
}

#[tokio::test]
async fn a_creation_that_found_a_deleted_user_after_a_timeout_may_still_be_done() {
    let service = Service::start().await;
    let (_, user_id) = banned(&service).await;
    service.store().hang_next_call();
    let own = person(&user_id, "");
    let created = send(&service, &own, "POST", "/users", &[], &ada()).await;
    let _ = created.has_problem(500, "store_unavailable");
}

#[tokio::test]
async fn a_deleted_user_that_has_expired_holds_nobody_off() {
    let service = Service::start().await;
    let (_, user_id) = banned(&service).await;
    let mut entry = service.item_of(Copied::DeletedUsers, &user_id).await;
    entry["expiresAt"] = json!({ "N": "1" });
    service.put_item_into(Copied::DeletedUsers, entry).await;
    let own = person(&user_id, "");
    let created = send(&service, &own, "POST", "/users", &[], &ada()).await;
    let _ = created.has_status(201);
}

/// Its requests and those of others who do not lift the ban, at once and over several processes.
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_survives_64_racing_requests_over_8_processes() {
    let setup = Setup {
        sandboxes: 8,
        through: Some(Through::Lambda),
        ..Setup::default()
    };
    let service = setup.start().await;
    let user_id = some_id();
    let (own, path) = (person(&user_id, "admin"), format!("/users/{user_id}"));
    let first = ada();
    let key = [("Idempotency-Key", "canary-2")];
    let created = put_new(&service, &own, &path, &first).await;
    let _ = created.has_status(201);
    let ban = json!({ "status": "disabled", "adminMetadata": { "reason": "canary" } });
    let _ = service.patch(&path, &ban).await.has_status(200);
    let _ = service.delete(&path).await.has_status(204);
    let restore = format!("/deleted-users/{user_id}/restore");
    let erase = format!("{path}?erase=true");
    let deleted = format!("/deleted-users/{user_id}");
    let (nothing, none) = (json!({}), json!({ "status": "active" }));
    let mut itself = ada();
    itself["userId"] = json!(user_id);
    let racing = (0..RACERS).map(async |number| {
        let own = person(&user_id, if number % 2 == 0 { "admin" } else { "" });
        let answer = match number % 8 {
            0 => send(&service, &own, "POST", "/users", &key, &itself).await,
            1 => put_new(&service, &own, &path, &ada()).await,
            2 => send(&service, &own, "POST", &restore, &[], &nothing).await,
            3 => send(&service, &own, "DELETE", &erase, &[], &nothing).await,
            4 => send(&service, &own, "PATCH", &path, &[], &none).await,
            5 => send(&service, &own, "DELETE", &deleted, &[], &nothing).await,
            6 => {
                // Others move the user to and fro.
                let moved = service.delete(&path).await;
                assert!([204, 404].contains(&moved.status.as_u16()), "{moved:?}");
                return;
            }
            _ => {
                let moved = service.post(&restore, &nothing).await;
                let status = moved.status.as_u16();
                assert!([200, 404, 409].contains(&status), "{moved:?}");
                return;
            }
        };
        let is_refused = [400, 403, 404].contains(&answer.status.as_u16());
        assert!(is_refused, "{number}: {answer:?}");
    });
    join_all(racing).await;
    let user = service.item(&user_id).await;
    let entry = service.item_of(Copied::DeletedUsers, &user_id).await;
    let banned = match user.is_null() {
        true => &entry["user"]["M"],
        false => &user,
    };
    assert_eq!(banned["status"]["S"], "disabled", "{user} {entry}");
    assert_eq!(banned["adminMetadata"]["M"]["reason"]["S"], "canary");
    history_is_exact(&service, &user_id).await;
}
