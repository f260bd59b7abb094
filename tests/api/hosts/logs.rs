//! What is written about requests, and what never is.

use std::fs;

use serde_json::{Value, json};
use tracing_subscriber::util::SubscriberInitExt;
use user_service::log;

use crate::support::{CANARY, Service, ada, events::rest_event, function::Function, log_file};

/// Runs requests through a Lambda process of its own and returns its log lines.
async fn lines_of(service: &Service, filter: Option<&str>, events: &[Value]) -> Vec<String> {
    let filter = filter.map(|filter| ("RUST_LOG", filter));
    lines_in(service, filter.as_slice(), events).await
}

/// The same, with more of an environment.
async fn lines_in(service: &Service, more: &[(&str, &str)], events: &[Value]) -> Vec<String> {
    let function = Function::start(service, more).await;
    for event in events {
        assert!(function.invoke(event.to_string()).await.is_some());
    }
    function.log().lines().map(str::to_owned).collect()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[tokio::test]
async fn each_request_is_one_json_line_with_its_facts() {
    let service = Service::start().await;
    let mut create = rest_event("POST", "/users");
    create["body"] = json!(ada().to_string());
    let events = [
        create,
        rest_event("GET", "/users/canary-7"),
        rest_event("GET", "/users"),
        rest_event("TRACE", "/users"),
        rest_event("canary", "/canary"),
    ];
    let lines = lines_of(&service, None, &events).await;
    let expected = [
        ("answered", "POST", "/users", 201, 1, Value::Null),
        (
            "refused",
            "GET",
            "/users/{userId}",
            404,
            1,
            json!("user_not_found"),
        ),
        ("answered", "GET", "/users", 200, 1, Value::Null),
        (
            "refused",
            "other",
            "/users",
            405,
            0,
            json!("method_not_allowed"),
        ),
        ("refused", "other", "none", 404, 0, json!("route_not_found")),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (message, method, route, status, store_calls, code)) in lines.iter().zip(expected) {
        let line = json(line);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], message);
        assert_eq!(line["method"], method);
        assert_eq!(line["route"], route);
        assert_eq!(line["status"], status);
        assert_eq!(line["StoreCalls"], store_calls);
        assert_eq!(line["code"], code);
        assert_ne!(line["request_id"], "");
        assert!(line["Latency"].is_f64() && line["timestamp"].is_string());
    }
}

#[tokio::test]
async fn each_line_says_who_called_and_names_no_person() {
    let service = Service::start().await;
    let signed = |method: &str, path: &str, arn: &str| {
        let mut event = rest_event(method, path);
        event["requestContext"]["identity"]["userArn"] = json!(arn);
        event
    };
    let with_claims = |path: &str, claims: Value| {
        let mut event = signed("GET", path, "");
        event["requestContext"]["authorizer"] = json!({ "claims": claims });
        event
    };
    let role = "arn:aws:sts::123456789012:assumed-role/billing";
    let iam_user = "arn:aws:iam::123456789012:user/teams/deploy";
    let admin = json!({ "sub": "canary-7", "scope": "users/read", "cognito:groups": "admin" });
    let user = json!({ "sub": "canary-8", "scope": "users/read" });
    let mut nobody = signed("GET", "/users", "");
    nobody["requestContext"]["identity"] = json!({});
    let mut preflight = nobody.clone();
    preflight["httpMethod"] = json!("OPTIONS");
    let lookup = "/users/canary-9";
    let cases = [
        (
            signed("GET", "/users", &format!("{role}/canary@example.com")),
            (200, "service", json!(role)),
        ),
        (
            signed("GET", "/users", iam_user),
            (200, "service", Value::Null),
        ),
        (
            signed("PUT", "/users/canary-9", iam_user), // without a body
            (400, "service", Value::Null),
        ),
        // The name of an IAM user may be an address.
        (
            signed(
                "GET",
                "/users",
                "arn:aws:iam::123456789012:user/canary@example.com",
            ),
            (200, "service", Value::Null),
        ),
        (
            signed(
                "GET",
                "/users",
                "arn:aws:iam::123456789012:user/a\r\n\u{9b}b",
            ),
            (200, "service", Value::Null),
        ),
        (
            with_claims("/users", admin.clone()),
            (200, "admin", Value::Null),
        ),
        (
            with_claims(lookup, user.clone()),
            (404, "user", Value::Null),
        ),
        // Also where the request is refused before anything is asked of the caller.
        (
            with_claims("/users", user.clone()),
            (403, "user", Value::Null),
        ),
        (with_claims("/nowhere", user), (404, "user", Value::Null)),
        (
            with_claims("/users", json!({ "sub": "" })),
            (401, "unknown", Value::Null),
        ),
        (nobody, (401, "unknown", Value::Null)),
        (preflight, (204, "anyone", Value::Null)),
    ];
    let events = cases.each_ref().map(|(event, _)| event.clone());
    let lines = lines_of(&service, None, &events).await;
    assert_eq!(lines.len(), cases.len(), "{lines:#?}");
    for (line, (event, (status, caller, arn))) in lines.iter().zip(cases) {
        assert!(!line.contains(CANARY) && !line.contains('@'), "{line}");
        let line = json(line);
        let logged = (&line["status"], &line["caller"], &line["caller_arn"]);
        assert_eq!(logged, (&json!(status), &json!(caller), &arn), "{event}");
    }
}

