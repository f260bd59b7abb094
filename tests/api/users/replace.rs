//! `PUT /users/{userId}` and `PUT /users?userId=`

use std::{
    collections::HashSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::support::{Service, Setup, Through, ada, if_match, some_id};

#[tokio::test]
async fn a_replacement_counts_the_version_and_keeps_the_creation_time() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let sent = json!({ "name": "Grace canary", "email": "grace.canary@example.com", "phone": "+14155550123" });
    let replaced = service.put(path, &sent).await.has_status(200);
    let user = replaced.json();
    assert_eq!(user["version"], 2);
    assert_eq!(user["name"], "Grace canary");
    assert_eq!(user["createdAt"], created.json()["createdAt"]);
    assert!(user["updatedAt"].as_str() > created.json()["updatedAt"].as_str());
    let read = service.get(path).await.has_status(200);
    assert_eq!(read.body, replaced.body);
}

#[tokio::test]
async fn an_optional_field_that_is_left_out_is_removed() {
    let service = Service::start().await;
    let mut user = ada();
    user["phone"] = json!("+14155550123");
    user["metadata"] = json!({ "a": 1 });
    let created = service.post("/users", &user).await.has_status(201);
    let replaced = service
        .put(created.header("location"), &ada())
        .await
        .has_status(200)
        .json();
    assert!(
        replaced.get("phone").is_none() && replaced.get("metadata").is_none(),
        "{replaced}"
    );
}

#[tokio::test]
async fn the_query_form_is_the_same_operation() {
    let service = Service::start().await;
    let id = some_id();
    let path = format!("/users?userId={id}");
    let _ = service
        .put(&path, &ada())
        .await
        .has_problem(404, "user_not_found");
    let created = service
        .send_json(Method::PUT, &path, &[("if-none-match", "*")], &ada())
        .await;
    assert_eq!(
        created.has_status(201).header("location"),
        format!("/users/{id}")
    );
    let replaced = service.put(&path, &ada()).await.has_status(200);
    assert_eq!(replaced.json()["version"], 2);
}

#[tokio::test]
async fn an_unknown_user_is_404_and_is_not_created() {
    let service = Service::start().await;
    let path = format!("/users/{}", some_id());
    let _ = service
        .put(&path, &ada())
        .await
        .has_problem(404, "user_not_found");
    let with_version = service
        .send_json(Method::PUT, &path, &[("if-match", "\"1\"")], &ada())
        .await;
    let _ = with_version.has_problem(404, "user_not_found");
    let _ = service.get(&path).await.has_status(404);
}

#[tokio::test]
async fn if_none_match_star_creates_and_is_412_where_the_user_exists() {
    let service = Service::start().await;
    let path = format!("/users/{}", some_id());
    let only_new = [("if-none-match", "*")];
    let created = service
        .send_json(Method::PUT, &path, &only_new, &ada())
        .await
        .has_status(201);
    assert_eq!(created.header("location"), path);
    assert_eq!(created.json()["version"], 1);
    let again = service
        .send_json(Method::PUT, &path, &only_new, &ada())
        .await;
    let _ = again.has_problem(412, "precondition_failed");
    assert_eq!(service.get(&path).await.has_status(200).body, created.body);

    let odd = service
        .send_json(Method::PUT, "/users/a%20b", &only_new, &ada())
        .await;
    assert_eq!(
        odd.has_problem(400, "invalid_parameter").field_errors()[0].0,
        "/userId"
    );
}

#[tokio::test]
async fn if_match_replaces_only_the_representation_it_names() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let put = async |tags: &str| {
        service
            .send_json(Method::PUT, path, &[("if-match", tags)], &ada())
            .await
    };
    let first = created.header("etag");
    let replaced = put(first).await.has_status(200);
    let second = replaced.header("etag");
    assert_ne!(first, second);
    let (weak, longer) = (
        format!("W/{second}"),
        format!("{}A\"", &second[..second.len() - 1]),
    );
    // A weak tag, a longer one, and opaque tags of other forms match nothing.
    for stale in [first, &weak, &longer, "\"1\"", "\"2\"", "\"\"", "\"two\""] {
        let _ = put(stale).await.has_problem(412, "version_mismatch");
    }
    let either = put(&format!("{first}, {second}")).await.has_status(200);
    assert_eq!(either.json()["version"], 3);
    assert_eq!(put("*").await.has_status(200).json()["version"], 4);
}

