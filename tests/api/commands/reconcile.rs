//! `user-service reconcile`, for users whose tables were restored to moments that differ a little.

use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    Copied, Service, Setup, ada, all_users, claims_are_those_of_the_users, history,
    history_is_exact, history_types, legacy_user,
    program::{one_line, output, run, run_with_progress, user_service},
    random_write, send_write, some_id,
};

/// Runs `reconcile`. Returns the numbers of users and of deleted users that were behind, of users that
/// were also deleted users, and of missing users, with the lines that follow.
async fn reconcile(service: &Service) -> ([u64; 4], Vec<String>) {
    let text = run(service, &["reconcile"]).await;
    let mut lines = text.lines().map(str::to_owned);
    let counts = lines.by_ref().take(6).map(|line| {
        let (_, count) = line.rsplit_once(": ").unwrap();
        count.parse().unwrap()
    });
    let counts: Vec<u64> = counts.collect();
    (counts[2..].try_into().unwrap(), lines.collect())
}

/// A new user. Returns its `userId` and its path.
async fn new_user(service: &Service) -> (String, String) {
    let mut user = ada();
    let user_id = some_id();
    user["userId"] = json!(user_id);
    let _ = service.post("/users", &user).await.has_status(201);
    let path = format!("/users/{user_id}");
    (user_id, path)
}

async fn rename(service: &Service, path: &str) -> Value {
    let renamed = service
        .patch(path, &json!({ "name": "Another canary" }))
        .await;
    renamed.has_status(200).json()
}

#[tokio::test]
async fn a_user_behind_its_history_gets_a_version_and_a_record_after_all_others() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let copy = service.item(&user_id).await;
    rename(&service, &path).await;
    rename(&service, &path).await;
    service.put_item(copy.clone()).await;
    let before = service.get(&path).await.has_status(200).json();

    assert_eq!(reconcile(&service).await, ([1, 0, 0, 0], vec![]));
    let mut after = service.get(&path).await.has_status(200).json();
    assert_eq!(after["version"], 4);
    assert_eq!(
        after["updatedBy"],
        json!({ "type": "command", "id": "reconcile" })
    );
    for name in ["version", "updatedAt", "updatedBy"] {
        after[name] = before[name].clone();
    }
    assert_eq!(after, before);
    // The record of a deletion follows the last write of the user, and so all records.
    let _ = service.delete(&path).await.has_status(204);
    history_is_exact(&service, &user_id).await;
    let types = history_types(&service, &user_id).await;
    assert_eq!(types[3..], ["user.updated", "user.deleted"]);
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
    claims_are_those_of_the_users(&service).await;
}

#[tokio::test]
async fn the_version_follows_those_of_all_records_that_the_user_does_not_know() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let copy = service.item(&user_id).await;
    for _ in 0..120 {
        rename(&service, &path).await;
    }
    // The next life counts from 1 again.
    let _ = service.delete(&path).await.has_status(204);
    let mut again = ada();
    again["userId"] = json!(user_id);
    let _ = service.post("/users", &again).await.has_status(201);
    service.put_item(copy).await;
    service.remove_item(Copied::DeletedUsers, &user_id).await;
    assert_eq!(reconcile(&service).await, ([1, 0, 0, 0], vec![]));
    let user = service.get(&path).await.has_status(200).json();
    assert_eq!(user["version"], 123);
}

/// The time in the id of a record: 48 bits of milliseconds, and 12 bits of parts of one.
fn ticks(id: &Value) -> u64 {
    let digits = id.as_str().unwrap().replace('-', "");
    let number = |digits| u64::from_str_radix(digits, 16).unwrap();
    (number(&digits[..12]) << 12) + number(&digits[13..16])
}

