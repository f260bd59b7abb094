//! One user for each email address, and lookup by it.

use std::collections::HashMap;

use http::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    Service, ada, claims_are_those_of_the_users, legacy_user, some_email, some_id,
};

async fn created(service: &Service, email: &str) -> String {
    let body = json!({ "name": "A canary", "email": email });
    let user = service.post("/users", &body).await.has_status(201);
    user.header("location").to_owned()
}

#[tokio::test]
async fn of_64_concurrent_creates_of_one_email_one_is_201_and_63_are_409() {
    let service = Service::start().await;
    let email = some_email();
    let bodies: Vec<_> = (0..64u32)
        .map(|number| {
            let letters = email.chars().enumerate();
            let upper = |index: usize| number >> (index % 6) & 1 == 1;
            let email: String = letters
                .map(|(index, c)| {
                    if upper(index) {
                        c.to_ascii_uppercase()
                    } else {
                        c
                    }
                })
                .collect();
            json!({ "name": "A canary", "email": email })
        })
        .collect();
    let answers = bodies.iter().map(|body| service.post("/users", body));
    let mut wins = 0;
    for answer in futures_util::future::join_all(answers).await {
        if answer.status == 201 {
            wins += 1;
            continue;
        }
        let taken = answer.has_problem(409, "email_taken");
        let errors = [("/email".to_owned(), "is that of another user".to_owned())];
        assert_eq!(taken.field_errors(), errors);
    }
    assert_eq!((wins, service.claims().await.len()), (1, 1));
    claims_are_those_of_the_users(&service).await;
}

#[tokio::test]
async fn of_concurrent_puts_and_patches_to_one_email_one_holds() {
    let service = Service::start().await;
    for round in 0..8 {
        let email = some_email();
        let mut paths = Vec::new();
        for _ in 0..16 {
            paths.push(created(&service, &some_email()).await);
        }
        let body = json!({ "name": "A canary", "email": email });
        let writes = paths.iter().enumerate().map(|(index, path)| {
            let method = if (index + round) % 2 == 0 {
                Method::PUT
            } else {
                Method::PATCH
            };
            service.send_json(method, path, &[], &body)
        });
        let mut wins = 0;
        for answer in futures_util::future::join_all(writes).await {
            match answer.status.as_u16() {
                200 => wins += 1,
                _ => drop(answer.has_problem(409, "email_taken")),
            }
        }
        assert_eq!(wins, 1);
    }
    claims_are_those_of_the_users(&service).await;
}

#[tokio::test]
async fn a_patch_of_the_email_against_a_delete_leaves_no_claim_without_its_user() {
    let service = Service::start().await;
    for _ in 0..64 {
        let path = created(&service, &some_email()).await;
        let email = some_email();
        let change = json!({ "email": email });
        let (patched, deleted) = tokio::join!(service.patch(&path, &change), service.delete(&path));
        assert!([200, 404].contains(&patched.status.as_u16()), "{patched:?}");
        let _ = deleted.has_status(204);
        // The address is free again, whichever came first.
        let _ = created(&service, &email).await;
    }
    claims_are_those_of_the_users(&service).await;
}

#[tokio::test]
async fn after_10_000_random_concurrent_operations_every_user_has_exactly_its_claim() {
    let service = Service::start().await;
    let ids: Vec<_> = (0..24).map(|_| some_id()).collect();
    let emails: Vec<_> = (0..24).map(|_| some_email()).collect();
    // Half of them are legacy users, and share addresses.
    let legacy = ids.iter().take(12).zip(0..).map(|(id, number)| {
        json!({ "userId": { "S": id }, "name": { "S": "Old canary" }, "email": { "S": emails[number % 4] } })
    });
    service.put_items(legacy.collect()).await;
    let mut seed = 1_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut operations: Vec<Vec<_>> = (0..64).map(|_| Vec::new()).collect();
    for number in 0..10_000 {
        let operation = (random(4), random(ids.len()), random(emails.len()));
        operations[number % 64].push(operation);
    }
    let client = async |operations: &[(usize, usize, usize)]| {
        for &(kind, id, email) in operations {
            let path = format!("/users/{}", ids[id]);
            let mut body = json!({ "name": "A canary", "email": emails[email] });
            let answer = match kind {
                0 => {
                    body["userId"] = json!(ids[id]);
                    service.post("/users", &body).await
                }
                1 => service.put(&path, &body).await,
                2 => {
                    service
                        .patch(&path, &json!({ "email": emails[email] }))
                        .await
                }
                _ => service.delete(&path).await,
            };
            let status = answer.status.as_u16();
            assert!([200, 201, 204, 404, 409].contains(&status), "{answer:?}");
        }
    };
    futures_util::future::join_all(operations.iter().map(|operations| client(operations))).await;
    claims_are_those_of_the_users(&service).await;
}

