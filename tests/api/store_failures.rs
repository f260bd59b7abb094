//! What a failing DynamoDB costs the caller, and how many calls it is asked.

use std::time::{Duration, Instant};

use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::{
    events::rest_event,
    harness::{Answer, Service, Setup, Through, ada, if_match, some_id},
    runtime_api::Outcome,
};

#[tokio::test]
async fn where_emails_are_shared_a_read_and_a_plain_write_make_one_call_whatever_comes_of_it() {
    let service = sharing_emails().await;
    let id = some_id();
    let path = format!("/users/{id}");
    let unknown = format!("/users/{}", some_id());
    let mut user = ada();
    user["userId"] = json!(id);
    let stale = [("if-match", "\"9\"")];
    let only_new = [("if-none-match", "*")];
    let plain = ada();
    let calls = async |status: u16, answer: Answer, operation: &str| {
        let _ = answer.has_status(status);
        assert_eq!(service.store().take_calls(), [operation], "{status}");
    };
    let _ = service.store().take_calls();
    calls(201, service.post("/users", &user).await, "PutItem").await;
    calls(409, service.post("/users", &user).await, "PutItem").await;
    calls(200, service.get(&path).await, "GetItem").await;
    calls(
        304,
        service
            .send(Method::GET, &path, &[("if-none-match", "*")], "")
            .await,
        "GetItem",
    )
    .await;
    calls(404, service.get(&unknown).await, "GetItem").await;
    calls(
        200,
        service.send(Method::HEAD, &path, &[], "").await,
        "GetItem",
    )
    .await;
    calls(200, service.get("/users").await, "Scan").await;
    calls(200, service.put(&path, &plain).await, "UpdateItem").await;
    calls(404, service.put(&unknown, &plain).await, "UpdateItem").await;
    calls(
        412,
        service.send_json(Method::PUT, &path, &stale, &plain).await,
        "GetItem",
    )
    .await;
    calls(
        404,
        service
            .send_json(Method::PUT, &unknown, &stale, &plain)
            .await,
        "GetItem",
    )
    .await;
    calls(
        412,
        service
            .send_json(Method::PUT, &path, &only_new, &plain)
            .await,
        "PutItem",
    )
    .await;
    calls(
        412,
        service.send(Method::DELETE, &path, &stale, "").await,
        "GetItem",
    )
    .await;
    calls(204, service.delete(&path).await, "DeleteItem").await;
    calls(404, service.delete(&path).await, "DeleteItem").await;
    calls(
        404,
        service.send(Method::DELETE, &path, &stale, "").await,
        "GetItem",
    )
    .await;
}

async fn sharing_emails() -> Service {
    let setup = Setup {
        shared_emails: true,
        ..Setup::default()
    };
    setup.start().await
}

#[tokio::test]
async fn each_operation_makes_no_more_calls_than_its_claim_needs() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let path = format!("/users/{}", user["userId"].as_str().unwrap());
    let by_email = |user: &Value| format!("/users?email={}", user["email"].as_str().unwrap());
    let same_email = json!({ "name": "A canary", "email": user["email"] });
    let mut shouted = same_email.clone();
    shouted["email"] = json!(user["email"].as_str().unwrap().to_uppercase());
    let other_email = ada();
    let unknown = format!("/users/{}", some_id());
    let calls = |status: u16, answer: Answer, expected: &[&str]| {
        let _ = answer.has_status(status);
        assert_eq!(service.store().take_calls(), expected, "{status}");
    };
    let _ = service.store().take_calls();
    let put = async |path: &str, body: &Value| service.put(path, body).await;
    let patch = async |body: Value| service.send_json(Method::PATCH, &path, &[], &body).await;
    calls(
        201,
        service.post("/users", &user).await,
        &["TransactWriteItems"],
    );
    calls(
        409,
        service.post("/users", &user).await,
        &["TransactWriteItems"],
    );
    calls(200, service.get(&path).await, &["GetItem"]);
    calls(
        200,
        service.get(&by_email(&user)).await,
        &["GetItem", "GetItem"],
    );
    calls(
        404,
        service.get(&by_email(&other_email)).await,
        &["GetItem"],
    );
    calls(200, put(&path, &same_email).await, &["UpdateItem"]);
    calls(
        200,
        patch(json!({ "name": "B canary" })).await,
        &["UpdateItem"],
    );
    calls(
        200,
        patch(json!({ "email": user["email"] })).await,
        &["UpdateItem"],
    );
    // The same address in another form, which is not another claim.
    calls(
        200,
        put(&path, &shouted).await,
        &["UpdateItem", "UpdateItem"],
    );
    calls(
        200,
        put(&path, &other_email).await,
        &["UpdateItem", "TransactWriteItems"],
    );
    calls(
        200,
        patch(json!({ "email": user["email"] })).await,
        &["UpdateItem", "TransactWriteItems"],
    );
    calls(
        404,
        put(&unknown, &user_without_id(&user)).await,
        &["UpdateItem"],
    );
    calls(
        204,
        service.delete(&path).await,
        &["GetItem", "TransactWriteItems"],
    );
    calls(404, service.delete(&path).await, &["GetItem"]);
}

fn user_without_id(user: &Value) -> Value {
    let mut user = user.clone();
    user.as_object_mut().unwrap().remove("userId");
    user
}