#[tokio::test]
async fn a_deleted_user_behind_its_history_stays_deleted_with_a_record_after_all_others() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let _ = service.delete(&path).await.has_status(204);
    let copy = service.item_of(Copied::DeletedUsers, &user_id).await;
    let restore = format!("/deleted-users/{user_id}/restore");
    let _ = service.post(&restore, &json!({})).await.has_status(200);
    rename(&service, &path).await;
    service.remove_item(Copied::Users, &user_id).await;
    let mut soon = copy.clone();
    let expires_at: u64 = copy["expiresAt"]["N"].as_str().unwrap().parse().unwrap();
    soon["expiresAt"]["N"] = json!((expires_at - 29 * 24 * 60 * 60).to_string());
    service.put_item_into(Copied::DeletedUsers, soon).await;

    assert_eq!(reconcile(&service).await, ([0, 1, 0, 0], vec![]));
    history_is_exact(&service, &user_id).await;
    let records = history(&service, &user_id).await;
    assert_eq!(records[4]["type"], "user.deleted");
    assert_eq!(records[4]["version"], 5);
    // It stays as long as its new record says that it should be there.
    let item = service.item_of(Copied::DeletedUsers, &user_id).await;
    assert!(item["expiresAt"]["N"].as_str() >= copy["expiresAt"]["N"].as_str());
    // A creation under way does not know of it, and gets a later id.
    let ticks = records[3..].iter().map(|record| ticks(&record["id"]));
    let ticks: Vec<_> = ticks.collect();
    assert_eq!(ticks[1], ticks[0] + 1, "{records:#?}");
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
    let restored = service.post(&restore, &json!({})).await.has_status(200);
    assert_eq!(restored.json()["version"], 6);
    history_is_exact(&service, &user_id).await;
}

#[tokio::test]
async fn a_user_who_is_also_a_deleted_user_stays_a_user_and_one_created_again_keeps_both() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let copy = service.item(&user_id).await;
    let _ = service.delete(&path).await.has_status(204);
    service.put_item(copy).await;
    let (again, path_again) = new_user(&service).await;
    let _ = service.delete(&path_again).await.has_status(204);
    let mut user = ada();
    user["userId"] = json!(again);
    let _ = service.post("/users", &user).await.has_status(201);

    assert_eq!(reconcile(&service).await, ([0, 0, 1, 0], vec![]));
    let deleted = format!("/deleted-users/{user_id}");
    let _ = service.get(&deleted).await.has_status(404);
    assert_eq!(
        service.get(&path).await.has_status(200).json()["version"],
        3
    );
    let deleted = format!("/deleted-users/{again}");
    let _ = service.get(&deleted).await.has_status(200);
    assert_eq!(
        service.get(&path_again).await.has_status(200).json()["version"],
        1
    );
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
    history_is_exact(&service, &user_id).await;
    // Its claim was released with the deletion.
    let claimed = run(&service, &["claim-emails", "--give-up-left-over"]).await;
    assert!(
        claimed.contains("2 users: 1 claimed now, 1 before"),
        "{claimed}"
    );
    claims_are_those_of_the_users(&service).await;
}

#[tokio::test]
async fn users_in_neither_table_are_named_unless_they_were_erased_or_their_time_is_over() {
    let service = Service::start().await;
    let (missing, _) = new_user(&service).await;
    service.remove_item(Copied::Users, &missing).await;
    let (deleted, path) = new_user(&service).await;
    let _ = service.delete(&path).await.has_status(204);
    service.remove_item(Copied::DeletedUsers, &deleted).await;
    let (_, path) = new_user(&service).await;
    let _ = service
        .delete(&format!("{path}?erase=true"))
        .await
        .has_status(204);

    let (counts, lines) = reconcile(&service).await;
    assert_eq!(counts, [0, 0, 0, 2]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let named = |line: &str| lines.iter().any(|it| it.starts_with(line));
    assert!(
        named(&format!(
            "  {missing} is missing; its newest record is user.created at 20"
        )),
        "{lines:?}"
    );
    assert!(
        named(&format!(
            "  {deleted} is missing; its newest record is user.deleted at 20"
        )),
        "{lines:?}"
    );
    // Where no deleted users are kept, a deleted user is not missing.
    let text = run(&service, &["--deleted-users-days", "0", "reconcile"]).await;
    assert!(text.contains("Users that are missing: 1\n"), "{text}");
}

#[tokio::test]
async fn an_erased_user_is_left_to_forget_erased_which_can_read_another_history() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let copy = service.item(&user_id).await;
    rename(&service, &path).await;
    let _ = service
        .delete(&format!("{path}?erase=true"))
        .await
        .has_status(204);
    service.put_item(copy).await;
    let (counts, lines) = reconcile(&service).await;
    assert_eq!(counts, [0; 4]);
    assert_eq!(
        lines,
        ["Users that were erased, but exist: 1. Run forget-erased."]
    );
    assert_eq!(
        service.get(&path).await.has_status(200).json()["version"],
        1
    );

    // The restored history has no record of it.
    let copies = Setup::default();
    let copies = copies.start_in_dynamodb_of(&service).await;
    assert!(service.copy_item(Copied::Users, &user_id, &copies).await);
    let text = run(&copies, &["forget-erased"]).await;
    assert_eq!(text, "0 records of erasures: 0 users erased again.\n");
    let in_use = service.history_table();
    let text = run(&copies, &["forget-erased", "--erasures-of", in_use]).await;
    assert_eq!(text, "1 records of erasures: 1 users erased again.\n");
    let _ = copies.get(&path).await.has_status(404);
    assert_eq!(history_types(&copies, &user_id).await, ["user.erased"]);
}

