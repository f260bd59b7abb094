//! `user-service forget-erased`: the worst day, on which a backup brings erased users back.

use http::Method;
use serde_json::{Value, json};

use crate::support::program::{Running, one_line, output, user_service};

#[tokio::test]
async fn users_whom_a_backup_brings_back_are_erased_again_and_later_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let data = ["--data", file.to_str().unwrap()];
    let server = async || Running::start(user_service(&["--port", "0", data[0], data[1]])).await;
    let mut service = server().await;
    for user_id in ["erased", "erased-deleted", "again", "kept"] {
        create(&service, user_id).await;
    }
    let nothing = json!({});
    let delete = async |service: &Running, path: &str| {
        let status = service.send(Method::DELETE, path, &[], &nothing).await.0;
        assert_eq!(status, 204, "{path}");
    };
    delete(&service, "/users/erased-deleted").await;
    assert_eq!(service.signal("-TERM").await, Some(0));
    // The backup has the users, and those that were deleted.
    let backup = folder.path().join("backup.db");
    std::fs::copy(&file, &backup).unwrap();

    let mut service = server().await;
    for user_id in ["erased", "erased-deleted", "again"] {
        delete(&service, &format!("/users/{user_id}?erase=true")).await;
    }
    create(&service, "again").await;
    let erasures: Vec<Value> = vec![
        service.get("/users/erased/history").await.1,
        service.get("/users/erased-deleted/history").await.1,
    ];
    assert!(
        erasures
            .iter()
            .all(|page| page["items"][0]["type"] == "user.erased")
    );
    assert_eq!(service.signal("-TERM").await, Some(0));
    // Nothing is to be erased where nothing was brought back, and the new user stays.
    let done = output(user_service(&["forget-erased", data[0], data[1]])).await;
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(text, "3 records of erasures: 0 users erased again.\n");

    // The tables of users are those of the backup, and the history is that of today.
    restore_users(&backup, &file);
    let done = output(user_service(&["forget-erased", data[0], data[1]])).await;
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(text, "3 records of erasures: 3 users erased again.\n");
    let service = server().await;
    for user_id in ["erased", "erased-deleted", "again"] {
        assert_eq!(service.get(&format!("/users/{user_id}")).await.0, 404);
        assert_eq!(
            service.get(&format!("/deleted-users/{user_id}")).await.0,
            404
        );
    }
    assert_eq!(service.get("/users/kept").await.0, 200);
    let (_, history) = service.get("/users/erased/history").await;
    let actor = json!({ "type": "command", "id": "forget-erased" });
    assert_eq!(history["items"][0]["actor"], actor);
}

async fn create(service: &Running, user_id: &str) {
    let email = format!("canary-{user_id}@example.com");
    let user = json!({ "userId": user_id, "name": "A canary", "email": email });
    assert_eq!(
        service.send(Method::POST, "/users", &[], &user).await.0,
        201
    );
}

/// Puts the users, claims and deleted users of the file `backup` in place of those in `file`.
fn restore_users(backup: &std::path::Path, file: &std::path::Path) {
    let database = rusqlite::Connection::open(file).unwrap();
    let attach = format!("ATTACH '{}' AS backup", backup.display());
    database.execute_batch(&attach).unwrap();
    for table in ["UserData", "UserEmails", "DeletedUsers"] {
        let copy = format!(
            "DELETE FROM \"{table}\"; INSERT INTO \"{table}\" SELECT * FROM backup.\"{table}\";"
        );
        database.execute_batch(&copy).unwrap();
    }
}

#[tokio::test]
async fn forget_erased_does_nothing_until_it_is_told_where() {
    let refused = output(user_service(&["forget-erased"])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(one_line(&refused).contains("forget-erased needs to know where the tables are"));
}
