//! What a caller sees of a user, and what it may write of it.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Service, Setup, ada,
    events::{Credentials, Gateway, event, with_body},
    some_id,
};

const SCOPES: &str = "users/read users/write";

/// A user with every field, as a service sees it, and its path.
async fn grown_up(service: &Service) -> (Value, String) {
    let mut user = ada();
    user["userId"] = json!(some_id());
    user["emailVerified"] = json!(true);
    user["adminMetadata"] = json!({ "plan": "secret canary", "limits": { "seats": 5 } });
    user["status"] = json!("active");
    let user = service.post("/users", &user).await.has_status(201).json();
    let path = format!("/users/{}", user["userId"].as_str().unwrap());
    (user, path)
}

fn own(user: &Value) -> Credentials {
    Credentials::token(user["userId"].as_str().unwrap(), SCOPES, "")
}

fn admin() -> Credentials {
    Credentials::token(&some_id(), SCOPES, "admin")
}

async fn get(service: &Service, gateway: Gateway, path: &str, caller: &Credentials) -> Answer {
    service.answer(&event(gateway, "GET", path, caller)).await
}

async fn send(
    service: &Service,
    method: &str,
    path: &str,
    caller: &Credentials,
    body: &Value,
) -> Answer {
    let event = event(Gateway::Rest, method, path, caller);
    service.answer(&with_body(event, body)).await
}

fn without(user: &Value, names: &[&str]) -> Value {
    let mut user = user.clone();
    for name in names {
        user.as_object_mut().unwrap().remove(*name);
    }
    user
}

const HIDDEN: [&str; 3] = ["adminMetadata", "createdBy", "updatedBy"];

#[tokio::test]
async fn services_and_admins_see_all_of_a_user_and_others_do_not() {
    let setup = Setup {
        auth_mode: "NONE",
        ..Setup::default()
    };
    let service = setup.start().await;
    let (user, path) = grown_up(&service).await;
    let email = user["email"].as_str().unwrap();
    for gateway in [Gateway::Rest, Gateway::Http] {
        for caller in [Credentials::Signed, admin()] {
            let read = get(&service, gateway, &path, &caller).await.has_status(200);
            assert_eq!(read.json(), user);
        }
        for caller in [own(&user), Credentials::None] {
            let read = get(&service, gateway, &path, &caller).await.has_status(200);
            assert_eq!(read.json(), without(&user, &HIDDEN));
            assert!(!read.body.contains("secret"));
        }
        let found = format!("/users?email={email}");
        let found = get(&service, gateway, &found, &Credentials::None).await;
        assert_eq!(found.has_status(200).json(), without(&user, &HIDDEN));
        let list = get(&service, gateway, "/users", &Credentials::None).await;
        assert!(!list.has_status(200).body.contains("secret"));
        let list = get(&service, gateway, "/users", &Credentials::Signed).await;
        assert!(list.has_status(200).body.contains("secret"));
    }
}

#[tokio::test]
async fn an_entity_tag_is_that_of_what_the_caller_sees() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let tag = async |caller: &Credentials| {
        let read = get(&service, Gateway::Rest, &path, caller).await;
        read.has_status(200).header("etag").to_owned()
    };
    let (of_service, of_user) = (tag(&Credentials::Signed).await, tag(&own(&user)).await);
    assert_ne!(of_service, of_user);
    // The user does not learn that something has changed that it does not see, but for the version.
    let patch = async |caller: &Credentials, tag: &str| {
        let body = json!({ "phone": "+14155550123" });
        let mut event = with_body(event(Gateway::Rest, "PATCH", &path, caller), &body);
        event["headers"]["If-Match"] = json!(tag);
        event["multiValueHeaders"]["If-Match"] = json!([tag]);
        service.answer(&event).await
    };
    let _ = patch(&own(&user), &of_service)
        .await
        .has_problem(412, "version_mismatch");
    let written = patch(&own(&user), &of_user).await.has_status(200);
    assert_eq!(written.header("etag"), tag(&own(&user)).await);
    let _ = patch(&Credentials::Signed, &of_user)
        .await
        .has_problem(412, "version_mismatch");
}

