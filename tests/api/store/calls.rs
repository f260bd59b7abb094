//! Which calls of DynamoDB each operation makes.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Service, ada, some_id};

/// The calls of a read.
pub const READ: &[&str] = &["GetItem"];
/// The calls of a creation.
pub const CREATE: &[&str] = &["TransactWriteItems"];
/// The calls of any other write.
pub const WRITE: &[&str] = &["GetItem", "TransactWriteItems"];

#[tokio::test]
async fn a_read_or_a_create_is_one_call_and_a_lookup_or_another_write_is_two() {
    for service in [Service::start().await, Service::sharing_emails().await] {
        let mut user = ada();
        user["userId"] = json!(some_id());
        let path = format!("/users/{}", user["userId"].as_str().unwrap());
        let unknown = format!("/users/{}", some_id());
        let same_email = json!({ "name": "A canary", "email": user["email"] });
        let mut shouted = same_email.clone();
        shouted["email"] = json!(user["email"].as_str().unwrap().to_uppercase());
        let calls = |status: u16, answer: Answer, expected: &[&str]| {
            let _ = answer.has_status(status);
            assert_eq!(service.store().take_calls(), expected, "{status}");
        };
        let put = async |path: &str, body: &Value| service.put(path, body).await;
        let put_if = async |path: &str, condition: (&str, &str)| {
            let headers = [condition];
            service
                .send_json(Method::PUT, path, &headers, &same_email)
                .await
        };
        let patch = async |body: Value| service.send_json(Method::PATCH, &path, &[], &body).await;
        let stale = ("if-match", "\"9\"");
        let _ = service.store().take_calls();
        calls(201, service.post("/users", &user).await, CREATE);
        calls(409, service.post("/users", &user).await, CREATE);
        calls(412, put_if(&path, ("if-none-match", "*")).await, CREATE);
        calls(200, service.get(&path).await, READ);
        let known = [("if-none-match", "*")];
        let known = service.send(Method::GET, &path, &known, "").await;
        calls(304, known, READ);
        calls(404, service.get(&unknown).await, READ);
        let head = service.send(Method::HEAD, &path, &[], "").await;
        calls(200, head, READ);
        calls(200, service.get("/users").await, &["Scan"]);
        calls(200, put(&path, &same_email).await, WRITE);
        calls(200, patch(json!({ "name": "B canary" })).await, WRITE);
        calls(200, patch(json!({ "metadata": { "a": 1 } })).await, WRITE);
        // The same address in another form, and another address.
        calls(200, put(&path, &shouted).await, WRITE);
        calls(200, put(&path, &ada()).await, WRITE);
        calls(200, patch(json!({ "email": user["email"] })).await, WRITE);
        calls(404, put(&unknown, &same_email).await, READ);
        calls(412, put_if(&path, stale).await, READ);
        calls(404, put_if(&unknown, stale).await, READ);
        let refused = service.send(Method::DELETE, &path, &[stale], "").await;
        calls(412, refused, READ);
        calls(204, service.delete(&path).await, WRITE);
        calls(404, service.delete(&path).await, READ);
    }
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201).json();
    let _ = service.store().take_calls();
    let by_email = format!("/users?email={}", created["email"].as_str().unwrap());
    let _ = service.get(&by_email).await.has_status(200);
    assert_eq!(service.store().take_calls(), ["GetItem", "GetItem"]);
    let nobodys = "/users?email=nobody.canary@example.com";
    let _ = service.get(nobodys).await.has_status(404);
    assert_eq!(service.store().take_calls(), READ);
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
