//! `status`: a disabled user may read its own record, and do nothing else.

use serde_json::{Value, json};

use crate::support::{
    Answer, Service, ada,
    events::{Credentials, Gateway, event, with_body},
    some_id,
    store_proxy::Side,
};

const SCOPES: &str = "users/read users/write";

/// A new user with this status, and its path.
async fn user_with_status(service: &Service, status: &str) -> (Value, String) {
    let mut user = ada();
    user["userId"] = json!(some_id());
    user["status"] = json!(status);
    let user = service.post("/users", &user).await.has_status(201).json();
    let path = format!("/users/{}", user["userId"].as_str().unwrap());
    (user, path)
}

fn own(user: &Value, groups: &str) -> Credentials {
    Credentials::token(user["userId"].as_str().unwrap(), SCOPES, groups)
}

async fn send(
    service: &Service,
    gateway: Gateway,
    method: &str,
    path: &str,
    credentials: &Credentials,
    body: &Value,
) -> Answer {
    let event = event(gateway, method, path, credentials);
    service.answer(&with_body(event, body)).await
}

#[tokio::test]
async fn no_user_has_a_status_until_someone_writes_one() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201).json();
    assert_eq!(created.get("status"), None);
    let path = format!("/users/{}", created["userId"].as_str().unwrap());
    let disabled = service.patch(&path, &json!({ "status": "disabled" })).await;
    assert_eq!(disabled.has_status(200).json()["status"], "disabled");
    let enabled = service.patch(&path, &json!({ "status": null })).await;
    assert_eq!(enabled.has_status(200).json().get("status"), None);
}

#[tokio::test]
async fn a_status_is_active_or_disabled() {
    let service = Service::start().await;
    let (_, path) = user_with_status(&service, "active").await;
    for (status, message) in [
        (json!("Disabled"), "must be active or disabled"),
        (json!(""), "must be active or disabled"),
        (json!(true), "must be a string, not a boolean"),
    ] {
        let refused = service.patch(&path, &json!({ "status": status })).await;
        let refused = refused.has_problem(400, "invalid_user");
        assert_eq!(
            refused.field_errors(),
            [(String::from("/status"), message.to_owned())]
        );
    }
}

#[tokio::test]
async fn a_disabled_user_may_read_its_own_record_and_nothing_else() {
    let service = Service::start().await;
    for gateway in [Gateway::Rest, Gateway::Http] {
        for groups in ["", "admin"] {
            let (user, path) = user_with_status(&service, "disabled").await;
            let caller = own(&user, groups);
            let read = service.answer(&event(gateway, "GET", &path, &caller)).await;
            assert_eq!(read.has_status(200).json()["status"], "disabled");
            let mut changed = ada();
            changed["email"] = user["email"].clone();
            for (method, body) in [
                ("PUT", changed),
                ("PATCH", json!({ "phone": "+14155550123" })),
                ("PATCH", json!({ "status": "active" })),
                ("DELETE", json!({})),
            ] {
                if groups.is_empty() && body.get("status").is_some() {
                    continue; // it is no field that a user writes
                }
                let refused = send(&service, gateway, method, &path, &caller, &body).await;
                let refused = refused.has_problem(403, "user_disabled");
                assert_eq!(
                    refused.json()["message"],
                    "You are disabled; you can only read your own record"
                );
            }
            assert_eq!(service.get(&path).await.has_status(200).json(), user);
        }
    }
}

#[tokio::test]
async fn services_and_admins_write_a_disabled_user_and_enable_it_again() {
    let service = Service::start().await;
    let (user, path) = user_with_status(&service, "disabled").await;
    let admin = Credentials::token(&some_id(), SCOPES, "admin");
    let body = json!({ "phone": "+14155550123" });
    let patched = send(&service, Gateway::Rest, "PATCH", &path, &admin, &body).await;
    assert_eq!(patched.has_status(200).json()["status"], "disabled");
    let enabled = service.patch(&path, &json!({ "status": "active" })).await;
    assert_eq!(enabled.has_status(200).json()["status"], "active");
    let own = own(&user, "");
    let deleted = send(&service, Gateway::Rest, "DELETE", &path, &own, &json!({})).await;
    let _ = deleted.has_status(204);
}

#[tokio::test]
async fn a_status_of_another_client_is_that_of_an_active_user_and_is_shown_as_it_is() {
    let service = Service::start().await;
    for stored in [
        json!({ "S": "gold" }),
        json!({ "N": "1" }),
        json!({ "BOOL": true }),
    ] {
        let id = some_id();
        let item = json!({
            "userId": { "S": id }, "name": { "S": "Ada canary" }, "email": { "S": "x@example.com" },
            "status": stored,
        });
        service.put_item(item).await;
        let path = format!("/users/{id}");
        let own = Credentials::token(&id, SCOPES, "");
        let read = service
            .answer(&event(Gateway::Rest, "GET", &path, &own))
            .await;
        let mut user = read.has_status(200).json();
        let status = user["status"].clone();
        assert!(!status.is_null());
        user["email"] = ada()["email"].clone();
        for caller in [own, Credentials::Signed] {
            let put = send(&service, Gateway::Rest, "PUT", &path, &caller, &user).await;
            let put = put.has_status(200).json();
            assert_eq!(put["status"], status);
            user["version"] = put["version"].clone();
            user["updatedAt"] = put["updatedAt"].clone();
        }
    }
}

#[tokio::test]
async fn a_write_is_refused_if_its_user_is_disabled_between_its_read_and_its_commit() {
    let service = Service::start().await;
    let (user, path) = user_with_status(&service, "active").await;
    let own = own(&user, "");
    let body = json!({ "phone": "+14155550123" });
    let mut item = service.item(user["userId"].as_str().unwrap()).await;
    service.store().hold_call(2, Side::Before);
    let write = send(&service, Gateway::Rest, "PATCH", &path, &own, &body);
    let disable = async {
        service.store().holds_call().await;
        item["status"] = json!({ "S": "disabled" });
        service.put_item(item.clone()).await;
        service.store().go_on();
    };
    let (written, ()) = tokio::join!(write, disable);
    let _ = written.has_problem(403, "user_disabled");
    assert_eq!(service.get(&path).await.json().get("phone"), None);
}
