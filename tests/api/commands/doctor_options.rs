//! The options of `user-service doctor`, and where it looks for the tables.

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use serde_json::{Value, json};
use user_service::local::dynamodb::{AccessKeyId, EmbeddedDynamoDb};

use crate::support::{
    program::{Running, one_line, output, user_service},
    store_proxy::StoreProxy,
};

/// The codes of the faults in a report.
fn codes(stdout: &[u8]) -> Vec<String> {
    let report: Value = serde_json::from_slice(stdout).unwrap();
    let faults = report["faults"].as_array().unwrap().iter();
    faults
        .map(|fault| fault["code"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_data_file_is_checked_and_what_has_expired_stays_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let data = ["--data", file.to_str().unwrap()];
    let mut service = Running::start(user_service(&["--port", "0", data[0], data[1]])).await;
    service.create("canary-7").await;
    let doctor = || output(user_service(&["doctor", "--json", data[0], data[1]]));
    // While the server runs, and after.
    assert_eq!(codes(&doctor().await.stdout), [""; 0]);
    let nothing = json!({});
    let deleted = service.send(http::Method::DELETE, "/users/canary-7", &[], &nothing);
    assert_eq!(deleted.await.0, 204);
    assert_eq!(service.signal("-TERM").await, Some(0));
    let right = doctor().await;
    assert_eq!(right.status.code(), Some(0));

    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (days, expected) in [(6, &[][..]), (8, &["deleted_user_expired"])] {
        let expired = now - days * 24 * 60 * 60;
        expire(&file, expired).await;
        for _ in 0..2 {
            assert_eq!(codes(&doctor().await.stdout), expected, "{days}");
        }
        assert_eq!(expiry(&file).await, Some(expired.to_string()));
    }
}

async fn client(file: &std::path::Path) -> Client {
    let embedded = EmbeddedDynamoDb::in_file_with_expired(file, AccessKeyId::known("local"))
        .await
        .unwrap();
    Client::new(&embedded.sdk_config().await)
}

/// Sets the time at which the deleted user expires.
async fn expire(file: &std::path::Path, time: u64) {
    let update = client(file).await.update_item().table_name("DeletedUsers");
    update
        .key("userId", AttributeValue::S("canary-7".to_owned()))
        .update_expression("SET expiresAt = :time")
        .expression_attribute_values(":time", AttributeValue::N(time.to_string()))
        .send()
        .await
        .unwrap();
}

/// The time at which the deleted user expires. `None` if it is gone.
async fn expiry(file: &std::path::Path) -> Option<String> {
    let read = client(file).await.get_item().table_name("DeletedUsers");
    let read = read.key("userId", AttributeValue::S("canary-7".to_owned()));
    let item = read.send().await.unwrap().item?;
    Some(item["expiresAt"].as_n().unwrap().clone())
}

#[tokio::test]
async fn a_doctor_that_cannot_check_has_exit_code_2() {
    let aws = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    for (arguments, cause) in [
        (&["doctor"][..], "doctor needs to know where the tables are"),
        (&["doctor", "--data", "/nowhere"], "there is no such file"),
        (
            &["doctor", "--aws", "--data", "/nowhere"],
            "--aws and --data are two places",
        ),
        (
            &["doctor", "--stack", "users", "--data", "/nowhere"],
            "--stack and --data are two places",
        ),
        (
            &[
                "--table",
                "Same",
                "--history-table",
                "Same",
                "doctor",
                "--aws",
            ],
            "both name the table Same",
        ),
    ] {
        let mut command = user_service(arguments);
        command.envs(aws);
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(one_line(&refused).contains(cause), "{refused:?}");
        assert_eq!(refused.stdout, b"");
    }
    // Without credentials, and with an endpoint that nobody can use.
    for (variables, cause) in [
        (
            &[("AWS_REGION", "us-east-1")][..],
            "there are no AWS credentials",
        ),
        (&[], "there is no AWS region"),
        (
            &[("AWS_ENDPOINT_URL_CLOUDFORMATION", "nowhere")],
            "AWS_ENDPOINT_URL_CLOUDFORMATION: \"nowhere\" is not an HTTP URL",
        ),
        (
            &[("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:1")],
            "cloudformation was not reached at http://127.0.0.1:1: ",
        ),
    ] {
        let mut command = user_service(&["doctor", "--stack", "users"]);
        command.envs(variables.iter().copied());
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(2), "{variables:?}");
        assert!(one_line(&refused).contains(cause), "{refused:?}");
    }
}

#[tokio::test]
async fn a_stack_names_its_tables_and_no_option_does() {
    for (option, value) in [("--history-table", "Other"), ("--unique-emails", "off")] {
        let arguments = ["doctor", "--stack", "users", option, value];
        let refused = output(user_service(&arguments)).await;
        assert_eq!(refused.status.code(), Some(2), "{option}");
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(text.contains("cannot be used with"), "{text}");
        assert!(text.contains(option), "{text}");
    }
}

#[tokio::test]
async fn tables_elsewhere_need_protection_and_what_the_dynamodb_lacks_is_reported() {
    let embedded = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", embedded.endpoint_url());
    let _makes_the_tables = Running::start(command).await;
    // `0.0.0.0` is reachable here, and is no loopback host.
    let proxy = StoreProxy::start(embedded.endpoint_url()).await;
    let url = proxy.endpoint_url().replace("127.0.0.1", "0.0.0.0");
    let doctor = |options: &[&str]| {
        let mut command = user_service(&["doctor", "--json"]);
        command.args(options);
        command.envs([
            ("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
        ]);
        output(command)
    };
    let keys = ["--idempotency-table", "UserIdempotencyKeys"];
    let unprotected = doctor(&keys).await;
    assert_eq!(codes(&unprotected.stdout), ["protection_off"; 4]);
    let report: Value = serde_json::from_slice(&unprotected.stdout).unwrap();
    let skipped = json!([{
        "check": "point-in-time recovery",
        "reason": "this DynamoDB has no DescribeContinuousBackups",
    }]);
    assert_eq!(report["skipped"], skipped);
    let client = Client::new(&embedded.sdk_config().await);
    for table in ["UserData", "UserEmails", "DeletedUsers", "UserHistory"] {
        let update = client.update_table().table_name(table);
        let update = update.deletion_protection_enabled(true);
        update.send().await.unwrap();
    }
    let protected = doctor(&keys).await;
    assert_eq!(codes(&protected.stdout), [""; 0]);
    assert_eq!(protected.status.code(), Some(0));
    // A stack makes a table of idempotency keys whose name is not the default.
    let delete = client.delete_table().table_name(keys[1]).send();
    delete.await.unwrap();
    let without_keys = doctor(&[]).await;
    assert_eq!(codes(&without_keys.stdout), [""; 0]);
    assert_eq!(codes(&doctor(&keys).await.stdout), ["table_missing"]);
}

#[tokio::test]
async fn each_code_of_a_fault_is_in_the_documents() {
    let refused = output(user_service(&["doctor", "--ignore", "nonsense"])).await;
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8(refused.stderr).unwrap();
    let (_, values) = text.split_once("[possible values: ").unwrap();
    let (values, _) = values.split_once(']').unwrap();
    let codes: Vec<_> = values
        .split(", ")
        .map(|code| format!("| `{code}` |"))
        .collect();
    assert!(codes.len() >= 20, "{codes:?}");
    let page = include_str!("../../../docs/deploying.md");
    let rows: Vec<_> = page
        .lines()
        .filter_map(|line| codes.iter().find(|code| line.starts_with(*code)))
        .collect();
    assert_eq!(rows, codes.iter().collect::<Vec<_>>());
}
