//! The state that the service keeps in the item of a user: the attribute `_userService`.

use std::collections::{BTreeSet, HashMap};

use http::Method;
use serde_json::{Value, json};

use crate::support::{Service, Setup, ada, legacy_user, some_email, some_id, take_state};

/// Creates a user. Returns its `userId` and its path.
async fn created(service: &Service, email: &str) -> (String, String) {
    let user_id = some_id();
    let body = json!({ "userId": user_id, "name": "A canary", "email": email });
    let _ = service.post("/users", &body).await.has_status(201);
    let path = format!("/users/{user_id}");
    (user_id, path)
}

/// The claims with these addresses and `userId`s.
fn claims<const N: usize>(claims: [(&str, &str); N]) -> HashMap<String, String> {
    HashMap::from(claims.map(|(email, user_id)| (email.to_owned(), user_id.to_owned())))
}

/// Values that another client wrote into the attribute: no map with a `revision`. Each with the
/// JSON that answers show.
fn values_of_another_client() -> [(Value, Value); 5] {
    [
        (json!({ "S": "mine" }), json!("mine")),
        (json!({ "N": "7" }), json!(7)),
        (json!({ "L": [{ "S": "revision" }] }), json!(["revision"])),
        (json!({ "M": {} }), json!({})),
        (
            json!({ "M": { "emailKey": { "S": "canary@example.com" } } }),
            json!({ "emailKey": "canary@example.com" }),
        ),
    ]
}

#[tokio::test]
async fn answers_leave_out_the_state() {
    let service = Service::start().await;
    let email = some_email();
    let user_id = some_id();
    let user = json!({ "userId": user_id, "name": "A canary", "email": email });
    let path = format!("/users/{user_id}");
    let change = json!({ "name": "Another canary" });
    let answers = [
        service.post("/users", &user).await.has_status(201),
        service.get(&path).await.has_status(200),
        service
            .get(&format!("/users?userId={user_id}"))
            .await
            .has_status(200),
        service
            .get(&format!("/users?email={email}"))
            .await
            .has_status(200),
        service.get("/users").await.has_status(200),
        service.put(&path, &user).await.has_status(200),
        service.patch(&path, &change).await.has_status(200),
    ];
    for answer in answers {
        assert!(!answer.body.contains("_userService"), "{answer:?}");
        assert!(!answer.body.contains("revision"), "{answer:?}");
    }
    let state = take_state(&mut service.item(&user_id).await);
    assert_eq!(state["emailKey"], json!({ "S": email }));
    assert_eq!(state.as_object().unwrap().len(), 2, "{state}");
}

#[tokio::test]
async fn a_map_with_a_revision_of_any_type_is_the_state() {
    let service = Service::start().await;
    for revision in [
        json!({ "S": "" }),
        json!({ "N": "1" }),
        json!({ "NULL": true }),
    ] {
        let user_id = some_id();
        let mut item = legacy_user(&user_id, &some_email());
        item["_userService"] = json!({ "M": { "revision": revision } });
        service.put_item(item).await;
        let path = format!("/users/{user_id}");
        let read = service.get(&path).await.has_status(200);
        assert!(!read.body.contains("_userService"), "{read:?}");
        let change = json!({ "name": "A canary" });
        let _ = service.patch(&path, &change).await.has_status(200);
        // It has a revision of the service now.
        take_state(&mut service.item(&user_id).await);
        let _ = service.delete(&path).await.has_status(204);
    }
    assert_eq!(service.claims().await, HashMap::new());
}

#[tokio::test]
async fn each_write_changes_the_revision() {
    let service = Service::start().await;
    let email = some_email();
    let (user_id, path) = created(&service, &email).await;
    let mut revisions = BTreeSet::new();
    let same = json!({ "name": "A canary", "email": email });
    let requests = [
        (Method::PATCH, json!({ "name": "Another canary" })),
        (Method::PATCH, json!({ "email": some_email() })),
        (Method::PATCH, json!({})),
        (Method::PUT, same.clone()),
        (Method::PUT, same),
    ];
    revisions.insert(revision(&service, &user_id).await);
    for (method, body) in &requests {
        let _ = service
            .send_json(method.clone(), &path, &[], body)
            .await
            .has_status(200);
        revisions.insert(revision(&service, &user_id).await);
    }
    assert_eq!(revisions.len(), 1 + requests.len(), "{revisions:?}");
}

