//! API Gateway's events, as they are recorded, through the Lambda binary.

use serde_json::{Value, json};

use crate::support::{
    Answer, Service, Setup, Through, ada,
    events::{http_event, rest_event, with_body, with_query},
    runtime_api::Outcome,
    some_id,
};

async fn through_lambda() -> Service {
    Setup {
        through: Some(Through::Lambda),
        ..Setup::default()
    }
    .start()
    .await
}

/// As with an API that asks nothing of readers, like the tutorial's.
async fn open_through_lambda() -> Service {
    Setup {
        through: Some(Through::Lambda),
        auth_mode: "NONE",
        ..Setup::default()
    }
    .start()
    .await
}

/// The life of a user, by events that `event` makes; `mount` is what stands
/// before `/users` in the URL.
async fn a_user_lives(service: &Service, mount: &str, event: impl Fn(&str, &str) -> Value) {
    let created = service
        .answer(&with_body(event("POST", "/users"), &ada()))
        .await
        .has_status(201);
    let id = created.json()["userId"].as_str().unwrap().to_owned();
    assert_eq!(created.header("location"), format!("{mount}/users/{id}"));
    let path = format!("/users/{id}");
    assert_eq!(
        service
            .answer(&event("GET", &path))
            .await
            .has_status(200)
            .body,
        created.body
    );
    let replaced = service
        .answer(&with_body(event("PUT", &path), &ada()))
        .await
        .has_status(200);
    assert_eq!(replaced.json()["version"], 2);
    let listed = service
        .answer(&event("GET", "/users"))
        .await
        .has_status(200);
    assert_eq!(listed.json()["items"][0], replaced.json());
    let _ = service
        .answer(&event("DELETE", &path))
        .await
        .has_status(204);
    let _ = service
        .answer(&event("GET", &path))
        .await
        .has_problem(404, "user_not_found");
    let _ = service
        .answer(&event("GET", "/nowhere"))
        .await
        .has_problem(404, "route_not_found");
}

#[tokio::test]
async fn rest_events_behind_a_stage() {
    let service = through_lambda().await;
    a_user_lives(&service, "/prod", rest_event).await;
}

#[tokio::test]
async fn rest_events_whose_path_holds_the_stage() {
    let service = through_lambda().await;
    a_user_lives(&service, "/prod", |method, path| {
        let mut event = rest_event(method, path);
        event["path"] = json!(format!("/prod{path}"));
        event
    })
    .await;
}

#[tokio::test]
async fn rest_events_behind_a_custom_domain_with_a_base_path() {
    let service = Setup {
        through: Some(Through::Lambda),
        base_path: "/accounts/v1",
        ..Setup::default()
    }
    .start()
    .await;
    a_user_lives(&service, "/accounts/v1", |method, path| {
        let mut event = rest_event(method, path);
        event["path"] = json!(format!("/accounts/v1{path}"));
        event["requestContext"]["path"] = event["path"].clone();
        event["requestContext"]["domainName"] = json!("api.example.com");
        event
    })
    .await;
    // The API's own address serves beside the domain's.
    a_user_lives(&service, "/prod", rest_event).await;
}

#[tokio::test]
async fn http_events_of_the_default_stage() {
    let service = through_lambda().await;
    a_user_lives(&service, "", http_event).await;
}

#[tokio::test]
async fn http_events_behind_a_stage() {
    let service = through_lambda().await;
    a_user_lives(&service, "/prod", |method, path| {
        let mut event = http_event(method, &format!("/prod{path}"));
        event["requestContext"]["stage"] = json!("prod");
        event
    })
    .await;
}

#[tokio::test]
async fn http_events_behind_a_custom_domain_with_a_base_path() {
    let base_path = "accounts";
    let service = Setup {
        through: Some(Through::Lambda),
        base_path,
        ..Setup::default()
    }
    .start()
    .await;
    for (stage, before) in [
        ("$default", "/accounts"),
        ("$default", ""),
        ("prod", "/prod/accounts"),
        ("prod", "/accounts"),
        ("prod", "/prod"),
        ("prod", ""),
    ] {
        a_user_lives(&service, "/accounts", |method, path| {
            let mut event = http_event(method, &format!("{before}{path}"));
            event["requestContext"]["stage"] = json!(stage);
            event["requestContext"]["domainName"] = json!("api.example.com");
            event
        })
        .await;
    }
}

