//! The metrics in the log line of each request: CloudWatch's embedded metric format.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Service, ada,
    events::rest_event,
    function::Function,
    program::{Running, user_service},
};

/// The lines of a log that are about requests.
fn requests(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Value| line["target"] == "user_service::request")
        .collect()
}

/// The metrics that CloudWatch reads from the line.
fn metrics(line: &Value) -> BTreeMap<String, f64> {
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    let metrics = directive["Metrics"].as_array().unwrap().iter();
    metrics
        .map(|metric| {
            let name = metric["Name"].as_str().unwrap();
            let value = line[name].as_f64();
            let value = value.unwrap_or_else(|| panic!("{name} is no number in {line}"));
            (name.to_owned(), value)
        })
        .collect()
}

fn check_schema(line: &Value) {
    let schema = serde_json::from_str(include_str!("emf.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    if let Err(error) = validator.validate(line) {
        panic!("{error}: {line}");
    }
    for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        for dimension in directive["Dimensions"].as_array().unwrap() {
            for name in dimension.as_array().unwrap() {
                let value = line[name.as_str().unwrap()].as_str().unwrap();
                assert!((1..=1024).contains(&value.len()), "{line}");
            }
        }
    }
    assert_eq!(metrics(line)["Requests"], 1.0);
}

fn create(user: &Value) -> Value {
    let mut event = rest_event("POST", "/users");
    event["body"] = json!(user.to_string());
    event
}

#[tokio::test]
async fn each_line_of_a_request_is_in_the_embedded_metric_format() {
    let service = Service::start().await;
    let name = [("AWS_LAMBDA_FUNCTION_NAME", "users-UserFunction-1")];
    let function = Function::start(&service, &name).await;
    let events = [
        create(&ada()),
        rest_event("GET", "/users"),
        rest_event("GET", "/users/nobody"),
        rest_event("GET", "/nowhere"),
        rest_event("TRACE", "/users"),
    ];
    for event in &events {
        function.status(event).await;
    }
    service.store().stop().await;
    assert_eq!(function.status(&events[1]).await, 500);
    let lines = requests(&function.log());
    assert_eq!(lines.len(), events.len() + 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for line in &lines {
        check_schema(line);
        let timestamp = line["_aws"]["Timestamp"].as_u64().unwrap();
        let age = now.as_millis() as u64 - timestamp;
        assert!(age < 600_000, "a time in milliseconds: {line}");
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "UserService");
        assert_eq!(directive["Dimensions"], json!([["FunctionName"]]));
        assert_eq!(line["FunctionName"], "users-UserFunction-1");
    }
}

#[tokio::test]
async fn the_metrics_of_all_lines_add_up_to_the_requests_and_the_calls_of_dynamodb() {
    let service = Service::start().await;
    // The call of priming belongs to no request.
    let functions = [
        Function::start(&service, &[("PRIMING", "off")]).await,
        Function::start(&service, &[("PRIMING", "off")]).await,
    ];
    service.store().take_calls();
    let mut sent = 0;
    for (number, function) in functions.iter().enumerate() {
        for other in 0..5 {
            let user_id = format!("{number}-{other}");
            let email = format!("{user_id}@example.com");
            let user = json!({ "userId": user_id, "name": "Ada", "email": email });
            let path = format!("/users/{user_id}");
            let of_user = |method| rest_event(method, &path);
            for event in [create(&user), of_user("GET"), of_user("DELETE")] {
                assert!(function.status(&event).await < 300);
                sent += 1;
            }
        }
    }
    let lines: Vec<Value> = functions
        .iter()
        .flat_map(|it| requests(&it.log()))
        .collect();
    let sum = |name: &str| -> f64 {
        let values = lines.iter().map(|line| metrics(line)[name]);
        values.sum()
    };
    assert_eq!(sum("Requests"), f64::from(sent));
    let calls = service.store().take_calls().len() as f64;
    assert_eq!(sum("StoreCalls"), calls);
    assert_eq!(calls, f64::from(sent / 3 * 4), "create 1, get 1, delete 2");
    assert_eq!(sum("ColdStarts"), 2.0);
    assert_eq!((sum("StoreRetries"), sum("Conflicts")), (0.0, 0.0));
    assert!(sum("StoreLatency") > 0.0 && sum("StoreLatency") < sum("Latency"));
}

