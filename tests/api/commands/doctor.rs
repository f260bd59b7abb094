//! `user-service doctor`: it finds nothing in a right store, and what is wrong in a wrong one.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType, TimeToLiveSpecification,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    Copied, Service, ada, history, legacy_user,
    program::{on_tables_of, output, run, user_service},
    some_email, some_id,
};

fn doctor(service: &Service, more: &[&str]) -> Command {
    let mut command = user_service(&["doctor", "--json"]);
    command
        .args(["--table", service.table()])
        .args(["--emails-table", service.emails_table()])
        .args(["--idempotency-table", service.idempotency_table()])
        .args(["--deleted-users-table", service.deleted_users_table()])
        .args(["--history-table", service.history_table()])
        .args(more)
        .env("AWS_ENDPOINT_URL_DYNAMODB", service.store().endpoint_url());
    command
}

/// The report of a doctor that could check, and agrees with its exit code.
async fn report(command: Command) -> Value {
    let output = output(command).await;
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let finds_nothing = report["faults"].as_array().unwrap().is_empty();
    let code = i32::from(!finds_nothing);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    report
}

/// The code and the table of each fault that the doctor finds, in their order.
async fn found(service: &Service) -> Vec<(String, String)> {
    let report = report(doctor(service, &[])).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let faults = report["faults"].as_array().unwrap().iter();
    faults
        .map(|fault| {
            assert_ne!(text(&fault["remedy"]), "", "{fault}");
            assert_ne!(text(&fault["message"]), "", "{fault}");
            (text(&fault["code"]), text(&fault["table"]))
        })
        .collect()
}

/// Checks that the doctor finds this fault in this table, and nothing else.
async fn finds_only(service: &Service, code: &str, table: &str) {
    let expected = [(code.to_owned(), table.to_owned())];
    assert_eq!(found(service).await, expected);
}

async fn create(service: &Service) -> Value {
    let created = service.post("/users", &ada()).await;
    created.has_status(201).json()
}

fn id(user: &Value) -> &str {
    user["userId"].as_str().unwrap()
}

fn path(user: &Value) -> String {
    format!("/users/{}", id(user))
}

/// A service with users that have each kind of life.
async fn lived_in() -> Service {
    let service = Service::start().await;
    let users = [
        create(&service).await,
        create(&service).await,
        create(&service).await,
        create(&service).await,
    ];
    let [changed, deleted, restored, erased] = &users;
    let moved = json!({ "email": some_email() });
    let patched = service.patch(&path(changed), &moved).await;
    let _ = patched.has_status(200);
    let disabled = json!({ "status": "disabled" });
    let _ = service
        .patch(&path(changed), &disabled)
        .await
        .has_status(200);
    for user in [deleted, restored] {
        let _ = service.delete(&path(user)).await.has_status(204);
    }
    let restore = format!("/deleted-users/{}/restore", id(restored));
    let _ = service.post(&restore, &json!({})).await.has_status(200);
    let erase = format!("{}?erase=true", path(erased));
    let _ = service.delete(&erase).await.has_status(204);
    // The deleted one's key and address belong to a new user.
    let again = json!({ "userId": id(deleted), "name": "canary", "email": deleted["email"] });
    let _ = service.post("/users", &again).await.has_status(201);
    // The claims of users of other clients, written by a command: they have no history.
    service
        .put_item(legacy_user(&some_id(), &some_email()))
        .await;
    let mut versioned = legacy_user(&some_id(), &some_email());
    versioned["version"] = json!({ "N": "7" });
    versioned["updatedAt"] = json!({ "S": "2026-01-01T00:00:00.000Z" });
    service.put_item(versioned).await;
    let mut claim_emails = user_service(&["--table", service.table()]);
    claim_emails
        .args(["--emails-table", service.emails_table(), "claim-emails"])
        .env("AWS_ENDPOINT_URL_DYNAMODB", service.store().endpoint_url());
    assert!(output(claim_emails).await.status.success());
    service
}