#[tokio::test]
async fn who_reads_where_reads_are_open_is_logged_as_anyone() {
    let service = Service::start().await;
    let mut nobody = rest_event("GET", "/users");
    nobody["requestContext"]["identity"] = json!({});
    let mut mistaken = nobody.clone();
    mistaken["queryStringParameters"] = json!({ "limit": "0" });
    mistaken["multiValueQueryStringParameters"] = Value::Null;
    let open = [("AUTH_MODE", "NONE")];
    let lines = lines_in(&service, &open, &[nobody, mistaken]).await;
    for (line, status) in lines.iter().zip([200, 400]) {
        let line = json(line);
        assert_eq!(
            (&line["status"], &line["caller"]),
            (&json!(status), &json!("anyone"))
        );
    }
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn a_404_that_hides_another_user_is_told_from_one_of_nobody() {
    let service = Service::start().await;
    let mut hidden = rest_event("GET", "/users/canary-7");
    let claims = json!({ "sub": "canary-8", "scope": "users/read" });
    hidden["requestContext"]["authorizer"] = json!({ "claims": claims });
    let events = [hidden, rest_event("GET", "/users/canary-7")];
    let lines = lines_of(&service, None, &events).await;
    for (line, cause) in lines
        .iter()
        .zip([json!("the user is another than the caller"), Value::Null])
    {
        let line = json(line);
        assert_eq!(line["code"], "user_not_found");
        assert_eq!(line["cause"], cause);
    }
}

#[tokio::test]
async fn a_failure_is_logged_once_with_its_cause_and_the_calls_it_took() {
    let service = Service::start().await;
    service.store().stop().await;
    let lines = lines_of(&service, None, &[rest_event("GET", "/users/canary-7")]).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let line = json(&lines[0]);
    assert_eq!(
        (&line["level"], &line["message"]),
        (&json!("ERROR"), &json!("failed"))
    );
    assert_eq!(
        (&line["status"], &line["code"]),
        (&json!(500), &json!("store_unavailable"))
    );
    assert_eq!(line["StoreCalls"], 6);
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("Connection refused"),
        "{line}"
    );
}

#[tokio::test]
async fn what_dynamodb_says_of_a_value_is_not_logged() {
    let service = Service::start().await;
    // An item of 400 KB cannot grow, and DynamoDB says so in a ValidationException.
    let large = "x".repeat(400 * 1024 - 100);
    service
        .put_item(json!({ "userId": { "S": "canary-7" }, "notes": { "S": large } }))
        .await;
    let mut event = rest_event("PUT", "/users/canary-7");
    event["body"] = json!(ada().to_string());
    let lines = lines_of(&service, None, &[event]).await;
    let line = json(&lines[0]);
    assert_eq!(
        (&line["status"], &line["code"]),
        (&json!(500), &json!("internal_error"))
    );
    let cause = line["cause"].as_str().unwrap();
    let said = r#"DynamoDB cancelled the transaction: ["ValidationError", "None", "None"]"#;
    assert_eq!(cause, said);
}

#[tokio::test]
async fn an_event_that_is_not_http_is_one_line() {
    let service = Service::start().await;
    let lines = lines_of(&service, Some("trace"), &[json!({})]).await;
    let about_it: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .collect();
    assert_eq!(about_it.len(), 1, "{lines:#?}");
    assert!(
        about_it[0].contains("not an HTTP request of API Gateway"),
        "{about_it:?}"
    );
}

#[test]
fn on_a_terminal_a_line_is_text() {
    let (path, file) = log_file("text");
    let guard = log::subscriber(log::Format::Text, &log::Filter::default(), file).set_default();
    tracing::info!(target: "user_service::api", status = 200, "answered");
    drop(guard);
    let text = fs::read_to_string(path).unwrap();
    assert!(
        text.contains("answered") && text.contains("status"),
        "{text}"
    );
    assert!(serde_json::from_str::<Value>(&text).is_err());
}

