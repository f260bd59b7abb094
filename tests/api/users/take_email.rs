//! `PATCH` with `takeEmail=true`: an address moves to the user for whom it is verified.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Service, ada,
    events::{Credentials, Gateway, event, with_body},
    some_id,
    store_proxy::Side,
};

/// A new user, and its path.
async fn user(service: &Service) -> (Value, String) {
    let mut user = ada();
    user["userId"] = json!(some_id());
    let user = service.post("/users", &user).await.has_status(201).json();
    let path = format!("/users/{}", user["userId"].as_str().unwrap());
    (user, path)
}

/// The patch that takes the address of `other`.
fn takes(other: &Value) -> Value {
    json!({ "email": other["email"], "emailVerified": true })
}

async fn found(service: &Service, user: &Value) -> Value {
    let path = format!("/users?email={}", user["email"].as_str().unwrap());
    service.get(&path).await.has_status(200).json()
}

#[tokio::test]
async fn an_address_moves_from_a_user_who_has_not_verified_it() {
    let service = Service::start().await;
    let (old, old_path) = user(&service).await;
    let (new, path) = user(&service).await;
    let refused = service.patch(&path, &takes(&old)).await;
    let _ = refused.has_problem(409, "email_taken");
    service.store().take_calls();

    let taking = format!("{path}?takeEmail=true");
    let taken = service
        .patch(&taking, &takes(&old))
        .await
        .has_status(200)
        .json();
    let calls = [
        "GetItem",
        "TransactWriteItems",
        "GetItem",
        "GetItem",
        "GetItem",
        "TransactWriteItems",
    ];
    assert_eq!(service.store().take_calls(), calls);
    assert_eq!(
        [&taken["email"], &taken["emailVerified"]],
        [&old["email"], &json!(true)]
    );
    assert_eq!(found(&service, &old).await, taken);
    let loser = service.get(&old_path).await.has_status(200).json();
    assert_eq!(loser.get("email"), None);
    assert_eq!(
        [&loser["name"], &loser["version"]],
        [&old["name"], &json!(2)]
    );
    assert_eq!(loser["updatedBy"], taken["updatedBy"]);

    // Both can go on: the address of the one is free, and the other has none.
    let _ = service
        .patch(&old_path, &json!({ "email": new["email"] }))
        .await
        .has_status(200);
    assert_eq!(found(&service, &new).await["userId"], old["userId"]);
    let _ = service.delete(&path).await.has_status(204);
    let _ = service
        .patch(&old_path, &json!({ "email": old["email"] }))
        .await
        .has_status(200);
}

#[tokio::test]
async fn a_verified_address_stays_with_its_user() {
    let service = Service::start().await;
    let (old, old_path) = user(&service).await;
    let (new, path) = user(&service).await;
    let verified = json!({ "email": old["email"], "emailVerified": true });
    let _ = service.patch(&old_path, &verified).await.has_status(200);
    let taking = format!("{path}?takeEmail=true");
    let refused = service.patch(&taking, &takes(&old)).await;
    let _ = refused.has_problem(409, "email_taken");
    assert_eq!(service.get(&path).await.json(), new);
    assert_eq!(found(&service, &old).await["userId"], old["userId"]);
}

#[tokio::test]
async fn an_address_that_is_verified_just_before_it_is_taken_stays() {
    let service = Service::start().await;
    let (old, _) = user(&service).await;
    let (_, path) = user(&service).await;
    let mut item = service.item(old["userId"].as_str().unwrap()).await;
    service.store().hold_call(6, Side::Before);
    let taking = format!("{path}?takeEmail=true");
    let patch = takes(&old);
    let take = service.patch(&taking, &patch);
    let verify = async {
        service.store().holds_call().await;
        item["emailVerified"] = json!({ "BOOL": true });
        service.put_item(item.clone()).await;
        service.store().go_on();
        service.store().lose_held_call();
    };
    let (refused, ()) = tokio::join!(take, verify);
    let _ = refused.has_problem(409, "email_taken");
    assert_eq!(found(&service, &old).await["emailVerified"], true);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_address_with_one_of_both() {
    let service = Service::start().await;
    for nth in 1..=6 {
        let (old, old_path) = user(&service).await;
        let (_, path) = user(&service).await;
        service.store().take_calls();
        service.store().swallow_answer(nth);
        let taking = format!("{path}?takeEmail=true");
        let taken = service
            .patch(&taking, &takes(&old))
            .await
            .has_status(200)
            .json();
        assert_eq!(found(&service, &old).await, taken, "{nth}");
        assert_eq!(service.get(&old_path).await.json().get("email"), None);
    }
}

#[tokio::test]
async fn only_services_and_admins_take_an_address_and_only_a_verified_one() {
    let service = Service::start().await;
    let (old, _) = user(&service).await;
    let (new, path) = user(&service).await;
    let own = Credentials::token(new["userId"].as_str().unwrap(), "users/write", "");
    let taking = format!("{path}?takeEmail=true");
    let patch = json!({ "email": old["email"] });
    let event = with_body(event(Gateway::Rest, "PATCH", &taking, &own), &patch);
    let _ = service
        .answer(&event)
        .await
        .has_problem(403, "access_denied");
    for patch in [
        patch.clone(),
        json!({ "email": old["email"], "emailVerified": false }),
    ] {
        let refused = service.patch(&taking, &patch).await;
        let refused = refused.has_problem(400, "invalid_parameter");
        assert_eq!(refused.field_errors()[0].0, "/takeEmail");
    }
    let unclear = service
        .send_json(
            Method::PATCH,
            &format!("{path}?takeEmail=1"),
            &[],
            &takes(&old),
        )
        .await;
    let _ = unclear.has_problem(400, "invalid_parameter");
    assert_eq!(service.get(&path).await.json(), new);
}

#[tokio::test]
async fn an_address_that_nobody_has_is_taken_as_without_the_parameter() {
    let service = Service::start().await;
    let (_, path) = user(&service).await;
    let taking = format!("{path}?takeEmail=true");
    let free = ada();
    let taken = service
        .patch(&taking, &takes(&free))
        .await
        .has_status(200)
        .json();
    assert_eq!(found(&service, &free).await, taken);
}