#[tokio::test]
async fn nothing_is_found_in_a_right_store_and_nothing_is_changed() {
    let service = lived_in().await;
    service.store().take_calls();
    let report = report(doctor(&service, &[])).await;
    assert_eq!(report["faults"], json!([]));
    let checked = json!({
        "tables": 5, "users": 5, "claims": 5, "deletedUsers": 1, "histories": 5,
    });
    assert_eq!(report["checked"], checked);
    let skipped = report["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 1, "{report}");
    let check = "point-in-time recovery and deletion protection";
    assert_eq!(skipped[0]["check"], check);
    let calls: BTreeSet<_> = service.store().take_calls().into_iter().collect();
    let reads = [
        "BatchGetItem",
        "DescribeTable",
        "DescribeTimeToLive",
        "GetItem",
        "Query",
        "Scan",
    ];
    assert_eq!(calls.into_iter().collect::<Vec<_>>(), reads);
}

#[tokio::test]
async fn nothing_is_found_while_users_are_written_deleted_and_restored() {
    let service = Arc::new(Service::start().await);
    let is_done = Arc::new(AtomicBool::default());
    let writers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(write_on(Arc::clone(&service), Arc::clone(&is_done))))
        .collect();
    // It begins to check when there are users to see.
    while service.claims().await.len() < 4 {
        tokio::task::yield_now().await;
    }
    for _ in 0..4 {
        assert_eq!(found(&service).await, []);
    }
    is_done.store(true, SeqCst);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    assert_eq!(found(&service).await, []);
}

/// Gives a user other addresses, deletes it and restores it, until it is done. Returns the number of
/// rounds.
async fn write_on(service: Arc<Service>, is_done: Arc<AtomicBool>) -> u64 {
    let user = create(&service).await;
    let addresses = [some_email(), some_email()];
    let mut rounds = 0;
    while !is_done.load(SeqCst) {
        for address in &addresses {
            let moved = json!({ "email": address });
            let _ = service.patch(&path(&user), &moved).await.has_status(200);
        }
        let _ = service.delete(&path(&user)).await.has_status(204);
        let restore = format!("/deleted-users/{}/restore", id(&user));
        let _ = service.post(&restore, &json!({})).await.has_status(200);
        rounds += 1;
    }
    rounds
}

// Tables.

#[tokio::test]
async fn each_missing_table_is_found() {
    let service = Service::start().await;
    for table in tables(&service) {
        remake(&service, table, None).await;
        finds_only(&service, "table_missing", table).await;
        let (key, expires) = key_of(&service, table);
        remake(&service, table, Some(&key)).await;
        if expires {
            set_time_to_live(&service, table, "expiresAt").await;
        }
        assert_eq!(found(&service).await, []);
    }
}

#[tokio::test]
async fn a_table_with_another_key_is_found() {
    use ScalarAttributeType::{N, S};
    let service = Service::start().await;
    for (table, key) in [
        (service.table(), &[("id", S)][..]),
        (service.emails_table(), &[("email", N)]),
        (service.history_table(), &[("userId", S)]),
        (service.history_table(), &[("userId", S), ("id", N)]),
        (service.deleted_users_table(), &[("userId", S), ("id", S)]),
    ] {
        remake(&service, table, Some(key)).await;
        finds_only(&service, "key_wrong", table).await;
        let (key, expires) = key_of(&service, table);
        remake(&service, table, Some(&key)).await;
        if expires {
            set_time_to_live(&service, table, "expiresAt").await;
        }
    }
    assert_eq!(found(&service).await, []);
}

#[tokio::test]
async fn time_to_live_that_is_off_on_another_attribute_or_unwanted_is_found() {
    let service = Service::start().await;
    for table in tables(&service) {
        let (key, expires) = key_of(&service, table);
        if expires {
            remake(&service, table, Some(&key)).await;
            finds_only(&service, "ttl_off", table).await;
            set_time_to_live(&service, table, "deletedAt").await;
            finds_only(&service, "ttl_attribute_wrong", table).await;
            remake(&service, table, Some(&key)).await;
            set_time_to_live(&service, table, "expiresAt").await;
        } else {
            set_time_to_live(&service, table, "expiresAt").await;
            finds_only(&service, "ttl_unwanted", table).await;
            remake(&service, table, Some(&key)).await;
        }
    }
    assert_eq!(found(&service).await, []);
}