#[tokio::test]
async fn the_first_line_of_a_process_says_that_it_is_a_cold_start_and_how_long_priming_took() {
    let service = Service::start().await;
    for (priming, is_primed) in [("on", true), ("off", false)] {
        let function = Function::start(&service, &[("PRIMING", priming)]).await;
        for _ in 0..3 {
            function.status(&rest_event("GET", "/users")).await;
        }
        let lines = requests(&function.log());
        let cold = lines.iter().map(|line| metrics(line)["ColdStarts"]);
        assert_eq!(cold.collect::<Vec<_>>(), [1.0, 0.0, 0.0]);
        let primed = lines
            .iter()
            .map(|line| metrics(line).contains_key("Priming") && line["Priming"].is_number());
        assert_eq!(primed.collect::<Vec<_>>(), [is_primed, false, false]);
    }
}

#[tokio::test]
async fn retries_and_conflicts_of_a_request_are_in_its_line() {
    let service = Service::start().await;
    let user = json!({ "userId": "a", "name": "Ada", "email": "ada@example.com" });
    assert_eq!(service.post("/users", &user).await.status, 201);
    let function = Function::start(&service, &[("PRIMING", "off")]).await;
    let mut patch = rest_event("PATCH", "/users/a");
    patch["headers"]["content-type"] = json!("application/merge-patch+json");
    patch["body"] = json!(r#"{"name":"Ada Lovelace"}"#);
    // The read, then the transaction.
    service.store().conflict(2);
    assert_eq!(function.status(&patch).await, 200);
    service.store().throttle();
    assert_eq!(function.status(&rest_event("GET", "/users/a")).await, 500);
    let lines = requests(&function.log());
    let [conflict, throttled] = lines.as_slice() else {
        panic!("{lines:#?}");
    };
    assert_eq!(metrics(conflict)["Conflicts"], 1.0);
    assert_eq!(metrics(conflict)["StoreCalls"], 4.0);
    assert_eq!(metrics(conflict)["StoreRetries"], 0.0);
    let throttled = metrics(throttled);
    assert!(throttled["StoreRetries"] >= 1.0, "{throttled:?}");
    assert_eq!(throttled["StoreCalls"], throttled["StoreRetries"] + 1.0);
}

#[tokio::test]
async fn a_line_names_the_trace_of_its_request_if_its_ids_are_well_formed() {
    let service = Service::start().await;
    let function = Function::start(&service, &[]).await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let root = "1-5759e988-bd862e3fe1be46a994272793";
    let xray = format!("Self=1-67891234-12456789abcdef012345678;Root={root};Sampled=1");
    let cases = [
        (traceparent, xray.as_str(), json!(traceparent), json!(root)),
        (
            "00-canary-canary-01",
            "Root=canary",
            Value::Null,
            Value::Null,
        ),
        (
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "Root=1-5759e988-bd862e3fe1be46a99427279g",
            Value::Null,
            Value::Null,
        ),
    ];
    for (traceparent, xray, _, _) in &cases {
        let mut event = rest_event("GET", "/users");
        event["headers"]["traceparent"] = json!(traceparent);
        event["headers"]["X-Amzn-Trace-Id"] = json!(xray);
        event["multiValueHeaders"] = Value::Null;
        function.status(&event).await;
    }
    let lines = requests(&function.log());
    assert_eq!(lines.len(), cases.len());
    for (line, (.., traceparent, root)) in lines.iter().zip(cases) {
        assert_eq!(
            (&line["traceparent"], &line["xray_trace_id"]),
            (&traceparent, &root)
        );
    }
}

#[tokio::test]
async fn the_local_server_writes_the_same_lines() {
    let service = Running::start(user_service(&["--port", "0"])).await;
    let user = json!({ "userId": "a", "name": "Ada", "email": "ada@example.com" });
    assert_eq!(
        service.send(Method::POST, "/users", &[], &user).await.0,
        201
    );
    assert_eq!(service.get("/users/a").await.0, 200);
    let lines = requests(&service.log());
    assert_eq!(lines.len(), 2);
    for line in &lines {
        check_schema(line);
        assert_eq!(line["FunctionName"], "user-service");
    }
}
