//! The worst day, as a drill: the tables are restored to a second at which clients wrote.
//!
//! Processes of the service write at random. Meanwhile the tables are copied one after the other, in
//! any order, and more writes are done between two pages. So the copies are further apart than those
//! of a restore. Then the service starts on the copies, and the commands of `docs/operating.md` run in
//! its order, while other users are written. `RESTORE_SEED` chooses the writes and the order of the tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use fastrand::Rng;
use futures_util::{StreamExt, future::join_all, stream};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    Copied, Service, Setup, Through, all_users, claims_are_those_of_the_users, history,
    history_is_exact,
    program::{on_tables_of, output, run},
    random_write, send_write, some_email, some_id,
    store_proxy::Side,
};

const PROCESSES: usize = 4;
const CLIENTS: usize = 16;
const USERS: usize = 40;
/// The users who are written while the commands run.
const OTHERS: usize = 2;
/// The writes that are done before each page of a copy.
const WRITES_BETWEEN_PAGES: u64 = 12;

#[tokio::test]
async fn users_restored_under_load_are_whole_again_after_the_commands_of_the_runbook() {
    let seed =
        env::var("RESTORE_SEED").map_or_else(|_| fastrand::u64(..), |it| it.parse().unwrap());
    println!("RESTORE_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let setup = Setup {
        sandboxes: PROCESSES,
        through: Some(Through::Lambda),
        ..Setup::default()
    };
    let in_use = setup.start().await;
    let erased_before = erased_users(&in_use).await;
    let copies = Setup::default().start_in_dynamodb_of(&in_use).await;
    copy_under_load(&in_use, &copies, &mut random).await;

    let before = Stored::of(&copies).await;

    // The service runs on the copies, and other users are written meanwhile.
    let setup = Setup {
        sandboxes: PROCESSES,
        through: Some(Through::Lambda),
        ..Setup::default()
    };
    let restored = setup.start_beside(&copies).await;
    let others: Vec<String> = (0..OTHERS).map(|_| some_id()).collect();
    let is_done = AtomicBool::new(false);
    let load = others
        .iter()
        .map(|user_id| write_on(&restored, user_id, &is_done));
    let commands = async {
        let restoration = follow_the_runbook(&in_use, &copies, &mut random).await;
        is_done.store(true, Relaxed);
        restoration
    };
    let (restoration, rounds) = tokio::join!(commands, join_all(load));
    println!("{rounds:?} rounds of writes on other users");
    assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
    for user_id in &others {
        history_is_exact(&restored, user_id).await;
    }
    survivors_are_as_they_were(&restored, &before, &restoration, &others).await;
    for user_id in &restoration.shared {
        let path = format!("/users/{user_id}");
        let other = json!({ "email": some_email() });
        let _ = restored.patch(&path, &other).await.has_status(200);
    }
    claims_are_those_of_the_users(&restored).await;
    no_erased_user_is_there(&restored, &erased_before, &restoration.erasures).await;
    // The history may have been copied before the users.
    let found = faults(&copies).await;
    assert!(
        found.is_subset(&BTreeSet::from(["history_write_missing".to_owned()])),
        "{found:?}"
    );

    let users: Vec<_> = all_users(&restored).await.into_values().collect();
    let lives = users.iter().map(|user| user_lives_on(&restored, user));
    stream::iter(lives)
        .buffer_unordered(CLIENTS)
        .collect::<()>()
        .await;
    let deleted = deleted_users(&restored).await;
    let restorations = deleted
        .iter()
        .map(|user_id| deleted_user_can_be_restored(&restored, user_id));
    stream::iter(restorations)
        .buffer_unordered(CLIENTS)
        .collect::<()>()
        .await;
    claims_are_those_of_the_users(&restored).await;
    // Nothing is left to mend.
    let text = reconcile(&copies).await;
    assert_eq!(text.matches(" repaired: 0\n").count(), 3, "{text}");
    assert!(!text.contains("erased"), "{text}");
    let text = claim_emails(&copies).await;
    assert!(text.contains("users: 0 claimed now, "), "{text}");
    assert_eq!(faults(&copies).await, BTreeSet::new());
}