async fn revision(service: &Service, user_id: &str) -> String {
    take_state(&mut service.item(user_id).await)["revision"].to_string()
}

#[tokio::test]
async fn a_write_keeps_the_members_of_the_state_that_the_service_does_not_know() {
    let service = Service::start().await;
    let email = some_email();
    let (user_id, path) = created(&service, &email).await;
    let mut state = take_state(&mut service.item(&user_id).await);
    let of_a_newer_version = json!({ "M": { "since": { "N": "2" }, "tags": { "SS": ["a"] } } });
    state["newer"] = of_a_newer_version.clone();
    let value = json!({ "M": state });
    assert!(
        service
            .set_attribute(&user_id, "_userService", &value)
            .await
    );
    for (method, body) in [
        (Method::PATCH, json!({ "name": "Another canary" })),
        (Method::PATCH, json!({ "email": some_email() })),
        (Method::PUT, ada()),
    ] {
        let answer = service.send_json(method, &path, &[], &body).await;
        assert!(!answer.has_status(200).body.contains("newer"));
        let after = take_state(&mut service.item(&user_id).await);
        assert_eq!(after["newer"], of_a_newer_version);
        assert_ne!(after["revision"], state["revision"]);
    }
    let _ = service.delete(&path).await.has_status(204);
    assert_eq!(service.claims().await, HashMap::new());
}

#[tokio::test]
async fn the_attribute_of_another_client_is_shown_and_kept_and_claims_hold() {
    let service = Service::start().await;
    for (stored, shown) in values_of_another_client() {
        let (user_id, emails) = (some_id(), [some_email(), some_email(), some_email()]);
        let path = format!("/users/{user_id}");
        let mut item = legacy_user(&user_id, &emails[0]);
        item["_userService"] = stored.clone();
        service.put_item(item).await;
        let read = service.get(&path).await.has_status(200);
        assert_eq!(read.json()["_userService"], shown);

        let requests = [
            (Method::PATCH, json!({ "name": "A canary" }), &emails[0]),
            (Method::PATCH, json!({ "name": "B canary" }), &emails[0]),
            (Method::PATCH, json!({ "email": emails[1] }), &emails[1]),
            (
                Method::PUT,
                json!({ "name": "C canary", "email": emails[2] }),
                &emails[2],
            ),
        ];
        for (method, body, email) in requests {
            let answer = service.send_json(method, &path, &[], &body).await;
            assert_eq!(answer.has_status(200).json()["_userService"], shown);
            assert_eq!(service.item(&user_id).await["_userService"], stored);
            assert_eq!(service.claims().await, claims([(email, &user_id)]));
        }
        // The user has its address for itself.
        let other = json!({ "name": "A canary", "email": emails[2] });
        let taken = service.post("/users", &other).await;
        let _ = taken.has_problem(409, "email_taken");

        let _ = service.delete(&path).await.has_status(204);
        assert_eq!(service.claims().await, HashMap::new());
    }
}

#[tokio::test]
async fn of_32_concurrent_writes_beside_the_attribute_of_another_client_each_counts() {
    let service = Service::start().await;
    let user_id = some_id();
    let path = format!("/users/{user_id}");
    let mut item = legacy_user(&user_id, &some_email());
    item["_userService"] = json!({ "S": "mine" });
    service.put_item(item).await;
    let bodies: Vec<_> = (0..32)
        .map(|number| json!({ "metadata": { format!("key{number}"): number } }))
        .collect();
    let patches = bodies.iter().map(|body| service.patch(&path, body));
    for answer in futures_util::future::join_all(patches).await {
        let _ = answer.has_status(200);
    }
    let user = service.get(&path).await.has_status(200).json();
    assert_eq!(user["version"], 32);
    assert_eq!(user["metadata"].as_object().unwrap().len(), 32);
    assert_eq!(user["_userService"], "mine");
}

