//! `kill -9` on either side of every DynamoDB call of every write.

use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::{
    emails::claims_are_those_of_the_users,
    harness::{Answer, Service, Setup, Through, ada, some_id},
    store_proxy::Side,
};

/// A write of one user, who is there before, made by this service or by another client,
/// unless the write is to make it.
struct Write {
    name: &'static str,
    before: Before,
    method: Method,
    headers: &'static [(&'static str, &'static str)],
    /// What it changes of the user in the body that creates it; null leaves all out.
    change: fn() -> Value,
    /// The calls it makes.
    calls: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nobody,
    User,
    UserOfAnotherClient,
}

fn writes() -> Vec<Write> {
    let email = || json!({ "email": ada()["email"] });
    let name = || json!({ "name": "A canary by another name" });
    let metadata = || json!({ "metadata": { "a": 1 } });
    let write = |name, before, method, change, calls| Write {
        name,
        before,
        method,
        headers: &[],
        change,
        calls,
    };
    let read_first: &[_] = &["GetItem", "TransactWriteItems"];
    let then_moved: &[_] = &["UpdateItem", "TransactWriteItems"];
    let transaction: &[_] = &["TransactWriteItems"];
    let update: &[_] = &["UpdateItem"];
    let under_a_key = Write {
        headers: &[("idempotency-key", "canary")],
        ..write(
            "create under a key",
            Before::Nobody,
            Method::POST,
            name,
            transaction,
        )
    };
    let put = Write {
        headers: &[("if-none-match", "*")],
        ..write(
            "create by PUT",
            Before::Nobody,
            Method::PUT,
            name,
            transaction,
        )
    };
    vec![
        write("create", Before::Nobody, Method::POST, name, transaction),
        under_a_key,
        put,
        write("replace", Before::User, Method::PUT, name, update),
        write(
            "replace, moved",
            Before::User,
            Method::PUT,
            email,
            then_moved,
        ),
        write("patch", Before::User, Method::PATCH, name, update),
        write(
            "patch, moved",
            Before::User,
            Method::PATCH,
            email,
            then_moved,
        ),
        write(
            "patch, merged",
            Before::User,
            Method::PATCH,
            metadata,
            &["GetItem", "UpdateItem"],
        ),
        write(
            "delete",
            Before::User,
            Method::DELETE,
            || Value::Null,
            read_first,
        ),
        write(
            "replace another's",
            Before::UserOfAnotherClient,
            Method::PUT,
            email,
            then_moved,
        ),
        write(
            "patch another's",
            Before::UserOfAnotherClient,
            Method::PATCH,
            name,
            then_moved,
        ),
        write(
            "delete another's",
            Before::UserOfAnotherClient,
            Method::DELETE,
            || Value::Null,
            read_first,
        ),
    ]
}

/// A write of a user of its own, ready to be sent.
struct Request<'a> {
    service: &'a Service,
    method: Method,
    path: String,
    headers: Vec<(&'a str, &'a str)>,
    body: String,
}

impl<'a> Request<'a> {
    async fn new(service: &'a Service, write: &Write) -> Self {
        let (user_id, mut user) = (some_id(), ada());
        match write.before {
            Before::Nobody => {}
            Before::User => {
                let mut user = user.clone();
                user["userId"] = json!(user_id);
                let _ = service.post("/users", &user).await.has_status(201);
            }
            Before::UserOfAnotherClient => {
                let item = json!({
                    "userId": { "S": user_id },
                    "name": { "S": user["name"] },
                    "email": { "S": user["email"] },
                });
                service.put_item(item).await;
            }
        }
        let change = (write.change)();
        let body = match write.method {
            Method::PATCH => change,
            _ => {
                for (field, value) in change.as_object().into_iter().flatten() {
                    user[field] = value.clone();
                }
                if write.method == Method::POST {
                    user["userId"] = json!(user_id);
                }
                user
            }
        };
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(write.headers.iter().map(|(name, value)| match *name {
            "idempotency-key" => (*name, &*user_id.clone().leak()),
            _ => (*name, *value),
        }));
        Self {
            service,
            method: write.method.clone(),
            path: match write.method {
                Method::POST => "/users".to_owned(),
                _ => format!("/users/{user_id}"),
            },
            headers,
            body: match write.method {
                Method::DELETE => String::new(),
                _ => body.to_string(),
            },
        }
    }

    async fn send(&self) -> Answer {
        let (method, body) = (self.method.clone(), self.body.clone());
        self.service
            .send(method, &self.path, &self.headers, body)
            .await
    }
}

#[tokio::test]
async fn a_crash_on_either_side_of_any_call_of_any_write_leaves_users_and_claims_consistent() {
    let setup = Setup {
        through: Some(Through::Lambda),
        ..Setup::default()
    };
    let service = setup.start().await;
    for write in writes() {
        let undisturbed = Request::new(&service, &write).await;
        service.store().take_calls();
        let answer = undisturbed.send().await;
        assert!(answer.status.is_success(), "{}: {answer:?}", write.name);
        assert_eq!(service.store().take_calls(), write.calls, "{}", write.name);

        for call in 1..=write.calls.len() {
            for side in [Side::Before, Side::After] {
                let at = format!("{}, {side:?} call {call}", write.name);
                let request = Request::new(&service, &write).await;
                service.store().hold_call(call.try_into().unwrap(), side);
                tokio::select! {
                    answer = request.send() => panic!("{at}: {answer:?}"),
                    () = service.store().holds_call() => {}
                }
                service.kill_and_restart().await;
                claims_are_those_of_the_users(&service).await;

                // The client does not know, and sends it again.
                let is_done = call == write.calls.len() && side == Side::After;
                let again = request.send().await;
                let status = match (&write.method, is_done) {
                    (&Method::POST, true) if write.headers.is_empty() => 409,
                    (&Method::POST, _) => 201,
                    (&Method::PUT, true) if write.before == Before::Nobody => 412,
                    (&Method::PUT, _) if write.before == Before::Nobody => 201,
                    (&Method::DELETE, true) => 404,
                    (&Method::DELETE, false) => 204,
                    _ => 200,
                };
                assert_eq!(again.status.as_u16(), status, "{at}: {again:?}");
                claims_are_those_of_the_users(&service).await;
            }
        }
    }
}
