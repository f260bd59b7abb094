//! `Idempotency-Key`: a `POST` that comes again makes one user.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, SystemTime},
};

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Answer, Service, Setup, Through, ada,
    events::{http_event, rest_event, with_body},
    some_id,
};

async fn post(service: &Service, key: &str, body: &Value) -> Answer {
    let headers = [("idempotency-key", key)];
    service
        .send_json(Method::POST, "/users", &headers, body)
        .await
}

fn some_key() -> String {
    Uuid::new_v4().to_string()
}

async fn count_users(service: &Service) -> usize {
    let page = service.get("/users?limit=100&consistent=true").await;
    page.json()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn of_32_concurrent_posts_with_one_key_all_are_the_201_of_one_user() {
    for shared_emails in [false, true] {
        let setup = Setup {
            sandboxes: 4,
            shared_emails,
            ..Setup::default()
        };
        let service = setup.start().await;
        let (key, body) = (some_key(), ada());
        let posts = (0..32).map(|_| post(&service, &key, &body));
        let answers = futures_util::future::join_all(posts).await;
        let first = answers[0].body.clone();
        for answer in answers {
            let answer = answer.has_status(201);
            assert_eq!(answer.body, first);
        }
        assert_eq!(count_users(&service).await, 1);
        let other = post(&service, &key, &ada()).await;
        let _ = other.has_problem(422, "idempotency_key_reused");
        assert_eq!(count_users(&service).await, 1);
    }
}

#[tokio::test]
async fn the_same_request_is_answered_as_the_first_time_whatever_became_of_the_user() {
    let service = Service::start().await;
    let (key, body) = (some_key(), ada());
    let created = post(&service, &key, &body).await.has_status(201);
    let path = created.header("location").to_owned();
    let same = async || {
        let again = post(&service, &key, &body).await.has_status(201);
        assert_eq!(again.body, created.body);
        assert_eq!(again.header("location"), path);
    };
    same().await;
    let _ = service.put(&path, &ada()).await.has_status(200);
    same().await;
    let _ = service.delete(&path).await.has_status(204);
    same().await;
    let _ = service.get(&path).await.has_problem(404, "user_not_found");
}

#[tokio::test]
async fn a_body_is_the_same_whatever_the_order_and_the_space_in_it() {
    let service = Service::start().await;
    let key = some_key();
    let email = ada()["email"].as_str().unwrap().to_owned();
    let metadata = json!({ "a": 1, "b": [true, null], "c": { "d": "e", "f": 1.5 } });
    let body = json!({ "name": "A canary", "email": email, "metadata": metadata });
    let created = post(&service, &key, &body).await.has_status(201);
    let respelled = format!(
        r#" {{ "metadata": {{"c":{{"f":1.5,"d":"e"}}, "b":[true, null], "a":1}}, "phone": null,
              "email": "{email}", "name": "\u0041 canary" }} "#
    );
    let headers = [
        ("idempotency-key", key.as_str()),
        ("content-type", "application/json"),
    ];
    let again = service
        .send(Method::POST, "/users", &headers, respelled)
        .await;
    assert_eq!(again.has_status(201).body, created.body);
    for (field, value) in [
        ("userId", json!(some_id())),
        ("name", json!("Another canary")),
        ("email", json!(email.to_uppercase())),
        ("phone", json!("+14155550123")),
        ("metadata", json!({ "a": 2 })),
        ("metadata", json!({})),
        ("metadata", Value::Null),
    ] {
        let mut other = body.clone();
        other[field] = value;
        let other = post(&service, &key, &other).await;
        let _ = other.has_problem(422, "idempotency_key_reused");
    }
}

#[tokio::test]
async fn a_request_that_failed_leaves_its_key_free() {
    let service = Service::start().await;
    let (key, mut body) = (some_key(), ada());
    let _ = post(&service, &key, &json!({ "name": "A canary" }))
        .await
        .has_problem(400, "invalid_user");
    let taken = ada();
    let _ = service.post("/users", &taken).await.has_status(201);
    let _ = post(&service, &key, &taken)
        .await
        .has_problem(409, "email_taken");
    body["userId"] = json!(some_id());
    let created = post(&service, &key, &body).await.has_status(201);
    let again = post(&service, &key, &body).await.has_status(201);
    assert_eq!(again.body, created.body);
    // Without the key, or under another, it is another request.
    let _ = service
        .post("/users", &body)
        .await
        .has_problem(409, "user_exists");
    let _ = post(&service, &some_key(), &body)
        .await
        .has_problem(409, "user_exists");
}

#[tokio::test]
async fn a_key_is_1_to_255_visible_ascii_characters_given_once() {
    let service = Service::start().await;
    for key in ["k", "!~", "\"8e03978e-40d5\"", &"x".repeat(255)] {
        let _ = post(&service, key, &ada()).await.has_status(201);
    }
    for key in ["", "a b", "\u{e9}", "a\tb", &"x".repeat(256)] {
        let refused = post(&service, key, &ada()).await;
        let refused = refused.has_problem(400, "invalid_header");
        let message = refused.json()["message"].clone();
        assert_eq!(
            message,
            "Idempotency-Key must be 1 to 255 visible ASCII characters"
        );
    }
    let headers = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let refused = service
        .send_json(Method::POST, "/users", &headers, &ada())
        .await;
    let _ = refused.has_problem(400, "invalid_header");
    // The other methods can be sent again as they are.
    let path = format!("/users/{}", some_id());
    let ignored = [("idempotency-key", "a b"), ("if-none-match", "*")];
    let put = service
        .send_json(Method::PUT, &path, &ignored, &ada())
        .await;
    let _ = put.has_status(201);
}

