//! What `openapi.yaml` tells API Gateway: who may call, what it runs, and how it
//! answers itself. What becomes of it in each `AuthMode`, `tests/stack.py` checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::{Value, json};

use crate::contract::{OF_THE_GATEWAY, problem_schema};

const OPENAPI: &str = include_str!("../../openapi.yaml");
const OPENAPI_COGNITO: &str = include_str!("../../openapi.cognito.yaml");

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_saphyr::from_str(OPENAPI).unwrap());

const ANY_METHOD: &str = "x-amazon-apigateway-any-method";
const INTEGRATION: &str = "x-amazon-apigateway-integration";

/// The operations, by path and method; other methods are `ANY_METHOD`.
fn operations() -> BTreeMap<(&'static str, &'static str), &'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.filter(|(name, _)| *name != "parameters")
            .map(move |(method, operation)| ((path.as_str(), method.as_str()), operation))
    });
    operations.collect()
}

/// Whether the path is for users, and not for the page or for the gateway's own 404.
fn is_for_users(path: &str) -> bool {
    ["/users", "/users/{userId}"].contains(&path)
}

/// API Gateway applies `security` at the root to operations that state none, and takes
/// `security: []` for none.
#[test]
fn every_operation_says_who_may_call_it_and_the_root_does_not() {
    assert!(DOCUMENT["security"].is_null());
    for ((path, method), operation) in operations() {
        let expected = match method {
            "options" => json!([]),
            _ if !is_for_users(path) => json!([]),
            "get" | "head" => json!([{ "read": [] }]),
            _ => json!([{ "write": [] }]),
        };
        assert_eq!(operation["security"], expected, "{method} {path}");
    }
}

#[test]
fn every_operation_runs_the_alias_of_the_function_and_an_unknown_path_runs_nothing() {
    let mut methods = BTreeSet::new();
    for ((path, method), operation) in operations() {
        let integration = &operation[INTEGRATION];
        let nothing = json!({ "type": "mock", "passthroughBehavior": "never" });
        let integration = match is_for_users(path) {
            true => integration,
            false if *integration == nothing => continue,
            // The page. A parameter in its paths might lead the service to a user.
            false => {
                assert!(!path.contains('{'), "{path}");
                assert_eq!(integration["Fn::If"][0], "PublishesDocs", "{path}");
                assert_eq!(integration["Fn::If"][2], nothing, "{path}");
                &integration["Fn::If"][1]
            }
        };
        methods.insert((path, method));
        assert_eq!(integration["type"], "aws_proxy", "{method} {path}");
        assert_eq!(integration["httpMethod"], "POST", "{method} {path}");
        let uri = integration["uri"]["Fn::Sub"].as_str().unwrap();
        assert!(
            uri.ends_with("/functions/${UserFunctionAliaslive}/invocations"),
            "{method} {path}: {uri}"
        );
    }
    // All that the page loads is there.
    for path in crate::contract::DOCUMENTS {
        if path.starts_with("/docs/s") || path.starts_with("/docs/i") || path == "/openapi.json" {
            assert!(methods.contains(&(path, ANY_METHOD)), "{path}");
        }
    }
    // With a method for all others, so that none is answered like a missing signature.
    for path in ["/users", "/users/{userId}"] {
        assert!(methods.contains(&(path, ANY_METHOD)), "{path}");
    }
}

#[test]
fn what_the_gateway_answers_itself_is_a_problem_like_any_other() {
    let responses = &DOCUMENT["x-amazon-apigateway-gateway-responses"];
    let problem = problem_schema();
    let mut statuses = BTreeSet::new();
    for (name, response) in responses.as_object().unwrap() {
        let templates = response["responseTemplates"].as_object().unwrap();
        assert_eq!(templates.len(), 1, "{name}");
        let body = templates["application/json"].as_str().unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(problem.is_valid(&body), "{name}: {body}");
        let status = response["statusCode"].as_str().unwrap();
        assert_eq!(body["status"].to_string(), status, "{name}");
        assert_eq!(body["requestId"], "$context.requestId", "{name}");
        statuses.insert(status);

        let header = |name: &str| {
            let name = format!("gatewayresponse.header.{name}");
            response["responseParameters"][name].clone()
        };
        assert_eq!(
            header("Content-Type"),
            "'application/problem+json'",
            "{name}"
        );
        assert_eq!(header("Cache-Control"), "'no-store'", "{name}");
        assert_eq!(header("X-Content-Type-Options"), "'nosniff'", "{name}");
        assert_eq!(
            header("Access-Control-Allow-Origin"),
            json!({ "Fn::If": ["AllowsOrigins", "'*'", { "Ref": "AWS::NoValue" }] }),
            "{name}"
        );
        assert_eq!(!header("Retry-After").is_null(), status == "429", "{name}");
        let challenges = !header("WWW-Authenticate").is_null();
        assert_eq!(challenges, status == "401", "{name}");
    }
    for status in OF_THE_GATEWAY.iter().chain(&["401", "403"]) {
        assert!(statuses.contains(status), "{status}");
    }
    for kind in ["DEFAULT_4XX", "DEFAULT_5XX"] {
        assert!(!responses[kind].is_null(), "{kind}");
    }
}

#[test]
fn a_wrong_path_and_a_missing_signature_have_different_answers() {
    let responses = &DOCUMENT["x-amazon-apigateway-gateway-responses"];
    let status = |name: &str| responses[name]["statusCode"].clone();
    assert_eq!(status("UNSUPPORTED_MEDIA_TYPE"), "404");
    assert_eq!(status("MISSING_AUTHENTICATION_TOKEN"), "401");
}

/// CloudFormation takes no null, and API Gateway no other format than these.
#[test]
fn the_document_holds_nothing_that_the_import_refuses() {
    fn walk(value: &Value, at: &str) {
        match value {
            Value::Null => panic!("null at {at}"),
            Value::Object(object) => {
                if let Some(format) = object.get("format").and_then(Value::as_str) {
                    assert!(
                        ["int32", "int64", "email", "date-time"].contains(&format),
                        "{format} at {at}"
                    );
                }
                for (name, value) in object {
                    walk(value, &format!("{at}/{name}"));
                }
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, at)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    walk(&DOCUMENT, "");
    assert!(DOCUMENT["openapi"].as_str().unwrap().starts_with("3.0."));
    let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{name}"
        );
    }
}

#[test]
fn the_document_for_cognito_is_the_same_with_scopes() {
    let (introduction, document) = OPENAPI_COGNITO.split_once("\nopenapi:").unwrap();
    let expected = OPENAPI
        .replace("- read: []", "- read: [users/read]")
        .replace("- write: []", "- write: [users/write]");
    assert!(
        format!("openapi:{document}") == expected,
        "make openapi.cognito.yaml from openapi.yaml again, as its first lines say:\n{introduction}"
    );
}
