//! `user-service` with a DynamoDB that it does not embed.

use http::Method;
use serde_json::Value;
use tokio::net::TcpSocket;
use user_service::local::dynamodb::{AccessKeyId, EmbeddedDynamoDb};

use crate::support::{
    program::{Running, one_line, output, two_dynamodbs, user_service},
    store_proxy::StoreProxy,
};

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_one_line_and_exit_code_1() {
    for endpoint in [
        "localhost:8000",
        "127.0.0.1:9",
        "ftp://x",
        "http://",
        " ",
        "garbage",
    ] {
        let mut command = user_service(&["--port", "0"]);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", endpoint);
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1), "{endpoint}");
        let line = one_line(&refused);
        assert!(
            line.starts_with("error: AWS_ENDPOINT_URL_DYNAMODB: "),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_dynamodb_of_this_machine_needs_no_credentials_and_gets_its_table() {
    let dynamodb = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let start = async || {
        let mut command = user_service(&["--port", "0", "--table", "People"]);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url());
        Running::start(command).await
    };
    let service = start().await;
    let greeting = service.greeting.join("\n");
    assert!(
        greeting.contains(&format!(
            "table People of the DynamoDB at {}",
            dynamodb.endpoint_url()
        )),
        "{greeting}"
    );
    assert_eq!(service.get("/users/1").await.0, 200);
    service.create("canary-7").await;
    drop(service);
    assert_eq!(start().await.get("/users/canary-7").await.0, 200);
}

/// A DynamoDB at `0.0.0.0`, which is reachable here and is no loopback host, and an
/// environment with its URL and credentials.
async fn elsewhere(dynamodb: &EmbeddedDynamoDb) -> (StoreProxy, Vec<(&'static str, String)>) {
    let proxy = StoreProxy::start(dynamodb.endpoint_url()).await;
    let url = proxy.endpoint_url().replace("127.0.0.1", "0.0.0.0");
    let environment = vec![
        ("AWS_ENDPOINT_URL_DYNAMODB", url),
        ("AWS_REGION", "us-east-1".into()),
        ("AWS_ACCESS_KEY_ID", "local".into()),
        ("AWS_SECRET_ACCESS_KEY", "x".into()),
    ];
    (proxy, environment)
}

#[tokio::test]
async fn in_a_dynamodb_elsewhere_nothing_is_made_and_a_missing_table_is_told_at_start() {
    let dynamodb = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let (_proxy, environment) = elsewhere(&dynamodb).await;
    let mut command = user_service(&["--port", "0"]);
    command.envs(environment);
    let refused = output(command).await;
    assert_eq!(refused.status.code(), Some(1));
    let line = one_line(&refused);
    assert!(
        line.contains("there is no table UserData; make it"),
        "{line}"
    );
    let said = String::from_utf8(refused.stdout).unwrap();
    assert!(!said.contains("listens"), "{said}");
    let client = aws_sdk_dynamodb::Client::new(&dynamodb.sdk_config().await);
    assert_eq!(
        client.list_tables().send().await.unwrap().table_names(),
        [""; 0]
    );
}

#[tokio::test]
async fn no_page_of_this_machine_may_ask_for_users_elsewhere_unless_it_is_named() {
    let dynamodb = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url());
    let _makes_the_tables = Running::start(command).await;
    let (_proxy, environment) = elsewhere(&dynamodb).await;
    for (named, status, allowed) in [
        (None, 403, None),
        (Some(""), 403, None),
        (
            Some("http://localhost:5173"),
            200,
            Some("http://localhost:5173"),
        ),
    ] {
        let mut command = user_service(&["--port", "0"]);
        command.envs(environment.clone());
        command.envs(named.map(|named| ("ALLOWED_ORIGINS", named)));
        let service = Running::start(command).await;
        assert_eq!(service.get("/users/1").await.0, 200);
        let headers = [("origin", "http://localhost:5173")];
        let answer = service
            .send(Method::GET, "/users", &headers, &Value::Null)
            .await;
        assert_eq!(answer.0, status, "{named:?}");
        let found = answer.1.get("access-control-allow-origin");
        assert_eq!(
            found.map(|origin| origin.to_str().unwrap()),
            allowed,
            "{named:?}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_elsewhere_without_credentials_is_one_line_that_says_what_to_set() {
    for (region, says) in [
        (None, "there is no AWS region; set AWS_REGION"),
        (
            Some("us-east-1"),
            "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
    ] {
        let mut command = user_service(&["--port", "0"]);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", "http://dynamodb.example:8000");
        command.envs(region.map(|region| ("AWS_REGION", region)));
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1), "{region:?}");
        let line = one_line(&refused);
        let expected = format!("error: http://dynamodb.example:8000: {says}");
        assert!(line.starts_with(&expected), "{line}");
        let said = String::from_utf8(refused.stdout).unwrap();
        assert!(!said.contains("listens"), "{said}");
    }
}

#[tokio::test]
async fn an_emulator_without_transactions_or_time_to_live_is_told_before_a_table_is_made() {
    for operation in [&["TransactWriteItems"], &["DescribeTimeToLive"]] {
        let dynamodb = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
            .await
            .unwrap();
        let proxy = StoreProxy::start(dynamodb.endpoint_url()).await;
        proxy.lack(operation);
        let mut command = user_service(&["--port", "0"]);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", proxy.endpoint_url());
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1));
        let line = one_line(&refused);
        let expected = format!("it has no {}, which the service needs", operation[0]);
        assert!(line.contains(&expected), "{line}");
        let client = aws_sdk_dynamodb::Client::new(&dynamodb.sdk_config().await);
        assert_eq!(
            client.list_tables().send().await.unwrap().table_names(),
            [""; 0]
        );
    }
}