#[tokio::test]
async fn a_lookup_is_right_after_every_write() {
    let service = Service::start().await;
    for _ in 0..250 {
        let (first, second, third) = (some_email(), some_email(), some_email());
        let find = async |email: &str| service.get(&format!("/users?email={email}")).await;
        let path = created(&service, &first).await;
        let found = find(&first).await.has_status(200);
        assert_eq!(found.body, service.get(&path).await.body);
        let body = json!({ "name": "A canary", "email": second });
        let replaced = service.put(&path, &body).await.has_status(200);
        let _ = find(&first).await.has_problem(404, "user_not_found");
        assert_eq!(find(&second).await.has_status(200).body, replaced.body);
        let patched = service.patch(&path, &json!({ "email": third })).await;
        let patched = patched.has_status(200);
        let _ = find(&second).await.has_status(404);
        assert_eq!(find(&third).await.has_status(200).body, patched.body);
        let _ = service.delete(&path).await.has_status(204);
        let _ = find(&third).await.has_status(404);
    }
    assert_eq!(service.claims().await, HashMap::new());
}

#[tokio::test]
async fn spellings_of_one_address_are_one_and_the_user_keeps_the_one_that_was_sent() {
    let service = Service::start().await;
    // An e with an acute accent, as one character and as two.
    let id = Uuid::new_v4();
    let (composed, decomposed) = (
        format!("Canary-{id}@Caf\u{e9}.example.com"),
        format!("canary-{id}@cafe\u{301}.Example.com"),
    );
    let path = created(&service, &composed).await;
    let again = json!({ "name": "Another canary", "email": decomposed });
    let _ = service
        .post("/users", &again)
        .await
        .has_problem(409, "email_taken");
    let encoded: String = form_urlencoded::byte_serialize(decomposed.as_bytes()).collect();
    let found = service
        .get(&format!("/users?email={encoded}"))
        .await
        .has_status(200);
    assert_eq!(found.json()["email"], composed);
    let kept = service.put(&path, &again).await.has_status(200);
    assert_eq!(kept.json()["email"], decomposed);
    claims_hold_one(&service, &format!("canary-{id}@xn--caf-dma.example.com")).await;
}

#[tokio::test]
async fn domains_that_idna_takes_for_the_same_are_one() {
    let service = Service::start().await;
    for [domain, spellings @ ..] in [
        // Full-width letters, an ideographic full stop, and a soft hyphen.
        [
            "example.org",
            "EXAMPLE.org",
            "\u{ff45}xample.org",
            "example\u{3002}org",
            "ex\u{ad}ample.org",
        ],
        [
            "b\u{fc}cher.example",
            "bu\u{308}cher.example",
            "xn--bcher-kva.example",
            "XN--BCHER-KVA.example",
            "B\u{dc}CHER.example",
        ],
        // Not transitional: this is not strasse.example.
        [
            "stra\u{df}e.example",
            "STRA\u{1e9e}E.example",
            "xn--strae-oqa.example",
            "stra\u{df}e\u{ff0e}example",
            "stra\u{df}e\u{ff61}example",
        ],
    ] {
        let local_part = format!("canary-{}", Uuid::new_v4());
        let path = created(&service, &format!("{local_part}@{domain}")).await;
        let user = service.get(&path).await.has_status(200);
        for spelling in spellings {
            let email = format!("{local_part}@{spelling}");
            let body = json!({ "name": "Another canary", "email": email });
            let taken = service.post("/users", &body).await;
            let _ = taken.has_problem(409, "email_taken");
            let encoded: String = form_urlencoded::byte_serialize(email.as_bytes()).collect();
            let found = service.get(&format!("/users?email={encoded}")).await;
            assert_eq!(found.has_status(200).body, user.body, "{email}");
        }
        let _ = service.delete(&path).await.has_status(204);
    }
    assert_eq!(service.claims().await, HashMap::new());
}

