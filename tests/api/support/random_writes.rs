//! Writes at random, on few users, so that they meet.

use std::time::Duration;

use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Service;

/// How long a client waits for an answer. The process that had the request may be killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A write at random: its method, its path and its body.
pub fn random_write(random: &mut Rng, users: &[String]) -> (Method, String, Value) {
    let user_id = &users[random.usize(..users.len())];
    // Few addresses, so that some are taken.
    let email = format!("canary-{}@example.com", random.usize(..users.len()));
    let name = format!("canary {}", random.u32(..));
    let path = format!("/users/{user_id}");
    match random.u8(..17) {
        0..=2 => {
            let user = json!({ "userId": user_id, "name": name, "email": email });
            (Method::POST, "/users".to_owned(), user)
        }
        3 => (Method::PUT, path, json!({ "name": name, "email": email })),
        4..=6 => (Method::PATCH, path, json!({ "metadata": { "last": name } })),
        7 => (Method::PATCH, path, json!({ "email": email })),
        8 => (Method::PATCH, path, json!({ "status": "disabled" })),
        9 => (Method::PATCH, path, json!({ "status": "active" })),
        10 => {
            let path = format!("{path}?takeEmail=true");
            let taken = json!({ "email": email, "emailVerified": random.bool() });
            (Method::PATCH, path, taken)
        }
        11..=12 => (Method::DELETE, path, Value::Null),
        13..=14 => {
            let path = format!("/deleted-users/{user_id}/restore");
            let email = match random.bool() {
                true => json!({ "email": email }),
                false => json!({}),
            };
            (Method::POST, path, email)
        }
        15 => {
            let path = format!("/deleted-users/{user_id}");
            (Method::DELETE, path, Value::Null)
        }
        _ => (Method::DELETE, format!("{path}?erase=true"), Value::Null),
    }
}

/// Sends a write. Says whether it succeeded.
pub async fn send_write(service: &Service, (method, path, body): (Method, String, Value)) -> bool {
    let headers = [("content-type", "application/json")];
    let (headers, body) = match body.is_null() {
        true => (&headers[..0], String::new()),
        false => (&headers[..], body.to_string()),
    };
    let sent = service.send_unchecked(method, &path, headers, body);
    match timeout(PATIENCE, sent).await {
        Ok(answer) => answer.status.is_success(),
        Err(_) => false,
    }
}
