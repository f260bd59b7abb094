//! What a failing DynamoDB costs the caller.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::calls::{CREATE, WRITE};
use crate::support::{
    Answer, Service, Setup, Through, ada, events::rest_event, if_match, runtime_api::Outcome,
    some_id, store_proxy::Side,
};

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_the_success_it_was() {
    for service in [Service::start().await, Service::sharing_emails().await] {
        let mut user = ada();
        user["userId"] = json!(some_id());
        let _ = service.store().take_calls();
        service.store().swallow_next_answer();
        let created = service.post("/users", &user).await.has_status(201);
        assert_eq!(service.store().take_calls(), [CREATE[0]; 2]);
        let read = service.get(created.header("location")).await;
        assert_eq!(read.has_status(200).body, created.body);
        // The same loss does not make another's user ours.
        service.store().swallow_next_answer();
        let _ = service
            .post("/users", &user)
            .await
            .has_problem(409, "user_exists");
    }
}

#[tokio::test]
async fn a_replacement_whose_answer_was_lost_is_the_success_it_was_and_counts_once() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let user = json!({ "name": "Grace canary", "email": created.json()["email"] });
    let read = service.get(path).await.has_status(200);
    for (headers, version) in [(&if_match(&read)[..], 2), (&[], 3)] {
        let _ = service.store().take_calls();
        service.store().swallow_answer(2);
        let replaced = service
            .send_json(Method::PUT, path, headers, &user)
            .await
            .has_status(200);
        let calls = ["GetItem", "TransactWriteItems", "TransactWriteItems"];
        assert_eq!(service.store().take_calls(), calls);
        assert_eq!(replaced.json()["version"], version);
        assert_eq!(service.get(path).await.has_status(200).body, replaced.body);
    }
    // A user that had changed before is a conflict still.
    service.store().swallow_next_answer();
    let stale = service
        .send_json(Method::PUT, path, &if_match(&read), &user)
        .await;
    let _ = stale.has_problem(412, "version_mismatch");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_counts_once_though_another_writer_comes_between() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let created = service.post("/users", &user).await.has_status(201);
    let path = created.header("location");
    service.store().hold_call(2, Side::After);
    let patch = json!({ "name": "Grace canary" });
    let headers = if_match(&created);
    let write = service.send_json(Method::PATCH, path, &headers, &patch);
    let other_client = async {
        service.store().holds_call().await;
        let mut item = service.item(user["userId"].as_str().unwrap()).await;
        item["nickname"] = json!({ "S": "canary" });
        service.put_item(item).await;
        service.store().go_on();
    };
    let (answer, ()) = tokio::join!(write, other_client);
    assert_eq!(answer.has_status(200).json()["version"], 2);
    let read = service.get(path).await.has_status(200).json();
    assert_eq!(
        (&read["version"], &read["nickname"]),
        (&json!(2), &json!("canary"))
    );
}

/// A write of a user of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    Post,
    PostUnderKey,
    PutIfNoneMatch,
    Put,
    PutIfMatch,
    PutVersion,
    Patch,
    PatchIfMatch,
    PatchEmail,
    Delete,
    DeleteIfMatch,
}

use Write::{
    Delete, DeleteIfMatch, Patch, PatchEmail, PatchIfMatch, Post, PostUnderKey, Put, PutIfMatch,
    PutIfNoneMatch, PutVersion,
};

const WRITES: [Write; 11] = [
    Post,
    PostUnderKey,
    PutIfNoneMatch,
    Put,
    PutIfMatch,
    PutVersion,
    Patch,
    PatchIfMatch,
    PatchEmail,
    Delete,
    DeleteIfMatch,
];

impl Write {
    fn creates(self) -> bool {
        [Post, PostUnderKey, PutIfNoneMatch].contains(&self)
    }

    /// Whether it names the state that it is for, by its entity-tag.
    fn has_tag(self) -> bool {
        [PutIfMatch, PatchIfMatch, DeleteIfMatch].contains(&self)
    }

    /// The status of its success.
    fn success(self) -> u16 {
        match self {
            Post | PostUnderKey | PutIfNoneMatch => 201,
            Delete | DeleteIfMatch => 204,
            Put | PutIfMatch | PutVersion | Patch | PatchIfMatch | PatchEmail => 200,
        }
    }