#[tokio::test]
async fn keys_of_different_callers_do_not_meet() {
    let service = Service::start().await;
    let key = some_key();
    let event = |caller: &Value, http: bool| {
        let mut event = if http {
            http_event("POST", "/users")
        } else {
            rest_event("POST", "/users")
        };
        let headers = if http { "headers" } else { "multiValueHeaders" };
        event[headers]["Idempotency-Key"] = if http { json!(key) } else { json!([key]) };
        event["requestContext"]["authorizer"] = Value::Null;
        event["requestContext"]["identity"] = Value::Null;
        for (name, value) in caller.as_object().unwrap() {
            event["requestContext"][name] = value.clone();
        }
        event
    };
    let signed = |arn: &str| json!({ "identity": { "userArn": arn } });
    let token =
        |sub: &str| json!({ "authorizer": { "claims": { "sub": sub, "scope": "users/write" } } });
    let mut users = Vec::new();
    for (callers, http) in [
        // Sessions of one role are one caller, whichever gateway it calls.
        (
            vec![
                signed("arn:aws:sts::123456789012:assumed-role/shop/canary-1"),
                signed("arn:aws:sts::123456789012:assumed-role/shop/canary-2"),
            ],
            false,
        ),
        (
            vec![signed(
                "arn:aws:sts::123456789012:assumed-role/back/canary-1",
            )],
            false,
        ),
        (vec![signed("arn:aws:iam::123456789012:user/shop")], false),
        (vec![token("canary-a"), token("canary-a")], false),
        (vec![token("canary-b")], false),
        (
            vec![json!({ "authorizer": { "jwt": { "claims": {
                "sub": "canary-c", "scope": "users/read users/write"
            } } } })],
            true,
        ),
    ] {
        let body = ada();
        let mut answers = Vec::new();
        for caller in &callers {
            let event = with_body(event(caller, http), &body);
            answers.push(service.answer(&event).await.has_status(201).body);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        users.push(answers.remove(0));
    }
    let made = users.len();
    users.sort();
    users.dedup();
    assert_eq!((users.len(), count_users(&service).await), (made, made));
}

#[tokio::test]
async fn a_create_with_a_key_is_one_call_and_its_record_keeps_no_personal_data() {
    let service = Service::start().await;
    service.store().take_bodies();
    let key = format!("canary-{}", some_key());
    let created = post(&service, &key, &ada()).await.has_status(201).json();
    let bodies = service.store().take_bodies();
    assert_eq!(bodies.len(), 1);
    let record = bodies[0]["TransactItems"]
        .as_array()
        .unwrap()
        .iter()
        .find(|action| action["Put"]["TableName"] == service.idempotency_table())
        .unwrap();
    let record = &record["Put"]["Item"];
    assert!(!record.to_string().contains("canary"), "{record}");
    assert_eq!(record["userId"]["S"], created["userId"]);
    assert_eq!(record["createdAt"]["S"], created["createdAt"]);
    let expires: u64 = record["expiresAt"]["N"].as_str().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let left = expires - now.unwrap().as_secs();
    assert!((47 * 3600..=48 * 3600).contains(&left), "{left}");
    // The repeat is one call too.
    let _ = post(&service, &key, &ada()).await.has_status(422);
    assert_eq!(service.store().take_calls(), ["TransactWriteItems"]);
}

/// Hours since the epoch, by the clock of the test below.
static HOURS: AtomicU64 = AtomicU64::new(500_000);

#[tokio::test]
async fn a_key_is_remembered_after_24_hours_and_free_after_48() {
    let setup = Setup {
        through: Some(Through::InProcess),
        clock: Some(|| SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * HOURS.load(SeqCst))),
        ..Setup::default()
    };
    let service = setup.start().await;
    let (key, body) = (some_key(), ada());
    let created = post(&service, &key, &body).await.has_status(201);
    let later = some_key();
    let _ = post(&service, &later, &ada()).await.has_status(201);
    for hours in [24, 23] {
        HOURS.fetch_add(hours, SeqCst);
        let again = post(&service, &key, &body).await.has_status(201);
        assert_eq!(again.body, created.body);
    }
    HOURS.fetch_add(1, SeqCst);
    let _ = post(&service, &key, &body)
        .await
        .has_problem(409, "email_taken");
    let other = post(&service, &key, &ada()).await.has_status(201);
    assert_ne!(other.json()["userId"], created.json()["userId"]);
    HOURS.fetch_add(1, SeqCst);
    let _ = post(&service, &later, &ada()).await.has_status(201);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_or_that_met_another_is_done_once() {
    let service = Service::start().await;
    for disturb in [
        |service: &Service| service.store().swallow_next_answer(),
        |service: &Service| service.store().conflict(1),
    ] {
        let (key, body) = (some_key(), ada());
        disturb(&service);
        let created = post(&service, &key, &body).await.has_status(201);
        let again = post(&service, &key, &body).await.has_status(201);
        assert_eq!(again.body, created.body);
    }
    assert_eq!(count_users(&service).await, 2);
}