#[tokio::test]
async fn the_attribute_of_another_client_can_be_put_back_only_as_it_is_shown() {
    let service = Service::start().await;
    for (stored, _) in values_of_another_client() {
        let user_id = some_id();
        let path = format!("/users/{user_id}");
        let mut item = legacy_user(&user_id, &some_email());
        item["_userService"] = stored.clone();
        service.put_item(item).await;
        let mut user = service.get(&path).await.has_status(200).json();
        user["name"] = json!("Another canary");
        let _ = service.put(&path, &user).await.has_status(200);
        let mut user = service.get(&path).await.has_status(200).json();
        user["_userService"] = json!({ "revision": "a" });
        let refused = service.put(&path, &user).await;
        let refused = refused.has_problem(400, "invalid_user");
        assert_eq!(refused.field_errors()[0].0, "/_userService");
        assert_eq!(service.item(&user_id).await["_userService"], stored);
    }
}

#[tokio::test]
async fn a_client_that_sends_the_attribute_gets_400_and_changes_nothing() {
    let service = Service::start().await;
    let email = some_email();
    let (user_id, path) = created(&service, &email).await;
    let before = service.item(&user_id).await;
    let revision = take_state(&mut before.clone())["revision"]["S"].clone();
    for value in [
        json!("mine"),
        json!({}),
        json!({ "revision": "a" }),
        json!({ "revision": revision, "emailKey": email }),
    ] {
        let mut user = json!({ "name": "A canary", "email": email, "_userService": value });
        let change = json!({ "_userService": value });
        let new_path = format!("/users/{}", some_id());
        let if_none_match = [("if-none-match", "*")];
        let answers = [
            service.put(&path, &user).await,
            service.patch(&path, &change).await,
            service
                .send_json(Method::PUT, &new_path, &if_none_match, &user)
                .await,
            {
                user["email"] = json!(some_email());
                service.post("/users", &user).await
            },
        ];
        for answer in answers {
            let errors = answer.has_problem(400, "invalid_user").field_errors();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert_eq!(errors[0].0, "/_userService");
        }
    }
    assert_eq!(service.item(&user_id).await, before);
    assert_eq!(service.claims().await, claims([(&email, &user_id)]));
}

#[tokio::test]
async fn the_next_write_follows_an_email_that_another_client_has_changed() {
    let service = Service::start().await;
    for (method, body) in [
        (Method::PATCH, json!({ "name": "Another canary" })),
        (Method::PATCH, json!({})),
        (Method::PUT, json!({ "name": "Another canary" })),
    ] {
        let (old, new) = (some_email(), some_email());
        let (user_id, path) = created(&service, &old).await;
        let value = json!({ "S": new });
        assert!(service.set_attribute(&user_id, "email", &value).await);
        assert_eq!(service.claims().await, claims([(&old, &user_id)]));
        let mut body = body.clone();
        if method == Method::PUT {
            body["email"] = json!(new);
        }
        let _ = service
            .send_json(method, &path, &[], &body)
            .await
            .has_status(200);
        assert_eq!(service.claims().await, claims([(&new, &user_id)]));
        let found = service.get(&format!("/users?email={new}")).await;
        assert_eq!(found.has_status(200).json()["userId"], user_id);
        let _ = service.delete(&path).await.has_status(204);
        assert_eq!(service.claims().await, HashMap::new());
    }
}

#[tokio::test]
async fn a_write_releases_the_claim_on_an_email_that_another_client_has_changed() {
    let service = Service::start().await;
    // A deletion, a move to a third address, and an address that is none.
    let (old, new, third) = (some_email(), some_email(), some_email());
    for (changed, body) in [
        (json!({ "S": new }), None),
        (json!({ "S": new }), Some(json!({ "email": third }))),
        (json!({ "N": "7" }), Some(json!({ "email": third }))),
        (json!({ "S": "no address" }), None),
    ] {
        let (user_id, path) = created(&service, &old).await;
        assert!(service.set_attribute(&user_id, "email", &changed).await);
        match body {
            None => drop(service.delete(&path).await.has_status(204)),
            Some(body) => {
                let _ = service.patch(&path, &body).await.has_status(200);
                assert_eq!(service.claims().await, claims([(&third, &user_id)]));
                let _ = service.delete(&path).await.has_status(204);
            }
        }
        assert_eq!(service.claims().await, HashMap::new());
    }
}