    /// Sends it to the user, whose state `tag` names.
    async fn send(self, service: &Service, user_id: &str, tag: &str) -> Answer {
        let path = format!("/users/{user_id}");
        let mut user =
            json!({ "name": "Grace canary", "email": email_of(user_id), "phone": PHONE });
        let metadata = json!({ "metadata": { "mine": 1 } });
        let (method, path, body) = match self {
            Post | PostUnderKey => {
                user["userId"] = json!(user_id);
                (Method::POST, "/users", user)
            }
            PutIfNoneMatch | Put | PutIfMatch => (Method::PUT, path.as_str(), user),
            PutVersion => {
                user["version"] = json!(1);
                (Method::PUT, path.as_str(), user)
            }
            Patch | PatchIfMatch => (Method::PATCH, path.as_str(), metadata),
            PatchEmail => (
                Method::PATCH,
                path.as_str(),
                json!({ "email": ada()["email"] }),
            ),
            Delete | DeleteIfMatch => (Method::DELETE, path.as_str(), Value::Null),
        };
        let headers = match self {
            PostUnderKey => vec![("idempotency-key", user_id)],
            PutIfNoneMatch => vec![("if-none-match", "*")],
            PutIfMatch | PatchIfMatch | DeleteIfMatch => vec![("if-match", tag)],
            Post | Put | PutVersion | Patch | PatchEmail | Delete => Vec::new(),
        };
        if body.is_null() {
            return service.send(method, path, &headers, "").await;
        }
        service.send_json(method, path, &headers, &body).await
    }
}

const PHONE: &str = "+493012345";

fn email_of(user_id: &str) -> String {
    format!("{user_id}@example.com")
}

/// A user for `write`, where it does not create one: its id, and the entity-tag.
async fn user_for(service: &Service, write: Write) -> (String, String) {
    let user_id = some_id();
    let user = json!({
        "userId": user_id,
        "name": "Ada canary",
        "email": email_of(&user_id),
        "metadata": { "a": 1 },
    });
    if write.creates() {
        return (user_id, String::new());
    }
    let created = service.post("/users", &user).await.has_status(201);
    (user_id, created.header("etag").to_owned())
}

/// A writer that comes between a call and its repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    /// `PATCH` of a part of the metadata.
    Patch,
    /// `UpdateItem` by another client of the table, of an attribute of its own.
    Client,
}

impl Other {
    async fn write(self, service: &Service, user_id: &str) {
        match self {
            Self::Patch => {
                let path = format!("/users/{user_id}");
                let patch = json!({ "metadata": { "other": 1 } });
                let answer = service.send_json(Method::PATCH, &path, &[], &patch).await;
                assert!([200, 404].contains(&answer.status.as_u16()), "{answer:?}");
            }
            Self::Client => {
                let nickname = json!({ "S": "canary" });
                service.set_attribute(user_id, "nickname", &nickname).await;
            }
        }
    }

    /// What a user has after it, of its own.
    fn is_in(self, user: &Value) -> bool {
        match self {
            Self::Patch => user["metadata"]["other"] == 1,
            Self::Client => user["nickname"] == "canary",
        }
    }
}

/// A service that answers a request while another one waits.
async fn with_two_sandboxes(shared_emails: bool) -> Service {
    let setup = Setup {
        sandboxes: 2,
        shared_emails,
        ..Setup::default()
    };
    setup.start().await
}

/// The answer to `write`, where the `nth` call of it is lost on `side`, and `between` comes before
/// it is made again.
async fn with_a_lost_call(
    service: &Service,
    (nth, side): (u32, Side),
    write: impl Future<Output = Answer>,
    between: impl AsyncFnOnce(),
) -> Answer {
    service.store().hold_call(nth, side);
    let other = async {
        service.store().holds_call().await;
        service.store().go_on();
        between().await;
        service.store().lose_held_call();
    };
    tokio::join!(write, other).0
}

