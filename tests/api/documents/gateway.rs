//! What `openapi.yaml` tells API Gateway: who may call, what it runs, and how it
//! answers itself. What becomes of it in each `AuthMode`, `tests/stack.py` checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Service,
    contract::{OF_THE_GATEWAY, problem_schema},
};

const OPENAPI: &str = include_str!("../../../openapi.yaml");
const OPENAPI_COGNITO: &str = include_str!("../../../openapi.cognito.yaml");
const OPENAPI_HTTP: &str = include_str!("../../../openapi.http.yaml");

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

/// The paths with users and with what is kept of them. The others are for the page or for the
/// gateway's own 404.
const PATHS: [&str; 7] = [
    "/users",
    "/users/{userId}",
    "/users/{userId}/history",
    "/users/{userId}/export",
    "/deleted-users",
    "/deleted-users/{userId}",
    "/deleted-users/{userId}/restore",
];

fn is_for_users(path: &str) -> bool {
    PATHS.contains(&path)
}

/// Whether `AuthMode` `NONE` opens the reads of the path.
fn has_open_reads(path: &str) -> bool {
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
            "get" | "head" if has_open_reads(path) => json!([{ "read": [] }]),
            "get" | "head" => json!([{ "signedRead": [] }]),
            _ => json!([{ "write": [] }]),
        };
        assert_eq!(operation["security"], expected, "{method} {path}");
    }
}

/// In `NONE`, a method without a signature tells the function of no caller.
#[test]
fn none_opens_the_reads_of_users_and_nothing_else_that_is_kept_of_them() {
    let opens = json!({ "Fn::If": ["OpensReads", { "type": "NONE" }, { "Ref": "AWS::NoValue" }] });
    for ((path, method), operation) in operations() {
        if !is_for_users(path) || method == "options" {
            continue;
        }
        let is_open = has_open_reads(path) && ["get", "head"].contains(&method);
        let expected = if is_open { opens.clone() } else { Value::Null };
        let auth = &operation["x-amazon-apigateway-auth"];
        assert_eq!(*auth, expected, "{method} {path}");
    }
    let signed = &DOCUMENT["components"]["securitySchemes"]["signedRead"];
    assert_eq!(
        signed["x-amazon-apigateway-authtype"],
        json!({ "Fn::If": ["UsesCognito", "cognito_user_pools", "awsSigv4"] })
    );
}

/// The mock integration of an operation, in the case where there is one.
fn mock(operation: &Value) -> Option<&Value> {
    let integration = &operation[INTEGRATION];
    let cases = [integration, &integration["Fn::If"][2]];
    cases.into_iter().find(|case| case["type"] == "mock")
}

