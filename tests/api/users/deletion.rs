//! Deletion, restoration and erasure.

use http::Method;
use serde_json::{Value, json};
use user_service::store::Retention;

use crate::support::{
    Service, Setup, ada, history_is_exact, history_types, item_of_everything, some_email, some_id,
};

/// A user, and its `userId`.
async fn created(service: &Service) -> (Value, String) {
    let mut user = ada();
    user["userId"] = json!(some_id());
    user["adminMetadata"] = json!({ "plan": "canary" });
    let user = service.post("/users", &user).await.has_status(201).json();
    let user_id = user["userId"].as_str().unwrap().to_owned();
    (user, user_id)
}

async fn restore(service: &Service, user_id: &str, body: &str) -> crate::support::Answer {
    let path = format!("/deleted-users/{user_id}/restore");
    let headers = [("content-type", "application/json")];
    service
        .send(Method::POST, &path, &headers, body.to_owned())
        .await
}

fn without(user: &Value, names: &[&str]) -> Value {
    let mut user = user.clone();
    for name in names {
        user.as_object_mut().unwrap().remove(*name);
    }
    user
}

#[tokio::test]
async fn a_deleted_user_is_gone_from_the_users_and_stands_among_the_deleted_ones() {
    for service in [Service::start().await, Service::sharing_emails().await] {
        let (user, user_id) = created(&service).await;
        let path = format!("/users/{user_id}");
        let _ = service.delete(&path).await.has_status(204);
        let _ = service.get(&path).await.has_problem(404, "user_not_found");
        let _ = service
            .delete(&path)
            .await
            .has_problem(404, "user_not_found");
        assert_eq!(service.item(&user_id).await, Value::Null);
        let deleted = service.get(&format!("/deleted-users/{user_id}")).await;
        let deleted = deleted.has_status(200).json();
        assert_eq!(deleted["userId"], json!(user_id));
        assert_eq!(deleted["user"]["version"], 2);
        assert_eq!(
            without(&deleted["user"], &["version"]),
            without(&user, &["version"])
        );
        assert_eq!(deleted["deletedBy"]["type"], "service");
        let list = service.get("/deleted-users").await.has_status(200).json();
        assert!(list["items"].as_array().unwrap().contains(&deleted));
        // Its address is free.
        let again = json!({ "name": "Another canary", "email": user["email"] });
        let _ = service.post("/users", &again).await.has_status(201);
    }
}

#[tokio::test]
async fn a_restored_user_is_as_it_was_but_for_one_more_version() {
    let service = Service::start().await;
    let (_, user_id) = created(&service).await;
    let path = format!("/users/{user_id}");
    let disabled = service.patch(&path, &json!({ "status": "disabled" })).await;
    let disabled = disabled.has_status(200).json();
    let _ = service.delete(&path).await.has_status(204);
    let restored = restore(&service, &user_id, "").await.has_status(200);
    let read = service.get(&path).await.has_status(200);
    assert_eq!(restored.body, read.body);
    assert_eq!(restored.header("etag"), read.header("etag"));
    let kept = ["version", "updatedAt", "updatedBy"];
    assert_eq!(without(&read.json(), &kept), without(&disabled, &kept));
    assert_eq!(read.json()["version"], 4);
    let _ = restore(&service, &user_id, "")
        .await
        .has_problem(404, "user_not_found");
    let expected = [
        "user.created",
        "user.disabled",
        "user.deleted",
        "user.restored",
    ];
    assert_eq!(history_types(&service, &user_id).await, expected);
    history_is_exact(&service, &user_id).await;
    assert_eq!(service.claims().await.len(), 1);
}

#[tokio::test]
async fn the_item_of_another_client_is_restored_with_every_attribute() {
    let service = Service::start().await;
    let user_id = some_id();
    let item = item_of_everything(&user_id);
    service.put_item(item.clone()).await;
    let _ = service
        .delete(&format!("/users/{user_id}"))
        .await
        .has_status(204);
    let _ = restore(&service, &user_id, "{}").await.has_status(200);
    let restored = service.item(&user_id).await;
    for (name, value) in item.as_object().unwrap() {
        let sorted = |value: &Value| {
            let mut value = value.clone();
            for set in ["SS", "NS", "BS"] {
                if let Some(elements) = value.get_mut(set).and_then(Value::as_array_mut) {
                    elements.sort_by_key(ToString::to_string);
                }
            }
            value
        };
        assert_eq!(sorted(&restored[name]), sorted(value), "{name}");
    }
    history_is_exact(&service, &user_id).await;
}