#[tokio::test]
async fn a_lost_answer_of_a_commit_is_the_success_though_another_writer_comes_between() {
    for service in [
        with_two_sandboxes(false).await,
        with_two_sandboxes(true).await,
    ] {
        for write in WRITES {
            for other in [Other::Patch, Other::Client] {
                let at = format!("{write:?}, {other:?}");
                let (user_id, tag) = user_for(&service, write).await;
                let path = format!("/users/{user_id}?consistent=true");
                let commit = if write.creates() { 1 } else { 2 };
                let sent = write.send(&service, &user_id, &tag);
                let between = async || other.write(&service, &user_id).await;
                let answer = with_a_lost_call(&service, (commit, Side::After), sent, between);
                let answer = answer.await.has_status(write.success());
                let read = service.get(&path).await;
                if write.success() == 204 {
                    let _ = read.has_status(404);
                    continue;
                }
                // The answer shows the user as the write left it, and the user has both writes.
                let (answer, read) = (answer.json(), read.has_status(200).json());
                let version = if write.creates() { 1 } else { 2 };
                assert_eq!(answer["version"], version, "{at}");
                assert!(!other.is_in(&answer) && other.is_in(&read), "{at}: {read}");
                let counted = version + u64::from(other == Other::Patch);
                assert_eq!(read["version"], counted, "{at}");
                for field in ["name", "email", "phone"] {
                    assert_eq!(read[field], answer[field], "{at}");
                }
                assert_eq!(read["metadata"]["mine"], answer["metadata"]["mine"], "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_lost_answer_of_a_read_of_a_write_is_asked_again_and_finds_the_other_writer() {
    for service in [
        with_two_sandboxes(false).await,
        with_two_sandboxes(true).await,
    ] {
        for write in WRITES.into_iter().filter(|write| !write.creates()) {
            for other in [Other::Patch, Other::Client] {
                let at = format!("{write:?}, {other:?}");
                let (user_id, tag) = user_for(&service, write).await;
                let path = format!("/users/{user_id}?consistent=true");
                let sent = write.send(&service, &user_id, &tag);
                let between = async || other.write(&service, &user_id).await;
                let answer = with_a_lost_call(&service, (1, Side::After), sent, between).await;
                let read = service.get(&path).await;
                // The user is no longer as the request says.
                if write.has_tag() || (write == PutVersion && other == Other::Patch) {
                    let _ = answer.has_problem(412, "version_mismatch");
                    assert!(other.is_in(&read.has_status(200).json()), "{at}");
                } else if write == Delete {
                    let _ = answer.has_status(204);
                    let _ = read.has_status(404);
                } else {
                    let answer = answer.has_status(200);
                    assert_eq!(read.has_status(200).body, answer.body, "{at}");
                    let counted = 2 + u64::from(other == Other::Patch);
                    assert_eq!(answer.json()["version"], counted, "{at}");
                    // A `PUT` replaces the metadata.
                    let is_replaced = other == Other::Patch && [Put, PutVersion].contains(&write);
                    assert_eq!(other.is_in(&answer.json()), !is_replaced, "{at}");
                }
            }
        }
    }
}

/// Attributes, with what another client makes of each.
fn edits() -> [(&'static str, Value); 8] {
    [
        ("name", json!({ "S": "Canary by another client" })),
        ("email", json!({ "S": ada()["email"] })),
        ("phone", json!({ "S": "+493099999" })),
        (
            "metadata",
            json!({ "M": { "a": { "N": "9" }, "other": { "N": "1" } } }),
        ),
        ("version", json!({ "N": "41" })),
        ("createdAt", json!({ "S": "2001-01-01T00:00:00.000Z" })),
        ("updatedAt", json!({ "S": "2001-01-01T00:00:00.000Z" })),
        ("lastSeen", json!({ "N": "2" })),
    ]
}

/// The user after an edit by another client and then `write`, which was answered with `answer`.
fn edited(write: Write, mut user: Value, answer: &Value) -> Value {
    if write == Put {
        user["name"] = json!("Grace canary");
        user["email"] = json!(email_of(user["userId"].as_str().unwrap()));
        user["phone"] = json!(PHONE);
        user.as_object_mut().unwrap().remove("metadata");
    } else if write == Patch {
        user["metadata"]["mine"] = json!(1);
    } else {
        user["email"] = answer["email"].clone();
    }
    user["version"] = json!(user["version"].as_u64().unwrap() + 1);
    user["updatedAt"] = answer["updatedAt"].clone();
    user
}

#[tokio::test]
async fn an_edit_by_another_client_between_the_read_and_the_write_is_never_overwritten() {
    for service in [
        with_two_sandboxes(false).await,
        with_two_sandboxes(true).await,
    ] {
        for write in [Put, Patch, PatchEmail, Delete] {
            for (name, value) in edits() {
                let at = format!("{write:?}, {name}");
                let (user_id, tag) = user_for(&service, write).await;
                let path = format!("/users/{user_id}?consistent=true");
                let seen = json!({ "N": "1" });
                assert!(service.set_attribute(&user_id, "lastSeen", &seen).await);
                let sent = write.send(&service, &user_id, &tag);
                let mut user = Value::Null;
                let edit = async || {
                    assert!(service.set_attribute(&user_id, name, &value).await);
                    user = service.get(&path).await.has_status(200).json();
                };
                let answer = with_a_lost_call(&service, (2, Side::Before), sent, edit).await;
                let answer = answer.has_status(write.success());
                let read = service.get(&path).await;
                if write == Delete {
                    let _ = read.has_status(404);
                    continue;
                }
                let (mut answer, read) = (answer.json(), read.has_status(200).json());
                assert_eq!(read, edited(write, user, &answer), "{at}");
                // What another client keeps for itself the answer may show as it was read.
                answer["lastSeen"] = read["lastSeen"].clone();
                assert_eq!(answer, read, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn an_edit_by_another_client_between_the_read_and_the_write_is_412_under_if_match() {
    for service in [
        with_two_sandboxes(false).await,
        with_two_sandboxes(true).await,
    ] {
        for write in [PutIfMatch, PatchIfMatch, DeleteIfMatch] {
            for (name, value) in edits() {
                let at = format!("{write:?}, {name}");
                let (user_id, _) = user_for(&service, write).await;
                let path = format!("/users/{user_id}?consistent=true");
                let seen = json!({ "N": "1" });
                assert!(service.set_attribute(&user_id, "lastSeen", &seen).await);
                let read = service.get(&path).await.has_status(200);
                let sent = write.send(&service, &user_id, read.header("etag"));
                let mut item = Value::Null;
                let edit = async || {
                    assert!(service.set_attribute(&user_id, name, &value).await);
                    item = service.item(&user_id).await;
                };
                let answer = with_a_lost_call(&service, (2, Side::Before), sent, edit).await;
                let _ = answer.has_problem(412, "version_mismatch");
                assert_eq!(service.item(&user_id).await, item, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_write_that_meets_a_transaction_is_made_again_and_counts_once() {
    for service in [Service::start().await, Service::sharing_emails().await] {
        let user = ada();
        for loses_the_first_answer in [false, true] {
            // The answer of the `nth` call is lost, and the repeat meets another's transaction.
            let meet_a_transaction = |nth: u32| {
                let _ = service.store().take_calls();
                if loses_the_first_answer {
                    service.store().swallow_answer(nth);
                }
                service
                    .store()
                    .conflict(nth + u32::from(loses_the_first_answer));
            };
            let commits = if loses_the_first_answer { 3 } else { 2 };
            meet_a_transaction(1);
            let created = service.post("/users", &ada()).await.has_status(201);
            assert_eq!(service.store().take_calls(), vec![CREATE[0]; commits]);
            let path = created.header("location");

            meet_a_transaction(2);
            let headers = if_match(&created);
            let put = service.send_json(Method::PUT, path, &headers, &user).await;
            assert_eq!(put.has_status(200).json()["version"], 2);
            // A lost transaction is repeated as it was, and one that was cancelled anew.
            let calls = match loses_the_first_answer {
                true => vec![WRITE[0], WRITE[1], WRITE[1], WRITE[1]],
                false => [WRITE, WRITE].concat(),
            };
            assert_eq!(service.store().take_calls(), calls);

            meet_a_transaction(2);
            let _ = service.delete(path).await.has_status(204);
            assert_eq!(service.store().take_calls(), calls);
        }
    }
}

#[tokio::test]
async fn what_a_transaction_found_beside_a_conflict_is_not_believed() {
    let service = Service::start().await;
    for reasons in [
        &["TransactionConflict", "None"],
        &["None", "TransactionConflict"],
        &["ConditionalCheckFailed", "TransactionConflict"],
        &["TransactionConflict", "ConditionalCheckFailed"],
        &["None", "ThrottlingError"],
        &["ProvisionedThroughputExceeded", "ConditionalCheckFailed"],
        &[][..],
    ] {
        service.store().cancel(reasons);
        let _ = service.post("/users", &ada()).await.has_status(201);
        assert_eq!(service.store().take_calls(), [CREATE[0]; 2]);
    }
    service
        .store()
        .cancel(&["None", "ItemCollectionSizeLimitExceeded"]);
    let _ = service
        .post("/users", &ada())
        .await
        .has_problem(500, "internal_error");
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_is_the_success_it_was() {
    for service in [Service::start().await, Service::sharing_emails().await] {
        for is_conditional in [false, true] {
            let created = service.post("/users", &ada()).await.has_status(201);
            let path = created.header("location");
            let headers = if_match(&created);
            let headers = if is_conditional { &headers[..] } else { &[] };
            let _ = service.store().take_calls();
            service.store().swallow_answer(2);
            let deleted = service.send(Method::DELETE, path, headers, "").await;
            let _ = deleted.has_status(204);
            let calls = ["GetItem", "TransactWriteItems", "TransactWriteItems"];
            assert_eq!(service.store().take_calls(), calls);
            let _ = service.get(path).await.has_status(404);
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_after_its_head_is_a_lost_one() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    service.store().cut_next_answer();
    let created = service.post("/users", &user).await.has_status(201);
    let path = created.header("location");
    service.store().cut_next_answer();
    let replaced = service.put(path, &ada()).await.has_status(200);
    assert_eq!(replaced.json()["version"], 2);
    service.store().cut_next_answer();
    let _ = service.delete(path).await.has_status(204);
}

#[tokio::test]
async fn a_throttled_store_is_500_with_retry_after() {
    let service = Service::start().await;
    service.store().throttle();
    for answer in [
        service.get("/users/7").await,
        service.post("/users", &ada()).await,
    ] {
        let failed = answer.has_problem(500, "store_unavailable");
        assert_eq!(failed.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn missing_credentials_are_500_that_no_retry_mends() {
    let environment = &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let service = Setup {
        through: Some(Through::Lambda),
        environment,
        ..Setup::default()
    }
    .start()
    .await;
    let failed = service
        .get("/users/7")
        .await
        .has_problem(500, "internal_error");
    assert_eq!(failed.header("retry-after"), "");
}

#[tokio::test]
async fn a_read_whose_answer_was_lost_is_asked_again() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    service.store().swallow_next_answer();
    let _ = service
        .get(created.header("location"))
        .await
        .has_status(200);
}

#[tokio::test]
async fn a_store_that_is_gone_is_500_with_retry_after_and_serves_again_when_it_is_back() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    service.store().stop().await;
    let user = ada();
    for (answer, message) in [
        (service.get(path).await, "Failed to retrieve user data"),
        (service.get("/users").await, "Failed to retrieve user data"),
        (
            service.post("/users", &user).await,
            "Failed to save user data",
        ),
        (service.put(path, &user).await, "Failed to save user data"),
        (service.delete(path).await, "Failed to delete user data"),
    ] {
        let failed = answer.has_problem(500, "store_unavailable");
        assert_eq!(failed.header("retry-after"), "1");
        assert_eq!(failed.json()["message"], message);
    }
    service.store().restart();
    assert_eq!(service.get(path).await.has_status(200).body, created.body);
}

#[tokio::test]
async fn a_store_that_does_not_answer_costs_the_caller_a_500_within_6_seconds() {
    let service = Service::start().await;
    service.store().hang();
    let user = ada();
    let started = Instant::now();
    let failed = service
        .post("/users", &user)
        .await
        .has_problem(500, "store_unavailable");
    // This promise is itself a time. The timeout of an operation is 4 seconds, which leaves two.
    assert!(started.elapsed() < Duration::from_secs(6));
    assert_eq!(failed.header("retry-after"), "1");
}

#[tokio::test]
async fn a_call_that_is_not_answered_is_made_again_before_the_operation_has_failed() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    service.store().hang_next_call();
    let _ = service.post("/users", &user).await.has_status(201);
    let transaction = "TransactWriteItems";
    assert_eq!(service.store().take_calls(), [transaction, transaction]);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_not_waited_for_beyond_the_lambda_deadline() {
    let service = Setup {
        through: Some(Through::Lambda),
        ..Setup::default()
    }
    .start()
    .await;
    let event = rest_event("GET", "/users/7");
    let _ = service.answer(&event).await.has_status(404); // the process is up
    service.store().hang();
    // Without the deadline, the answer would come after 4 seconds, and the
    // invocation fails after 2.
    let outcome = service.invoke_within(&event, Duration::from_secs(1)).await;
    let Outcome::Response(response) = outcome else {
        panic!("{outcome:?}")
    };
    let failed = Answer::from_proxy_response(&response).has_problem(500, "store_unavailable");
    assert_eq!(failed.header("retry-after"), "1");
}