/// What the commands listed, and what was done about it.
struct Restoration {
    /// The records of erasures in the history that was in use.
    erasures: Vec<Value>,
    /// The users and deleted users who were brought back, as they were in use.
    brought: Stored,
    /// Users who have the address of another.
    shared: BTreeSet<String>,
}

/// Does what `docs/operating.md` says, in its order. The first run of `reconcile` is killed.
async fn follow_the_runbook(in_use: &Service, copies: &Service, random: &mut Rng) -> Restoration {
    kill_reconcile(copies, random).await;
    let text = reconcile(copies).await;
    println!("{text}");
    let mut brought = Stored::default();
    let mut ended = bring_back(in_use, copies, missing(&text), &mut brought).await;
    let mut erasures = in_use.history_items().await;
    erasures.retain(|record| record["type"]["S"] == "user.erased");
    let in_use_history = in_use.history_table();
    let text = run(copies, &["forget-erased", "--erasures-of", in_use_history]).await;
    println!("{text}");
    // Users who were created again after their erasure may be missing now.
    let text = reconcile(copies).await;
    println!("{text}");
    let mut again = missing(&text);
    again.retain(|user_id| !ended.contains(user_id));
    ended.extend(bring_back(in_use, copies, again, &mut brought).await);
    let text = reconcile(copies).await;
    println!("{text}");
    assert_eq!(missing(&text), ended);
    let text = claim_emails(copies).await;
    println!("{text}");
    Restoration {
        erasures,
        brought,
        shared: shared(&text),
    }
}

