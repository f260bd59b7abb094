//! Whatever comes in: a clear 4xx, no panic, nothing lost.

use http::Method;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::methods::ACCEPT_PATCH;
use crate::support::{
    Answer, Service, Setup, Through, ada,
    events::{http_event, rest_event},
    runtime_api::Outcome,
};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

async fn post(service: &Service, body: impl Into<bytes::Bytes>) -> Answer {
    service.send(Method::POST, "/users", JSON, body).await
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400_and_says_where_and_what() {
    let service = Service::start().await;
    for (body, says) in [
        (&b""[..], "it is empty"),
        (b" \n\t ", "it is empty"),
        (b"{", "line 1 column 1"),
        (b"{\"name\": \"canary\"", "line 1 column 17"),
        (b"{\"name\":\n\"canary\",}", "line 2 column 10"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (b"{}\0", "trailing characters"),
        (b"{'name': 1}", "line 1 column 2"),
        (b"{\"name\": NaN}", "line 1 column 10"),
        (b"{\"name\": 01}", "line 1"),
        (b"{\"a\nb\": 1}", "control character"),
        (b"{\"\\ud800\": 1}", "hex escape at line 1 column 9"),
        (b"{\"name\": \"\\x\"}", "escape"),
        (b"\xEF\xBB\xBF{}", "byte-order mark"),
        (b"{\"name\": \"\xFF\"}", "not UTF-8 from byte 10"),
        (b"\xC0\x80", "not UTF-8 from byte 0"),
        (b"nothing", "line 1"),
    ] {
        let refused = post(&service, body)
            .await
            .has_problem(400, "malformed_json");
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains(says),
            "{:?}: {message}",
            String::from_utf8_lossy(body)
        );
    }
}

#[tokio::test]
async fn json_that_is_no_object_is_400() {
    let service = Service::start().await;
    for (body, kind) in [
        ("[]", "an array"),
        ("[\"Ada\", \"ada@example.com\"]", "an array"),
        ("\"text\"", "a string"),
        ("17", "a number"),
        ("true", "a boolean"),
        ("null", "null"),
    ] {
        let refused = post(&service, body).await.has_problem(400, "invalid_user");
        let message = format!("must be an object, not {kind}");
        assert_eq!(refused.field_errors(), [(String::new(), message)]);
    }
}

#[tokio::test]
async fn a_name_that_is_given_twice_is_400_at_any_depth() {
    let service = Service::start().await;
    for (body, pointer) in [
        (
            r#"{"name":"a","email":"a@example.com","name":"b"}"#,
            "/name",
        ),
        (
            r#"{"name":"a","email":"a@example.com","n\u0061me":"b"}"#,
            "/name",
        ),
        (
            r#"{"name":"a","email":"a@example.com","metadata":{"k":1,"k":1}}"#,
            "/metadata/k",
        ),
        (
            r#"{"name":"a","email":"a@example.com","metadata":{"l":[{"k":1,"k":2}]}}"#,
            "/metadata/l/0/k",
        ),
    ] {
        let refused = post(&service, body).await.has_problem(400, "invalid_user");
        assert_eq!(
            refused.field_errors(),
            [(pointer.to_owned(), "is given more than once".to_owned())]
        );
    }
}

#[tokio::test]
async fn a_lone_surrogate_is_400_wherever_it_stands() {
    let service = Service::start().await;
    for (body, pointer) in [
        (r#"{"name":"\ud800","email":"a@example.com"}"#, "/name"),
        (
            r#"{"name":"a","email":"a@example.com","metadata":{"k":"\udc00x"}}"#,
            "/metadata/k",
        ),
        (
            r#"{"name":"a","email":"a@example.com","metadata":{"k":{"\ud800":1}}}"#,
            "/metadata/k",
        ),
    ] {
        let refused = post(&service, body).await.has_problem(400, "invalid_user");
        assert_eq!(refused.field_errors()[0].0, pointer);
    }
}

#[tokio::test]
async fn nesting_of_10_000_is_400() {
    let service = Service::start().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nest = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        for body in [
            nest.clone(),
            open.repeat(10_000),
            format!(r#"{{"name":"a","email":"a@example.com","metadata":{{"k":{nest}}}}}"#),
            format!(r#"{{"name":{nest},"email":"a@example.com"}}"#),
            format!(r#"{{"name":"a","email":"a@example.com","x":{nest}}}"#),
        ] {
            let _ = post(&service, body).await.has_status(400);
        }
    }
}

#[tokio::test]
async fn a_body_over_256_kib_is_413_and_one_of_256_kib_is_read() {
    let service = Service::start().await;
    let body = |bytes: usize| {
        let user = ada().to_string();
        format!("{user}{}", " ".repeat(bytes - user.len()))
    };
    let _ = post(&service, body(256 * 1024)).await.has_status(201);
    let _ = post(&service, body(256 * 1024 + 1))
        .await
        .has_problem(413, "body_too_large");
    let _ = post(&service, vec![0xFF; 300 * 1024])
        .await
        .has_problem(413, "body_too_large");
}

/// RFC 9110 sections 15.5.14 and 15.5.21 have other names for these than RFC 7231 had.
#[tokio::test]
async fn the_title_of_an_error_is_the_reason_phrase_of_rfc_9110() {
    let service = Service::start().await;
    let refused = post(&service, " ".repeat(256 * 1024 + 1)).await;
    assert_eq!(refused.json()["title"], "Content Too Large");
    for (name, title) in [
        ("Ada canary", None),
        ("Grace canary", Some("Unprocessable Content")),
    ] {
        let user = json!({ "name": name, "email": "canary@example.com" });
        let headers = [("idempotency-key", "1")];
        let answer = service.send_json(Method::POST, "/users", &headers, &user);
        assert_eq!(answer.await.json()["title"].as_str(), title);
    }
}

#[tokio::test]
async fn the_errors_of_a_body_of_nothing_else_are_cut_at_100() {
    let service = Service::start().await;
    let members: Vec<String> = (0..20_000)
        .map(|number| format!("\"{number}\":1"))
        .collect();
    let refused = post(&service, format!("{{{}}}", members.join(","))).await;
    assert_eq!(
        refused
            .has_problem(400, "invalid_user")
            .field_errors()
            .len(),
        100
    );
}

#[tokio::test]
async fn names_as_long_as_the_body_cost_no_more_than_their_length() {
    let service = Service::start().await;
    let name = "k".repeat(150_000);
    for values in ["9e999,".repeat(17_000), "1,".repeat(50_000)] {
        let body = format!(
            r#"{{"name":"a","email":"a@example.com","metadata":{{"{name}":[{}0]}}}}"#,
            &values[..values.len().min(100_000) / 6 * 6]
        );
        let refused = post(&service, body).await.has_problem(400, "invalid_user");
        assert!(refused.body.len() < 200_000, "{}", refused.body.len());
        assert!(
            refused
                .field_errors()
                .iter()
                .all(|(field, _)| field.len() < 1100)
        );
    }
    let name = "k".repeat(120_000);
    let refused = post(&service, format!(r#"{{"{name}":1,"{name}":1}}"#)).await;
    assert!(refused.has_problem(400, "invalid_user").body.len() < 10_000);
}

#[tokio::test]
async fn a_body_that_is_not_json_by_its_content_type_or_is_encoded_is_415() {
    let service = Service::start().await;
    for headers in [
        &[("content-type", "text/plain")][..],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/json; charset=iso-8859-1")],
        &[("content-type", "application/jsonp")],
        &[("content-type", "json")],
        &[("content-type", "")],
        &[("content-type", "text/json")],
        &[("content-type", "application/scim+json")],
        &[("content-type", "application/vnd.example+json")],
        &[("content-type", "application/merge-patch+json")],
        &[("content-type", "application/problem+json")],
        &[
            ("content-type", "application/json"),
            ("content-type", "text/plain"),
        ],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "identity, br"),
        ],
    ] {
        let refused = service
            .send(Method::POST, "/users", headers, ada().to_string())
            .await;
        let _ = refused.has_problem(415, "unsupported_media_type");
        let refused = service
            .send(Method::PUT, "/users/7", headers, ada().to_string())
            .await;
        let refused = refused.has_problem(415, "unsupported_media_type");
        assert_eq!(refused.header("accept-patch"), "");
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains("send application/json") || message.contains("Content-Encoding"),
            "{message}"
        );
    }
    for headers in [
        &[][..],
        &[("content-type", "application/json")],
        &[("content-type", "Application/JSON; Charset=\"UTF-8\"")],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "identity"),
        ],
    ] {
        let created = service
            .send(Method::POST, "/users", headers, ada().to_string())
            .await;
        let _ = created.has_status(201);
    }
}

#[tokio::test]
async fn a_patch_is_a_merge_patch_by_its_content_type_and_a_415_names_what_to_send() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let patch = async |headers: &[(&str, &str)]| {
        let body = r#"{"name":"Grace canary"}"#;
        service.send(Method::PATCH, path, headers, body).await
    };
    for media_type in [
        "application/merge-patch+json",
        "Application/Merge-Patch+JSON; charset=UTF-8",
        "application/json",
        "application/json; charset=utf-8",
    ] {
        let _ = patch(&[("content-type", media_type)]).await.has_status(200);
    }
    let _ = patch(&[]).await.has_status(200);
    for media_type in [
        "application/json-patch+json",
        "application/scim+json",
        "application/vnd.example+json",
        "application/merge-patch+json; charset=utf-16",
        "text/plain",
        "",
    ] {
        let refused = patch(&[("content-type", media_type)]).await;
        let refused = refused.has_problem(415, "unsupported_media_type");
        assert_eq!(refused.header("accept-patch"), ACCEPT_PATCH, "{media_type}");
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains("send application/merge-patch+json or application/json"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_user_id_that_cannot_be_one_is_400_in_path_and_query() {
    let service = Service::start().await;
    for id in [
        "%", "%4", "%zz", "a%", "%FF", "%C3%28", "%00", "a%0Ab", "%7F", "%C2%85", "%+1",
    ] {
        for template in [
            "/users/{userId}",
            "/users/{userId}/history",
            "/users/{userId}/export",
            "/deleted-users/{userId}",
        ] {
            let path = service
                .get(&template.replace("{userId}", id))
                .await
                .has_problem(400, "invalid_parameter");
            assert_eq!(path.field_errors()[0].0, "/userId", "{id}");
        }
    }
    for query in [
        "userId=",
        "userId",
        "userId=%00",
        "userId=a%0Ab",
        "userId=a&userId=a",
        "userId=a&userId=",
    ] {
        for method in [Method::GET, Method::DELETE] {
            let refused = service
                .send(method, &format!("/users?{query}"), &[], "")
                .await;
            assert_eq!(
                refused.has_problem(400, "invalid_parameter").field_errors()[0].0,
                "/userId",
                "{query}"
            );
        }
    }
    // A query's encoding is the gateway's to decode, and it is lenient.
    for query in ["userId=%", "userId=%FF", "%75serId=7", "userId=7&x=%"] {
        let _ = service
            .get(&format!("/users?{query}"))
            .await
            .has_problem(404, "user_not_found");
    }
}

/// Sends bytes that no HTTP client would, and reads the status line.
async fn raw(service: &Service, request: &[u8]) -> String {
    let mut connection = TcpStream::connect(service.address()).await.unwrap();
    connection.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // The gateway may end the connection before it has read everything.
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn odd_requests_on_the_wire_get_a_4xx_or_the_normal_answer() {
    let service = Service::start().await;
    let request = |line: &str, headers: &str| {
        format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n")
    };
    for (line, headers, status) in [
        ("GET /users", "Host: a b\r\n", "200"),
        ("GET /users", "Host: x:99999\r\n", "200"),
        ("GET /users", "Host: [::1\r\n", "200"),
        (
            "GET /users",
            "Host: x\r\nX-Forwarded-Proto: https,http\r\n",
            "200",
        ),
        ("GET /users", "Host: x\r\nX-Odd: \u{fc}\r\n", "200"),
        ("GET //users", "Host: x\r\n", "404"),
        ("GET /users/", "Host: x\r\n", "200"),
        ("GET /users/../users", "Host: x\r\n", "404"),
        ("GET /./users", "Host: x\r\n", "404"),
        ("GET http://elsewhere/users", "Host: x\r\n", "200"),
        ("GET *", "Host: x\r\n", "4"),
        ("OPTIONS *", "Host: x\r\n", "4"),
        ("GET users", "Host: x\r\n", "4"),
        ("G@T /users", "Host: x\r\n", "4"),
        ("GET /users/\u{fc}", "Host: x\r\n", "4"),
        ("GET /us ers", "Host: x\r\n", "4"),
    ] {
        let line_of_answer = raw(&service, request(line, headers).as_bytes()).await;
        assert!(
            line_of_answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{line} {headers}: {line_of_answer}"
        );
    }
    let long = request(&format!("GET /users/{}", "x".repeat(70_000)), "Host: x\r\n");
    assert!(
        raw(&service, long.as_bytes())
            .await
            .starts_with("HTTP/1.1 414")
    );
    let _ = service.get("/users").await.has_status(200);
}

/// JSON of any shape, of names and texts that are near to what is asked for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any_text(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<String>(),
        2 => prop::sample::select(vec![
            "userId", "name", "email", "phone", "metadata", "version", "limit", "cursor", "consistent", "erase",
            "headers", "body", "path", "httpMethod", "requestContext", "rawPath", "rawQueryString", "",
            "a@example.com", "+14155550123", "%00", "%", "\"1\"", "*", "If-Match", "if-none-match",
            "content-type", "application/json", "/users", "/users/1", "\u{0}", "1", "true",
        ]).prop_map(String::from),
    ]
}

/// A path below a user or a deleted user.
fn any_of_a_user() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/users/{userId}/history",
        "/users/{userId}/export",
        "/deleted-users",
        "/deleted-users/{userId}",
        "/deleted-users/{userId}/restore",
    ])
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::from("/users")),
        any_text().prop_map(|id| format!("/users/{id}")),
        (any_text(), any_of_a_user()).prop_map(|(id, path)| path.replace("{userId}", &id)),
        any_text().prop_map(|text| format!("/users?{text}=1")),
        any_text(),
    ]
}

