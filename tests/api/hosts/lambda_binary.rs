//! The Lambda binary: its configuration, and what it links.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::process::Command;

use crate::support::{
    events::rest_event,
    log_file,
    program::{output, two_dynamodbs},
    runtime_api::{Outcome, RuntimeApi},
};

#[tokio::test]
async fn the_lambda_binary_uses_the_endpoint_of_dynamodb_before_that_of_aws() {
    let (first, second) = two_dynamodbs().await;
    for (specific, general, found) in [
        ("", first.endpoint_url(), 200),
        (first.endpoint_url(), second.endpoint_url(), 200),
        (second.endpoint_url(), first.endpoint_url(), 404),
    ] {
        let runtime_api = RuntimeApi::start().await.unwrap();
        let environment = [
            ("TABLE_NAME", "UserData"),
            ("EMAILS_TABLE_NAME", "UserEmails"),
            ("IDEMPOTENCY_TABLE_NAME", "UserIdempotencyKeys"),
            ("DELETED_USERS_TABLE_NAME", "DeletedUsers"),
            ("HISTORY_TABLE_NAME", "UserHistory"),
            ("AUTH_MODE", "IAM"),
            ("AWS_ENDPOINT_URL_DYNAMODB", specific),
            ("AWS_ENDPOINT_URL", general),
        ];
        let binary = env!("CARGO_BIN_EXE_user-service-lambda");
        let log = log_file("lambda").1;
        let _sandbox = runtime_api.start_sandbox(binary, environment, log).unwrap();
        let event = rest_event("GET", "/users/canary-7").to_string();
        let Outcome::Response(response) = runtime_api
            .invoke(event, Duration::from_secs(30))
            .await
            .unwrap()
        else {
            panic!("the function failed");
        };
        assert_eq!(response["statusCode"], found, "{specific} {general}");
    }
}

#[tokio::test]
async fn started_by_hand_the_lambda_binary_says_what_it_is_and_what_to_run() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_user-service-lambda"));
    command.env_clear().stdin(Stdio::null());
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.starts_with("user-service-lambda is the function of user-service."),
        "{message}"
    );
    assert!(message.contains("cargo run"), "{message}");
}

#[tokio::test]
async fn a_misspelt_level_of_the_log_is_told_and_stops_no_function() {
    let (dynamodb, _) = two_dynamodbs().await;
    let runtime_api = RuntimeApi::start().await.unwrap();
    let environment = [
        ("TABLE_NAME", "UserData"),
        ("EMAILS_TABLE_NAME", "UserEmails"),
        ("IDEMPOTENCY_TABLE_NAME", "UserIdempotencyKeys"),
        ("DELETED_USERS_TABLE_NAME", "DeletedUsers"),
        ("HISTORY_TABLE_NAME", "UserHistory"),
        ("AUTH_MODE", "IAM"),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url()),
        ("RUST_LOG", "debg"),
    ];
    let (path, file) = log_file("lambda");
    let binary = env!("CARGO_BIN_EXE_user-service-lambda");
    let _sandbox = runtime_api
        .start_sandbox(binary, environment, file)
        .unwrap();
    let event = rest_event("GET", "/users/canary-7").to_string();
    let answered = runtime_api.invoke(event, Duration::from_secs(30)).await;
    assert!(matches!(answered, Ok(Outcome::Response(_))), "{answered:?}");
    let log = std::fs::read_to_string(path).unwrap();
    let line = log.lines().next().unwrap();
    assert!(line.contains("the log has the level info"), "{log}");
    assert!(line.contains("RUST_LOG: "), "{log}");
    assert!(log.contains("\"route\":\"/users/{userId}\""), "{log}");
}

