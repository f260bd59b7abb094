//! `kill -9` on either side of every DynamoDB call of every write.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Service, Setup, Through, ada, all_users, claims_are_those_of_the_users,
    history_is_exact, legacy_user, some_email, some_id, store_proxy::Side,
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
    Disable,
    Delete,
    Restore,
    RestoreMoved,
    Erase,
    EraseBoth,
    EraseDeleted,
    EraseOnlyDeleted,
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
    (Write::Disable, By::Service),
    (Write::Delete, By::Service),
    (Write::Delete, By::AnotherClient),
    (Write::Restore, By::Service),
    (Write::Restore, By::AnotherClient),
    (Write::RestoreMoved, By::Service),
    (Write::Erase, By::Service),
    (Write::Erase, By::AnotherClient),
    (Write::EraseBoth, By::Service),
    (Write::EraseDeleted, By::Service),
    (Write::EraseOnlyDeleted, By::Service),
];

/// The calls of a write: one that creates reads nothing first.
fn calls(write: Write, by: By) -> &'static [&'static str] {
    match (write, by) {
        (_, By::Nobody) => &["TransactWriteItems"],
        (Write::Erase | Write::EraseBoth | Write::EraseDeleted, _) => {
            &["BatchGetItem", "TransactWriteItems"]
        }
        (_, By::Service | By::AnotherClient) => &["GetItem", "TransactWriteItems"],
    }
}

impl Write {
    /// The address of the user after the write.
    fn email_after(self, old: &str) -> String {
        match self {
            Self::ReplaceMoved | Self::PatchMoved | Self::PatchMergedMoved | Self::RestoreMoved => {
                some_email()
            }
            Self::ReplaceRespelled => old.to_uppercase(),
            Self::Create
            | Self::CreateUnderKey
            | Self::CreateByPut
            | Self::Replace
            | Self::Patch
            | Self::PatchMerged
            | Self::Disable
            | Self::Delete
            | Self::Restore
            | Self::Erase
            | Self::EraseBoth
            | Self::EraseDeleted
            | Self::EraseOnlyDeleted => old.to_owned(),
        }
    }

    fn method_and_body(self, user_id: &str, email: &str) -> (Method, Value) {
        let name = "A canary by another name";
        let whole = json!({ "name": name, "email": email });
        match self {
            Self::Create => (
                Method::POST,
                json!({ "userId": user_id, "name": name, "email": email }),
            ),
            // Without a `userId`, which would keep a second one away.
            Self::CreateUnderKey => (Method::POST, whole),
            Self::CreateByPut | Self::Replace | Self::ReplaceRespelled | Self::ReplaceMoved => {
                (Method::PUT, whole)
            }
            Self::Patch => (Method::PATCH, json!({ "name": name })),
            Self::PatchMoved => (Method::PATCH, json!({ "email": email })),
            Self::PatchMerged => (Method::PATCH, json!({ "metadata": { "a": 1 } })),
            Self::PatchMergedMoved => (
                Method::PATCH,
                json!({ "email": email, "metadata": { "a": 1 } }),
            ),
            Self::Disable => (Method::PATCH, json!({ "status": "disabled" })),
            Self::Restore => (Method::POST, Value::Null),
            Self::RestoreMoved => (Method::POST, json!({ "email": email })),
            Self::Delete
            | Self::Erase
            | Self::EraseBoth
            | Self::EraseDeleted
            | Self::EraseOnlyDeleted => (Method::DELETE, Value::Null),
        }
    }

    fn path(self, user_id: &str) -> String {
        match self {
            Self::Create | Self::CreateUnderKey => "/users".to_owned(),
            Self::CreateByPut
            | Self::Replace
            | Self::ReplaceRespelled
            | Self::ReplaceMoved
            | Self::Patch
            | Self::PatchMoved
            | Self::PatchMerged
            | Self::PatchMergedMoved
            | Self::Disable
            | Self::Delete => format!("/users/{user_id}"),
            Self::Erase | Self::EraseBoth | Self::EraseDeleted => {
                format!("/users/{user_id}?erase=true")
            }
            Self::Restore | Self::RestoreMoved => format!("/deleted-users/{user_id}/restore"),
            Self::EraseOnlyDeleted => format!("/deleted-users/{user_id}"),
        }
    }