#[test]
fn on_a_terminal_the_line_of_a_request_says_what_was_asked_and_how_it_ended() {
    let (path, file) = log_file("text");
    let guard = log::subscriber(log::Format::Text, &log::Filter::default(), file).set_default();
    macro_rules! request {
        ($($fields:tt)*) => {
            tracing::info!(
                target: "user_service::request", method = "GET", route = "/users/{userId}",
                caller = "user", Latency = 1.44, StoreCalls = 1_u64, Requests = 1,
                request_id = "id-7", $($fields)*
            );
        };
    }
    request!(status = 200_u16, "answered");
    request!(
        status = 404_u16,
        code = "user_not_found",
        cause = "no table",
        "refused"
    );
    drop(guard);
    let text = fs::read_to_string(path).unwrap();
    let ends: Vec<_> = text
        .lines()
        .map(|line| line.split_once("Z ").unwrap().1)
        .collect();
    let asked = " INFO GET /users/{userId}";
    assert_eq!(
        ends,
        [
            format!("{asked} 200 in 1.4 ms, DynamoDB calls: 1, by user"),
            format!(
                "{asked} 404 in 1.4 ms, DynamoDB calls: 1, by user, user_not_found (id-7): no table"
            ),
        ]
    );
}

#[tokio::test]
async fn no_line_at_any_level_holds_what_a_client_sent() {
    let service = Service::start().await;
    let mut create = rest_event("POST", "/users");
    let user = json!({
        "userId": "canary-7", "name": "Ada canary", "email": "ada.canary@example.com",
        "phone": "+14155550199", "metadata": { "note": "canary" },
    });
    create["body"] = json!(user.to_string());
    let mut replace = rest_event("PUT", "/users/canary-7");
    replace["body"] = json!(ada().to_string());
    let mut broken = rest_event("POST", "/users");
    broken["body"] = json!(r#"{"name":"canary","canary":"canary","email":"canary"}"#);
    let mut malformed = rest_event("POST", "/users");
    malformed["body"] = json!("{\"canary\": canary");
    let mut by_query = rest_event("GET", "/users");
    by_query["queryStringParameters"] = json!({ "userId": "canary-7" });
    let mut no_event = json!({ "canary": "canary" });
    no_event["body"] = json!("canary");
    let mut odd_headers = rest_event("GET", "/canary/\u{1b}[31mcanary\r\n");
    odd_headers["headers"]["X-Canary"] = json!("canary\r\n\u{1b}[31m");
    let events = [
        create.clone(),
        create,
        replace,
        broken,
        malformed,
        by_query,
        no_event,
        odd_headers,
        rest_event("GET", "/users/canary-7"),
        rest_event("GET", "/users"),
        rest_event("canary\r\ncanary", "/users"),
        rest_event("DELETE", "/users/canary-7"),
    ];
    for filter in [
        "trace",
        "info,user_service=trace,aws_smithy_runtime=trace,hyper=trace",
        "debug",
    ] {
        let lines = lines_of(&service, Some(filter), &events).await;
        assert!(lines.len() >= events.len(), "{lines:#?}");
        for line in &lines {
            let _ = json(line);
            let lower = line.to_lowercase();
            assert!(
                !lower.contains(CANARY) && !lower.contains("4155550199"),
                "{line}"
            );
            assert!(
                !line.contains('\u{1b}') && !lower.contains("u001b"),
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn a_request_id_that_a_client_chose_is_not_logged() {
    const CHOSEN: &str = "8f3d0000-0000-4000-8000-000000000002";
    let service = Service::start().await;
    let with_id = |id: &str| {
        let mut event = rest_event("GET", "/users");
        event["requestContext"]["requestId"] = json!(id);
        event
    };
    let events = [
        with_id("ada.canary@example.com"),
        with_id("a\r\n\u{1b}[31m\u{9b}b"),
        with_id(CHOSEN),
        with_id(&format!("urn:uuid:{CHOSEN}")),
    ];
    let lines = lines_of(&service, None, &events).await;
    assert_eq!(lines.len(), events.len());
    for line in lines {
        assert!(line.chars().all(|c| !c.is_control()), "{line}");
        assert!(!line.contains(CANARY) && !line.contains(CHOSEN), "{line}");
        // It is that of the invocation.
        let id = json(&line)["request_id"].as_str().unwrap().to_owned();
        assert!(uuid::Uuid::try_parse(&id).is_ok(), "{id}");
    }
}

#[tokio::test]
async fn rust_log_sets_what_is_logged() {
    let service = Service::start().await;
    let events = [rest_event("GET", "/users")];
    assert_eq!(lines_of(&service, Some("warn"), &events).await, [""; 0]);
    assert_eq!(
        lines_of(&service, Some("user_service=info"), &events)
            .await
            .len(),
        1
    );
}
