//! `kill -9` on either side of every DynamoDB call of every write.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Service, Setup, Through, ada, all_users, claims_are_those_of_the_users, some_id,
    store_proxy::Side,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    Create,
    CreateUnderKey,
    CreateByPut,
    Replace,
    ReplaceRespelled,
    ReplaceMoved,
    Patch,
    PatchMoved,
    PatchMerged,
    PatchMergedMoved,
    Delete,
}

/// Who has made the user that is written to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Nobody,
    Service,
    AnotherClient,
}

/// Each write.
const WRITES: &[(Write, By)] = &[
    (Write::Create, By::Nobody),
    (Write::CreateUnderKey, By::Nobody),
    (Write::CreateByPut, By::Nobody),
    (Write::Replace, By::Service),
    (Write::Replace, By::AnotherClient),
    (Write::ReplaceRespelled, By::Service),
    (Write::ReplaceMoved, By::Service),
    (Write::ReplaceMoved, By::AnotherClient),
    (Write::Patch, By::Service),
    (Write::Patch, By::AnotherClient),
    (Write::PatchMoved, By::Service),
    (Write::PatchMerged, By::Service),
    (Write::PatchMerged, By::AnotherClient),
    (Write::PatchMergedMoved, By::Service),
    (Write::Delete, By::Service),
    (Write::Delete, By::AnotherClient),
];

/// The calls of a write: one that creates reads nothing first.
fn calls(by: By) -> &'static [&'static str] {
    match by {
        By::Nobody => &["TransactWriteItems"],
        By::Service | By::AnotherClient => &["GetItem", "TransactWriteItems"],
    }
}

/// A write of a user of its own, ready to be sent.
struct Request<'a> {
    service: &'a Service,
    method: Method,
    path: String,
    headers: Vec<(&'a str, String)>,
    body: Value,
    /// The address that the user has then.
    email: String,
}

impl<'a> Request<'a> {
    async fn new(service: &'a Service, write: Write, by: By) -> Self {
        let (user_id, user) = (some_id(), ada());
        match by {
            By::Nobody => {}
            By::Service => {
                let mut user = user.clone();
                user["userId"] = json!(user_id);
                let _ = service.post("/users", &user).await.has_status(201);
            }
            By::AnotherClient => {
                let item = json!({
                    "userId": { "S": user_id },
                    "name": { "S": user["name"] },
                    "email": { "S": user["email"] },
                });
                service.put_item(item).await;
            }
        }
        let old = user["email"].as_str().unwrap();
        let moves = [
            Write::ReplaceMoved,
            Write::PatchMoved,
            Write::PatchMergedMoved,
        ];
        let email = if moves.contains(&write) {
            ada()["email"].as_str().unwrap().to_owned()
        } else if write == Write::ReplaceRespelled {
            old.to_uppercase()
        } else {
            old.to_owned()
        };
        let name = "A canary by another name";
        let whole = json!({ "name": name, "email": email });
        let metadata = json!({ "a": 1 });
        let (method, body) = match write {
            Write::Create => {
                let mut new = whole;
                new["userId"] = json!(user_id);
                (Method::POST, new)
            }
            // Without a `userId`, which would keep a second one away.
            Write::CreateUnderKey => (Method::POST, whole),
            Write::CreateByPut => (Method::PUT, whole),
            Write::Replace | Write::ReplaceRespelled | Write::ReplaceMoved => (Method::PUT, whole),
            Write::Patch => (Method::PATCH, json!({ "name": name })),
            Write::PatchMoved => (Method::PATCH, json!({ "email": email })),
            Write::PatchMerged => (Method::PATCH, json!({ "metadata": metadata })),
            Write::PatchMergedMoved => (
                Method::PATCH,
                json!({ "email": email, "metadata": metadata }),
            ),
            Write::Delete => (Method::DELETE, Value::Null),
        };
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if write == Write::CreateUnderKey {
            headers.push(("idempotency-key", user_id.clone()));
        }
        if write == Write::CreateByPut {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let path = match method {
            Method::POST => "/users".to_owned(),
            _ => format!("/users/{user_id}"),
        };
        Self {
            service,
            method,
            path,
            headers,
            body,
            email,
        }
    }

    async fn send(&self) -> Answer {
        let headers = self.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let body = match self.body.is_null() {
            true => String::new(),
            false => self.body.to_string(),
        };
        self.service
            .send(self.method.clone(), &self.path, &headers, body)
            .await
    }
}

/// What the request is answered when it is sent again.
fn status_of_the_repeat(write: Write, was_done: bool) -> u16 {
    match (write, was_done) {
        (Write::Create, true) => 409,
        (Write::CreateByPut, true) => 412,
        (Write::Create | Write::CreateByPut, false) | (Write::CreateUnderKey, _) => 201,
        (Write::Delete, true) => 404,
        (Write::Delete, false) => 204,
        _ => 200,
    }
}

#[tokio::test]
async fn a_crash_on_either_side_of_any_call_of_any_write_leaves_users_and_claims_consistent() {
    for shared_emails in [false, true] {
        let setup = Setup {
            through: Some(Through::Lambda),
            shared_emails,
            ..Setup::default()
        };
        let service = setup.start().await;
        for &(write, by) in WRITES {
            let calls = calls(by);
            let at = format!("{write:?} of a user by {by:?}");
            let undisturbed = Request::new(&service, write, by).await;
            service.store().take_calls();
            let answer = undisturbed.send().await;
            assert!(answer.status.is_success(), "{at}: {answer:?}");
            assert_eq!(service.store().take_calls(), calls, "{at}");
            for call in 1..=calls.len() {
                for side in [Side::Before, Side::After] {
                    let at = format!("{at}, {side:?} call {call} of {calls:?}");
                    let was_done = call == calls.len() && side == Side::After;
                    let request = Request::new(&service, write, by).await;
                    crash(&request, call.try_into().unwrap(), side, &at).await;
                    if !shared_emails {
                        claims_are_those_of_the_users(&service).await;
                    }
                    repeat(&request, status_of_the_repeat(write, was_done), &at).await;
                    if !shared_emails {
                        claims_are_those_of_the_users(&service).await;
                    }
                }
            }
        }
    }
}

/// Sends the request, and kills the function on one `side` of the `nth` call that it makes.
async fn crash(request: &Request<'_>, nth: u32, side: Side, at: &str) {
    let store = request.service.store();
    store.hold_call(nth, side);
    tokio::select! {
        answer = request.send() => panic!("{at}: {answer:?}"),
        () = store.holds_call() => {}
    }
    request.service.kill_and_restart().await;
    store.go_on();
}

/// Sends the request again, as the client does that had no answer.
async fn repeat(request: &Request<'_>, status: u16, at: &str) {
    let answer = request.send().await;
    assert_eq!(answer.status.as_u16(), status, "{at}: {answer:?}");
    let users = all_users(request.service).await;
    let users = users.values().filter(|user| user["email"] == request.email);
    let users: Vec<_> = users.collect();
    if request.method == Method::DELETE {
        assert_eq!(users.len(), 0, "{at}");
        return;
    }
    assert_eq!(users.len(), 1, "{at}");
    if answer.status.is_success() {
        assert_eq!(answer.json(), *users[0], "{at}");
    }
}
