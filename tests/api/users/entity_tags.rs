//! `ETag` as a strong validator (RFC 9110 section 8.8.1), whoever writes to the table.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Service, Setup, ada, if_match, some_id, store_proxy::Side};

/// A user as another client stores it.
fn item(user_id: &str, name: &str) -> Value {
    json!({
        "userId": { "S": user_id },
        "name": { "S": name },
        "email": { "S": format!("{user_id}@example.com") },
        "tags": { "SS": ["b", "a", "c"] },
        "nested": { "M": { "y": { "N": "1" }, "x": { "L": [{ "NULL": true }] } } },
    })
}

async fn read_unless(service: &Service, path: &str, known: &Answer) -> Answer {
    let headers = [("if-none-match", known.header("etag"))];
    service.send(Method::GET, path, &headers, "").await
}

/// Every write of the user at `path` under the entity-tag that `read` gave.
async fn conditional_writes(service: &Service, path: &str, read: &Answer) -> [Answer; 3] {
    let headers = if_match(read);
    let patch = json!({ "name": "Another canary" });
    [
        service.send_json(Method::PUT, path, &headers, &ada()).await,
        service
            .send_json(Method::PATCH, path, &headers, &patch)
            .await,
        service.send(Method::DELETE, path, &headers, "").await,
    ]
}

#[tokio::test]
async fn the_tag_of_a_deleted_user_is_not_that_of_the_next_one_with_its_id() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let first = service.post("/users", &user).await.has_status(201);
    let path = first.header("location");
    let _ = service.delete(path).await.has_status(204);
    user["name"] = json!("Grace canary");
    let second = service.post("/users", &user).await.has_status(201);
    assert_ne!(first.header("etag"), second.header("etag"));
    let _ = read_unless(&service, path, &first).await.has_status(200);
    for answer in conditional_writes(&service, path, &first).await {
        let _ = answer.has_problem(412, "version_mismatch");
    }
    assert_eq!(service.get(path).await.has_status(200).body, second.body);
}

#[tokio::test]
async fn a_change_by_another_client_changes_the_tag_with_a_version_and_without() {
    let service = Service::start().await;
    for version in [None, Some(json!({ "N": "3" }))] {
        let user_id = some_id();
        let path = format!("/users/{user_id}");
        let put_item = async |name: &str| {
            let mut item = item(&user_id, name);
            if let Some(version) = &version {
                item["version"] = version.clone();
            }
            service.put_item(item).await;
        };
        put_item("Old canary").await;
        let read = service.get(&path).await.has_status(200);
        let _ = read_unless(&service, &path, &read).await.has_status(304);
        put_item("New canary").await;
        let changed = read_unless(&service, &path, &read).await.has_status(200);
        for answer in conditional_writes(&service, &path, &read).await {
            let _ = answer.has_problem(412, "version_mismatch");
        }
        let stale = service.send(Method::GET, &path, &if_match(&read), "").await;
        let _ = stale.has_problem(412, "version_mismatch");
        assert_eq!(service.get(&path).await.body, changed.body);
        // What is as it was has the tag it had.
        put_item("Old canary").await;
        let _ = read_unless(&service, &path, &read).await.has_status(304);
    }
}

#[tokio::test]
async fn the_order_of_sets_and_maps_makes_no_difference() {
    let service = Service::start().await;
    let user_id = some_id();
    let path = format!("/users/{user_id}");
    service.put_item(item(&user_id, "A canary")).await;
    let read = service.get(&path).await.has_status(200);
    let mut reordered = item(&user_id, "A canary");
    reordered["tags"] = json!({ "SS": ["c", "a", "b"] });
    reordered["nested"] = json!({ "M": { "x": { "L": [{ "NULL": true }] }, "y": { "N": "1" } } });
    service.put_item(reordered).await;
    let _ = read_unless(&service, &path, &read).await.has_status(304);
    let replaced = service
        .send_json(Method::PUT, &path, &if_match(&read), &ada())
        .await;
    let _ = replaced.has_status(200);
}