#[tokio::test]
async fn a_precondition_that_makes_no_sense_is_refused_with_the_name_of_its_header() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    for headers in [
        &[("if-match", "1")][..],
        &[("if-match", "")],
        &[("if-match", "\"1")],
        &[("if-none-match", "\"1\"")],
        &[("if-none-match", "*"), ("if-match", "\"1\"")],
        &[("if-none-match", "*"), ("if-match", "*")],
    ] {
        let refused = service.send_json(Method::PUT, path, headers, &ada()).await;
        let refused = refused.has_problem(400, "invalid_header");
        assert!(
            refused.json()["message"]
                .as_str()
                .unwrap()
                .starts_with("If-"),
            "{refused:?}"
        );
    }
    assert_eq!(service.get(path).await.has_status(200).body, created.body);
}

#[tokio::test]
async fn a_user_id_in_the_body_must_be_the_addressed_one() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let mut user = ada();
    user["userId"] = created.json()["userId"].clone();
    let _ = service
        .put(created.header("location"), &user)
        .await
        .has_status(200);
    user["userId"] = json!("another");
    let refused = service
        .put(created.header("location"), &user)
        .await
        .has_problem(400, "invalid_user");
    assert_eq!(refused.field_errors()[0].0, "/userId");
}

#[tokio::test]
async fn of_64_concurrent_puts_with_one_if_match_one_is_200_and_63_are_412() {
    let service = Setup {
        sandboxes: 8,
        ..Setup::default()
    }
    .start()
    .await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let user = ada();
    let if_match = if_match(&created);
    let puts = (0..64)
        .map(|_| service.send_json(Method::PUT, created.header("location"), &if_match, &user));
    let answers = join_all(puts).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(200), count(412)), (1, 63), "{answers:?}");
    assert_eq!(
        service
            .get(created.header("location"))
            .await
            .has_status(200)
            .json()["version"],
        2
    );
}

#[tokio::test]
async fn of_64_concurrent_puts_without_if_match_all_succeed_and_the_version_counts_each() {
    let service = Setup {
        sandboxes: 8,
        ..Setup::default()
    }
    .start()
    .await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let user = ada();
    let answers = join_all((0..64).map(|_| service.put(created.header("location"), &user))).await;
    let versions: HashSet<u64> = answers
        .into_iter()
        .map(|answer| answer.has_status(200).json()["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, (2..=65).collect());
    assert_eq!(
        service
            .get(created.header("location"))
            .await
            .has_status(200)
            .json()["version"],
        65
    );
}

/// A moment that does not pass.
fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn at_noon() -> Setup {
    Setup {
        through: Some(Through::InProcess),
        clock: Some(noon),
        ..Setup::default()
    }
}

#[tokio::test]
async fn writes_of_one_millisecond_are_told_apart() {
    let service = at_noon().start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    for version in 2..12 {
        let replaced = service.put(path, &ada()).await.has_status(200);
        assert_eq!(replaced.json()["version"], version);
    }
}

#[tokio::test]
async fn a_write_does_not_mistake_anothers_write_of_the_same_millisecond_for_its_own() {
    let service = at_noon().start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let created = service.post("/users", &user).await.has_status(201);
    let path = created.header("location");
    let _ = service
        .post("/users", &user)
        .await
        .has_problem(409, "user_exists");
    let mut another = user.clone();
    another["name"] = json!("Grace canary");

    service.store().swallow_next_answer();
    let _ = service
        .post("/users", &another)
        .await
        .has_problem(409, "user_exists");

    service.store().swallow_next_answer();
    let replaced = service.put(path, &another).await.has_status(200).json();
    assert_eq!(
        (&replaced["name"], &replaced["version"]),
        (&json!("Grace canary"), &json!(2))
    );
    assert_eq!(service.get(path).await.has_status(200).json(), replaced);
}

#[tokio::test]
async fn a_put_where_there_is_no_user_says_how_to_create_one() {
    let service = Service::start().await;
    for path in ["/users/canary-new", "/users?userId=canary-new"] {
        let refused = service.put(path, &ada()).await;
        let refused = refused.has_problem(404, "user_not_found");
        let message = "No user data found; a PUT with If-None-Match: * creates a user";
        assert_eq!(refused.json()["message"], message);
    }
}
