//! The history of a user, and the export of what is kept of it.

use serde_json::{Value, json};
use user_service::store::Retention;

use crate::support::{
    Answer, Service, Setup, ada,
    events::{Credentials, Gateway, event, with_body},
    history, history_is_exact, some_email, some_id,
};

const SCOPES: &str = "users/read users/write";

fn own(user_id: &str) -> Credentials {
    Credentials::token(user_id, SCOPES, "")
}

async fn get(service: &Service, path: &str, caller: &Credentials) -> Answer {
    service
        .answer(&event(Gateway::Rest, "GET", path, caller))
        .await
}

/// A user with a history, and its `userId`.
async fn grown_up(service: &Service) -> String {
    let user_id = some_id();
    let mut user = ada();
    user["userId"] = json!(user_id);
    let _ = service.post("/users", &user).await.has_status(201);
    let path = format!("/users/{user_id}");
    for patch in [
        json!({ "adminMetadata": { "plan": "secret canary" } }),
        json!({ "name": "Another canary", "adminMetadata": { "plan": "gold" } }),
        json!({ "status": "disabled" }),
        json!({ "status": "active" }),
        json!({}),
    ] {
        let _ = service.patch(&path, &patch).await.has_status(200);
    }
    user_id
}

fn of<'a>(records: &'a [Value], name: &str) -> Vec<&'a Value> {
    records.iter().map(|record| &record[name]).collect()
}

#[tokio::test]
async fn each_write_is_a_record_that_names_the_fields_that_changed_and_no_value() {
    let service = Service::start().await;
    let user_id = grown_up(&service).await;
    let records = history(&service, &user_id).await;
    let types = of(&records, "type");
    assert_eq!(
        types,
        [
            "user.created",
            "user.updated",
            "user.updated",
            "user.disabled",
            "user.enabled",
            "user.updated"
        ]
    );
    assert_eq!(
        of(&records, "changed"),
        [
            &json!(["name", "email"]),
            &json!(["adminMetadata"]),
            &json!(["name", "adminMetadata"]),
            &json!(["status"]),
            &json!(["status"]),
            &json!([])
        ]
    );
    assert_eq!(of(&records, "version"), [1, 2, 3, 4, 5, 6]);
    assert!(
        records
            .iter()
            .all(|record| record["actor"]["type"] == "service")
    );
    assert!(records.iter().all(|record| record["requestId"] != ""));
    history_is_exact(&service, &user_id).await;
}

#[tokio::test]
async fn a_user_reads_its_own_history_and_export_as_far_as_it_sees() {
    for mode in ["COGNITO", "IAM"] {
        let setup = Setup {
            auth_mode: mode,
            ..Setup::default()
        };
        let service = setup.start().await;
        let user_id = grown_up(&service).await;
        for path in ["history", "export"] {
            let path = format!("/users/{user_id}/{path}");
            let seen = get(&service, &path, &own(&user_id)).await.has_status(200);
            for hidden in ["adminMetadata", "secret", "gold", "actor", "createdBy"] {
                assert!(!seen.body.contains(hidden), "{hidden}: {}", seen.body);
            }
            let hidden = get(&service, &path, &own(&some_id())).await;
            let _ = hidden.has_problem(404, "user_not_found");
            let full = get(&service, &path, &Credentials::Signed)
                .await
                .has_status(200);
            assert!(full.body.contains("adminMetadata"));
            let _ = get(&service, &path, &Credentials::None)
                .await
                .has_status(401);
        }
        let path = format!("/users/{user_id}");
        let deleted = event(Gateway::Rest, "DELETE", &path, &own(&user_id));
        let _ = service.answer(&deleted).await.has_status(204);
        let history = get(&service, &format!("{path}/history"), &own(&user_id)).await;
        assert_eq!(
            history.has_status(200).json()["items"][0]["type"],
            "user.deleted"
        );
        let export = get(&service, &format!("{path}/export"), &own(&user_id)).await;
        let export = export.has_status(200);
        assert!(!export.body.contains("gold") && !export.body.contains("deletedBy"));
        assert_eq!(
            export.json()["deletedUser"]["user"]["userId"],
            json!(user_id)
        );
    }
}

#[tokio::test]
async fn a_disabled_user_reads_neither_its_history_nor_an_export_nor_erases_itself() {
    let service = Service::start().await;
    let user_id = grown_up(&service).await;
    let path = format!("/users/{user_id}");
    let _ = service
        .patch(&path, &json!({ "status": "disabled" }))
        .await
        .has_status(200);
    for deletes in [false, true] {
        if deletes {
            let _ = service.delete(&path).await.has_status(204);
        }
        for (method, path) in [
            ("GET", format!("{path}/history")),
            ("GET", format!("{path}/export")),
            ("DELETE", format!("{path}?erase=true")),
        ] {
            let request = event(Gateway::Rest, method, &path, &own(&user_id));
            let answer = service.answer(&request).await;
            let _ = answer.has_problem(403, "user_disabled");
        }
    }
    let itself = Credentials::token(&user_id, SCOPES, "admin");
    let restore = format!("/deleted-users/{user_id}/restore");
    let request = with_body(event(Gateway::Rest, "POST", &restore, &itself), &json!({}));
    let _ = service
        .answer(&request)
        .await
        .has_problem(403, "user_disabled");
}