#[tokio::test]
async fn what_another_client_changes_between_the_read_and_the_write_is_not_overwritten() {
    for shared_emails in [false, true] {
        let setup = Setup {
            shared_emails,
            ..Setup::default()
        };
        let service = setup.start().await;
        let patch = json!({ "name": "Another canary" });
        for (method, body) in [
            (Method::PUT, ada()),
            (Method::PATCH, patch),
            (Method::DELETE, Value::Null),
        ] {
            let user_id = some_id();
            let path = format!("/users/{user_id}");
            let mut item = item(&user_id, "A canary");
            service.put_item(item.clone()).await;
            let read = service.get(&path).await.has_status(200);
            service.store().hold_call(2, Side::Before);
            let headers = if_match(&read);
            let write = async {
                if body.is_null() {
                    service.send(method.clone(), &path, &headers, "").await
                } else {
                    service
                        .send_json(method.clone(), &path, &headers, &body)
                        .await
                }
            };
            let other_client = async {
                service.store().holds_call().await;
                item["tags"] = json!({ "SS": ["a", "d"] });
                service.put_item(item.clone()).await;
                service.store().go_on();
            };
            let (answer, ()) = tokio::join!(write, other_client);
            let _ = answer.has_problem(412, "version_mismatch");
            let kept = service.get(&path).await.has_status(200).json();
            assert_eq!(kept["tags"], json!(["a", "d"]), "{method}");
            assert_eq!(kept["name"], "A canary", "{method}");
        }
    }
}

#[tokio::test]
async fn a_write_without_a_condition_does_not_conflict_with_other_attributes_of_another_client() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let created = service.post("/users", &user).await.has_status(201);
    let path = created.header("location");
    let mut item = service.item(user["userId"].as_str().unwrap()).await;
    item["lastSeen"] = json!({ "N": "1" });
    service.put_item(item.clone()).await;
    let _ = service.store().take_calls();
    service.store().hold_call(2, Side::Before);
    let other_client = async {
        service.store().holds_call().await;
        item["lastSeen"] = json!({ "N": "2" });
        service.put_item(item.clone()).await;
        service.store().go_on();
    };
    let patch = json!({ "name": "Grace canary" });
    let write = service.send_json(Method::PATCH, path, &[], &patch);
    let (answer, ()) = tokio::join!(write, other_client);
    let _ = answer.has_status(200);
    // The transaction was repeated because nobody answered, and not decided again.
    let calls = ["GetItem", "TransactWriteItems", "TransactWriteItems"];
    assert_eq!(service.store().take_calls(), calls);
    let read = service.get(path).await.has_status(200).json();
    assert_eq!(
        (&read["lastSeen"], &read["name"]),
        (&json!(2), &json!("Grace canary"))
    );
}

#[tokio::test]
async fn metadata_that_another_client_changes_between_the_read_and_the_write_is_merged_too() {
    let service = Service::start().await;
    let user_id = some_id();
    let path = format!("/users/{user_id}");
    let mut item = item(&user_id, "A canary");
    item["version"] = json!({ "N": "1" });
    item["metadata"] = json!({ "M": { "a": { "N": "1" } } });
    service.put_item(item.clone()).await;
    service.store().hold_call(2, Side::Before);
    let patch = json!({ "metadata": { "b": 2 } });
    let other_client = async {
        service.store().holds_call().await;
        item["metadata"] = json!({ "M": { "a": { "N": "9" } } });
        service.put_item(item.clone()).await;
        service.store().go_on();
    };
    let write = service.send_json(Method::PATCH, &path, &[], &patch);
    let (answer, ()) = tokio::join!(write, other_client);
    let merged = answer.has_status(200).json()["metadata"].clone();
    assert_eq!(merged, json!({ "a": 9, "b": 2 }));
}

#[tokio::test]
async fn an_item_of_more_attributes_than_a_condition_takes_is_written_under_its_tag() {
    let service = Service::start().await;
    let user_id = some_id();
    let path = format!("/users/{user_id}");
    let mut item = item(&user_id, "A canary");
    for number in 0..400 {
        item[format!("an attribute with a long name and the number {number}")] =
            json!({ "N": "1" });
    }
    service.put_item(item).await;
    for _ in 0..2 {
        let read = service.get(&path).await.has_status(200);
        let put = service
            .send_json(Method::PUT, &path, &if_match(&read), &ada())
            .await;
        let _ = put.has_status(200);
    }
    let read = service.get(&path).await.has_status(200);
    let delete = service
        .send(Method::DELETE, &path, &if_match(&read), "")
        .await;
    let _ = delete.has_status(204);
}

#[tokio::test]
async fn a_replay_under_a_key_carries_the_tag_of_the_first_answer() {
    let service = Service::start().await;
    let key = some_id();
    let headers = [("idempotency-key", key.as_str())];
    let user = ada();
    let post = async || {
        let answer = service.send_json(Method::POST, "/users", &headers, &user);
        answer.await.has_status(201)
    };
    let first = post().await;
    let path = first.header("location");
    let replaced = service.put(path, &ada()).await.has_status(200);
    let again = post().await;
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_ne!(again.header("etag"), replaced.header("etag"));
    assert_eq!(again.body, first.body);
}