fn any_body() -> impl Strategy<Value = Value> {
    let user = |metadata: Value| json!({ "name": "Ada canary", "email": "ada.canary@example.com", "metadata": metadata });
    prop_oneof![
        any_json().prop_map(|json| Value::from(json.to_string())),
        any_text().prop_map(Value::from),
        any_json(),
        any_json().prop_map(move |metadata| Value::from(user(metadata).to_string())),
    ]
}

/// An event, most of it real.
fn any_event() -> impl Strategy<Value = Value> {
    let methods = prop::sample::select(vec![
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "x",
    ]);
    let change = (any_text(), any_json());
    let queries = prop::collection::btree_map(any_text(), any_text(), 0..3);
    let headers = prop::collection::btree_map(any_text(), any_text(), 0..3);
    let parts = (
        any::<bool>(),
        methods,
        any_path(),
        any_body(),
        any::<bool>(),
        queries,
        headers,
    );
    (parts, prop::option::of(change)).prop_map(
        |((rest, method, path, body, base64, query, headers), change)| {
            let mut event = if rest {
                rest_event(method, &path)
            } else {
                http_event(method, &path)
            };
            event["body"] = body;
            event["isBase64Encoded"] = json!(base64);
            event["queryStringParameters"] = json!(query);
            for (name, value) in headers {
                event["headers"][name] = json!(value);
            }
            if let Some((name, value)) = change {
                event[name] = value;
            }
            event
        },
    )
}

#[test]
fn ten_thousand_random_events_make_no_panic_and_no_5xx() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let service = runtime.block_on(
        Setup {
            through: Some(Through::Lambda),
            ..Setup::default()
        }
        .start(),
    );
    let mut runner = TestRunner::new(Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&prop_oneof![9 => any_event(), 1 => any_json()], |event| {
        match runtime.block_on(service.invoke(&event)) {
            Outcome::Response(response) => {
                let status = response["statusCode"].as_u64().unwrap();
                prop_assert!((200..500).contains(&status), "{response}");
            }
            Outcome::Error(error) => prop_assert_eq!(&error["errorType"], "NotHttp"),
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
