//! `PATCH /users/{userId}`: JSON Merge Patch (RFC 7396).

use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Service, ada, some_id};

async fn patch(service: &Service, path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/merge-patch+json")];
    service
        .send(Method::PATCH, path, &headers, body.to_string())
        .await
}

/// A user with every field, and its path.
async fn grown_up(service: &Service) -> (Value, String) {
    let mut user = ada();
    user["userId"] = json!(some_id());
    user["phone"] = json!("+14155550123");
    user["metadata"] = json!({ "team": "engines", "tags": ["a"], "nested": { "a": 1, "b": null } });
    let user = service.post("/users", &user).await.has_status(201).json();
    let path = format!("/users/{}", user["userId"].as_str().unwrap());
    (user, path)
}

#[tokio::test]
async fn a_patch_keeps_absent_fields_and_removes_null_ones() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let patched = patch(
        &service,
        &path,
        &json!({ "name": "Ada canary King", "phone": null }),
    )
    .await;
    let patched = patched.has_status(200);
    let mut expected = user.clone();
    expected["name"] = json!("Ada canary King");
    expected["version"] = json!(2);
    expected.as_object_mut().unwrap().remove("phone");
    expected["updatedAt"] = patched.json()["updatedAt"].clone();
    assert_eq!(patched.json(), expected);
    let read = service.get(&format!("{path}?consistent=true")).await;
    assert_eq!(read.json(), expected);
}

#[tokio::test]
async fn metadata_merges_deep() {
    let service = Service::start().await;
    for (patched, expected) in [
        (
            json!({}),
            json!({ "team": "engines", "tags": ["a"], "nested": { "a": 1, "b": null } }),
        ),
        (
            json!({ "nested": { "a": null, "c": { "d": 1 } }, "tags": [null, "b"], "x.y #1": "z" }),
            json!({ "team": "engines", "tags": [null, "b"], "nested": { "b": null, "c": { "d": 1 } }, "x.y #1": "z" }),
        ),
        (
            json!({ "team": { "name": "engines", "gone": null } }),
            json!({ "team": { "name": "engines" }, "tags": ["a"], "nested": { "a": 1, "b": null } }),
        ),
        (
            json!({ "team": null, "tags": null, "nested": null, "never": null }),
            json!({}),
        ),
    ] {
        let (_, path) = grown_up(&service).await;
        let answer = patch(&service, &path, &json!({ "metadata": patched })).await;
        assert_eq!(
            answer.has_status(200).json()["metadata"],
            expected,
            "{patched}"
        );
    }
    let (_, path) = grown_up(&service).await;
    let without = patch(&service, &path, &json!({ "metadata": null })).await;
    assert!(without.has_status(200).json().get("metadata").is_none());
    // Where there is none, the patch is what there is then, without its nulls.
    let anew = json!({ "metadata": { "a": { "b": null, "c": 1 } } });
    let anew = patch(&service, &path, &anew).await.has_status(200).json();
    assert_eq!(anew["metadata"], json!({ "a": { "c": 1 } }));
}

#[tokio::test]
async fn a_patch_has_the_rules_of_a_create_and_its_result_keeps_them() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let user_id = user["userId"].clone();
    for (body, field, message) in [
        (json!({ "name": null }), "/name", "is required"),
        (json!({ "email": null }), "/email", "is required"),
        (
            json!({ "name": " " }),
            "/name",
            "must be 1 to 200 characters",
        ),
        (
            json!({ "email": "x" }),
            "/email",
            "must be an email address, such as ada@example.com",
        ),
        (
            json!({ "phone": "1" }),
            "/phone",
            "must be a phone number in E.164 form, such as +14155550123",
        ),
        (
            json!({ "metadata": [] }),
            "/metadata",
            "must be an object, not an array",
        ),
        (
            json!({ "metadata": { "": 1 } }),
            "/metadata/",
            "has an empty name",
        ),
        (
            json!({ "version": 7 }),
            "/version",
            "is kept by the service; leave it out",
        ),
        (
            json!({ "age": 36 }),
            "/age",
            "is not a field of a user; leave it out",
        ),
        (
            json!({ "userId": "another" }),
            "/userId",
            "must be the userId that the request addresses, or left out",
        ),
    ] {
        let refused = patch(&service, &path, &body)
            .await
            .has_problem(400, "invalid_user");
        assert_eq!(
            refused.field_errors(),
            [(field.to_owned(), message.to_owned())]
        );
    }
    let same = patch(&service, &path, &json!({ "userId": user_id })).await;
    assert_eq!(same.has_status(200).json()["version"], 2);
    // Each half is within the limit, and both are not.
    let half = "x".repeat(40 * 1024);
    let first = patch(&service, &path, &json!({ "metadata": { "first": half } })).await;
    let _ = first.has_status(200);
    let both = patch(&service, &path, &json!({ "metadata": { "second": half } })).await;
    let both = both.has_problem(400, "invalid_user");
    assert_eq!(both.field_errors()[0].0, "/metadata");
    let instead = json!({ "metadata": { "first": null, "second": half } });
    let _ = patch(&service, &path, &instead).await.has_status(200);
}