/// The tables of a service.
fn tables(service: &Service) -> [&str; 5] {
    [
        service.table(),
        service.emails_table(),
        service.idempotency_table(),
        service.deleted_users_table(),
        service.history_table(),
    ]
}

#[tokio::test]
async fn a_table_of_idempotency_keys_that_no_option_names_may_have_another_name() {
    let service = lived_in().await;
    let report = report(on_tables_of(&service, &["doctor", "--json"])).await;
    assert_eq!(report["faults"], json!([]));
    let skipped = report["skipped"].to_string();
    assert!(
        skipped.contains("--idempotency-table does not name it"),
        "{skipped}"
    );
}

type Key = Vec<(&'static str, ScalarAttributeType)>;

/// The key of a table, and whether its items expire.
fn key_of(service: &Service, table: &str) -> (Key, bool) {
    let (parts, expires) = match tables(service).iter().position(|other| *other == table) {
        Some(0) => (&["userId"][..], false),
        Some(1) => (&["email"][..], false),
        Some(2) => (&["idempotencyKey"][..], true),
        Some(3) => (&["userId"][..], true),
        Some(_) => (&["userId", "id"][..], true),
        None => panic!("{table}"),
    };
    let strings = parts.iter().map(|part| (*part, ScalarAttributeType::S));
    (strings.collect(), expires)
}

/// Deletes a table, and makes it again with this key.
async fn remake(
    service: &Service,
    table: &str,
    key: Option<&[(&'static str, ScalarAttributeType)]>,
) {
    // It may be missing.
    let _ = service
        .dynamodb()
        .delete_table()
        .table_name(table)
        .send()
        .await;
    let Some(key) = key else { return };
    let mut call = service
        .dynamodb()
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest);
    for ((name, kind), key_type) in key.iter().zip([KeyType::Hash, KeyType::Range]) {
        let part = KeySchemaElement::builder()
            .attribute_name(*name)
            .key_type(key_type);
        let attribute = AttributeDefinition::builder()
            .attribute_name(*name)
            .attribute_type(kind.clone());
        call = call
            .key_schema(part.build().unwrap())
            .attribute_definitions(attribute.build().unwrap());
    }
    call.send().await.unwrap();
}

async fn set_time_to_live(service: &Service, table: &str, attribute: &str) {
    let time_to_live = TimeToLiveSpecification::builder()
        .attribute_name(attribute)
        .enabled(true);
    let call = service.dynamodb().update_time_to_live();
    call.table_name(table)
        .time_to_live_specification(time_to_live.build().unwrap())
        .send()
        .await
        .unwrap();
}

// Claims.

#[tokio::test]
async fn a_user_without_a_claim_is_found() {
    let service = lived_in().await;
    let user = create(&service).await;
    service
        .dynamodb()
        .delete_item()
        .table_name(service.emails_table())
        .key("email", string(&user["email"]))
        .send()
        .await
        .unwrap();
    finds_only(&service, "claim_missing", service.table()).await;
}

#[tokio::test]
async fn a_user_whose_address_another_user_has_claimed_is_found() {
    let service = lived_in().await;
    let user = create(&service).await;
    let address = user["email"].as_str().unwrap();
    service.put_item(legacy_user(&some_id(), address)).await;
    finds_only(&service, "claim_of_another", service.table()).await;
}

#[tokio::test]
async fn a_claim_of_nobody_and_one_of_a_user_with_another_address_are_found() {
    let service = lived_in().await;
    let user = create(&service).await;
    for holder in [&some_id(), id(&user)] {
        let address = some_email();
        service.put_claim(&address, holder).await;
        finds_only(&service, "claim_left_over", service.emails_table()).await;
        let claims = service.dynamodb().delete_item();
        let claims = claims.table_name(service.emails_table());
        let claims = claims.key("email", AttributeValue::S(address));
        claims.send().await.unwrap();
    }
    assert_eq!(found(&service).await, []);
}

#[tokio::test]
async fn a_claim_that_names_no_user_is_found_whether_a_user_has_its_address_or_not() {
    let service = lived_in().await;
    let user = legacy_user(&some_id(), "canary@example.com");
    service.put_claim_of_nobody("canary@example.com").await;
    finds_only(&service, "claim_unreadable", service.emails_table()).await;
    service.put_item(user).await;
    finds_only(&service, "claim_unreadable", service.emails_table()).await;
    let claim = service.dynamodb().delete_item();
    let claim = claim.table_name(service.emails_table());
    let claim = claim.key("email", string(&json!("canary@example.com")));
    claim.send().await.unwrap();
    finds_only(&service, "claim_missing", service.table()).await;
}

#[tokio::test]
async fn a_claim_of_a_deleted_user_is_found() {
    let service = lived_in().await;
    let user = create(&service).await;
    let _ = service.delete(&path(&user)).await.has_status(204);
    let address = user["email"].as_str().unwrap();
    service.put_claim(address, id(&user)).await;
    finds_only(&service, "claim_of_deleted_user", service.emails_table()).await;
}

// The history.

#[tokio::test]
async fn a_history_without_the_last_write_is_found_whether_it_has_earlier_ones_or_none() {
    let service = lived_in().await;
    let user = create(&service).await;
    let renamed = json!({ "name": "Another canary" });
    let _ = service.patch(&path(&user), &renamed).await.has_status(200);
    for record in history(&service, id(&user)).await.iter().rev() {
        remove_record(&service, id(&user), &record["id"]).await;
        finds_only(&service, "history_write_missing", service.history_table()).await;
    }
    // The next write has its record again.
    let _ = service.patch(&path(&user), &renamed).await.has_status(200);
    assert_eq!(found(&service).await, []);
}

#[tokio::test]
async fn a_version_that_is_not_that_of_the_last_write_is_found() {
    let service = lived_in().await;
    let user = create(&service).await;
    let version = json!({ "N": "9" });
    assert!(service.set_attribute(id(&user), "version", &version).await);
    finds_only(&service, "history_version_wrong", service.history_table()).await;
}

#[tokio::test]
async fn a_history_that_is_off_is_not_checked() {
    let service = lived_in().await;
    let user = create(&service).await;
    let version = json!({ "N": "9" });
    assert!(service.set_attribute(id(&user), "version", &version).await);
    let report = report(doctor(&service, &["--history", "off"])).await;
    assert_eq!(report["faults"], json!([]));
    assert_eq!(report["checked"]["histories"], 0);
    let skipped = report["skipped"].to_string();
    assert!(skipped.contains("the history is off"), "{skipped}");
}

#[tokio::test]
async fn a_user_that_was_last_changed_before_the_oldest_record_needs_none() {
    let service = lived_in().await;
    let user = create(&service).await;
    let (record,) = match &history(&service, id(&user)).await[..] {
        [record] => (record["id"].clone(),),
        other => panic!("{other:?}"),
    };
    remove_record(&service, id(&user), &record).await;
    finds_only(&service, "history_write_missing", service.history_table()).await;
    let long_ago = json!({ "S": "2020-01-01T00:00:00.000Z" });
    assert!(
        service
            .set_attribute(id(&user), "updatedAt", &long_ago)
            .await
    );
    assert_eq!(found(&service).await, []);
}

#[tokio::test]
async fn a_user_of_an_earlier_release_whose_address_a_command_claimed_needs_no_record() {
    let service = Service::start().await;
    let mut user = legacy_user(&some_id(), &some_email());
    let actor = json!({ "type": { "S": "service" }, "id": { "S": "canary" } });
    user["updatedBy"] = json!({ "M": actor });
    user["version"] = json!({ "N": "7" });
    user["updatedAt"] = json!({ "S": "2026-01-01T00:00:00.000Z" });
    service.put_item(user.clone()).await;
    run(&service, &["claim-emails"]).await;
    assert_eq!(found(&service).await, []);
    // Its next write by the service has a record.
    let user_id = user["userId"]["S"].as_str().unwrap();
    let renamed = json!({ "name": "Another canary" });
    let path = format!("/users/{user_id}");
    let _ = service.patch(&path, &renamed).await.has_status(200);
    assert_eq!(found(&service).await, []);
    let records = history(&service, user_id).await;
    remove_record(&service, user_id, &records[0]["id"]).await;
    finds_only(&service, "history_write_missing", service.history_table()).await;
}

// What `reconcile` mends.

/// Runs the remedy of the only fault, which is a command.
async fn run_remedy(service: &Service) -> String {
    let report = report(doctor(service, &[])).await;
    let remedy = report["faults"][0]["remedy"].as_str().unwrap();
    let mut command = remedy.split(' ');
    assert_eq!(command.next(), Some("user-service"), "{remedy}");
    let mut command = user_service(&command.collect::<Vec<_>>());
    command.env("AWS_ENDPOINT_URL_DYNAMODB", service.store().endpoint_url());
    let output = output(command).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_user_behind_its_history_is_found_and_the_remedy_is_the_command_that_mends_it() {
    let service = lived_in().await;
    let user = create(&service).await;
    let copy = service.item(id(&user)).await;
    let renamed = json!({ "name": "Another canary" });
    let _ = service.patch(&path(&user), &renamed).await.has_status(200);
    service.put_item(copy).await;
    finds_only(&service, "user_behind_history", service.table()).await;
    let text = run_remedy(&service).await;
    let repaired = "\nUsers that were behind their history, repaired: 1\n";
    assert!(text.contains(repaired), "{text}");
    assert_eq!(found(&service).await, []);
}

#[tokio::test]
async fn a_deleted_user_behind_its_history_is_found() {
    let service = lived_in().await;
    let user = create(&service).await;
    let _ = service.delete(&path(&user)).await.has_status(204);
    let copy = service.item_of(Copied::DeletedUsers, id(&user)).await;
    let restore = format!("/deleted-users/{}/restore", id(&user));
    let _ = service.post(&restore, &json!({})).await.has_status(200);
    let _ = service.delete(&path(&user)).await.has_status(204);
    assert_eq!(found(&service).await, []);
    service.put_item_into(Copied::DeletedUsers, copy).await;
    finds_only(&service, "user_behind_history", service.table()).await;
    let text = run_remedy(&service).await;
    let repaired = "\nDeleted users that were behind their history, repaired: 1\n";
    assert!(text.contains(repaired), "{text}");
    assert_eq!(found(&service).await, []);
}

#[tokio::test]
async fn a_user_who_is_a_deleted_user_at_once_is_found() {
    let service = lived_in().await;
    let user = create(&service).await;
    let item = service.item(id(&user)).await;
    let _ = service.delete(&path(&user)).await.has_status(204);
    let copy = service.item_of(Copied::DeletedUsers, id(&user)).await;
    let restore = format!("/deleted-users/{}/restore", id(&user));
    let _ = service.post(&restore, &json!({})).await.has_status(200);
    assert_eq!(found(&service).await, []);
    service.put_item_into(Copied::DeletedUsers, copy).await;
    let deleted_users = service.deleted_users_table();
    finds_only(&service, "deleted_user_is_user", deleted_users).await;
    // It is one fault, also if the user is behind its history.
    service.put_item(item).await;
    let _ = run_remedy(&service).await;
    assert_eq!(found(&service).await, []);
}

// Deleted users.

#[tokio::test]
async fn a_deleted_user_that_cannot_be_read_is_found() {
    let service = lived_in().await;
    let user = create(&service).await;
    let _ = service.delete(&path(&user)).await.has_status(204);
    service
        .dynamodb()
        .update_item()
        .table_name(service.deleted_users_table())
        .key("userId", string(&user["userId"]))
        .update_expression("SET expiresAt = :tomorrow")
        .expression_attribute_values(":tomorrow", AttributeValue::S("tomorrow".to_owned()))
        .send()
        .await
        .unwrap();
    finds_only(
        &service,
        "deleted_user_unreadable",
        service.deleted_users_table(),
    )
    .await;
    // The user is not lost.
    let report = report(doctor(&service, &[])).await;
    let remedy = report["faults"][0]["remedy"].as_str().unwrap();
    let commands = ["update-item", "SET expiresAt", "delete-item", "--key"];
    for part in commands {
        assert!(remedy.contains(part), "{remedy}");
    }
}

// What surrounds the tables.

#[tokio::test]
async fn each_operation_that_the_credentials_do_not_allow_is_found_and_named() {
    let service = lived_in().await;
    for (operations, tables) in [
        (&["Query"][..], &[service.history_table()][..]),
        (
            &["Scan"],
            &[
                service.table(),
                service.emails_table(),
                service.deleted_users_table(),
            ],
        ),
        (
            &["BatchGetItem"],
            &[
                service.table(),
                service.emails_table(),
                service.deleted_users_table(),
            ],
        ),
        (&["DescribeTable"], &tables(&service)),
        (&["DescribeTimeToLive"], &tables(&service)),
    ] {
        service.store().refuse("AccessDeniedException", operations);
        let report = report(doctor(&service, &[])).await;
        let faults = report["faults"].as_array().unwrap();
        let denied: Vec<_> = faults.iter().map(|fault| fault["table"].as_str()).collect();
        let expected: Vec<_> = tables.iter().copied().map(Some).collect();
        assert_eq!(denied, expected, "{operations:?}");
        for fault in faults {
            assert_eq!(fault["code"], "access_denied");
            let remedy = fault["remedy"].as_str().unwrap();
            let action = format!("dynamodb:{} ", operations[0]);
            assert!(remedy.contains(&action), "{remedy}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_differs_from_that_of_dynamodb_is_found() {
    let service = lived_in().await;
    service.store().set_date("Wed, 01 Jan 2020 00:00:00 GMT");
    finds_only(&service, "clock_skew", "").await;
    service.store().set_date("Fri, 01 Jan 2100 00:00:00 GMT");
    finds_only(&service, "clock_skew", "").await;
}

#[tokio::test]
async fn a_wrong_clock_is_the_fault_where_dynamodb_refuses_signatures() {
    let service = lived_in().await;
    let refused = &["DescribeTimeToLive"];
    service.store().refuse("InvalidSignatureException", refused);
    let unchecked = output(doctor(&service, &[])).await;
    assert_eq!(unchecked.status.code(), Some(2));
    let text = String::from_utf8(unchecked.stderr).unwrap();
    assert!(text.contains("400 InvalidSignatureException"), "{text}");
    service.store().set_date("Wed, 01 Jan 2020 00:00:00 GMT");
    let report = report(doctor(&service, &[])).await;
    assert_eq!(report["faults"].as_array().unwrap().len(), 1);
    assert_eq!(report["faults"][0]["code"], "clock_skew");
    assert_eq!(report["skipped"][0]["check"], "the tables");
}

#[tokio::test]
async fn users_who_may_share_addresses_have_no_claims_to_check() {
    let service = Service::sharing_emails().await;
    let user = ada();
    for _ in 0..2 {
        let _ = service.post("/users", &user).await.has_status(201);
    }
    let mut command = user_service(&["doctor", "--json", "--unique-emails", "off"]);
    command
        .args(["--table", service.table()])
        .args(["--idempotency-table", service.idempotency_table()])
        .args(["--deleted-users-table", service.deleted_users_table()])
        .args(["--history-table", service.history_table()])
        .env("AWS_ENDPOINT_URL_DYNAMODB", service.store().endpoint_url());
    let report = report(command).await;
    assert_eq!(report["faults"], json!([]));
    assert_eq!(report["checked"]["tables"], 4);
    assert_eq!(report["checked"]["users"], 2);
    assert_eq!(report["checked"]["claims"], 0);
}

// The report.

#[tokio::test]
async fn a_sample_has_the_given_size_and_the_first_users_with_a_fault_are_shown() {
    let service = Service::start().await;
    let users = (0..250).map(|number| {
        legacy_user(
            &format!("canary-{number}"),
            &format!("canary-{number}@example.com"),
        )
    });
    service.put_items(users.collect()).await;
    for (size, counted) in [
        ("0", None),
        ("7", Some(7)),
        ("250", Some(250)),
        ("1000", Some(250)),
    ] {
        let report = report(doctor(&service, &["--sample", size])).await;
        assert_eq!(report["checked"]["users"], counted.unwrap_or(0));
        assert_eq!(report["faults"][0]["count"].as_u64(), counted, "{report}");
        // The users are shown on a terminal, and not to a script.
        assert!(!report.to_string().contains("canary-"), "{report}");
    }
    let mut command = doctor(&service, &["--sample", "7"]);
    let arguments: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
    let arguments: Vec<_> = arguments.iter().map(|it| it.to_str().unwrap()).collect();
    let arguments: Vec<_> = arguments.into_iter().filter(|it| *it != "--json").collect();
    command = user_service(&arguments);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", service.store().endpoint_url());
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let table = service.table();
    let [fault, shown, remedy, "", skipped, summary] = lines[..] else {
        panic!("{text}");
    };
    assert!(
        fault.starts_with(&format!(
            "claim_missing in {table}: Users without a claim on their email address: 7 "
        )),
        "{text}"
    );
    assert!(shown.starts_with("  The first 5: canary-"), "{text}");
    assert_eq!(shown.matches("canary-").count(), 5, "{text}");
    let emails = service.emails_table();
    let command = format!("user-service --table {table} --emails-table {emails} claim-emails");
    assert_eq!(remedy, format!("  Remedy: {command}"));
    assert!(
        skipped.starts_with("Not checked: point-in-time recovery"),
        "{text}"
    );
    assert_eq!(
        summary,
        "Checked: tables 5, users 7, claims 0, histories 7, deleted users 0. Faults: 1."
    );
}

#[tokio::test]
async fn a_fault_that_is_ignored_does_not_count_and_is_reported_as_not_checked() {
    let service = lived_in().await;
    let user = create(&service).await;
    let version = json!({ "N": "9" });
    assert!(service.set_attribute(id(&user), "version", &version).await);
    let ignored = ["--ignore", "ttl_off", "--ignore", "history_version_wrong"];
    let report = report(doctor(&service, &ignored)).await;
    assert_eq!(report["faults"], json!([]));
    let skipped = report["skipped"].to_string();
    assert!(skipped.contains("history_version_wrong of "), "{skipped}");
    assert!(!skipped.contains("ttl_off"), "{skipped}");
}

#[tokio::test]
async fn a_store_that_is_not_reached_is_one_line_and_exit_code_2() {
    let service = Service::start().await;
    service.store().stop().await;
    let output = output(doctor(&service, &[])).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("DynamoDB was not reached"), "{text}");
}

async fn remove_record(service: &Service, user_id: &str, record: &Value) {
    service
        .dynamodb()
        .delete_item()
        .table_name(service.history_table())
        .key("userId", string(&json!(user_id)))
        .key("id", string(record))
        .send()
        .await
        .unwrap();
}

fn string(value: &Value) -> AttributeValue {
    AttributeValue::S(value.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_large_sample_tells_how_far_it_is_where_there_is_no_terminal() {
    let service = Service::start().await;
    let users: Vec<_> = (0..1_100)
        .map(|number| format!("canary-{number}"))
        .collect();
    let address = |id: &String| format!("{id}@example.com");
    let items = users.iter().map(|id| legacy_user(id, &address(id)));
    service.put_items(items.collect()).await;
    for id in &users {
        service.put_claim(&address(id), id).await;
    }
    let checked = output(doctor(&service, &["--sample", "5000"])).await;
    let progress = String::from_utf8(checked.stderr).unwrap();
    let lines: Vec<_> = progress.lines().collect();
    assert_eq!(lines.len(), 2, "{progress}");
    assert!(lines[0].starts_with("Walked "), "{progress}");
    assert!(lines[0].contains(" users of about 5000"), "{progress}");
    assert!(lines[1].contains(" claims of about 5000"), "{progress}");
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["faults"], json!([]), "{report}");
}