#[tokio::test]
async fn a_history_comes_in_pages_newest_first() {
    let service = Service::start().await;
    let user_id = grown_up(&service).await;
    let mut path = format!("/users/{user_id}/history?limit=4");
    let first = service.get(&path).await.has_status(200);
    let page = first.json();
    assert_eq!(
        of(page["items"].as_array().unwrap(), "version"),
        [6, 5, 4, 3]
    );
    path = format!("{path}&cursor={}", page["nextCursor"].as_str().unwrap());
    assert_eq!(first.header("link"), format!("<{path}>; rel=\"next\""));
    let page = service.get(&path).await.has_status(200).json();
    assert_eq!(of(page["items"].as_array().unwrap(), "version"), [2, 1]);
    assert_eq!(page.get("nextCursor"), None);
    let foreign = format!("/users/{user_id}/history?cursor=ATE");
    let _ = service
        .get(&foreign)
        .await
        .has_problem(400, "invalid_parameter");
    let unknown = format!("/users/{}/history", some_id());
    let _ = service
        .get(&unknown)
        .await
        .has_problem(404, "user_not_found");
}

#[tokio::test]
async fn a_user_that_only_another_client_has_written_has_an_empty_history() {
    let service = Service::start().await;
    let user_id = some_id();
    service
        .put_item(json!({ "userId": { "S": user_id } }))
        .await;
    let page = service.get(&format!("/users/{user_id}/history")).await;
    assert_eq!(page.has_status(200).json(), json!({ "items": [] }));
}

#[tokio::test]
async fn without_a_history_only_erasures_are_recorded() {
    let setup = Setup {
        retention: Retention {
            history_days: None,
            ..Retention::default()
        },
        ..Setup::default()
    };
    let service = setup.start().await;
    let user_id = grown_up(&service).await;
    let path = format!("/users/{user_id}");
    let _ = service
        .get(&format!("{path}/history"))
        .await
        .has_problem(404, "history_off");
    let export = service
        .get(&format!("{path}/export"))
        .await
        .has_status(200)
        .json();
    assert_eq!(export.get("history"), None);
    let _ = service.delete(&path).await.has_status(204);
    assert!(service.history_items().await.is_empty());
    let _ = service
        .delete(&format!("{path}?erase=true"))
        .await
        .has_status(204);
    let records = service.history_items().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["type"]["S"], "user.erased");
    let seconds: u64 = records[0]["expiresAt"]["N"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(
        (34..=35).contains(&((seconds - now) / 86_400)),
        "{records:?}"
    );
}

#[tokio::test]
async fn a_user_that_loses_its_address_has_that_in_its_history() {
    let service = Service::start().await;
    let (loser, winner, email) = (some_id(), some_id(), some_email());
    for (user_id, email) in [(&loser, &email), (&winner, &some_email())] {
        let user = json!({ "userId": user_id, "name": "A canary", "email": email });
        let _ = service.post("/users", &user).await.has_status(201);
    }
    let take = format!("/users/{winner}?takeEmail=true");
    let patch = json!({ "email": email, "emailVerified": true });
    let _ = service.patch(&take, &patch).await.has_status(200);
    let records = history(&service, &loser).await;
    assert_eq!(records[1]["changed"], json!(["email"]));
    for user_id in [loser, winner] {
        history_is_exact(&service, &user_id).await;
    }
}

#[tokio::test]
async fn an_export_has_the_user_the_deleted_user_and_the_history() {
    let service = Service::start().await;
    let user_id = grown_up(&service).await;
    let path = format!("/users/{user_id}");
    let _ = service.delete(&path).await.has_status(204);
    let mut user = ada();
    user["userId"] = json!(user_id);
    let user = service.post("/users", &user).await.has_status(201).json();
    let export = service
        .get(&format!("{path}/export"))
        .await
        .has_status(200)
        .json();
    assert_eq!(export["user"], user);
    let deleted = service.get(&format!("/deleted-users/{user_id}")).await;
    assert_eq!(export["deletedUser"], deleted.has_status(200).json());
    let history = service.get(&format!("{path}/history")).await;
    assert_eq!(export["history"], history.has_status(200).json());
    let unknown = format!("/users/{}/export", some_id());
    let _ = service
        .get(&unknown)
        .await
        .has_problem(404, "user_not_found");
}