#[tokio::test]
async fn a_patch_is_json_by_either_content_type() {
    let service = Service::start().await;
    let (_, path) = grown_up(&service).await;
    for (media_type, status) in [
        ("application/merge-patch+json", 200),
        ("application/json", 200),
        ("text/plain", 415),
    ] {
        let headers = [("content-type", media_type)];
        let body = json!({ "name": "A canary", "phone": null }).to_string();
        let answer = service.send(Method::PATCH, &path, &headers, body).await;
        let _ = answer.has_status(status);
    }
}

#[tokio::test]
async fn if_match_patches_only_the_representation_it_names() {
    let service = Service::start().await;
    let (_, path) = grown_up(&service).await;
    let body = json!({ "name": "B canary" });
    let read = service.get(&path).await.has_status(200);
    let current = read.header("etag");
    for (etag, status) in [("\"1\"", 412), (current, 200), (current, 412), ("*", 200)] {
        let headers = [("if-match", etag)];
        let answer = service
            .send_json(Method::PATCH, &path, &headers, &body)
            .await;
        let _ = answer.has_status(status);
    }
    let headers = [("if-none-match", "*")];
    let senseless = service
        .send_json(Method::PATCH, &path, &headers, &body)
        .await;
    let _ = senseless.has_problem(400, "invalid_header");
    let unknown = patch(&service, &format!("/users/{}", some_id()), &body).await;
    let _ = unknown.has_problem(404, "user_not_found");
    let by_query = path.replace("/users/", "/users?userId=");
    assert_eq!(
        patch(&service, &by_query, &body)
            .await
            .has_status(200)
            .json()["version"],
        4
    );
}

#[tokio::test]
async fn concurrent_patches_of_different_fields_all_hold() {
    let service = Service::start().await;
    let (_, path) = grown_up(&service).await;
    let rounds = 1_000;
    for round in 0..rounds {
        let key = format!("key{}", round % 10);
        let name = json!({ "name": format!("canary {round}") });
        let phone = json!({ "phone": format!("+1415555{round:04}") });
        let metadata = json!({ "metadata": { &key: round } });
        let (one, other, third) = tokio::join!(
            patch(&service, &path, &name),
            patch(&service, &path, &phone),
            patch(&service, &path, &metadata),
        );
        for answer in [one, other, third] {
            let _ = answer.has_status(200);
        }
        let user = service.get(&format!("{path}?consistent=true")).await.json();
        assert_eq!(user["name"], format!("canary {round}"));
        assert_eq!(user["phone"], format!("+1415555{round:04}"));
        assert_eq!(user["metadata"][&key], round);
        assert_eq!(user["version"], 1 + 3 * (round + 1));
    }
}

#[tokio::test]
async fn a_patch_whose_answer_was_lost_is_the_success_it_was() {
    let service = Service::start().await;
    let (_, path) = grown_up(&service).await;
    service.store().swallow_next_answer();
    let body = json!({ "name": "C canary", "metadata": { "nested": { "a": null } } });
    let patched = patch(&service, &path, &body).await.has_status(200).json();
    assert_eq!(
        (patched["version"].clone(), patched["name"].clone()),
        (json!(2), json!("C canary"))
    );
}

#[tokio::test]
async fn a_json_patch_is_not_a_merge_patch() {
    let service = Service::start().await;
    let (_, path) = grown_up(&service).await;
    let headers = [("content-type", "application/json-patch+json")];
    for body in [
        r#"{"name":"A canary"}"#,
        r#"[{"op":"remove","path":"/phone"}]"#,
    ] {
        let refused = service.send(Method::PATCH, &path, &headers, body).await;
        let _ = refused.has_problem(415, "unsupported_media_type");
    }
}