#[tokio::test]
async fn what_is_refused_before_the_store_makes_no_call() {
    let service = Service::start().await;
    let _ = service.store().take_calls();
    let _ = service.post("/users", &json!({})).await.has_status(400);
    let _ = service.put("/users", &ada()).await.has_status(400);
    let _ = service.get("/users?limit=0").await.has_status(400);
    let _ = service.get("/nowhere").await.has_status(404);
    let _ = service
        .send(Method::TRACE, "/users", &[], "")
        .await
        .has_status(405);
    let _ = service
        .send(Method::OPTIONS, "/users", &[], "")
        .await
        .has_status(204);
    assert_eq!(service.store().take_calls(), [""; 0]);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_the_success_it_was() {
    let shared = (sharing_emails().await, "PutItem");
    let unique = (Service::start().await, "TransactWriteItems");
    for (service, call) in [shared, unique] {
        a_create_whose_answer_was_lost(&service, call).await;
    }
}

async fn a_create_whose_answer_was_lost(service: &Service, call: &str) {
    let mut user = ada();
    user["userId"] = json!(some_id());
    service.store().swallow_next_answer();
    let created = service.post("/users", &user).await.has_status(201);
    assert_eq!(service.store().take_calls(), [call, call]);
    assert_eq!(
        service
            .get(created.header("location"))
            .await
            .has_status(200)
            .body,
        created.body
    );
    // The same loss does not make another's user ours.
    service.store().swallow_next_answer();
    let _ = service
        .post("/users", &user)
        .await
        .has_problem(409, "user_exists");
}

#[tokio::test]
async fn a_replacement_whose_answer_was_lost_is_the_success_it_was_and_counts_once() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let user = json!({ "name": "Grace canary", "email": created.json()["email"] });
    let read = service.get(path).await.has_status(200);
    let calls = ["GetItem", "UpdateItem", "UpdateItem"];
    for (headers, version, calls) in [(&if_match(&read)[..], 2, &calls[..]), (&[], 3, &calls[1..])]
    {
        let _ = service.store().take_calls();
        // The last call but one is the one whose answer is lost.
        service
            .store()
            .swallow_answer(u32::try_from(calls.len() - 1).unwrap());
        let replaced = service
            .send_json(Method::PUT, path, headers, &user)
            .await
            .has_status(200);
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
async fn a_write_that_meets_a_transaction_is_made_again_and_counts_once() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let patch = json!({ "name": "Grace canary" });
    let _ = service.store().take_calls();
    // The answer of the write is lost, and the repeat of it meets another's transaction.
    service.store().swallow_answer(2);
    service.store().conflict(3);
    let patched = service
        .send_json(Method::PATCH, path, &if_match(&created), &patch)
        .await
        .has_status(200);
    assert_eq!(patched.json()["version"], 2);
    let calls = ["GetItem", "UpdateItem", "UpdateItem", "UpdateItem"];
    assert_eq!(service.store().take_calls(), calls);
    // A transaction is made again, too, and what it found beside a conflict is not believed.
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
        assert_eq!(service.store().take_calls(), ["TransactWriteItems"; 2]);
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
async fn where_emails_are_shared_a_write_that_meets_a_transaction_is_made_again_too() {
    let service = sharing_emails().await;
    for loses_the_first_answer in [false, true] {
        // The answer is lost, and the repeat of it meets another's transaction.
        let meet_a_transaction = || {
            let _ = service.store().take_calls();
            if loses_the_first_answer {
                service.store().swallow_next_answer();
                service.store().conflict(2);
            } else {
                service.store().conflict(1);
            }
        };
        let calls = if loses_the_first_answer { 3 } else { 2 };
        meet_a_transaction();
        let created = service.post("/users", &ada()).await.has_status(201);
        assert_eq!(service.store().take_calls(), vec!["PutItem"; calls]);
        let path = format!("/users/{}", some_id());
        let only_new = [("if-none-match", "*")];
        meet_a_transaction();
        let put = service
            .send_json(Method::PUT, &path, &only_new, &ada())
            .await;
        let _ = put.has_status(201);
        meet_a_transaction();
        let _ = service.put(&path, &ada()).await.has_status(200);
        for path in [&path, created.header("location")] {
            meet_a_transaction();
            let _ = service.delete(path).await.has_status(204);
            assert_eq!(service.store().take_calls(), vec!["DeleteItem"; calls]);
        }
    }
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_is_the_success_it_was() {
    let (shared, unique) = (sharing_emails().await, Service::start().await);
    let call = ["GetItem", "DeleteItem", "DeleteItem"];
    let transaction = ["GetItem", "TransactWriteItems", "TransactWriteItems"];
    for (service, is_conditional, calls) in [
        (&shared, false, &call[1..]),
        (&shared, true, &call),
        (&unique, false, &transaction),
        (&unique, true, &transaction),
    ] {
        a_delete_whose_answer_was_lost(service, is_conditional, calls).await;
    }
}

async fn a_delete_whose_answer_was_lost(service: &Service, is_conditional: bool, calls: &[&str]) {
    let created = service.post("/users", &ada()).await.has_status(201);
    let _ = service.store().take_calls();
    let deletes = calls.iter().filter(|call| **call != "GetItem").count();
    service
        .store()
        .swallow_answer(u32::try_from(calls.len() - deletes + 1).unwrap());
    let path = created.header("location");
    let headers = if_match(&created);
    let headers = if is_conditional { &headers[..] } else { &[] };
    let _ = service
        .send(Method::DELETE, path, headers, "")
        .await
        .has_status(204);
    assert_eq!(service.store().take_calls(), calls);
    let _ = service.get(path).await.has_status(404);
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
    // This promise is itself a time; the timeouts keep it with half of it to spare.
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
    // Were the deadline not seen, the answer would come after 3 seconds, and the
    // invocation fails after 2.
    let outcome = service.invoke_within(&event, Duration::from_secs(1)).await;
    let Outcome::Response(response) = outcome else {
        panic!("{outcome:?}")
    };
    let failed = Answer::from_proxy_response(&response).has_problem(500, "store_unavailable");
    assert_eq!(failed.header("retry-after"), "1");
}