#[tokio::test]
async fn an_email_that_another_client_has_taken_from_another_user_is_409_until_the_user_moves() {
    let service = Service::start().await;
    let (taken, old, new) = (some_email(), some_email(), some_email());
    let (owner, _) = created(&service, &taken).await;
    let (user_id, path) = created(&service, &old).await;
    let value = json!({ "S": taken });
    assert!(service.set_attribute(&user_id, "email", &value).await);
    let change = json!({ "name": "Another canary" });
    let refused = service.patch(&path, &change).await;
    let _ = refused.has_problem(409, "email_taken");
    assert_eq!(
        service.claims().await,
        claims([(&taken, &owner), (&old, &user_id)])
    );
    let moved = service.patch(&path, &json!({ "email": new })).await;
    let _ = moved.has_status(200);
    assert_eq!(
        service.claims().await,
        claims([(&taken, &owner), (&new, &user_id)])
    );
    let _ = service.delete(&path).await.has_status(204);
    assert_eq!(service.claims().await, claims([(&taken, &owner)]));
}

/// A service, and another one that lets the users in the same table share addresses.
async fn with_unique_emails_on_and_off() -> (Service, Service) {
    let on = Service::start().await;
    let setup = Setup {
        shared_emails: true,
        ..Setup::default()
    };
    let off = setup.start_beside(&on).await;
    (on, off)
}

#[tokio::test]
async fn a_user_from_the_time_of_shared_emails_claims_its_address_with_its_next_write() {
    let (on, off) = with_unique_emails_on_and_off().await;
    let email = some_email();
    let (first, first_path) = created(&off, &email).await;
    let (second, second_path) = created(&off, &email).await;
    assert_eq!(on.claims().await, HashMap::new());
    let by_email = format!("/users?email={email}");
    let _ = on.get(&by_email).await.has_status(404);

    let change = json!({ "name": "Another canary" });
    let _ = on.patch(&first_path, &change).await.has_status(200);
    assert_eq!(on.claims().await, claims([(&email, &first)]));
    let found = on.get(&by_email).await.has_status(200).json();
    assert_eq!(found["userId"], first);

    let same = json!({ "name": "Another canary", "email": email });
    for answer in [
        on.patch(&second_path, &change).await,
        on.put(&second_path, &same).await,
    ] {
        let _ = answer.has_problem(409, "email_taken");
    }
    let new = some_email();
    let moved = on.patch(&second_path, &json!({ "email": new })).await;
    let _ = moved.has_status(200);
    assert_eq!(
        on.claims().await,
        claims([(&email, &first), (&new, &second)])
    );
}

#[tokio::test]
async fn a_user_from_the_time_of_shared_emails_can_be_deleted_without_a_claim() {
    let (on, off) = with_unique_emails_on_and_off().await;
    let email = some_email();
    let (_, path) = created(&off, &email).await;
    let (owner, _) = created(&on, &email).await;
    let _ = on.delete(&path).await.has_status(204);
    assert_eq!(on.claims().await, claims([(&email, &owner)]));
}

#[tokio::test]
async fn a_claim_from_before_the_time_of_shared_emails_is_released_by_the_next_write_after_it() {
    let (on, off) = with_unique_emails_on_and_off().await;
    for moves in [true, false] {
        let (old, new) = (some_email(), some_email());
        let (user_id, path) = created(&on, &old).await;
        let _ = off
            .patch(&path, &json!({ "email": new }))
            .await
            .has_status(200);
        // Claims are not looked at in that time.
        assert_eq!(on.claims().await, claims([(&old, &user_id)]));
        if moves {
            let change = json!({ "name": "Another canary" });
            let _ = on.patch(&path, &change).await.has_status(200);
            assert_eq!(on.claims().await, claims([(&new, &user_id)]));
        }
        let _ = on.delete(&path).await.has_status(204);
        assert_eq!(on.claims().await, HashMap::new());
    }
}