/// The log of the Lambda binary, which does not start: each fault of its configuration.
async fn faults_of_the_lambda_binary(environment: &[(&str, &str)]) -> Vec<String> {
    let runtime_api = RuntimeApi::start().await.unwrap();
    let (path, file) = log_file("lambda");
    let binary = env!("CARGO_BIN_EXE_user-service-lambda");
    let mut sandbox = runtime_api
        .start_sandbox(binary, environment.iter().copied(), file)
        .unwrap();
    let code = sandbox.ended().await.unwrap().code();
    assert_eq!(code, Some(1), "{environment:?}");
    let log = std::fs::read_to_string(path).unwrap();
    let line: Value = serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}"));
    assert_eq!(line["message"], "not started");
    let cause = line["cause"].as_str().unwrap();
    cause.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_lambda_binary_says_at_start_what_is_wrong_with_its_configuration() {
    let complete = [
        ("TABLE_NAME", "UserData"),
        ("EMAILS_TABLE_NAME", "UserEmails"),
        ("IDEMPOTENCY_TABLE_NAME", "UserIdempotencyKeys"),
        ("DELETED_USERS_TABLE_NAME", "DeletedUsers"),
        ("HISTORY_TABLE_NAME", "UserHistory"),
        ("AUTH_MODE", "IAM"),
    ];
    for (name, value, says) in [
        ("TABLE_NAME", "", "TABLE_NAME: not set. "),
        ("EMAILS_TABLE_NAME", "", "EMAILS_TABLE_NAME: not set. "),
        ("UNIQUE_EMAILS", "no", "UNIQUE_EMAILS: must be on or off"),
        (
            "IDEMPOTENCY_TABLE_NAME",
            "",
            "IDEMPOTENCY_TABLE_NAME: not set. ",
        ),
        (
            "IDEMPOTENCY_TABLE_NAME",
            "UserData",
            "TABLE_NAME and IDEMPOTENCY_TABLE_NAME both name the table UserData; ",
        ),
        ("AUTH_MODE", "", "AUTH_MODE: not set. "),
        (
            "AUTH_MODE",
            "iam",
            "AUTH_MODE: must be IAM, COGNITO, JWT or NONE, not \"iam\". ",
        ),
        ("AWS_REGION", "", "AWS_REGION: not set. "),
        (
            "DELETED_USERS_TABLE_NAME",
            "",
            "DELETED_USERS_TABLE_NAME: not set. ",
        ),
        ("HISTORY_TABLE_NAME", "", "HISTORY_TABLE_NAME: not set. "),
        (
            "DELETED_USERS_DAYS",
            "3651",
            "DELETED_USERS_DAYS: must be a number of days from 0 to 3650, not \"3651\". ",
        ),
        (
            "HISTORY_DAYS",
            "0",
            "HISTORY_DAYS: must be a number of days from 1 to 3650, not \"0\". ",
        ),
        ("HISTORY", "no", "HISTORY: must be on or off, not \"no\". "),
        ("PRIMING", "no", "PRIMING: must be on or off, not \"no\". "),
        (
            "TRUSTED_ROOTS",
            "mozilla",
            "TRUSTED_ROOTS: must be amazon or system, not \"mozilla\". ",
        ),
        (
            "ALLOWED_ORIGINS",
            "example.com",
            "ALLOWED_ORIGINS: \"example.com\" is not an origin",
        ),
        ("BASE_PATH", "users", "BASE_PATH: must not be users"),
        ("BASE_PATH", "//users/", "BASE_PATH: must not be users"),
        (
            "AWS_ENDPOINT_URL",
            "localhost:8000",
            "AWS_ENDPOINT_URL: \"localhost:8000\" is not an HTTP URL. ",
        ),
    ] {
        let environment = [&complete[..], &[(name, value)]].concat();
        let faults = faults_of_the_lambda_binary(&environment).await;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(says), "{faults:?}");
        assert!(faults[0].contains(" Example: "), "{faults:?}");
        assert!(faults[0].contains(&format!("{name}=")), "{faults:?}");
    }
}

#[tokio::test]
async fn the_lambda_binary_reports_all_faults_of_its_configuration_in_one_line_of_the_log() {
    let faults = faults_of_the_lambda_binary(&[
        ("TABLE_NAME", "UserData"),
        ("IDEMPOTENCY_TABLE_NAME", "UserData"),
        ("AUTH_MODE", "iam"),
        ("BASE_PATH", "users"),
        ("AWS_REGION", ""),
    ])
    .await;
    let named: Vec<_> = faults
        .iter()
        .map(|fault| fault.split([':', ' ']).next().unwrap())
        .collect();
    let expected = [
        "EMAILS_TABLE_NAME",
        "DELETED_USERS_TABLE_NAME",
        "HISTORY_TABLE_NAME",
        "TABLE_NAME", // and IDEMPOTENCY_TABLE_NAME
        "AUTH_MODE",
        "BASE_PATH",
        "AWS_REGION",
    ];
    assert_eq!(named, expected, "{faults:?}");
}

#[tokio::test]
async fn the_lambda_binary_links_none_of_the_embedded_store() {
    let tree = async |features: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
            .args(features);
        let tree = output({
            command.current_dir(env!("CARGO_MANIFEST_DIR"));
            command
        })
        .await;
        String::from_utf8(tree.stdout).unwrap()
    };
    let local_only = [
        "dynoxide-rs ",
        "rusqlite ",
        "clap ",
        "utoipa-swagger-ui-vendored ",
    ];
    let lambda = tree(&["--no-default-features"]).await;
    assert!(
        lambda.contains("aws-sdk-dynamodb ") && lambda.contains("lambda_http "),
        "{lambda}"
    );
    for name in local_only {
        assert!(!lambda.contains(name), "{name}");
    }
    let local = tree(&[]).await;
    assert!(
        local_only.iter().all(|name| local.contains(name)),
        "{local}"
    );
}