#[tokio::test]
async fn a_user_is_not_restored_in_place_of_another_or_with_an_address_that_is_taken() {
    let service = Service::start().await;
    let (user, user_id) = created(&service).await;
    let path = format!("/users/{user_id}");
    let _ = service.delete(&path).await.has_status(204);
    let other = json!({ "name": "Another canary", "email": user["email"] });
    let other = service.post("/users", &other).await.has_status(201).json();
    let _ = restore(&service, &user_id, "")
        .await
        .has_problem(409, "email_taken");
    let _ = service.get(&path).await.has_status(404);
    let email = some_email();
    let body = json!({ "email": email }).to_string();
    let restored = restore(&service, &user_id, &body)
        .await
        .has_status(200)
        .json();
    assert_eq!(restored["email"], json!(email));
    let _ = service.delete(&path).await.has_status(204);
    // Created again: the deleted user stays, until a later deletion replaces it.
    let mut second = ada();
    second["userId"] = json!(user_id);
    let _ = service.post("/users", &second).await.has_status(201);
    let _ = restore(&service, &user_id, "")
        .await
        .has_problem(409, "user_exists");
    let deleted = format!("/deleted-users/{user_id}");
    let first = service.get(&deleted).await.has_status(200).json();
    assert_eq!(first["user"]["email"], json!(email));
    let _ = service.delete(&path).await.has_status(204);
    let replaced = service.get(&deleted).await.has_status(200).json();
    assert_eq!(replaced["user"]["email"], second["email"]);
    history_is_exact(&service, &user_id).await;
    let claims = service.claims().await;
    let left = other["email"].as_str().unwrap().to_lowercase();
    assert_eq!(claims.keys().collect::<Vec<_>>(), [&left]);
}

