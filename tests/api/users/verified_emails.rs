//! `emailVerified` is about one address: the one that was sent with it.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Service, Setup, Through, ada, if_match, some_email};

/// Races between a user that changes its address and a mailer that marks one as verified.
const RACES: usize = 48;
/// How many users race at once.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn a_mark_without_the_address_is_refused_and_says_why() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    for body in [
        json!({ "emailVerified": true }),
        json!({ "emailVerified": true, "name": "A canary" }),
    ] {
        let refused = service.patch(path, &body).await;
        let refused = refused.has_problem(400, "invalid_user");
        let errors = refused.field_errors();
        assert_eq!(errors[0].0, "/emailVerified");
        assert!(errors[0].1.contains("needs email in the same body"));
    }
    assert_eq!(service.get(path).await.body, created.body);
    // To take the mark away needs no address.
    let marked = json!({ "email": created.json()["email"], "emailVerified": true });
    let _ = service.patch(path, &marked).await.has_status(200);
    for mark in [json!(false), Value::Null] {
        let patched = service.patch(path, &json!({ "emailVerified": mark })).await;
        assert_ne!(patched.has_status(200).json()["emailVerified"], true);
    }
}

#[tokio::test]
async fn another_spelling_of_the_address_keeps_the_mark() {
    let service = Service::start().await;
    let email = some_email();
    let local_part = email.split('@').next().unwrap();
    let user = json!({ "name": "A canary", "email": email, "emailVerified": true });
    let created = service.post("/users", &user).await.has_status(201);
    let path = created.header("location");
    for spelling in [
        format!("{}@example.com", local_part.to_uppercase()),
        format!("{local_part}@EXAMPLE.com"),
        format!("{local_part}@exam\u{ad}ple.com"),
        format!("{local_part}@ｅｘａｍｐｌｅ.com"),
    ] {
        let patched = service.patch(path, &json!({ "email": spelling })).await;
        let patched = patched.has_status(200).json();
        assert_eq!(patched["email"], json!(spelling));
        assert_eq!(patched["emailVerified"], true, "{spelling}");
    }
    let other = service.patch(path, &json!({ "email": some_email() })).await;
    assert_eq!(other.has_status(200).json().get("emailVerified"), None);
}

/// The user changes its address twice, and a mailer sends the mark for the first of its addresses:
/// with and without the `ETag` that it has read, and also without the address.
async fn race(service: &Service) {
    let mut user = ada();
    let first = user["email"].clone();
    user["emailVerified"] = json!(false);
    let created = service.post("/users", &user).await.has_status(201);
    let path = created.header("location");
    let stale = if_match(&created);
    let mark = json!({ "email": first, "emailVerified": true });
    let move_away = async || {
        let moved = service.patch(path, &json!({ "email": some_email() })).await;
        let _ = moved.has_status(200);
    };
    let mark_with_etag = async {
        let method = http::Method::PATCH;
        let marked = service.send_json(method, path, &stale, &mark).await;
        assert!([200, 412].contains(&marked.status.as_u16()), "{marked:?}");
    };
    let mark_without_etag = async {
        let _ = service.patch(path, &mark).await.has_status(200);
    };
    let mark_without_address = async {
        let bare = service.patch(path, &json!({ "emailVerified": true })).await;
        let _ = bare.has_problem(400, "invalid_user");
    };
    tokio::join!(
        move_away(),
        mark_with_etag,
        mark_without_etag,
        mark_without_address,
        move_away()
    );
    let user = service.get(&format!("{path}?consistent=true")).await;
    let user = user.has_status(200).json();
    if user["emailVerified"] == true {
        assert_eq!(user["email"], first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_is_never_on_an_address_that_was_not_sent_with_it_in_races_over_8_processes() {
    let setup = Setup {
        sandboxes: 8,
        through: Some(Through::Lambda),
        ..Setup::default()
    };
    let service = setup.start().await;
    let races = std::env::var("VERIFICATION_RACES");
    let races = races.map_or(RACES, |text| text.parse().unwrap());
    let racing = (0..AT_ONCE).map(async |_| {
        for _ in 0..races.div_ceil(AT_ONCE) {
            race(&service).await;
        }
    });
    join_all(racing).await;
}