/// Which of two DynamoDBs `user-service` uses: the first has a user that the second has not.
#[tokio::test]
async fn the_endpoint_of_dynamodb_comes_before_that_of_aws_and_either_can_be_ignored() {
    let (first, second) = two_dynamodbs().await;
    let nowhere = "http://127.0.0.1:1";
    for (specific, general, ignored, found) in [
        (None, Some(first.endpoint_url()), None, 200),
        (Some(""), Some(first.endpoint_url()), None, 200),
        (Some(first.endpoint_url()), Some(nowhere), None, 200),
        (
            Some(second.endpoint_url()),
            Some(first.endpoint_url()),
            None,
            404,
        ),
        (
            Some(first.endpoint_url()),
            Some(first.endpoint_url()),
            Some("true"),
            404,
        ),
        (Some(first.endpoint_url()), None, Some("false"), 200),
    ] {
        let mut command = user_service(&["--port", "0"]);
        command.envs(specific.map(|url| ("AWS_ENDPOINT_URL_DYNAMODB", url)));
        command.envs(general.map(|url| ("AWS_ENDPOINT_URL", url)));
        command.envs(ignored.map(|ignored| ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignored)));
        let service = Running::start(command).await;
        assert_eq!(
            service.get("/users/canary-7").await.0,
            found,
            "{specific:?} {general:?} {ignored:?}"
        );
    }
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL", "localhost:8000");
    let line = one_line(&output(command).await);
    assert!(line.starts_with("error: AWS_ENDPOINT_URL: "), "{line}");
}

#[tokio::test]
async fn a_dynamodb_of_this_machine_that_is_not_there_is_one_line_and_exit_code_1() {
    let held = TcpSocket::new_v4().unwrap(); // bound, and nobody listens
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = held.local_addr().unwrap();
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{nobody}"));
    let refused = output(command).await;
    assert_eq!(refused.status.code(), Some(1));
    let line = one_line(&refused);
    assert!(
        line.starts_with(&format!("error: http://{nobody}: ")),
        "{line}"
    );
}