    /// Whether the write is of a user that was deleted before.
    fn is_of_deleted(self) -> bool {
        match self {
            Self::Restore
            | Self::RestoreMoved
            | Self::EraseBoth
            | Self::EraseDeleted
            | Self::EraseOnlyDeleted => true,
            Self::Create
            | Self::CreateUnderKey
            | Self::CreateByPut
            | Self::Replace
            | Self::ReplaceRespelled
            | Self::ReplaceMoved
            | Self::Patch
            | Self::PatchMoved
            | Self::PatchMerged
            | Self::PatchMergedMoved
            | Self::Disable
            | Self::Delete
            | Self::Erase => false,
        }
    }

    fn headers(self, user_id: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if self == Self::CreateUnderKey {
            headers.push(("idempotency-key", user_id.to_owned()));
        }
        if self == Self::CreateByPut {
            headers.push(("if-none-match", "*".to_owned()));
        }
        headers
    }
}

/// Writes the user who is there before the write.
async fn put_user(service: &Service, by: By, user_id: &str, email: &str) {
    match by {
        By::Nobody => {}
        By::Service => {
            let user = json!({ "userId": user_id, "name": "A canary", "email": email });
            let _ = service.post("/users", &user).await.has_status(201);
        }
        By::AnotherClient => service.put_item(legacy_user(user_id, email)).await,
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
    user_id: String,
}

impl<'a> Request<'a> {
    async fn new(service: &'a Service, write: Write, by: By) -> Self {
        let user_id = some_id();
        let old = ada()["email"].as_str().unwrap().to_owned();
        put_user(service, by, &user_id, &old).await;
        if write.is_of_deleted() {
            let deleted = service.delete(&format!("/users/{user_id}")).await;
            let _ = deleted.has_status(204);
        }
        if write == Write::EraseBoth {
            put_user(service, by, &user_id, &old).await;
        }
        let email = write.email_after(&old);
        let (method, body) = write.method_and_body(&user_id, &email);
        Self {
            service,
            method,
            path: write.path(&user_id),
            headers: write.headers(&user_id),
            body,
            email,
            user_id,
        }
    }

    async fn send(&self) -> Answer {
        let headers: Vec<_> = self
            .headers
            .iter()
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
        (
            Write::Delete
            | Write::Erase
            | Write::EraseBoth
            | Write::EraseDeleted
            | Write::EraseOnlyDeleted
            | Write::Restore
            | Write::RestoreMoved,
            true,
        ) => 404,
        (
            Write::Delete
            | Write::Erase
            | Write::EraseBoth
            | Write::EraseDeleted
            | Write::EraseOnlyDeleted,
            false,
        ) => 204,
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
            let calls = calls(write, by);
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
                    history_is_exact(&service, &request.user_id).await;
                    repeat(&request, status_of_the_repeat(write, was_done), &at).await;
                    history_is_exact(&service, &request.user_id).await;
                    if !shared_emails {
                        claims_are_those_of_the_users(&service).await;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_crash_on_either_side_of_any_call_that_takes_an_address_leaves_it_with_one_user() {
    let setup = Setup {
        through: Some(Through::Lambda),
        ..Setup::default()
    };
    let service = setup.start().await;
    for call in 1..=6 {
        for side in [Side::Before, Side::After] {
            let at = format!("{side:?} call {call}");
            let (loser, email) = (some_id(), some_email());
            put_user(&service, By::Service, &loser, &email).await;
            let mut request = Request::new(&service, Write::PatchMoved, By::Service).await;
            request.path.push_str("?takeEmail=true");
            request.body = json!({ "email": email, "emailVerified": true });
            request.email = email;
            crash(&request, call, side, &at).await;
            claims_are_those_of_the_users(&service).await;
            repeat(&request, 200, &at).await;
            claims_are_those_of_the_users(&service).await;
            let path = format!("/users/{loser}");
            let lost = service.get(&path).await.has_status(200).json();
            assert_eq!(lost.get("email"), None, "{at}");
            let _ = service.delete(&path).await.has_status(204);
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
    let users: Vec<_> = users
        .values()
        .filter(|user| user["email"] == request.email)
        .collect();
    if request.method == Method::DELETE {
        assert_eq!(users.len(), 0, "{at}");
        return;
    }
    assert_eq!(users.len(), 1, "{at}");
    if answer.status.is_success() {
        assert_eq!(answer.json(), *users[0], "{at}");
    }
}
