//! A disabled user reads its own record, and does nothing else: each operation, on its own record, on
//! another's, and on one that is not there.

use http::Method;
use serde_json::{Value, json};
use user_service::{
    http::operations::{OPERATIONS, Operation},
    service::Verdict,
};

use super::access::{creates, put_user, request};
use crate::support::{
    Answer, Copied, Service, Setup, ada, contract,
    events::{Credentials, Gateway, event, with_body},
    some_id,
    store_proxy::Side,
};

const SCOPES: &str = "users/read users/write";

/// What is stored of the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    Disabled,
    /// Disabled, and then deleted by a service.
    DisabledAndDeleted,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Own,
    Anothers,
    Nobodys,
}

async fn signed(service: &Service, method: &str, path: &str, body: &Value) -> Answer {
    let event = event(Gateway::Rest, method, path, &Credentials::Signed);
    service.answer(&with_body(event, body)).await
}

/// A caller of this kind, with its `userId` and its email address.
async fn some_caller(service: &Service, caller: Caller) -> (String, Value) {
    let user_id = some_id();
    let user = put_user(service, &user_id).await;
    let path = format!("/users/{user_id}");
    let disabled = json!({ "status": "disabled", "adminMetadata": { "why": "canary" } });
    let _ = signed(service, "PATCH", &path, &disabled)
        .await
        .has_status(200);
    match caller {
        Caller::Disabled => {}
        Caller::DisabledAndDeleted => {
            let deleted = signed(service, "DELETE", &path, &json!({})).await;
            let _ = deleted.has_status(204);
        }
    }
    (user_id, user["email"].clone())
}

/// The event of the operation on this user.
fn event_of(
    operation: &'static Operation,
    gateway: Gateway,
    user_id: &str,
    email: &Value,
    credentials: &Credentials,
) -> (String, Value) {
    let (method, path, _) = request(operation);
    let mut path = path.replace("{userId}", user_id);
    if path.ends_with("?email=") {
        path += email.as_str().unwrap();
    }
    let mut body = ada();
    if creates(operation) {
        body["userId"] = json!(user_id);
    }
    if path.ends_with("/restore") {
        body = json!({});
    }
    let mut event = event(gateway, method, &path, credentials);
    if ["POST", "PUT", "PATCH"].contains(&method) {
        event = with_body(event, &body);
    }
    (path, event)
}

/// The status, and the code of the problem.
fn expected(
    operation: &'static Operation,
    caller: Caller,
    target: Target,
    is_admin: bool,
) -> (u16, &'static str) {
    let verdict = match (is_admin, target) {
        (true, _) => operation.rule.admin,
        (false, Target::Own) => operation.rule.own,
        // An operation on no particular user is on the caller itself.
        (false, _) if !operation.at[0].0.contains("{userId}") => operation.rule.own,
        (false, Target::Anothers | Target::Nobodys) => operation.rule.anothers,
    };
    match verdict {
        Verdict::Denied => return (403, "access_denied"),
        Verdict::Hidden => return (404, "user_not_found"),
        Verdict::Allowed => {}
    }
    if creates(operation) && !is_admin && target != Target::Own {
        return (403, "access_denied"); // it creates only itself
    }
    let of_its_record = ["getUser", "replaceUser", "patchUser", "deleteUser"];
    match (operation.at[0].1, caller, target) {
        ("getUser", Caller::Disabled, Target::Own) => (200, ""),
        (id, Caller::DisabledAndDeleted, Target::Own) if of_its_record.contains(&id) => {
            (404, "user_not_found") // the record is gone
        }
        _ => (403, "user_disabled"),
    }
}