#[tokio::test]
async fn a_restoration_takes_only_an_email_address_that_keeps_its_rules() {
    let service = Service::start().await;
    let (_, user_id) = created(&service).await;
    let _ = service
        .delete(&format!("/users/{user_id}"))
        .await
        .has_status(204);
    for (body, code) in [
        (r#"{"email":"no address"}"#, "invalid_user"),
        (r#"{"email":5}"#, "invalid_user"),
        (r#"{"name":"A canary"}"#, "invalid_user"),
        ("[]", "invalid_user"),
        ("{", "malformed_json"),
    ] {
        let _ = restore(&service, &user_id, body)
            .await
            .has_problem(400, code);
    }
    let path = format!("/deleted-users/{user_id}");
    for (method, path) in [
        (Method::POST, format!("{path}/restore")),
        (Method::DELETE, path.clone()),
    ] {
        let condition = [("if-match", "*")];
        let answer = service.send(method.clone(), &path, &condition, "").await;
        let _ = answer.has_problem(400, "invalid_header");
        let answer = service
            .send(method, &format!("{path}?erase=true"), &[], "")
            .await;
        let _ = answer.has_problem(400, "invalid_parameter");
    }
    let malformed = [("if-match", "1")];
    for path in [
        path,
        format!("/users/{user_id}/export"),
        "/deleted-users".to_owned(),
    ] {
        let answer = service.send(Method::GET, &path, &malformed, "").await;
        let _ = answer.has_problem(400, "invalid_header");
    }
    let _ = restore(&service, &user_id, r#"{"email":null}"#)
        .await
        .has_status(200);
}

#[tokio::test]
async fn an_erasure_takes_the_user_and_the_deleted_one() {
    let service = Service::start().await;
    for (deletes, creates) in [(false, false), (true, false), (true, true)] {
        let (user, user_id) = created(&service).await;
        let path = format!("/users/{user_id}");
        if deletes {
            let _ = service.delete(&path).await.has_status(204);
        }
        if creates {
            let _ = service
                .post("/users", &without(&user, &OWN))
                .await
                .has_status(201);
        }
        let erase = format!("{path}?erase=true");
        let _ = service.delete(&erase).await.has_status(204);
        let _ = service
            .delete(&erase)
            .await
            .has_problem(404, "user_not_found");
        let _ = service.get(&path).await.has_status(404);
        let _ = service
            .get(&format!("/deleted-users/{user_id}"))
            .await
            .has_status(404);
        assert!(service.claims().await.is_empty());
        let types = history_types(&service, &user_id).await;
        assert_eq!(types.last().unwrap(), "user.erased");
        history_is_exact(&service, &user_id).await;
    }
}

/// What a client may not send in a creation.
const OWN: [&str; 5] = [
    "version",
    "createdAt",
    "createdBy",
    "updatedAt",
    "updatedBy",
];

#[tokio::test]
async fn a_deleted_user_can_be_erased_alone() {
    let service = Service::start().await;
    let (user, user_id) = created(&service).await;
    let path = format!("/users/{user_id}");
    let _ = service.delete(&path).await.has_status(204);
    let again = service
        .post("/users", &without(&user, &OWN))
        .await
        .has_status(201);
    let deleted = format!("/deleted-users/{user_id}");
    let _ = service.delete(&deleted).await.has_status(204);
    let _ = service
        .delete(&deleted)
        .await
        .has_problem(404, "user_not_found");
    let _ = service
        .get(&deleted)
        .await
        .has_problem(404, "user_not_found");
    assert_eq!(service.get(&path).await.has_status(200).body, again.body);
}

#[tokio::test]
async fn a_delete_reads_its_parameters_strictly_and_an_erasure_its_condition() {
    let service = Service::start().await;
    let (_, user_id) = created(&service).await;
    let path = format!("/users/{user_id}");
    for query in [
        "erase=yes",
        "erase=",
        "erase=true&erase=true",
        "eras=true",
        "consistent=true",
    ] {
        let answer = service.delete(&format!("{path}?{query}")).await;
        let _ = answer.has_problem(400, "invalid_parameter");
    }
    let stale = [("if-match", "\"9\"")];
    let erase = format!("{path}?erase=true");
    let answer = service.send(Method::DELETE, &erase, &stale, "").await;
    let _ = answer.has_problem(412, "version_mismatch");
    let _ = service
        .delete(&format!("{path}?erase=false"))
        .await
        .has_status(204);
    // A condition is for the user, and there is none.
    let any = [("if-match", "*")];
    let answer = service.send(Method::DELETE, &erase, &any, "").await;
    let _ = answer.has_problem(412, "version_mismatch");
    let _ = service
        .get(&format!("/deleted-users/{user_id}"))
        .await
        .has_status(200);
    let by_query = format!("/users?userId={user_id}&erase=true");
    let _ = service.delete(&by_query).await.has_status(204);
    let _ = service
        .get(&format!("/deleted-users/{user_id}"))
        .await
        .has_status(404);
}

#[tokio::test]
async fn a_deletion_keeps_nothing_where_deleted_users_are_kept_for_no_day() {
    let setup = Setup {
        retention: Retention {
            deleted_users_days: 0,
            ..Retention::default()
        },
        ..Setup::default()
    };
    let service = setup.start().await;
    let (_, user_id) = created(&service).await;
    let _ = service
        .delete(&format!("/users/{user_id}"))
        .await
        .has_status(204);
    let _ = service
        .get(&format!("/deleted-users/{user_id}"))
        .await
        .has_status(404);
    let types = history_types(&service, &user_id).await;
    assert_eq!(types, ["user.created", "user.deleted"]);
    // Nor does it keep an earlier user of a time when they were kept.
    let keeping = Setup::default().start_beside(&service).await;
    let mut user = ada();
    user["userId"] = json!(user_id);
    let _ = service.post("/users", &user).await.has_status(201);
    let path = format!("/users/{user_id}");
    let _ = keeping.delete(&path).await.has_status(204);
    assert_eq!(service.deleted_items().await, 1);
    let _ = service.post("/users", &user).await.has_status(201);
    let _ = service.delete(&path).await.has_status(204);
    assert_eq!(service.deleted_items().await, 0);
}

#[tokio::test]
async fn a_deleted_user_that_has_expired_counts_as_gone() {
    let service = Service::start().await;
    let (_, user_id) = created(&service).await;
    let _ = service
        .delete(&format!("/users/{user_id}"))
        .await
        .has_status(204);
    service.expire_deleted(&user_id).await;
    let path = format!("/deleted-users/{user_id}");
    let _ = service.get(&path).await.has_problem(404, "user_not_found");
    let _ = service
        .delete(&path)
        .await
        .has_problem(404, "user_not_found");
    let _ = restore(&service, &user_id, "")
        .await
        .has_problem(404, "user_not_found");
    let list = service.get("/deleted-users").await.has_status(200).json();
    assert_eq!(list, json!({ "items": [] }));
    let erase = format!("/users/{user_id}?erase=true");
    let _ = service
        .delete(&erase)
        .await
        .has_problem(404, "user_not_found");
    let export = service.get(&format!("/users/{user_id}/export")).await;
    assert_eq!(export.has_status(200).json().get("deletedUser"), None);
    // DynamoDB may keep the item for days. The erasure of the next user takes it out.
    assert_eq!(service.deleted_items().await, 1);
    let mut next = ada();
    next["userId"] = json!(user_id);
    let _ = service.post("/users", &next).await.has_status(201);
    let _ = service.delete(&erase).await.has_status(204);
    assert_eq!(service.deleted_items().await, 0);
}

#[tokio::test]
async fn a_user_that_does_not_fit_among_the_deleted_ones_can_only_be_erased() {
    let service = Service::start().await;
    let mut deep = json!({ "S": "canary" });
    for _ in 0..30 {
        deep = json!({ "L": [deep] });
    }
    let deeper = json!({ "L": [deep.clone()] });
    let large = json!({ "S": "x".repeat(400 * 1024 - 100) });
    for (value, fits) in [(deep, true), (deeper, false), (large, false)] {
        let user_id = some_id();
        let path = format!("/users/{user_id}");
        service
            .put_item(json!({ "userId": { "S": user_id }, "notes": value }))
            .await;
        let answer = service.delete(&path).await;
        if fits {
            let _ = answer.has_status(204);
            let _ = restore(&service, &user_id, "").await.has_status(200);
        } else {
            let _ = answer.has_problem(409, "user_too_large");
        }
        let _ = service.get(&path).await.has_status(200);
        let _ = service
            .delete(&format!("{path}?erase=true"))
            .await
            .has_status(204);
        let _ = service.get(&path).await.has_status(404);
    }
}

#[tokio::test]
async fn the_pages_of_deleted_users_meet_each_of_them_once() {
    let service = Service::start().await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        let (_, user_id) = created(&service).await;
        let _ = service
            .delete(&format!("/users/{user_id}"))
            .await
            .has_status(204);
        expected.push(user_id);
    }
    let mut found = Vec::new();
    let mut path = String::from("/deleted-users?limit=3");
    loop {
        let answer = service.get(&path).await.has_status(200);
        let page = answer.json();
        for user in page["items"].as_array().unwrap() {
            found.push(user["userId"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/deleted-users?limit=3&cursor={cursor}");
        assert_eq!(answer.header("link"), format!("<{path}>; rel=\"next\""));
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_end_or_a_restoration_whose_answer_was_lost_is_the_success_it_was_and_counts_once() {
    let service = Service::start().await;
    let user = "/users/{userId}";
    let deleted = "/deleted-users/{userId}";
    for (method, path, is_deleted, status, read) in [
        (Method::DELETE, user.to_owned(), false, 204, "GetItem"),
        (
            Method::POST,
            format!("{deleted}/restore"),
            true,
            200,
            "GetItem",
        ),
        (Method::DELETE, deleted.to_owned(), true, 204, "GetItem"),
        (
            Method::DELETE,
            format!("{user}?erase=true"),
            false,
            204,
            "BatchGetItem",
        ),
        (
            Method::DELETE,
            format!("{user}?erase=true"),
            true,
            204,
            "BatchGetItem",
        ),
    ] {
        for lost in [1, 2] {
            let (_, user_id) = created(&service).await;
            if is_deleted {
                let _ = service
                    .delete(&format!("/users/{user_id}"))
                    .await
                    .has_status(204);
            }
            let records = history_types(&service, &user_id).await.len();
            let path = path.replace("{userId}", &user_id);
            let _ = service.store().take_calls();
            service.store().swallow_answer(lost);
            let answer = service.send(method.clone(), &path, &[], "").await;
            let _ = answer.has_status(status);
            let calls = match lost {
                1 => [read, read, "TransactWriteItems"],
                _ => [read, "TransactWriteItems", "TransactWriteItems"],
            };
            assert_eq!(service.store().take_calls(), calls, "{path}");
            let after = history_types(&service, &user_id).await.len();
            assert_eq!(after, records + 1, "{path}");
            history_is_exact(&service, &user_id).await;
        }
    }
}