#[tokio::test]
async fn a_stage_that_the_client_writes_twice_is_another_path() {
    let service = through_lambda().await;
    let mut event = rest_event("GET", "/prod/users");
    event["requestContext"]["path"] = json!("/prod/prod/users");
    let _ = service
        .answer(&event)
        .await
        .has_problem(404, "route_not_found");
}

#[tokio::test]
async fn an_id_is_decoded_once_whether_the_gateway_has_done_it_or_not() {
    let service = through_lambda().await;
    for id in ["a%41", "100%", "a b", "käse"] {
        service.put_item(json!({ "userId": { "S": id } })).await;
        let encoded = id
            .replace('%', "%25")
            .replace(' ', "%20")
            .replace('ä', "%C3%A4");
        let mut function_url = http_event("GET", &format!("/users/{encoded}"));
        function_url["requestContext"]["domainName"] = json!("id.lambda-url.us-east-1.on.aws");
        let mut http_api_1_0 = rest_event("GET", &format!("/users/{id}"));
        http_api_1_0["version"] = json!("1.0");
        let rest_api = rest_event("GET", &format!("/users/{encoded}"));
        let http_api = http_event("GET", &format!("/users/{id}"));
        for event in [rest_api, http_api, http_api_1_0, function_url] {
            assert_eq!(
                service.answer(&event).await.has_status(200).json()["userId"],
                id,
                "{event}"
            );
        }
    }
}

#[tokio::test]
async fn a_condition_that_no_header_could_carry_is_refused_and_not_forgotten() {
    let service = through_lambda().await;
    let created = service
        .answer(&with_body(rest_event("POST", "/users"), &ada()))
        .await
        .has_status(201);
    let path = format!("/users/{}", created.json()["userId"].as_str().unwrap());
    for value in [
        json!("é"),
        json!("\"é\""),
        json!("\"1\"\n"),
        json!(null),
        json!(1),
        json!(""),
    ] {
        for (in_headers, in_multi) in [(true, true), (true, false), (false, true)] {
            let mut event = rest_event("DELETE", &path);
            if in_headers {
                event["headers"]["If-Match"] = value.clone();
            }
            if in_multi {
                event["multiValueHeaders"]["If-Match"] = json!([value]);
            }
            let _ = service
                .answer(&event)
                .await
                .has_problem(400, "invalid_header");
        }
    }
    let _ = service
        .answer(&rest_event("GET", &path))
        .await
        .has_status(200);
}

#[tokio::test]
async fn a_stage_may_itself_be_users() {
    let service = through_lambda().await;
    service
        .put_item(json!({ "userId": { "S": "users" } }))
        .await;
    let mut event = rest_event("GET", "/users/users");
    event["requestContext"]["stage"] = json!("users");
    event["requestContext"]["path"] = json!("/users/users/users");
    assert_eq!(
        service.answer(&event).await.has_status(200).json()["userId"],
        "users"
    );

    // Under a base path, too, where the paths do not hold the stage.
    let service = Setup {
        through: Some(Through::Lambda),
        base_path: "v1",
        ..Setup::default()
    }
    .start()
    .await;
    service
        .put_item(json!({ "userId": { "S": "users" } }))
        .await;
    event["path"] = json!("/v1/users/users");
    event["requestContext"]["path"] = event["path"].clone();
    event["requestContext"]["domainName"] = json!("api.example.com");
    assert_eq!(
        service.answer(&event).await.has_status(200).json()["userId"],
        "users"
    );
}