#[test]
fn every_operation_runs_the_alias_of_the_function_and_an_unknown_path_runs_nothing() {
    let mut methods = BTreeSet::new();
    for ((path, method), operation) in operations() {
        let integration = &operation[INTEGRATION];
        let condition = match (is_for_users(path), method) {
            (true, "options") => Some("AllowsOrigins"),
            (true, _) => None,
            (false, _) if integration["type"] == "mock" => continue,
            // The page. A parameter in its paths might lead the service to a user.
            (false, _) => {
                assert!(!path.contains('{'), "{path}");
                Some("PublishesDocs")
            }
        };
        let integration = match condition {
            Some(condition) => {
                assert_eq!(integration["Fn::If"][0], condition, "{method} {path}");
                assert!(mock(operation).is_some(), "{method} {path}");
                &integration["Fn::If"][1]
            }
            None => integration,
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
    for path in crate::support::contract::DOCUMENTS {
        if path.starts_with("/docs/s") || path.starts_with("/docs/i") || path == "/openapi.json" {
            assert!(methods.contains(&(path, ANY_METHOD)), "{path}");
        }
    }
    // With a method for all others, so that none is answered like a missing signature.
    for path in PATHS {
        assert!(methods.contains(&(path, ANY_METHOD)), "{path}");
    }
}

/// A mock answers with the status that its request template gives it, and API Gateway takes the
/// template of the request's Content-Type, which is JSON where there is none:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-mock-integration.html>
#[test]
fn a_mock_chooses_its_status_and_has_the_answer_to_it() {
    let mut statuses = BTreeSet::new();
    for ((path, method), operation) in operations() {
        let Some(mock) = mock(operation) else {
            continue;
        };
        let at = format!("{method} {path}");
        // A request of another type is answered UNSUPPORTED_MEDIA_TYPE.
        assert_eq!(mock["passthroughBehavior"], "never", "{at}");
        let templates = mock["requestTemplates"].as_object().expect(&at);
        assert_eq!(templates.len(), 1, "{at}");
        let template = templates["application/json"].as_str().unwrap();
        let template: Value = serde_json::from_str(template).unwrap();
        let answers = mock["responses"].as_object().unwrap();
        let [(pattern, answer)] = answers.iter().collect::<Vec<_>>()[..] else {
            panic!("{at}: {answers:?}");
        };
        assert_eq!(pattern, "default", "{at}");
        let status = answer["statusCode"].as_str().unwrap();
        assert_eq!(template["statusCode"].to_string(), status, "{at}");
        statuses.insert(status);

        // What a mock sets has to be declared.
        let declared = &operation["responses"][status]["headers"];
        for name in answer["responseParameters"].as_object().unwrap().keys() {
            let name = name.strip_prefix("method.response.header.").unwrap();
            assert_eq!(declared[name]["schema"]["type"], "string", "{at}: {name}");
        }
    }
    assert_eq!(statuses, ["204", "404"].into());
}

#[test]
fn a_path_that_is_not_there_is_answered_as_the_gateway_answers_one() {
    let responses = &DOCUMENT["x-amazon-apigateway-gateway-responses"];
    let expected = &responses["RESOURCE_NOT_FOUND"];
    let renamed = expected["responseParameters"].as_object().unwrap().iter();
    let renamed = renamed
        .map(|(name, value)| {
            let name = name.replace("gatewayresponse.", "method.response.");
            (name, value.clone())
        })
        .collect();
    let mocks = operations()
        .into_iter()
        .filter(|(at, _)| !is_for_users(at.0));
    let mut paths = 0;
    for ((path, _), operation) in mocks {
        let answer = &mock(operation).unwrap()["responses"]["default"];
        assert_eq!(answer["statusCode"], "404", "{path}");
        assert_eq!(
            answer["responseTemplates"], expected["responseTemplates"],
            "{path}"
        );
        assert_eq!(
            answer["responseParameters"],
            Value::Object(Clone::clone(&renamed)),
            "{path}"
        );
        paths += 1;
    }
    assert!(paths > 3, "{paths}");
}

#[tokio::test]
async fn the_gateway_answers_options_as_the_service_does_where_no_origin_is_allowed() {
    let service = Service::start().await;
    for path in PATHS {
        let operation = &DOCUMENT["paths"][path]["options"];
        let answer = &mock(operation).unwrap()["responses"]["default"];
        assert!(answer["responseTemplates"].is_null(), "{path}");
        let fields = answer["responseParameters"].as_object().unwrap().iter();
        let fields = fields.map(|(name, value)| {
            let name = name.strip_prefix("method.response.header.").unwrap();
            let value = value.as_str().unwrap();
            let value = value.strip_prefix('\'').unwrap().strip_suffix('\'');
            (name.to_ascii_lowercase(), value.unwrap().to_owned())
        });
        let mocked: BTreeMap<String, String> = fields.collect();

        let origin = [
            ("origin", "https://app.example.com"),
            ("access-control-request-method", "GET"),
        ];
        for headers in [&[][..], &origin] {
            let path = path.replace("{userId}", "1");
            let served = service.send(Method::OPTIONS, &path, headers, "").await;
            assert_eq!(served.status, 204);
            assert_eq!(served.body, "");
            let fields = served.headers.iter().map(|(name, value)| {
                let value = value.to_str().unwrap();
                (name.to_string(), value.to_owned())
            });
            let fields = fields.filter(|(name, _)| name != "date").collect();
            assert_eq!(mocked, fields, "{path}");
        }
    }
}

/// API Gateway makes a model of a schema that has a name, and none of an `anyOf` or `oneOf` in
/// the place of one.
#[test]
fn the_schema_of_every_body_has_a_name() {
    fn walk(value: &Value, at: &str, found: &mut usize) {
        if let Some(content) = value.get("content").and_then(Value::as_object) {
            for media_type in content.values() {
                let schema = &media_type["schema"];
                let name = schema["$ref"].as_str().unwrap_or_default();
                assert!(name.starts_with("#/components/schemas/"), "{at}: {schema}");
                *found += 1;
            }
        }
        match value {
            Value::Object(object) => object
                .iter()
                .for_each(|(name, value)| walk(value, &format!("{at}/{name}"), found)),
            Value::Array(values) => values.iter().for_each(|value| walk(value, at, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = 0;
    for part in ["paths", "components"] {
        walk(&DOCUMENT[part], part, &mut found);
    }
    assert!(found > 10, "{found}");
    let list = &DOCUMENT["paths"]["/users"]["get"]["responses"]["200"]["content"];
    let name = &list["application/json"]["schema"]["$ref"];
    assert_eq!(name, "#/components/schemas/UserOrPage");
}

/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html>
#[test]
fn the_gateways_own_413_is_not_customized_for_it_cannot_be() {
    let responses = &DOCUMENT["x-amazon-apigateway-gateway-responses"];
    assert!(responses["REQUEST_TOO_LARGE"].is_null());
    let description = &DOCUMENT["components"]["responses"]["BodyTooLarge"]["description"];
    let description = description.as_str().unwrap();
    assert!(description.contains("over 10 MB"), "{description}");
    assert!(description.contains("plain text"), "{description}");
}

/// It answers `Content-Length: 0`, and passes ours on by another name.
#[test]
fn the_contract_promises_no_content_length_of_head() {
    let description = &DOCUMENT["components"]["responses"]["Head"]["description"];
    let description = description.as_str().unwrap();
    assert!(!description.contains("included"), "{description}");
    for word in ["`Content-Length: 0`", "`x-amzn-Remapped-Content-Length`"] {
        assert!(description.contains(word), "{word}: {description}");
    }
    for path in PATHS {
        let item = &DOCUMENT["paths"][path];
        assert_eq!(item["get"].is_null(), item["head"].is_null(), "{path}");
        if let Some(head) = item["head"]["description"].as_str() {
            assert!(head.contains("but for `Content-Length`"), "{path}: {head}");
        }
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
        .replace("- signedRead: []", "- signedRead: [users/read]")
        .replace("- write: []", "- write: [users/write]");
    assert!(
        format!("openapi:{document}") == expected,
        "make openapi.cognito.yaml from openapi.yaml again, as its first lines say:\n{introduction}"
    );
}

/// An HTTP API has a route for each operation, and none for the paths that are a 404 of the gateway.
#[test]
fn the_document_for_an_http_api_has_the_routes_of_this_one() {
    let document: Value = serde_saphyr::from_str(OPENAPI_HTTP).unwrap();
    let mut expected = BTreeMap::new();
    for ((path, method), operation) in operations() {
        let is_page = !is_for_users(path);
        if is_page && operation[INTEGRATION]["Fn::If"][0] != "PublishesDocs" {
            continue;
        }
        let security = match operation["security"].get(0).and_then(Value::as_object) {
            None => json!([]),
            Some(asked) => {
                let scope = match asked.keys().next().map(String::as_str) {
                    Some("read" | "signedRead") => "users/read",
                    Some("write") => "users/write",
                    other => panic!("{method} {path}: {other:?}"),
                };
                json!({ "Fn::If": ["UsesJwt", [{ "jwt": [scope] }], [{ "iam": [] }]] })
            }
        };
        expected.insert((path, method), security);
    }
    assert!(expected.len() > 30, "{expected:?}");
    let mut routes = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let item = match is_for_users(path) {
            true => item,
            false => {
                assert_eq!(item["Fn::If"][0], "PublishesDocs", "{path}");
                assert_eq!(item["Fn::If"][2], json!({ "Ref": "AWS::NoValue" }));
                &item["Fn::If"][1]
            }
        };
        for (method, route) in item.as_object().unwrap() {
            let function = "#/components/x-amazon-apigateway-integrations/function";
            assert_eq!(
                route[INTEGRATION],
                json!({ "$ref": function }),
                "{method} {path}"
            );
            routes.insert((path.as_str(), method.as_str()), route["security"].clone());
        }
    }
    assert_eq!(
        routes, expected,
        "make openapi.http.yaml from openapi.yaml again, as its first lines say"
    );
    assert_eq!(document["info"]["version"], DOCUMENT["info"]["version"]);
    // The function answers preflights itself.
    assert!(document["x-amazon-apigateway-cors"].is_null());
}