#[tokio::test]
async fn other_domains_and_other_local_parts_are_other_addresses() {
    let service = Service::start().await;
    let id = Uuid::new_v4();
    for address in [
        "canary@example.org",
        "canary@example.com",
        "can.ary@example.org",
        "canary+1@example.org",
        "canary@stra\u{df}e.example",
        "canary@strasse.example",
        "canary@xn--zzzzzzzzzz.example",
    ] {
        created(&service, &format!("{id}-{address}")).await;
    }
    assert_eq!(service.claims().await.len(), 7);
}

#[tokio::test]
async fn a_domain_that_idna_refuses_is_compared_as_text() {
    let service = Service::start().await;
    // Neither is valid Punycode.
    let id = Uuid::new_v4();
    let path = created(&service, &format!("Canary-{id}@XN--zzzzzzzzzz.example")).await;
    let email = format!("canary-{id}@xn--ZZZZZZZZZZ.example");
    let body = json!({ "name": "Another canary", "email": email });
    let taken = service.post("/users", &body).await;
    let _ = taken.has_problem(409, "email_taken");
    let found = service.get(&format!("/users?email={email}")).await;
    assert_eq!(
        found.has_status(200).body,
        service.get(&path).await.has_status(200).body
    );
}

async fn claims_hold_one(service: &Service, email: &str) {
    let claims = service.claims().await;
    assert_eq!(claims.keys().collect::<Vec<_>>(), [email]);
}

#[tokio::test]
async fn a_conflict_names_every_field_that_is_taken_and_not_whose_it_is() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let _ = service.post("/users", &user).await.has_status(201);
    let both = service
        .post("/users", &user)
        .await
        .has_problem(409, "user_exists");
    let fields: Vec<_> = both
        .field_errors()
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    assert_eq!(fields, ["/userId", "/email"]);
    let mut same_id = ada();
    same_id["userId"] = user["userId"].clone();
    let id = service
        .post("/users", &same_id)
        .await
        .has_problem(409, "user_exists");
    assert_eq!(id.field_errors()[0].0, "/userId");
    let mut same_email = user.clone();
    same_email["userId"] = json!(some_id());
    let email = service
        .post("/users", &same_email)
        .await
        .has_problem(409, "email_taken");
    assert!(!email.body.contains(user["userId"].as_str().unwrap()));
    let path = format!("/users/{}", some_id());
    let headers = [("if-none-match", "*")];
    let plain = json!({ "name": "A canary", "email": user["email"] });
    let put = service
        .send_json(Method::PUT, &path, &headers, &plain)
        .await;
    let _ = put.has_problem(409, "email_taken");
}

#[tokio::test]
async fn the_next_write_of_a_legacy_user_claims_its_address() {
    let service = Service::start().await;
    let email = some_email();
    let find = async |email: &str| service.get(&format!("/users?email={email}")).await;
    for body in [
        json!({ "name": "New canary", "email": email }),
        json!({ "name": "New canary" }),
    ] {
        let id = some_id();
        service.put_item(legacy_user(&id, &email)).await;
        let path = format!("/users/{id}");
        let _ = find(&email).await.has_status(404);
        let method = if body.get("email").is_some() {
            Method::PUT
        } else {
            Method::PATCH
        };
        let written = service
            .send_json(method, &path, &[], &body)
            .await
            .has_status(200);
        assert_eq!(written.json()["version"], 1);
        assert_eq!(find(&email).await.has_status(200).body, written.body);
        let _ = service.delete(&path).await.has_status(204);
        assert_eq!(service.claims().await, HashMap::new());
    }
    // One that was never written to goes without a trace, too.
    let id = some_id();
    service.put_item(legacy_user(&id, &email)).await;
    let _ = service
        .delete(&format!("/users/{id}"))
        .await
        .has_status(204);
    assert_eq!(service.claims().await, HashMap::new());
}