#[tokio::test]
async fn an_erasure_of_a_copy_that_was_put_back_counts_though_later_records_are_newer() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let copy = service.item(&user_id).await;
    rename(&service, &path).await;
    rename(&service, &path).await;
    service.put_item(copy.clone()).await;
    let _ = service
        .delete(&format!("{path}?erase=true"))
        .await
        .has_status(204);
    let types = history_types(&service, &user_id).await;
    assert_eq!(types[1..], ["user.erased", "user.updated", "user.updated"]);
    // It was erased, and is not missing.
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
    service.put_item(copy).await;
    let erased = "Users that were erased, but exist: 1. Run forget-erased.".to_owned();
    assert_eq!(reconcile(&service).await, ([0; 4], vec![erased]));
    let text = run(&service, &["forget-erased"]).await;
    assert_eq!(text, "1 records of erasures: 1 users erased again.\n");
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
}

#[tokio::test]
async fn an_erased_user_or_deleted_user_that_is_not_behind_its_history_is_found_too() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let mut copy = service.item(&user_id).await;
    let (deleted_id, deleted_path) = new_user(&service).await;
    let _ = service.delete(&deleted_path).await.has_status(204);
    let mut deleted = service.item_of(Copied::DeletedUsers, &deleted_id).await;
    let erased = format!("{path}?erase=true");
    for path in [erased, format!("/deleted-users/{deleted_id}")] {
        let _ = service.delete(&path).await.has_status(204);
    }
    // A write of a later time, as that of a command that did not know of the erasure.
    let (later, _) = new_user(&service).await;
    let revision = service.item(&later).await["_userService"]["M"]["revision"].take();
    copy["_userService"]["M"]["revision"] = revision.clone();
    deleted["revision"] = revision;
    service.put_item(copy).await;
    service.put_item_into(Copied::DeletedUsers, deleted).await;
    let erased = "Users that were erased, but exist: 2. Run forget-erased.".to_owned();
    assert_eq!(reconcile(&service).await, ([0; 4], vec![erased]));
}

#[tokio::test]
async fn a_later_life_of_an_erased_user_is_missing_when_the_first_one_was_put_back() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let first = service.item(&user_id).await;
    let _ = service
        .delete(&format!("{path}?erase=true"))
        .await
        .has_status(204);
    let mut again = ada();
    again["userId"] = json!(user_id);
    let _ = service.post("/users", &again).await.has_status(201);
    rename(&service, &path).await;
    let second = service.item(&user_id).await;
    service.put_item(first).await;

    let erased = "Users that were erased, but exist: 1. Run forget-erased.".to_owned();
    assert_eq!(reconcile(&service).await, ([0; 4], vec![erased]));
    let text = run(&service, &["forget-erased"]).await;
    assert_eq!(text, "1 records of erasures: 1 users erased again.\n");
    let (counts, lines) = reconcile(&service).await;
    assert_eq!(counts, [0, 0, 0, 1]);
    let line = format!("  {user_id} is missing; its newest record is user.updated at 20");
    assert!(lines[0].starts_with(&line), "{lines:?}");
    service.put_item(second).await;
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
    rename(&service, &path).await;
}