#[tokio::test]
async fn in_none_what_is_read_without_credentials_can_be_the_condition_of_a_signed_write() {
    let setup = Setup {
        auth_mode: "NONE",
        ..Setup::default()
    };
    let service = setup.start().await;
    let (user, path) = grown_up(&service).await;
    let read = get(&service, Gateway::Rest, &path, &Credentials::None).await;
    let read = read.has_status(200);
    for status in [200, 412] {
        let mut event = with_body(
            event(Gateway::Rest, "PUT", &path, &Credentials::Signed),
            &without(&read.json(), &["version", "updatedAt"]),
        );
        event["multiValueHeaders"]["If-Match"] = json!([read.header("etag")]);
        let put = service.answer(&event).await.has_status(status);
        let now = service.get(&path).await.json();
        assert_eq!(now["adminMetadata"], user["adminMetadata"]);
        assert_eq!(now["version"], 2, "{put:?}");
    }
}

#[tokio::test]
async fn to_a_user_admin_metadata_is_no_field_even_if_it_guesses_the_value() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let caller = own(&user);
    for (method, ending) in [
        ("PATCH", "leave it out"),
        ("PUT", "leave it out, or send it as GET shows it"),
    ] {
        let mut answers = Vec::new();
        for name in ["adminMetadata", "createdBy", "adminMetadatum"] {
            let mut body = without(&ada(), &["userId"]);
            body["email"] = user["email"].clone();
            body[name] = user.get(name).cloned().unwrap_or(json!({}));
            let refused = send(&service, method, &path, &caller, &body).await;
            let refused = refused.has_problem(400, "invalid_user");
            let message = format!("is not a field of a user; {ending}");
            assert_eq!(refused.field_errors(), [(format!("/{name}"), message)]);
            answers.push(
                refused.json()["message"]
                    .as_str()
                    .unwrap()
                    .replace(name, ""),
            );
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
    assert_eq!(service.get(&path).await.json(), user);
}

#[tokio::test]
async fn a_user_sees_its_status_and_verification_but_cannot_write_them() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let caller = own(&user);
    for (name, value) in [
        ("status", json!("disabled")),
        ("emailVerified", json!(false)),
    ] {
        let refused = send(&service, "PATCH", &path, &caller, &json!({ name: value })).await;
        let message = "is written only by services and admins; leave it out";
        assert_eq!(
            refused.has_problem(400, "invalid_user").field_errors(),
            [(format!("/{name}"), message.to_owned())]
        );
        let mut changed = without(&user, &HIDDEN);
        changed[name] = value;
        let refused = send(&service, "PUT", &path, &caller, &changed).await;
        let message = format!("{message}, or send it as GET shows it");
        assert_eq!(
            refused.has_problem(400, "invalid_user").field_errors(),
            [(format!("/{name}"), message)]
        );
        let mut new = ada();
        let id = some_id();
        new[name] = user[name].clone();
        let caller = Credentials::token(&id, SCOPES, "");
        let _ = send(&service, "POST", "/users", &caller, &new)
            .await
            .has_problem(400, "invalid_user");
    }
    let put_back = send(&service, "PUT", &path, &caller, &without(&user, &HIDDEN)).await;
    assert_eq!(put_back.has_status(200).json()["status"], "active");
}

#[tokio::test]
async fn a_put_that_leaves_out_status_and_admin_metadata_leaves_them_as_they_are() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let replacement = json!({ "name": "Grace canary", "email": user["email"] });
    for caller in [own(&user), admin(), Credentials::Signed] {
        let put = send(&service, "PUT", &path, &caller, &replacement).await;
        let _ = put.has_status(200);
        let now = service.get(&path).await.has_status(200).json();
        for name in ["status", "adminMetadata", "emailVerified"] {
            assert_eq!(now[name], user[name], "{name}");
        }
    }
    let mut replacement = replacement;
    replacement["adminMetadata"] = json!({ "plan": "free" });
    replacement["status"] = json!("disabled");
    let put = service
        .put(&path, &replacement)
        .await
        .has_status(200)
        .json();
    assert_eq!(put["adminMetadata"], json!({ "plan": "free" }));
    assert_eq!(put["status"], "disabled");
}