#[tokio::test]
async fn of_two_legacy_users_with_one_email_the_second_can_be_written_only_with_another_one() {
    let service = Service::start().await;
    let email = some_email();
    let mut paths = Vec::new();
    for _ in 0..2 {
        let id = some_id();
        service
            .put_item(json!({ "userId": { "S": id }, "name": { "S": "Old canary" }, "email": { "S": email } }))
            .await;
        paths.push(format!("/users/{id}"));
    }
    let (first, second) = (paths[0].as_str(), paths[1].as_str());
    let same = json!({ "name": "New canary", "email": email });
    let _ = service.put(first, &same).await.has_status(200);
    let _ = service.get(second).await.has_status(200);
    let _ = service
        .put(second, &same)
        .await
        .has_problem(409, "email_taken");
    // Whatever is written has a claim afterwards, and here there is none to be had.
    let renamed = service
        .patch(second, &json!({ "name": "New canary" }))
        .await;
    let _ = renamed.has_problem(409, "email_taken");
    let moved = service
        .patch(second, &json!({ "email": some_email() }))
        .await;
    assert_eq!(moved.has_status(200).json()["version"], 1);
    let _ = service.delete(second).await.has_status(204);
    // The first has kept its claim through all of it.
    let found = service
        .get(&format!("/users?email={email}"))
        .await
        .has_status(200);
    assert_eq!(found.body, service.get(first).await.body);
}

#[tokio::test]
async fn where_emails_are_shared_a_lookup_by_one_is_400() {
    let service = Service::sharing_emails().await;
    let email = some_email();
    let (one, other) = (
        created(&service, &email).await,
        created(&service, &email).await,
    );
    assert_ne!(one, other);
    let refused = service.get(&format!("/users?email={email}")).await;
    let refused = refused.has_problem(400, "invalid_parameter");
    assert_eq!(refused.field_errors()[0].0, "/email");
}

#[tokio::test]
async fn a_lookup_by_a_bad_email_or_by_email_and_user_id_is_400() {
    let service = Service::start().await;
    for (query, field) in [
        ("email=", "/email"),
        ("email=x", "/email"),
        ("email=a@example.com&email=b@example.com", "/email"),
        ("email=a@example.com&userId=1", "/userId"),
        ("email=a@example.com&limit=0", "/limit"),
    ] {
        let refused = service.get(&format!("/users?{query}")).await;
        let refused = refused.has_problem(400, "invalid_parameter");
        assert_eq!(refused.field_errors()[0].0, field, "{query}");
    }
    let email = some_email();
    let path = created(&service, &email).await;
    let by_email = format!("/users?email={email}");
    let head = service
        .send(Method::HEAD, &by_email, &[], "")
        .await
        .has_status(200);
    let read = service.get(&path).await.has_status(200);
    assert_eq!(head.header("etag"), read.header("etag"));
    let headers = [("if-none-match", head.header("etag"))];
    let known = service.send(Method::GET, &by_email, &headers, "").await;
    let _ = known.has_status(304);
    let _ = service.delete(&path).await.has_status(204);
}

#[tokio::test]
async fn a_claim_that_is_left_over_finds_nobody_and_is_not_looked_at_for_long() {
    let service = Service::start().await;
    let email = some_email();
    service.put_claim(&email, &some_id()).await;
    service.store().take_calls();
    let lookup = service.get(&format!("/users?email={email}")).await;
    let _ = lookup.has_problem(404, "user_not_found");
    assert_eq!(service.store().take_calls(), ["GetItem"; 4]);
}