#[tokio::test]
async fn a_user_without_a_time_of_creation_is_the_deleted_one_unless_it_was_created_since() {
    let service = Service::start().await;
    let ids = [some_id(), some_id()];
    for user_id in &ids {
        let email = format!("canary-{user_id}@example.com");
        let item = legacy_user(user_id, &email);
        service.put_item(item.clone()).await;
        let path = format!("/users/{user_id}");
        let _ = service.delete(&path).await.has_status(204);
        if *user_id == ids[1] {
            let user = json!({ "userId": user_id, "name": "A canary", "email": email });
            let _ = service.post("/users", &user).await.has_status(201);
        }
        service.put_item(item).await;
    }
    assert_eq!(reconcile(&service).await.0, [0, 0, 1, 0]);
    let deleted = ids.each_ref().map(|id| format!("/deleted-users/{id}"));
    let _ = service.get(&deleted[0]).await.has_status(404);
    let _ = service.get(&deleted[1]).await.has_status(200);
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
    let user = service.get(&format!("/users/{}", ids[0])).await;
    assert_eq!(user.has_status(200).json()["version"], 2);
}

#[tokio::test]
async fn a_user_whose_address_another_has_claimed_is_left_until_it_has_another_one() {
    let service = Service::start().await;
    let (user_id, path) = new_user(&service).await;
    let (_, path_of_other) = new_user(&service).await;
    let mut copy = service.item(&user_id).await;
    rename(&service, &path).await;
    let other = service.get(&path_of_other).await.json();
    copy["email"] = json!({ "S": other["email"] });
    service.put_item(copy).await;
    let (counts, lines) = reconcile(&service).await;
    assert_eq!(counts, [0; 4]);
    assert!(
        lines[0].starts_with(
            "Users left as they are, because another user has claimed their address: 1."
        ),
        "{lines:?}"
    );
    assert_eq!(
        service.get(&path).await.has_status(200).json()["version"],
        1
    );
    let moved = service
        .patch(&path, &json!({ "email": ada()["email"] }))
        .await;
    let _ = moved.has_status(200);
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
}

#[tokio::test]
async fn reconcile_changes_nothing_if_all_agrees_even_while_clients_write() {
    let service = Service::start().await;
    let users: Vec<String> = (0..20).map(|_| some_id()).collect();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let clients = (0..8).map(|_| {
        let mut random = random.fork();
        let (service, users) = (&service, &users);
        async move {
            for _ in 0..40 {
                send_write(service, random_write(&mut random, users)).await;
            }
        }
    });
    let commands = async {
        for _ in 0..3 {
            assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
        }
    };
    tokio::join!(join_all(clients), commands);
    assert_eq!(reconcile(&service).await, ([0; 4], vec![]));
    for user_id in &users {
        history_is_exact(&service, user_id).await;
    }
    claims_are_those_of_the_users(&service).await;
    assert!(
        all_users(&service)
            .await
            .values()
            .all(|user| user["updatedBy"]["type"] != "command")
    );
}

#[tokio::test]
async fn reconcile_reports_its_progress_and_skips_items_that_are_not_records() {
    let service = Service::start().await;
    let items = (0..1_100).map(|number| {
        let id = format!("canary-{number}");
        json!({ "userId": { "S": "canary" }, "id": { "S": id } })
    });
    let table = Copied::History;
    service.put_items_into(table, items.collect()).await;
    let (text, progress) = run_with_progress(&service, &["reconcile"]).await;
    assert!(
        text.starts_with("Records read: 1100\nDeleted users read: 0\n"),
        "{text}"
    );
    let lines: Vec<_> = progress.lines().collect();
    assert_eq!(lines.len(), 1, "{progress}");
    assert!(lines[0].starts_with("Walked 1000 records"), "{progress}");
    // A page is small, so that it also comes over a slow link.
    for command in ["reconcile", "forget-erased"] {
        service.store().take_calls();
        run(&service, &[command]).await;
        let calls = service.store().take_calls();
        let scans = calls.iter().filter(|call| *call == "Scan").count();
        assert!(scans >= 3, "{calls:?}");
    }
}

#[tokio::test]
async fn reconcile_needs_to_know_where_the_tables_are() {
    let refused = output(user_service(&["reconcile"])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(one_line(&refused).contains("reconcile needs to know where the tables are"));
}