#[tokio::test]
async fn the_tutorials_event_is_answered_as_its_clients_know() {
    let service = open_through_lambda().await;
    service
        .put_item(json!({ "userId": { "S": "1" }, "name": { "S": "Test User" } }))
        .await;
    for event in [
        with_query(rest_event("GET", "/users"), "userId", "1"),
        http_event("GET", "/users?userId=1"),
        json!({ "httpMethod": "GET", "path": "/users", "queryStringParameters": { "userId": "1" } }),
    ] {
        let found = service.answer(&event).await.has_status(200);
        assert_eq!(found.body, r#"{"userId":"1","name":"Test User"}"#);
    }
    let missing = service
        .answer(&with_query(rest_event("GET", "/users"), "userId", "2"))
        .await;
    assert_eq!(
        missing.has_problem(404, "user_not_found").json()["message"],
        "No user data found"
    );
}

#[tokio::test]
async fn a_request_id_that_a_client_can_choose_is_in_no_answer_and_in_no_history() {
    let service = through_lambda().await;
    let mut http_api_1_0 = rest_event("POST", "/users");
    http_api_1_0["version"] = json!("1.0");
    let rest = rest_event("POST", "/users");
    let id = rest["requestContext"]["requestId"].as_str().unwrap();
    for (mut event, id, is_of_the_gateway) in [
        (rest.clone(), id.to_owned(), false),
        (rest.clone(), format!("{{{id}}}"), false),
        (rest.clone(), format!("urn:uuid:{id}"), false),
        (rest.clone(), String::from("canary"), false),
        (http_api_1_0, String::from("JKJaXmPLvHcESHA="), true),
        (
            http_event("POST", "/users"),
            String::from("JKJaXmPLvHcESHA="),
            true,
        ),
    ] {
        event["requestContext"]["requestId"] = json!(id);
        let created = service.answer(&with_body(event.clone(), &ada())).await;
        let user_id = created.has_status(201).json()["userId"].clone();
        let path = format!("/users/{}/history", user_id.as_str().unwrap());
        let history = service.answer(&rest_event("GET", &path)).await;
        let record = history.has_status(200).json()["items"][0].clone();
        let refused = service.answer(&event).await.json();
        for found in [&record["requestId"], &refused["requestId"]] {
            let found = found.as_str().unwrap();
            assert_eq!(found == id, is_of_the_gateway, "{event}");
            // The other one is that of the invocation.
            let is_uuid = uuid::Uuid::try_parse(found).is_ok();
            assert_eq!(is_uuid, !is_of_the_gateway, "{found}");
        }
        assert_ne!(record["requestId"], "");
    }
}

#[tokio::test]
async fn an_event_that_is_not_http_is_a_clean_error_and_the_next_event_is_served() {
    let service = through_lambda().await;
    for event in [
        json!({}),
        json!([]),
        json!(null),
        json!("text"),
        json!(17),
        json!({ "httpMethod": null, "path": "/users" }),
        json!({ "version": "2.0", "requestContext": { "http": {} } }),
        serde_json::from_str(include_str!("../../events/schedule.json")).unwrap(),
    ] {
        let outcome = service.invoke(&event).await;
        let Outcome::Error(error) = outcome else {
            panic!("{event}: {outcome:?}")
        };
        assert_eq!(error["errorType"], "NotHttp", "{error}");
        let _ = service
            .answer(&rest_event("GET", "/users"))
            .await
            .has_status(200);
    }
}

#[tokio::test]
async fn a_body_in_base64_is_decoded_and_one_that_is_none_is_400() {
    let service = through_lambda().await;
    let mut event = rest_event("POST", "/users");
    event["isBase64Encoded"] = json!(true);
    event["body"] =
        json!("eyJuYW1lIjoiQWRhIGNhbmFyeSIsImVtYWlsIjoiYWRhLmNhbmFyeUBleGFtcGxlLmNvbSJ9");
    let _ = service.answer(&event).await.has_status(201);
    for body in [json!("%%%"), json!("e"), json!({}), json!(17), json!(true)] {
        event["body"] = body;
        let _ = service
            .answer(&event)
            .await
            .has_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn events_that_lambda_http_cannot_take_are_answered() {
    let service = open_through_lambda().await;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut event = rest_event("GET", "/users");
        change(&mut event);
        event
    };
    for host in ["a b", "x:99999", "[::1", "", "\u{0}", "ü"] {
        let event = changed(&|event| {
            event["headers"]["Host"] = json!(host);
            event["multiValueHeaders"]["Host"] = json!([host]);
            event["requestContext"]["domainName"] = json!(host);
        });
        let _ = service.answer(&event).await.has_status(200);
    }
    for proto in ["https,http", "", "a b", "javascript"] {
        let event = changed(&|event| {
            event["headers"]["X-Forwarded-Proto"] = json!(proto);
            event["multiValueHeaders"]["X-Forwarded-Proto"] = json!([proto]);
        });
        let _ = service.answer(&event).await.has_status(200);
    }
    for (name, value) in [
        ("headers", json!(null)),
        ("headers", json!({ "Accept": null })),
        (
            "headers",
            json!({ "Accept": "a\nb", "b c": "d", "": "", "X-Number": 5 }),
        ),
        ("headers", json!([])),
        ("multiValueHeaders", json!(null)),
        (
            "multiValueHeaders",
            json!({ "Accept": null, "B": [null, 5, "x"], "C": "x" }),
        ),
        ("queryStringParameters", json!(null)),
        (
            "multiValueQueryStringParameters",
            json!({ "limit": "5", "consistent": ["true"], "cursor": [] }),
        ),
        ("pathParameters", json!({ "userId": null })),
        ("stageVariables", json!({ "a": null })),
        ("requestContext", json!(null)),
        (
            "requestContext",
            json!({ "stage": 5, "authorizer": "x", "identity": null }),
        ),
        ("isBase64Encoded", json!("yes")),
        ("resource", json!(7)),
    ] {
        let event = changed(&|event| event[name] = value.clone());
        let _ = service.answer(&event).await.has_status(200);
    }
    for (name, value) in [
        ("queryStringParameters", json!({ "other": null })),
        (
            "multiValueQueryStringParameters",
            json!({ "other": null, "b": [null], "c": "x", "d": [] }),
        ),
    ] {
        let event = changed(&|event| event[name] = value.clone());
        let refused = service.answer(&event).await;
        let _ = refused.has_problem(400, "invalid_parameter");
    }
    let null_id = changed(&|event| event["queryStringParameters"] = json!({ "userId": null }));
    let refused = service
        .answer(&null_id)
        .await
        .has_problem(400, "invalid_parameter");
    assert_eq!(refused.field_errors()[0].0, "/userId");
    let _ = service
        .answer(&rest_event("G ET", "/users"))
        .await
        .has_problem(400, "malformed_request");
    let _ = service
        .answer(&rest_event("", "/users"))
        .await
        .has_problem(400, "malformed_request");
    for path in [
        format!("/users/{}", "x".repeat(70_000)),
        format!("/{}", "%41".repeat(25_000)),
    ] {
        for event in [rest_event("GET", &path), http_event("GET", &path)] {
            let _ = service
                .answer(&event)
                .await
                .has_problem(414, "uri_too_long");
        }
    }
    let long_query = with_query(rest_event("GET", "/users"), "userId", &"x".repeat(70_000));
    let _ = service
        .answer(&long_query)
        .await
        .has_problem(414, "uri_too_long");
    for path in [
        json!(null),
        json!(5),
        json!(""),
        json!("users"),
        json!("http://[::1/users"),
        json!("/users\n"),
    ] {
        let event = changed(&|event| event["path"] = path.clone());
        let _ = service
            .answer(&event)
            .await
            .has_problem(404, "route_not_found");
    }
}

#[tokio::test]
async fn a_repeated_user_id_is_refused_in_either_kind_of_event() {
    let service = through_lambda().await;
    let mut rest = with_query(rest_event("DELETE", "/users"), "userId", "b");
    rest["multiValueQueryStringParameters"] = json!({ "userId": ["a", "b"] });
    for event in [rest, http_event("DELETE", "/users?userId=a&userId=b")] {
        let refused = service
            .answer(&event)
            .await
            .has_problem(400, "invalid_parameter");
        assert_eq!(refused.field_errors()[0].0, "/userId");
    }
}

#[tokio::test]
async fn a_location_never_leads_to_another_host() {
    let service = through_lambda().await;
    let mut event = with_body(rest_event("POST", "/users"), &ada());
    event["requestContext"]["path"] = json!("//evil.example.com/users");
    let created = service.answer(&event).await.has_status(201);
    assert!(
        created
            .header("location")
            .starts_with("/evil.example.com/users/"),
        "{created:?}"
    );
}

#[tokio::test]
async fn head_of_a_representation_that_the_client_has_is_304_without_a_length() {
    let service = through_lambda().await;
    service
        .put_item(json!({ "userId": { "S": "canary-7" } }))
        .await;
    let mut event = rest_event("HEAD", "/users/canary-7");
    let head = service.answer(&event).await.has_status(200);
    assert_eq!(head.header("content-length"), "21");
    event["headers"]["If-None-Match"] = json!(head.header("etag"));
    let known = service.answer(&event).await.has_status(304);
    assert_eq!(
        (known.header("etag"), known.header("content-length")),
        (head.header("etag"), "")
    );
}

#[tokio::test]
async fn header_fields_are_found_in_any_case() {
    let service = through_lambda().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let path = format!("/users/{}", user["userId"].as_str().unwrap());
    let _ = service
        .answer(&with_body(rest_event("POST", "/users"), &user))
        .await
        .has_status(201);
    for name in ["If-Match", "if-match", "IF-MATCH"] {
        let mut event = with_body(rest_event("PUT", &path), &ada());
        event["headers"][name] = json!("\"7\"");
        event["multiValueHeaders"][name] = json!(["\"7\""]);
        let answer: Answer = service.answer(&event).await;
        let _ = answer.has_problem(412, "version_mismatch");
    }
}
