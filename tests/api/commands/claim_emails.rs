//! `user-service claim-emails`, for users without a claim.

use std::{process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    Service, Setup, ada, legacy_user, program::user_service, some_email, some_id, take_state,
};

fn claim_emails(service: &Service, rate: u32) -> Command {
    let mut command = user_service(&[]);
    command
        .args([
            "--table",
            service.table(),
            "--emails-table",
            service.emails_table(),
        ])
        .args(["claim-emails", "--rate", &rate.to_string()])
        .env("AWS_ENDPOINT_URL_DYNAMODB", service.store().endpoint_url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn report(command: Command) -> String {
    report_and_progress(command).await.0
}

/// What it says at its end, and what on its way.
async fn report_and_progress(mut command: Command) -> (String, String) {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn no_claim_is_given_up_and_no_table_made_where_the_name_of_a_table_is_wrong() {
    let service = Service::start().await;
    let user = ada();
    let _ = service.post("/users", &user).await.has_status(201);
    let wrong = format!("{}-wrong", service.table());
    for (users, emails, cause) in [
        (wrong.as_str(), service.emails_table(), "there is no table"),
        (service.table(), wrong.as_str(), "there is no table"),
        (
            service.emails_table(),
            service.table(),
            "the key of the table",
        ),
    ] {
        let mut command = user_service(&["--table", users, "--emails-table", emails]);
        command
            .args(["claim-emails", "--give-up-left-over"])
            .env("AWS_ENDPOINT_URL_DYNAMODB", service.store().endpoint_url());
        // Twice: the first did not make what was missing.
        for _ in 0..2 {
            let output = command.output().await.unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(message.contains(cause), "{message}");
        }
    }
    assert_eq!(service.claims().await.len(), 1);
}

#[tokio::test]
async fn an_item_of_the_table_of_claims_that_is_no_claim_is_passed_over() {
    let service = Service::start().await;
    let _ = service.post("/users", &ada()).await.has_status(201);
    service.put_claim_of_nobody("canary@example.com").await;
    let report = report(claim_emails(&service, 1_000)).await;
    assert!(
        report.starts_with("Claims that name no user, so nobody can have the address: 1."),
        "{report}"
    );
    assert!(
        report.contains("\n1 users: 0 claimed now, 1 before"),
        "{report}"
    );
    // A user with this address is listed, and the others get their claims.
    let ids = [some_id(), some_id()];
    let blocked = legacy_user(&ids[0], "Canary@example.com");
    service.put_item(blocked).await;
    service.put_item(legacy_user(&ids[1], &some_email())).await;
    let report = self::report(claim_emails(&service, 1_000)).await;
    assert!(
        report.contains("\n3 users: 1 claimed now, 1 before"),
        "{report}"
    );
    let line = format!("\n  {} has an address whose claim names no user", ids[0]);
    assert!(report.contains(&line), "{report}");
}

#[tokio::test]
async fn ten_thousand_legacy_users_get_their_claims_through_a_kill_and_a_second_run() {
    let service = Service::start().await;
    // The last 50 share 25 addresses, one of each two in capitals.
    let users = (0..10_000).map(|number| {
        let id = format!("canary-{number}");
        let address = if number < 9_950 {
            number
        } else {
            9_950 + (number - 9_950) / 2
        };
        let email = format!("canary-{address}@example.com");
        legacy_user(
            &id,
            &if number % 2 == 0 {
                email
            } else {
                email.to_uppercase()
            },
        )
    });
    service.put_items(users.collect()).await;

    let mut stopped = claim_emails(&service, 10_000).spawn().unwrap();
    while service.claims().await.len() < 1_000 {
        assert!(
            stopped.try_wait().unwrap().is_none(),
            "it ended before it was stopped"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stopped.kill().await.unwrap();
    let halfway = service.claims().await.len();
    assert!(halfway < 9_975, "{halfway}");

    let text = report(claim_emails(&service, 10_000)).await;
    let line = text
        .lines()
        .find(|line| line.starts_with("10000 users: "))
        .unwrap();
    let (now, before) = (9_975 - halfway, halfway);
    let expected = format!(
        "10000 users: {now} claimed now, {before} before, 0 without an email address, 25 with that \
         of another user."
    );
    assert_eq!(line, expected);
    let mut named: Vec<u32> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("  canary-")?
                .split_once(" has the address of canary-")
        })
        .flat_map(|(one, other)| [one.parse().unwrap(), other.parse().unwrap()])
        .collect();
    named.sort_unstable();
    assert_eq!(named, (9_950..10_000).collect::<Vec<u32>>());

    let claims = service.claims().await;
    assert_eq!(claims.len(), 9_975);
    for (email, user_id) in &claims {
        assert_eq!(email, &email.to_lowercase());
        let number: u32 = user_id.strip_prefix("canary-").unwrap().parse().unwrap();
        if number < 9_950 {
            assert_eq!(email, &format!("canary-{number}@example.com"));
        }
    }
    let again = report(claim_emails(&service, 10_000)).await;
    assert!(
        again.contains("10000 users: 0 claimed now, 9975 before,"),
        "{again}"
    );
    assert_eq!(service.claims().await, claims);
    // The users themselves are as they were. Their items say that they hold their claims.
    let mut item = service.item("canary-7").await;
    let state = take_state(&mut item);
    assert_eq!(state["emailKey"], json!({ "S": "canary-7@example.com" }));
    assert_eq!(item, legacy_user("canary-7", "CANARY-7@EXAMPLE.COM"));
}

#[tokio::test]
async fn users_without_an_address_are_passed_over_and_a_user_of_the_service_has_a_claim() {
    let service = Service::start().await;
    let user = ada();
    let _ = service.post("/users", &user).await.has_status(201);
    service
        .put_item(json!({ "userId": { "S": "canary-1" } }))
        .await;
    service
        .put_item(json!({ "userId": { "S": "canary-2" }, "email": { "N": "1" } }))
        .await;
    let text = report(claim_emails(&service, 100)).await;
    let expected = "3 users: 0 claimed now, 1 before, 2 without an email address, 0 with that of \
                    another user.";
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn claims_that_are_left_over_are_given_up_and_the_addresses_are_free_again() {
    let service = Service::start().await;
    let (stays, mut leaves) = (ada(), ada());
    let _ = service.post("/users", &stays).await.has_status(201);
    leaves["userId"] = json!(some_id());
    let _ = service.post("/users", &leaves).await.has_status(201);
    // What others write, or this service while UNIQUE_EMAILS is off.
    let (moved, new) = (leaves["userId"].as_str().unwrap(), ada());
    let new_email = new["email"].as_str().unwrap();
    service.put_item(legacy_user(moved, new_email)).await;
    for number in 0..120 {
        let email = format!("canary-{number}@example.com");
        service.put_claim(&email, &some_id()).await;
    }
    let old = json!({ "name": "A canary", "email": leaves["email"] });
    let _ = service
        .post("/users", &old)
        .await
        .has_problem(409, "email_taken");

    // Nothing is given up unasked: in the wrong table of users, every claim is left over.
    let text = report(claim_emails(&service, 10_000)).await;
    assert!(text.contains("have another address: 121."), "{text}");
    assert_eq!(service.claims().await.len(), 123);

    let mut giving_up = claim_emails(&service, 10_000);
    giving_up.arg("--give-up-left-over");
    let text = report(giving_up).await;
    let expected = "Claims that were left over, and are given up: 121.\n2 users: 0 claimed now, \
                    2 before, 0 without an email address, 0 with that of another user.";
    assert!(text.contains(expected), "{text}");
    let claims = service.claims().await;
    assert_eq!(claims.len(), 2);
    assert_eq!(claims[new_email], moved);
    // Not even one that seemed to be left over is, where its user has the address by now.
    let store = service.user_store();
    for claim in store.claims(None).await.unwrap().0 {
        assert!(!store.release_left_over(&claim).await.unwrap());
    }
    assert_eq!(service.claims().await, claims);
    let _ = service.post("/users", &old).await.has_status(201);
}

#[tokio::test]
async fn claims_of_users_who_do_not_fit_into_one_answer_of_dynamodb_are_not_left_over() {
    let service = Service::start().await;
    // A batch read answers with 16 MB at most, and these are 28.
    let large = "x".repeat(350_000);
    for number in 0..80 {
        let (id, email) = (some_id(), format!("canary-{number}@example.com"));
        let mut user = legacy_user(&id, &email);
        user["notes"] = json!({ "S": large });
        service.put_item(user).await;
        service.put_claim(&email, &id).await;
    }
    service
        .put_claim("canary-gone@example.com", &some_id())
        .await;
    service.store().take_bodies();
    let text = report(claim_emails(&service, 100)).await;
    let calls = service.store().take_bodies();
    let reads_users = |call: &&Value| call["RequestItems"][service.table()].is_object();
    let reads = calls.iter().filter(reads_users).count();
    assert!(reads > 1, "all users came in one answer");
    assert!(text.contains("have another address: 1."), "{text}");
    assert!(
        text.contains("80 users: 0 claimed now, 80 before,"),
        "{text}"
    );
}

#[tokio::test]
async fn a_walk_over_claims_and_claimed_users_tells_how_far_it_is() {
    let service = Service::start().await;
    let users: Vec<_> = (0..1_100)
        .map(|number| {
            (
                format!("canary-{number}"),
                format!("canary-{number}@example.com"),
            )
        })
        .collect();
    let items = users.iter().map(|(id, email)| legacy_user(id, email));
    service.put_items(items.collect()).await;
    for (id, email) in &users {
        service.put_claim(email, id).await;
    }
    let (text, progress) = report_and_progress(claim_emails(&service, 100)).await;
    assert!(
        text.contains("1100 users: 0 claimed now, 1100 before,"),
        "{text}"
    );
    let lines: Vec<_> = progress.lines().collect();
    assert_eq!(lines.len(), 2, "{progress}");
    assert!(lines[0].starts_with("Walked 1000 claims"), "{progress}");
    assert!(lines[1].starts_with("Walked 1000 users"), "{progress}");
}

/// A user of the service whose claim is gone, as after a restore of the table of claims. Returns
/// its `userId`, and what is left of its item without the service's state.
async fn user_without_its_claim(service: &Service) -> (String, Value) {
    let setup = Setup {
        shared_emails: true,
        ..Setup::default()
    };
    let without_claims = setup.start_beside(service).await;
    let user_id = some_id();
    let mut user = ada();
    user["userId"] = json!(user_id);
    let _ = without_claims.post("/users", &user).await.has_status(201);
    // The item says that the user holds the claim.
    let mut item = service.item(&user_id).await;
    item["_userService"]["M"]["emailKey"] = json!({ "S": user["email"] });
    service.put_item(item.clone()).await;
    take_state(&mut item);
    (user_id, item)
}

#[tokio::test]
async fn a_claim_changes_neither_the_version_nor_the_times_of_its_user() {
    let service = Service::start().await;
    let (user_id, before) = user_without_its_claim(&service).await;
    let state_before = take_state(&mut service.item(&user_id).await);
    let text = report(claim_emails(&service, 1_000)).await;
    assert!(
        text.starts_with("1 users: 1 claimed now, 0 before"),
        "{text}"
    );
    let mut after = service.item(&user_id).await;
    let state = take_state(&mut after);
    assert_eq!(after, before);
    assert_eq!(state["emailKey"], before["email"]);
    assert_ne!(state["revision"], state_before["revision"]);
    let email = before["email"]["S"].as_str().unwrap();
    assert_eq!(service.claims().await[email], user_id);
}

#[tokio::test]
async fn a_restored_user_whose_claim_is_anothers_is_named_and_left_as_it_is() {
    let service = Service::start().await;
    let (user_id, item) = user_without_its_claim(&service).await;
    let owner = some_id();
    let user = json!({ "userId": owner, "name": "A canary", "email": item["email"]["S"] });
    let _ = service.post("/users", &user).await.has_status(201);
    let before = service.item(&user_id).await;
    let text = report(claim_emails(&service, 1_000)).await;
    assert!(text.contains("1 with that of another user."), "{text}");
    assert!(
        text.contains(&format!("  {user_id} has the address of {owner}")),
        "{text}"
    );
    assert_eq!(service.item(&user_id).await, before);
    let email = item["email"]["S"].as_str().unwrap();
    assert_eq!(service.claims().await[email], owner);
}

#[tokio::test]
async fn a_user_with_the_attribute_of_another_client_gets_its_claim_and_stays_as_it_is() {
    let service = Service::start().await;
    let (user_id, email) = (some_id(), some_email());
    let mut item = legacy_user(&user_id, &email);
    item["_userService"] = json!({ "S": "mine" });
    service.put_item(item.clone()).await;
    for counts in ["1 claimed now, 0 before", "0 claimed now, 1 before"] {
        let text = report(claim_emails(&service, 1_000)).await;
        assert!(text.starts_with(&format!("1 users: {counts}")), "{text}");
        assert_eq!(service.claims().await[&email], user_id);
        assert_eq!(service.item(&user_id).await, item);
    }
}
