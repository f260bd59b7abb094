//! The options of `user-service claim-emails`.

use user_service::local::dynamodb::{AccessKeyId, EmbeddedDynamoDb};

use crate::support::program::{Running, one_line, output, user_service};

#[tokio::test]
async fn claim_emails_works_only_on_a_data_file_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["claim-emails", "--data", file.to_str().unwrap()];
    let refused = output(user_service(&arguments)).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(one_line(&refused).ends_with("there is no such file\n"));
    assert!(!file.exists());

    let mut service =
        Running::start(user_service(&["--port", "0", arguments[1], arguments[2]])).await;
    assert_eq!(service.signal("-KILL").await, None);
    let claimed = output(user_service(&arguments)).await;
    assert_eq!(claimed.status.code(), Some(0));
    let text = String::from_utf8(claimed.stdout).unwrap();
    assert!(
        text.starts_with("1 users: 0 claimed now, 1 before"),
        "{text}"
    );
    // In a table that it made, every claim would be left over.
    for option in ["--table", "--emails-table"] {
        let other = [&arguments[..], &[option, "Others", "--give-up-left-over"]].concat();
        let refused = output(user_service(&other)).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(one_line(&refused).contains("there is no table Others"));
    }
    let claimed = output(user_service(&arguments)).await;
    let text = String::from_utf8(claimed.stdout).unwrap();
    assert!(
        text.starts_with("1 users: 0 claimed now, 1 before"),
        "{text}"
    );
}

#[tokio::test]
async fn claim_emails_writes_nothing_into_an_empty_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let data = file.path().to_str().unwrap();
    let refused = output(user_service(&["claim-emails", "--data", data])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(one_line(&refused).ends_with("the file is empty\n"));
    assert_eq!(file.as_file().metadata().unwrap().len(), 0);
}

#[tokio::test]
async fn claim_emails_does_nothing_until_it_is_told_where() {
    let aws = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    for arguments in [
        &["claim-emails"][..],
        &["claim-emails", "--give-up-left-over"],
        &["--table", "UserData", "claim-emails", "--rate", "10"],
    ] {
        let mut command = user_service(arguments);
        command.envs(aws);
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let line = one_line(&refused);
        for place in ["--data FILE", "--aws", "AWS_ENDPOINT_URL_DYNAMODB"] {
            assert!(line.contains(place), "{place} in {line}");
        }
        assert_eq!(refused.stdout, b"");
    }
    // Two places are refused too.
    let embedded = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let endpoint = [("AWS_ENDPOINT_URL_DYNAMODB", embedded.endpoint_url())];
    for (arguments, environment) in [
        (&["claim-emails", "--aws"][..], &endpoint[..]),
        (&["claim-emails", "--aws", "--data", "/nowhere"], &[]),
        (&["--data", "/nowhere", "claim-emails", "--aws"], &[]),
    ] {
        let mut command = user_service(arguments);
        command.envs(aws).envs(environment.iter().copied());
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let line = one_line(&refused);
        assert!(line.contains("--aws"), "{line}");
    }
    let client = aws_sdk_dynamodb::Client::new(&embedded.sdk_config().await);
    let tables = client.list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), [""; 0]);
}

#[tokio::test]
async fn claim_emails_takes_the_tables_of_the_aws_configuration_with_aws() {
    let embedded = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", embedded.endpoint_url());
    let service = Running::start(command).await;
    service.create("canary-7").await;

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let profile = format!(
        "[default]\nregion = us-east-1\nendpoint_url = {}\naws_access_key_id = local\n\
         aws_secret_access_key = x\n",
        embedded.endpoint_url()
    );
    std::fs::write(&config, profile).unwrap();
    let mut command = user_service(&["claim-emails", "--aws"]);
    command.env("AWS_CONFIG_FILE", config);
    let claimed = output(command).await;
    let text = String::from_utf8(claimed.stdout).unwrap();
    assert!(
        text.starts_with("2 users: 0 claimed now, 2 before"),
        "{text}"
    );
}

#[tokio::test]
async fn claim_emails_has_a_help_of_its_own() {
    let help = output(user_service(&["claim-emails", "--help"])).await;
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    for word in [
        "--data <FILE>",
        "--aws",
        "--rate",
        "--give-up-left-over",
        "--table",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
    for word in ["gone when this stops", "--port", "--host"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

#[tokio::test]
async fn a_rate_of_claims_is_1_to_10_000_a_second() {
    for rate in ["0", "10001", "2000000000", "-1", "fast"] {
        let arguments = [
            "claim-emails",
            "--data",
            "/nowhere",
            &format!("--rate={rate}"),
        ];
        let refused = output(user_service(&arguments)).await;
        assert_eq!(refused.status.code(), Some(2), "{rate}");
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(text.contains("--rate <RATE>"), "{text}");
        assert!(
            rate == "fast" || text.contains("is not in 1..=10000"),
            "{text}"
        );
    }
}
