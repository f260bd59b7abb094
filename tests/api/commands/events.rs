//! `--events` and `--events-to`. `tests/events/` reads the events with other parsers.

use serde_json::Value;

use crate::support::program::{Running, one_line, output, two_dynamodbs, user_service};

#[tokio::test]
async fn events_are_only_of_the_embedded_dynamodb_and_of_a_history() {
    let (dynamodb, _) = two_dynamodbs().await;
    let mut elsewhere = user_service(&["--port", "0", "--events"]);
    elsewhere.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url());
    let without_history = user_service(&["--port", "0", "--events", "--history", "off"]);
    for (command, says) in [
        (
            elsewhere,
            "--events and --events-to are for the embedded DynamoDB",
        ),
        (without_history, "without a history there are no events"),
    ] {
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(one_line(&refused).contains(says), "{refused:?}");
    }
    let refused = output(user_service(&["--port=0", "--events-to=localhost:4000"])).await;
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("must be"), "{text}");
}

#[tokio::test]
async fn the_secret_of_the_events_comes_from_a_variable_that_other_accounts_do_not_read() {
    let mut refused = user_service(&["--port=0"]);
    refused.env("EVENTS_SECRET", "canary");
    let refused = output(refused).await;
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("EVENTS_SECRET: must be whsec_"), "{text}");
    assert!(!text.contains("canary"), "{text}");
    let refused = output(user_service(&["--port=0", "--events-secret=whsec_x"])).await;
    assert_eq!(refused.status.code(), Some(2));
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mut command = user_service(&["--port=0", "--events-to=http://127.0.0.1:1/events"]);
    command.env("EVENTS_SECRET", secret);
    let server = Running::start(command).await;
    let greeting = server.greeting.join("\n");
    assert!(!greeting.contains("whsec_"), "{greeting}");
}

#[tokio::test]
async fn a_file_whose_stream_is_on_is_followed_from_the_start_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["--port", "0", "--events", "--data", file.to_str().unwrap()];
    for user_id in ["canary-1", "canary-2"] {
        let mut service = Running::start(user_service(&arguments)).await;
        let email = format!("{user_id}@example.com");
        let user = serde_json::json!({ "userId": user_id, "name": "A canary", "email": email });
        let (status, _, _) = service.send(http::Method::POST, "/users", &[], &user).await;
        assert_eq!(status, 201);
        let event: Value = {
            let line = service.stdout.next_line().await.unwrap().unwrap();
            serde_json::from_str(&line).unwrap()
        };
        assert_eq!(event["type"], "user.created");
        assert_eq!(event["subject"], user_id);
        assert_eq!(service.signal("-TERM").await, Some(0));
    }
}