#[tokio::test]
async fn admin_metadata_merges_deep_and_has_the_limits_of_metadata() {
    let service = Service::start().await;
    let (_, path) = grown_up(&service).await;
    let patch = json!({ "adminMetadata": { "limits": { "seats": null, "rooms": 2 } } });
    let patched = service.patch(&path, &patch).await.has_status(200).json();
    let merged = json!({ "plan": "secret canary", "limits": { "rooms": 2 } });
    assert_eq!(patched["adminMetadata"], merged);
    let large = json!({ "adminMetadata": { "a": "x".repeat(64 * 1024) } });
    let refused = service.patch(&path, &large).await;
    let _ = refused.has_problem(400, "invalid_user");
    let gone = service
        .patch(&path, &json!({ "adminMetadata": null }))
        .await;
    assert_eq!(gone.has_status(200).json().get("adminMetadata"), None);
}

#[tokio::test]
async fn a_user_shows_who_created_it_and_who_wrote_it_last() {
    let service = Service::start().await;
    let id = some_id();
    let user = json!({ "type": "user", "id": id });
    let caller = Credentials::token(&id, SCOPES, "");
    let created = send(&service, "POST", "/users", &caller, &ada()).await;
    assert_eq!(created.has_status(201).json().get("createdBy"), None);
    let path = format!("/users/{id}");
    let read = service.get(&path).await.json();
    assert_eq!([&read["createdBy"], &read["updatedBy"]], [&user, &user]);
    let body = json!({ "phone": "+14155550123" });
    let patched = send(&service, "PATCH", &path, &Credentials::Signed, &body).await;
    let patched = patched.has_status(200).json();
    assert_eq!(patched["createdBy"], user);
    assert_eq!(patched["updatedBy"]["type"], "service");
    let arn = patched["updatedBy"]["id"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:"), "{arn}");
    let headers = [("content-type", "application/json")];
    let put = service
        .send(Method::PUT, &path, &headers, patched.to_string())
        .await;
    assert_eq!(put.has_status(200).json()["createdBy"], user);
}

#[tokio::test]
async fn another_address_is_not_verified_unless_that_is_sent_with_it() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let email = user["email"].as_str().unwrap();
    let upper = json!({ "email": email.to_uppercase() });
    let same = service.patch(&path, &upper).await.has_status(200).json();
    assert_eq!(same["emailVerified"], true);
    let mut other = json!({ "email": format!("x{email}"), "emailVerified": true });
    let sent = service.patch(&path, &other).await.has_status(200).json();
    assert_eq!(sent["emailVerified"], true);
    other["email"] = json!(format!("y{email}"));
    let other = without(&other, &["emailVerified"]);
    let changed = service.patch(&path, &other).await.has_status(200).json();
    assert_eq!(changed.get("emailVerified"), None);

    // A service sends back all that it sees, with another address, and says again that it is verified.
    let verified = json!({ "email": other["email"], "emailVerified": true });
    let patched = service.patch(&path, &verified).await;
    let mut seen = patched.has_status(200).json();
    seen["email"] = json!(format!("w{email}"));
    let put = service.put(&path, &seen).await.has_status(200).json();
    assert_eq!(put["emailVerified"], true);

    // A user sends back all that it sees, with another address.
    let mut seen = get(&service, Gateway::Rest, &path, &own(&user))
        .await
        .json();
    seen["email"] = json!(format!("z{email}"));
    let put = send(&service, "PUT", &path, &own(&user), &seen).await;
    assert_eq!(put.has_status(200).json().get("emailVerified"), None);
}

#[tokio::test]
async fn a_search_for_a_verified_address_finds_no_other() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let search = format!("/users?email={}", user["email"].as_str().unwrap());
    let verified = format!("{search}&verified=true");
    assert_eq!(service.get(&verified).await.has_status(200).json(), user);
    let _ = service
        .patch(&path, &json!({ "emailVerified": false }))
        .await
        .has_status(200);
    let _ = service
        .get(&verified)
        .await
        .has_problem(404, "user_not_found");
    for search in [search.clone(), format!("{search}&verified=false")] {
        assert_eq!(
            service.get(&search).await.has_status(200).json()["emailVerified"],
            false
        );
    }
    // A page that shows every parameter sends its default, too.
    let _ = service.get("/users?verified=false").await.has_status(200);
    for path in [
        format!("{search}&verified=1"),
        String::from("/users?verified=true"),
    ] {
        let _ = service
            .get(&path)
            .await
            .has_problem(400, "invalid_parameter");
    }
}