#[tokio::test]
async fn a_disabled_user_reads_its_own_record_and_does_nothing_else_admin_or_not() {
    let setup = Setup {
        auth_mode: "COGNITO",
        ..Setup::default()
    };
    let service = setup.start().await;
    let bob = some_id();
    let bobs_email = put_user(&service, &bob).await["email"].clone();
    for caller in [Caller::Disabled, Caller::DisabledAndDeleted] {
        let (own, own_email) = some_caller(&service, caller).await;
        let before = (
            service.item(&own).await,
            service.item_of(Copied::DeletedUsers, &own).await,
        );
        for is_admin in [true, false] {
            let groups = if is_admin { "admin" } else { "" };
            let credentials = Credentials::token(&own, SCOPES, groups);
            for operation in &OPERATIONS {
                for target in [Target::Own, Target::Anothers, Target::Nobodys] {
                    let (user_id, email) = match target {
                        Target::Own => (own.clone(), own_email.clone()),
                        Target::Anothers => (bob.clone(), bobs_email.clone()),
                        Target::Nobodys => (some_id(), json!("nobody.canary@example.com")),
                    };
                    for gateway in [Gateway::Rest, Gateway::Http] {
                        let (path, event) =
                            event_of(operation, gateway, &user_id, &email, &credentials);
                        service.store().take_calls();
                        let answer = service.answer(&event).await;
                        contract::check(operation.method.as_str(), &path, &answer);
                        let (status, code) = expected(operation, caller, target, is_admin);
                        let case = format!(
                            "{} {path} by {caller:?}, admin {is_admin}, on {target:?}",
                            operation.method
                        );
                        assert_eq!(answer.status.as_u16(), status, "{case}: {answer:?}");
                        if status == 200 {
                            continue;
                        }
                        assert_eq!(answer.json()["code"], code, "{case}");
                        // An admin's own record is read, and nothing is listed or written.
                        if is_admin && target != Target::Own {
                            let calls = service.store().take_calls();
                            assert_eq!(calls[0], "BatchGetItem", "{case}");
                            let mut more = calls[1..].iter();
                            assert!(more.all(|call| call == "GetItem"), "{case}: {calls:?}");
                        }
                    }
                }
            }
        }
        assert_eq!(
            before,
            (
                service.item(&own).await,
                service.item_of(Copied::DeletedUsers, &own).await
            )
        );
    }
    let unchanged = signed(&service, "GET", &format!("/users/{bob}"), &json!({})).await;
    assert_eq!(unchanged.has_status(200).json()["version"], 1);
}

#[tokio::test]
async fn an_admin_without_a_record_or_with_an_active_one_may_act_on_others() {
    let service = Service::start().await;
    let bob = some_id();
    let _ = put_user(&service, &bob).await;
    let path = format!("/users/{bob}");
    let patch = json!({ "adminMetadata": { "plan": "canary" } });
    let root = some_id();
    let admin = Credentials::token(&root, SCOPES, "admin");
    let act = async || {
        let patch = with_body(event(Gateway::Rest, "PATCH", &path, &admin), &patch);
        service.store().take_calls();
        let _ = service.answer(&patch).await.has_status(200);
        service.store().take_calls()
    };
    let read_own = "BatchGetItem";
    let write = ["GetItem", "TransactWriteItems"];
    // One batch of two reads is not atomic, so one that finds nothing is repeated.
    assert_eq!(act().await, [&[read_own, read_own][..], &write].concat());
    let _ = put_user(&service, &root).await;
    assert_eq!(act().await, [&[read_own][..], &write].concat());
    // A live record decides, also beside a deleted one that is disabled.
    let own = format!("/users/{root}");
    let disabled = json!({ "status": "disabled" });
    let _ = signed(&service, "PATCH", &own, &disabled)
        .await
        .has_status(200);
    let _ = signed(&service, "DELETE", &own, &json!({}))
        .await
        .has_status(204);
    let _ = put_user(&service, &root).await;
    assert_eq!(act().await, [&[read_own][..], &write].concat());
}

#[tokio::test]
async fn each_round_of_an_admins_write_asks_again_whether_the_admin_is_disabled() {
    let service = Service::start().await;
    let (bob, root) = (some_id(), some_id());
    let _ = put_user(&service, &bob).await;
    let _ = put_user(&service, &root).await;
    let admin = Credentials::token(&root, SCOPES, "admin");
    let path = format!("/users/{bob}");
    let body = json!({ "phone": "+14155550123" });
    let patch = with_body(event(Gateway::Rest, "PATCH", &path, &admin), &body);
    let mut item = service.item(&bob).await;
    // The commit of the first round, after its two reads.
    service.store().hold_call(3, Side::Before);
    let write = service.answer(&patch);
    let disable = async {
        service.store().holds_call().await;
        let own = service.item(&root).await;
        let mut own = own.clone();
        own["status"] = json!({ "S": "disabled" });
        service.put_item(own).await;
        // The user changes, so that there is a second round.
        item["name"] = json!({ "S": "Another canary" });
        service.put_item(item.clone()).await;
        service.store().go_on();
    };
    let (written, ()) = tokio::join!(write, disable);
    let _ = written.has_problem(403, "user_disabled");
    let read = service.send(Method::GET, &path, &[], "").await;
    assert_eq!(read.json().get("phone"), None);
}
