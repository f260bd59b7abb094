//! `--data FILE`: users in a file.

use std::path::Path;

use http::Method;
use serde_json::json;

use crate::support::program::{Running, one_line, output, user_service};

#[tokio::test]
async fn an_idempotency_key_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["--port", "0", "--data", file.to_str().unwrap()];
    let key = [("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324")];
    let user = json!({ "name": "Ada canary", "email": "ada.canary@example.com" });
    let mut service = Running::start(user_service(&arguments)).await;
    let (status, _, created) = service.send(Method::POST, "/users", &key, &user).await;
    assert_eq!(status, 201);
    assert_eq!(service.signal("-KILL").await, None);

    let service = Running::start(user_service(&arguments)).await;
    let posts = (0..32).map(|_| service.send(Method::POST, "/users", &key, &user));
    for (status, _, again) in futures_util::future::join_all(posts).await {
        assert_eq!((status, &again), (201, &created));
    }
    let mut other = user.clone();
    other["name"] = json!("Another canary");
    let (status, _, problem) = service.send(Method::POST, "/users", &key, &other).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_key_reused"))
    );
    let users = service.get("/users").await.1;
    assert_eq!(
        users["items"].as_array().unwrap().len(),
        2,
        "and the sample"
    );
}

#[tokio::test]
async fn data_in_a_file_outlives_a_kill_and_the_sample_is_put_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["--port", "0", "--data", file.to_str().unwrap()];
    let mut service = Running::start(user_service(&arguments)).await;
    assert_eq!(service.get("/users/1").await.0, 200);
    service.create("canary-7").await;
    assert_eq!(service.signal("-KILL").await, None);

    let service = Running::start(user_service(&arguments)).await;
    let (status, user) = service.get("/users/canary-7").await;
    assert_eq!((status, &user["version"]), (200, &json!(1)));
    drop(service);

    let mut with_another_table = arguments.to_vec();
    with_another_table.extend(["--table", "Others"]);
    let service = Running::start(user_service(&with_another_table)).await;
    assert_eq!(
        service.get("/users").await.1,
        json!({ "items": [] }),
        "the file was not new"
    );
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/folder");
    let file = missing.join("f.db");
    let refused = output(user_service(&[
        "--port=0",
        "--data",
        file.to_str().unwrap(),
    ]))
    .await;
    assert_eq!(refused.status.code(), Some(1));
    let line = one_line(&refused);
    let expected = format!("there is no folder {}; make it first", missing.display());
    assert!(line.contains(&expected), "{line}");
    assert!(!missing.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_beside_the_data_file_is_refused_and_what_it_names_keeps_its_mode() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    for suffix in ["-wal", "-shm", "-journal"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("u.db");
        let other = folder.path().join("other");
        std::fs::write(&other, "canary").unwrap();
        std::fs::set_permissions(&other, PermissionsExt::from_mode(0o644)).unwrap();
        let planted = format!("{}{suffix}", file.display());
        symlink(&other, &planted).unwrap();
        let refused = output(user_service(&[
            "--port=0",
            "--data",
            file.to_str().unwrap(),
        ]))
        .await;
        assert_eq!(refused.status.code(), Some(1));
        let message = one_line(&refused);
        assert!(
            message.contains(&format!("u.db{suffix} is a symbolic link")),
            "{message}"
        );
        let mode = std::fs::metadata(&other).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "canary");
    }
    // The path of the file itself may be a link.
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link.db");
    symlink(folder.path().join("real.db"), &link).unwrap();
    let data = ["--port=0", "--data", link.to_str().unwrap()];
    let service = Running::start(user_service(&data)).await;
    service.create("canary-7").await;
    drop(service);
    let real = std::fs::metadata(folder.path().join("real.db")).unwrap();
    assert_eq!(real.permissions().mode() & 0o777, 0o600);
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_data_file_and_what_is_beside_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["--port", "0", "--data", file.to_str().unwrap()];
    let modes = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let mut modes: Vec<_> = files
            .map(|file| {
                let file = file.unwrap();
                let mode = file.metadata().unwrap().permissions().mode();
                (file.file_name().into_string().unwrap(), mode & 0o777)
            })
            .collect();
        modes.sort();
        modes
    };
    let private = ["users.db", "users.db-shm", "users.db-wal"].map(|name| (name.into(), 0o600));
    let mut service = Running::start(user_service(&arguments)).await;
    assert_eq!(modes(), private);
    assert_eq!(service.signal("-KILL").await, None);
    // The same holds for files that were open to others before.
    for (name, _) in &private {
        let file = folder.path().join(name);
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    }
    let service = Running::start(user_service(&arguments)).await;
    assert_eq!(modes(), private);
    assert_eq!(service.get("/users/1").await.0, 200);
}

#[tokio::test]
async fn the_file_of_another_program_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = folder.path().join("notes.db");
    let database = rusqlite::Connection::open(&sqlite).unwrap();
    database
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes (note TEXT);")
        .unwrap();
    drop(database);
    let open = folder.path().join("open.db");
    let database = rusqlite::Connection::open(&open).unwrap();
    database
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes (note TEXT);")
        .unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "Notes, and no database.").unwrap();
    let files = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files
            .map(|file| file.unwrap().file_name())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let before = files();
    for (file, says) in [
        (&sqlite, "this is the SQLite database of another program"),
        (&open, "this is the SQLite database of another program"),
        (&text, "this is not a database"),
    ] {
        let content = std::fs::read(file).unwrap();
        let permissions = std::fs::metadata(file).unwrap().permissions();
        let refused = output(user_service(&[
            "--data",
            file.to_str().unwrap(),
            "--port",
            "0",
        ]))
        .await;
        assert_eq!(refused.status.code(), Some(1));
        let line = one_line(&refused);
        let expected = format!(
            "error: {}: {says}, and no file of this service; ",
            file.display()
        );
        assert!(line.starts_with(&expected), "{line}");
        assert_eq!(std::fs::read(file).unwrap(), content);
        assert_eq!(std::fs::metadata(file).unwrap().permissions(), permissions);
    }
    assert_eq!(files(), before);
}

#[tokio::test]
async fn a_data_file_that_cannot_be_one_is_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "This is a text, and no database, of more bytes than a header has. ".repeat(20),
    )
    .unwrap();
    let missing = folder.path().join("missing/users.db");
    for file in [
        folder.path(),
        text.as_path(),
        missing.as_path(),
        Path::new("/proc/users.db"),
    ] {
        let refused = output(user_service(&[
            "--port",
            "0",
            "--data",
            file.to_str().unwrap(),
        ]))
        .await;
        assert_eq!(refused.status.code(), Some(1), "{file:?}");
        let line = one_line(&refused);
        assert!(
            line.starts_with(&format!("error: {}: ", file.display())),
            "{line}"
        );
    }
}
