//! `GET /users/{userId}` and `GET /users?userId=`

use http::Method;
use serde_json::json;

use crate::support::{Service, Setup, ada, if_match, some_id};

#[tokio::test]
async fn the_tutorials_clients_get_the_item_by_query_as_they_know_it() {
    let service = Service::start().await;
    let item = json!({
        "userId": { "S": "1" }, "name": { "S": "Test User" }, "email": { "S": "test@example.com" },
    });
    service.put_item(item).await;
    let found = service.get("/users?userId=1").await.has_status(200);
    assert_eq!(
        found.body,
        r#"{"userId":"1","name":"Test User","email":"test@example.com"}"#
    );
    let missing = service
        .get("/users?userId=2")
        .await
        .has_problem(404, "user_not_found");
    assert_eq!(missing.json()["message"], "No user data found");
}

#[tokio::test]
async fn a_store_that_fails_is_500_with_the_tutorials_message() {
    let service = Setup {
        without_table: true,
        ..Setup::default()
    }
    .start()
    .await;
    for path in ["/users?userId=1", "/users/1", "/users"] {
        let failed = service.get(path).await.has_problem(500, "internal_error");
        assert_eq!(failed.json()["message"], "Failed to retrieve user data");
        assert_eq!(failed.header("retry-after"), "");
        assert!(!failed.body.contains("ResourceNotFound"), "{failed:?}");
    }
}

#[tokio::test]
async fn both_forms_of_get_give_the_same_answer() {
    let service = Service::start().await;
    let id = service.post("/users", &ada()).await.has_status(201).json()["userId"].clone();
    let id = id.as_str().unwrap();
    let by_path = service.get(&format!("/users/{id}")).await.has_status(200);
    let by_query = service
        .get(&format!("/users?userId={id}"))
        .await
        .has_status(200);
    let with_slashes = service.get(&format!("/users/{id}/")).await.has_status(200);
    assert_eq!(by_path.body, by_query.body);
    assert_eq!(by_path.body, with_slashes.body);
    assert_eq!(by_path.header("etag"), by_query.header("etag"));
}

#[tokio::test]
async fn an_id_in_a_path_is_percent_decoded_once() {
    let service = Service::start().await;
    for (id, segment) in [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("a b", "a%20b"),
        ("a+b", "a+b"),
        ("käse", "k%C3%A4se"),
        ("käse", "k%c3%a4se"),
        ("..", "%2E%2E"),
        ("x?y#z", "x%3Fy%23z"),
        ("100%", "100%25"),
    ] {
        let item = json!({ "userId": { "S": id }, "name": { "S": "canary" } });
        service.put_item(item).await;
        let found = service
            .get(&format!("/users/{segment}"))
            .await
            .has_status(200);
        assert_eq!(found.json()["userId"], id, "{segment}");
    }
}

#[tokio::test]
async fn a_lookup_takes_any_id_that_dynamodb_can_hold() {
    let service = Service::start().await;
    let longest = "ü".repeat(1024);
    service
        .put_item(json!({ "userId": { "S": longest } }))
        .await;
    let encoded = "%C3%BC".repeat(1024);
    let _ = service
        .get(&format!("/users/{encoded}"))
        .await
        .has_status(200);
    let _ = service
        .get(&format!("/users?userId={encoded}"))
        .await
        .has_status(200);
    let too_long = service.get(&format!("/users/{}", "x".repeat(2049))).await;
    let _ = too_long.has_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn if_none_match_answers_304_while_the_representation_stands() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let current = created.header("etag");
    let weak = format!("W/{current}");
    let several = format!("\"7\", {current}");
    for tags in [current, &weak, &several, "*"] {
        let answer = service
            .send(Method::GET, path, &[("if-none-match", tags)], "")
            .await
            .has_status(304);
        assert_eq!(answer.body, "");
        assert_eq!(answer.header("etag"), current);
    }
    let _ = service
        .send(Method::GET, path, &[("if-none-match", "\"1\"")], "")
        .await
        .has_status(200);
    let _ = service.put(path, &ada()).await.has_status(200);
    let _ = service
        .send(Method::GET, path, &[("if-none-match", current)], "")
        .await
        .has_status(200);
}

#[tokio::test]
async fn if_match_on_get_is_412_once_the_user_has_changed() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let _ = service
        .send(Method::GET, path, &if_match(&created), "")
        .await
        .has_status(200);
    let _ = service.put(path, &ada()).await.has_status(200);
    let moved = service
        .send(Method::GET, path, &if_match(&created), "")
        .await;
    let _ = moved.has_problem(412, "version_mismatch");
}

#[tokio::test]
async fn a_consistent_read_is_asked_for_with_true_or_false_and_nothing_else() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    for value in ["true", "false"] {
        let _ = service
            .get(&format!("{path}?consistent={value}"))
            .await
            .has_status(200);
        let _ = service
            .get(&format!("/users?consistent={value}"))
            .await
            .has_status(200);
    }
    for value in ["", "1", "TRUE", "yes"] {
        let refused = service.get(&format!("{path}?consistent={value}")).await;
        assert_eq!(
            refused.has_problem(400, "invalid_parameter").field_errors()[0].0,
            "/consistent"
        );
    }
    // DynamoDB is asked as the client asks, and eventually consistent by default.
    let _ = service.store().take_calls();
    for (path, consistent) in [
        (path.to_owned(), false),
        (format!("{path}?consistent=true"), true),
    ] {
        let _ = service.get(&path).await.has_status(200);
        let calls = service.store().take_bodies();
        assert_eq!(
            calls.last().unwrap()["ConsistentRead"]
                .as_bool()
                .unwrap_or(false),
            consistent
        );
    }
}

#[tokio::test]
async fn an_unknown_user_is_404_by_either_form() {
    let service = Service::start().await;
    let id = some_id();
    for path in [format!("/users/{id}"), format!("/users?userId={id}")] {
        let missing = service.get(&path).await.has_problem(404, "user_not_found");
        assert_eq!(missing.json()["message"], "No user data found");
    }
}