/// A table of users after a restore: the item of the first user says that it holds the claim on
/// an address, which the second user holds by now. Returns the address, the first user's
/// `userId`, and the second's.
async fn restored_user(service: &Service) -> (String, String, String) {
    let email = some_email();
    let (first, path) = created(service, &email).await;
    let backup = service.item(&first).await;
    let _ = service.delete(&path).await.has_status(204);
    let (second, _) = created(service, &email).await;
    service.put_item(backup).await;
    (email, first, second)
}

#[tokio::test]
async fn a_restored_user_moves_and_is_deleted_and_the_claim_of_another_user_stays() {
    let service = Service::start().await;
    for moves in [Some(Method::PATCH), Some(Method::PUT), None] {
        let (email, first, second) = restored_user(&service).await;
        let path = format!("/users/{first}");
        if let Some(method) = moves {
            let new = some_email();
            let body = json!({ "name": "A canary", "email": new });
            let moved = service.send_json(method, &path, &[], &body).await;
            let _ = moved.has_status(200);
            assert_eq!(
                service.claims().await,
                claims([(&email, &second), (&new, &first)])
            );
            let state = take_state(&mut service.item(&first).await);
            assert_eq!(state["emailKey"], json!({ "S": new }));
        }
        let _ = service.delete(&path).await.has_status(204);
        assert_eq!(service.claims().await, claims([(&email, &second)]));
        let found = service.get(&format!("/users?email={email}")).await;
        assert_eq!(found.has_status(200).json()["userId"], second);
        let _ = service.delete(&format!("/users/{second}")).await;
    }
}

/// The item records the claim, so a write that keeps the address does not claim it again. The
/// operator finds such users with `claim-emails`.
#[tokio::test]
async fn a_restored_user_can_be_changed_without_a_move_and_a_lookup_finds_who_holds_the_claim() {
    let service = Service::start().await;
    let (email, first, second) = restored_user(&service).await;
    let path = format!("/users/{first}");
    for (method, body) in [
        (Method::PATCH, json!({ "name": "Another canary" })),
        (Method::PUT, json!({ "name": "A canary", "email": email })),
    ] {
        let answer = service.send_json(method, &path, &[], &body).await;
        let _ = answer.has_status(200);
        assert_eq!(service.claims().await, claims([(&email, &second)]));
        let found = service.get(&format!("/users?email={email}")).await;
        assert_eq!(found.has_status(200).json()["userId"], second);
    }
}

/// Another client takes the address out of an item, or puts another one into it, or copies the
/// item. The item still records the claim, and somebody else holds the address by now.
#[tokio::test]
async fn an_address_that_the_item_records_and_another_user_holds_is_taken() {
    let service = Service::start().await;
    for other_email in [None, Some(some_email())] {
        let email = some_email();
        let (user_id, path) = created(&service, &email).await;
        let mut item = service.item(&user_id).await;
        item["email"] = match &other_email {
            Some(other) => json!({ "S": other }),
            None => json!({ "NULL": true }),
        };
        service.put_item(item.clone()).await;
        release_left_over_claims(&service).await;
        assert_eq!(service.claims().await, HashMap::new());
        let state = take_state(&mut service.item(&user_id).await);
        assert_eq!(state.get("emailKey"), None, "{state}");
        // The item is as it was before the release, such as after a restore.
        service.put_item(item).await;
        let (second, second_path) = created(&service, &email).await;
        let change = json!({ "email": email });
        let refused = service.patch(&path, &change).await;
        let _ = refused.has_problem(409, "email_taken");
        assert_eq!(service.claims().await, claims([(&email, &second)]));
        let _ = service.delete(&second_path).await.has_status(204);
        let _ = service.patch(&path, &change).await.has_status(200);
        assert_eq!(service.claims().await, claims([(&email, &user_id)]));
        let _ = service.delete(&path).await.has_status(204);
    }
}

async fn release_left_over_claims(service: &Service) {
    let store = service.user_store();
    let (claims, _, _) = store.claims(None).await.unwrap();
    for claim in store.left_over(claims).await.unwrap() {
        assert!(store.release_left_over(&claim).await.unwrap());
    }
}
