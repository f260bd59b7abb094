//! `user-service vacuum`, and the end of what has expired.

use std::{fs, path::Path, time::SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use http::Method;
use serde_json::json;
use user_service::{
    local::dynamodb::{AccessKeyId, EmbeddedDynamoDb},
    store::{Retention, Tables, UserStore},
};

use crate::support::program::{Running, one_line, output, user_service};

/// Personal data that is looked for, in the order of the fields.
const PERSONAL: [&str; 6] = [
    "Zenobia Quux",
    "zenobia.quux",
    "+14155559876",
    "quux-in-metadata",
    "quux-for-admins",
    "Zora Quux",
];

fn holds(path: &Path, text: &str) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn after_an_erasure_and_a_vacuum_nothing_of_the_person_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let data = ["--data", file.to_str().unwrap()];
    let mut service = Running::start(user_service(&["--port", "0", data[0], data[1]])).await;
    let user = json!({
        "userId": "person", "name": PERSONAL[0], "email": "zenobia.quux@example.com",
        "phone": PERSONAL[2], "metadata": { "note": PERSONAL[3] },
        "adminMetadata": { "note": PERSONAL[4] },
    });
    let key = [("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9325")];
    assert_eq!(
        service.send(Method::POST, "/users", &key, &user).await.0,
        201
    );
    let patch = json!({ "name": PERSONAL[5] });
    assert_eq!(
        service
            .send(Method::PATCH, "/users/person", &[], &patch)
            .await
            .0,
        200
    );
    let nothing = json!({});
    let status = async |method, path| service.send(method, path, &[], &nothing).await.0;
    assert_eq!(status(Method::DELETE, "/users/person").await, 204);
    assert_eq!(
        status(Method::POST, "/deleted-users/person/restore").await,
        200
    );
    assert_eq!(status(Method::DELETE, "/users/person").await, 204);
    assert_eq!(
        status(Method::DELETE, "/users/person?erase=true").await,
        204
    );
    let log = service.log();
    assert_eq!(service.signal("-TERM").await, Some(0));
    let vacuumed = output(user_service(&["vacuum", data[0], data[1]])).await;
    assert_eq!(vacuumed.status.code(), Some(0), "{vacuumed:?}");
    let mut files = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        files += 1;
        for text in PERSONAL {
            assert!(!holds(&path, text), "{text} is in {}", path.display());
        }
    }
    assert!(files >= 1);
    for text in PERSONAL {
        assert!(!log.contains(text), "{text} is in the log");
    }
    let service = Running::start(user_service(&["--port", "0", data[0], data[1]])).await;
    let (status, history) = service.get("/users/person/history").await;
    assert_eq!(status, 200);
    assert_eq!(history["items"][0]["type"], "user.erased");
    let history = history.to_string();
    assert!(
        PERSONAL.iter().all(|text| !history.contains(text)),
        "{history}"
    );
}

#[tokio::test]
async fn vacuum_needs_a_file_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    for (arguments, says) in [
        (
            &["vacuum"][..],
            "vacuum needs to know which file: --data FILE\n",
        ),
        (
            &["vacuum", "--data", file.to_str().unwrap()],
            "there is no such file\n",
        ),
    ] {
        let refused = output(user_service(arguments)).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(one_line(&refused).ends_with(says), "{refused:?}");
    }
    assert!(!file.exists());
}

#[tokio::test]
async fn vacuum_refuses_the_file_of_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let data = ["--data", file.to_str().unwrap()];
    let mut service = Running::start(user_service(&["--port", "0", data[0], data[1]])).await;
    let refused = output(user_service(&["vacuum", data[0], data[1]])).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let says = "another process uses the file; stop the server that runs with it\n";
    assert!(one_line(&refused).ends_with(says), "{refused:?}");
    let user = json!({ "userId": "a", "name": "Ada", "email": "ada@example.com" });
    let (status, ..) = service.send(Method::POST, "/users", &[], &user).await;
    assert_eq!(status, 201, "the server goes on");
    assert_eq!(service.signal("-TERM").await, Some(0));
    let vacuumed = output(user_service(&["vacuum", data[0], data[1]])).await;
    assert_eq!(vacuumed.status.code(), Some(0), "{vacuumed:?}");
}

#[tokio::test]
async fn the_embedded_dynamodb_deletes_what_has_expired() {
    let embedded = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let config = embedded.sdk_config().await;
    let tables = Tables {
        users: String::from("UserData"),
        emails: None,
        idempotency_keys: String::from("UserIdempotencyKeys"),
        deleted_users: String::from("DeletedUsers"),
        history: String::from("UserHistory"),
    };
    let store = UserStore::new(&config, tables, Retention::default(), SystemTime::now);
    store.create_tables().await.unwrap();
    let client = aws_sdk_dynamodb::Client::new(&config);
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (user_id, expires_at) in [("gone", seconds - 60), ("kept", seconds + 3_600)] {
        for (table, key) in [
            ("DeletedUsers", "userId"),
            ("UserIdempotencyKeys", "idempotencyKey"),
        ] {
            client
                .put_item()
                .table_name(table)
                .item(key, AttributeValue::S(user_id.to_owned()))
                .item("expiresAt", AttributeValue::N(expires_at.to_string()))
                .send()
                .await
                .unwrap();
        }
    }
    embedded.sweep().unwrap();
    for table in ["DeletedUsers", "UserIdempotencyKeys"] {
        let left = client.scan().table_name(table).send().await.unwrap();
        assert_eq!(left.count, 1, "{table}");
    }
}