/// Starts `reconcile`, and kills it at some call to DynamoDB, before or after DynamoDB has done it.
async fn kill_reconcile(copies: &Service, random: &mut Rng) {
    let call = random.u32(12..45);
    let side = match random.bool() {
        true => Side::Before,
        false => Side::After,
    };
    copies.store().hold_call(call, side);
    let mut command = on_tables_of(copies, &["reconcile"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.as_mut().unwrap();
    let is_held = tokio::select! {
        () = copies.store().holds_call() => true,
        ended = child.wait() => {
            assert!(ended.unwrap().success());
            false
        }
    };
    println!("reconcile is killed at call {call}: {is_held}");
    if is_held {
        child.kill().await.unwrap();
        copies.store().lose_held_call();
    }
    copies.store().hold_call(u32::MAX, side);
    copies.store().go_on();
}

/// Writes a user until it is done. Returns the number of rounds. Each write succeeds.
async fn write_on(service: &Service, user_id: &str, is_done: &AtomicBool) -> u64 {
    create(service, user_id).await;
    let path = format!("/users/{user_id}");
    let restore = format!("/deleted-users/{user_id}/restore");
    let mut rounds = 0;
    while !is_done.load(Relaxed) {
        let moved = json!({ "email": some_email() });
        let _ = service.patch(&path, &moved).await.has_status(200);
        let _ = service.delete(&path).await.has_status(204);
        let _ = service.post(&restore, &json!({})).await.has_status(200);
        rounds += 1;
    }
    rounds
}

/// Users and deleted users, by `userId`, without what each write changes.
#[derive(Default)]
struct Stored {
    users: BTreeMap<String, Value>,
    deleted: BTreeMap<String, Value>,
}

impl Stored {
    async fn of(service: &Service) -> Self {
        let users = all_users(service).await.into_iter();
        let mut deleted = BTreeMap::new();
        for user_id in deleted_users(service).await {
            let user = deleted_user(service, &user_id).await.unwrap();
            deleted.insert(user_id, user);
        }
        Self {
            users: users.map(|(id, user)| (id, fields(user))).collect(),
            deleted,
        }
    }
}

/// A user without what each write changes.
fn fields(mut user: Value) -> Value {
    let members = user.as_object_mut().unwrap();
    for name in ["version", "updatedAt", "updatedBy"] {
        members.remove(name);
    }
    user
}

async fn deleted_user(service: &Service, user_id: &str) -> Option<Value> {
    let deleted = service.get(&format!("/deleted-users/{user_id}")).await;
    (deleted.status == 200).then(|| fields(deleted.json()["user"].take()))
}

/// Each user and deleted user of the copies is there with its fields, and so is each that was brought
/// back. Only those who were erased are not there, and deleted users who are users. Nobody else is.
async fn survivors_are_as_they_were(
    restored: &Service,
    before: &Stored,
    restoration: &Restoration,
    others: &[String],
) {
    let is_erased = |user_id: &str, user: &Value| {
        let mut records = restoration.erasures.iter();
        records.any(|record| {
            record["userId"]["S"] == user_id
                && user["createdAt"].as_str() <= record["createdAt"]["S"].as_str()
        })
    };
    let brought = &restoration.brought;
    let mut expected = Stored::default();
    for (user_id, user) in before
        .users
        .iter()
        .filter(|(id, user)| !is_erased(id, user))
    {
        expected.users.insert(user_id.clone(), user.clone());
    }
    for (user_id, user) in before
        .deleted
        .iter()
        .filter(|(id, user)| !is_erased(id, user))
    {
        let same = before.users.get(user_id);
        if same.is_none_or(|same| same["createdAt"] != user["createdAt"]) {
            expected.deleted.insert(user_id.clone(), user.clone());
        }
    }
    expected.users.extend(brought.users.clone());
    expected.deleted.extend(brought.deleted.clone());
    let mut after = Stored::of(restored).await;
    after.users.retain(|user_id, _| !others.contains(user_id));
    assert_eq!(after.users, expected.users);
    assert_eq!(after.deleted, expected.deleted);
    println!(
        "{} users and {} deleted users",
        after.users.len(),
        after.deleted.len()
    );
}

/// The codes of the faults that `doctor` finds.
async fn faults(service: &Service) -> BTreeSet<String> {
    let command = on_tables_of(service, &["doctor", "--json", "--sample", "1000"]);
    let output = output(command).await;
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let faults = report["faults"].as_array().unwrap().iter();
    faults
        .map(|fault| fault["code"].as_str().unwrap().to_owned())
        .collect()
}

/// Creates users and erases them.
async fn erased_users(service: &Service) -> Vec<String> {
    let mut erased = Vec::new();
    for is_deleted in [false, true] {
        let user_id = some_id();
        create(service, &user_id).await;
        let path = format!("/users/{user_id}");
        if is_deleted {
            let _ = service.delete(&path).await.has_status(204);
        }
        let _ = service
            .delete(&format!("{path}?erase=true"))
            .await
            .has_status(204);
        erased.push(user_id);
    }
    erased
}

async fn create(service: &Service, user_id: &str) {
    let user = json!({ "userId": user_id, "name": "A canary", "email": some_email() });
    let _ = service.post("/users", &user).await.has_status(201);
}

/// Copies the tables while clients write.
async fn copy_under_load(in_use: &Service, copies: &Service, random: &mut Rng) {
    let users: Vec<String> = (0..USERS).map(|_| some_id()).collect();
    join_all(users.iter().map(|user_id| create(in_use, user_id))).await;
    let (written, writes) = watch::channel(0_u64);
    let more_writes = async || {
        let mut writes = writes.clone();
        let enough = *writes.borrow() + WRITES_BETWEEN_PAGES;
        writes.wait_for(|count| *count >= enough).await.unwrap();
    };
    let mut tables = [
        Copied::Users,
        Copied::Claims,
        Copied::DeletedUsers,
        Copied::History,
    ];
    random.shuffle(&mut tables);
    println!("{tables:?}");
    let is_copied = AtomicBool::new(false);
    let clients = (0..CLIENTS).map(|_| {
        let mut random = random.fork();
        let (written, users, is_copied) = (&written, &users, &is_copied);
        async move {
            while !is_copied.load(Relaxed) {
                let write = random_write(&mut random, users);
                if send_write(in_use, write).await {
                    written.send_modify(|count| *count += 1);
                }
            }
        }
    });
    let copying = async {
        for table in tables {
            in_use.copy(table, copies, &more_writes).await;
        }
        is_copied.store(true, Relaxed);
    };
    tokio::join!(copying, join_all(clients));
    println!("{} writes", *writes.borrow());
}

async fn reconcile(service: &Service) -> String {
    run(service, &["reconcile"]).await
}

async fn claim_emails(service: &Service) -> String {
    run(
        service,
        &["claim-emails", "--rate", "10000", "--give-up-left-over"],
    )
    .await
}

/// The users who are missing, in the report of `reconcile`.
fn missing(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
    lines
        .filter_map(|line| line.split_once(" is missing"))
        .map(|(user_id, _)| user_id.to_owned())
        .collect()
}

/// The users who have the address of another, in the report of `claim-emails`.
fn shared(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
    lines
        .filter_map(|line| line.split_once(" has the address of "))
        .map(|(user_id, _)| user_id.to_owned())
        .collect()
}

/// Copies the missing users from the tables in use. Returns those who have ended since.
async fn bring_back(
    in_use: &Service,
    copies: &Service,
    missing: BTreeSet<String>,
    brought: &mut Stored,
) -> BTreeSet<String> {
    let mut ended = BTreeSet::new();
    for user_id in missing {
        if in_use.copy_item(Copied::Users, &user_id, copies).await {
            let path = format!("/users/{user_id}?consistent=true");
            let user = in_use.get(&path).await.has_status(200).json();
            let user = fields(user);
            brought.users.insert(user_id, user);
        } else if in_use
            .copy_item(Copied::DeletedUsers, &user_id, copies)
            .await
        {
            let user = deleted_user(in_use, &user_id).await.unwrap();
            brought.deleted.insert(user_id, user);
        } else {
            ended.insert(user_id);
        }
    }
    ended
}

/// Nothing is there of a user who was erased, whether that was before the copy or after it.
async fn no_erased_user_is_there(restored: &Service, erased_before: &[String], erasures: &[Value]) {
    for user_id in erased_before {
        let _ = restored
            .get(&format!("/users/{user_id}"))
            .await
            .has_status(404);
        let _ = restored
            .get(&format!("/deleted-users/{user_id}"))
            .await
            .has_status(404);
    }
    for record in erasures {
        let user_id = record["userId"]["S"].as_str().unwrap();
        let user = restored
            .get(&format!("/users/{user_id}?consistent=true"))
            .await;
        let deleted = restored.get(&format!("/deleted-users/{user_id}")).await;
        let found = [
            (user.status == 200).then(|| user.json()["createdAt"].clone()),
            (deleted.status == 200).then(|| deleted.json()["user"]["createdAt"].clone()),
        ];
        for created_at in found.into_iter().flatten() {
            let (created_at, erased) = (created_at.as_str(), record["createdAt"]["S"].as_str());
            assert!(created_at > erased, "{user_id}: {created_at:?} {erased:?}");
        }
    }
}

/// A user can be found, patched, deleted and restored. Each of these is the newest record of its
/// history, with the next version.
async fn user_lives_on(service: &Service, user: &Value) {
    let user_id = user["userId"].as_str().unwrap();
    let path = format!("/users/{user_id}");
    if let Some(email) = user["email"].as_str() {
        let found = service.get(&format!("/users?email={email}")).await;
        assert_eq!(found.has_status(200).json(), *user);
    }
    let version = user["version"].as_u64().unwrap();
    let item = service.item(user_id).await;
    let last_write = &item["_userService"]["M"]["revision"];
    is_not_behind(service, user_id, version, last_write).await;
    let patched = service
        .patch(&path, &json!({ "metadata": { "restored": true } }))
        .await;
    assert_eq!(patched.has_status(200).json()["version"], version + 1);
    assert_eq!(
        newest(service, user_id).await,
        ("user.updated".to_owned(), version + 1)
    );
    let _ = service.delete(&path).await.has_status(204);
    assert_eq!(
        newest(service, user_id).await,
        ("user.deleted".to_owned(), version + 2)
    );
    let restore = format!("/deleted-users/{user_id}/restore");
    let restored = service.post(&restore, &json!({})).await.has_status(200);
    assert_eq!(restored.json()["version"], version + 3);
    assert_eq!(
        newest(service, user_id).await,
        ("user.restored".to_owned(), version + 3)
    );
}

/// Checks that the last write of a user or deleted user is not before any record. If it is that of the
/// newest record, no version of this life is higher. Otherwise the history of the copy ends earlier.
async fn is_not_behind(service: &Service, user_id: &str, version: u64, last_write: &Value) {
    let records = history(service, user_id).await;
    let newest = records.last().map(|record| record["id"].as_str().unwrap());
    let last_write = last_write["S"].as_str().unwrap();
    assert!(newest <= Some(last_write), "{last_write}: {records:#?}");
    if newest == Some(last_write) {
        let is_first = |record: &Value| record["type"] == "user.created";
        let life = records.iter().rposition(is_first).unwrap_or_default();
        let versions = records[life..]
            .iter()
            .map(|record| record["version"].as_u64());
        assert_eq!(versions.max().flatten(), Some(version), "{records:#?}");
    }
}

/// The type and the version of the newest record.
async fn newest(service: &Service, user_id: &str) -> (String, u64) {
    let page = service
        .get(&format!("/users/{user_id}/history?limit=1"))
        .await;
    let record = page.has_status(200).json()["items"][0].take();
    let event_type = record["type"].as_str().unwrap().to_owned();
    (event_type, record["version"].as_u64().unwrap())
}

async fn deleted_users(service: &Service) -> Vec<String> {
    let page = service
        .get("/deleted-users?limit=100&consistent=true")
        .await;
    let page = page.has_status(200).json();
    assert!(page["nextCursor"].is_null());
    let users = page["items"].as_array().unwrap().iter();
    users
        .map(|deleted| deleted["user"]["userId"].as_str().unwrap().to_owned())
        .collect()
}

/// A deleted user can be restored, if no later user has its `userId`.
async fn deleted_user_can_be_restored(service: &Service, user_id: &str) {
    let deleted = service
        .get(&format!("/deleted-users/{user_id}"))
        .await
        .has_status(200)
        .json();
    let user = service
        .get(&format!("/users/{user_id}?consistent=true"))
        .await;
    if user.status == 200 {
        let user = user.json();
        assert_ne!(user["createdAt"], deleted["user"]["createdAt"], "{user_id}");
        let _ = service
            .delete(&format!("/users/{user_id}"))
            .await
            .has_status(204);
    }
    let path = format!("/deleted-users/{user_id}");
    let deleted = service.get(&path).await.has_status(200).json();
    let version = deleted["user"]["version"].as_u64().unwrap();
    let item = service.item_of(Copied::DeletedUsers, user_id).await;
    is_not_behind(service, user_id, version, &item["revision"]).await;
    let body = json!({ "email": some_email() });
    let headers = [("content-type", "application/json")];
    let restored = service
        .send(
            Method::POST,
            &format!("{path}/restore"),
            &headers,
            body.to_string(),
        )
        .await;
    assert_eq!(restored.has_status(200).json()["version"], version + 1);
    assert_eq!(
        newest(service, user_id).await,
        ("user.restored".to_owned(), version + 1)
    );
}
