//! The gateway and the embedded DynamoDB of this machine, as pages in a browser and clients
//! that stall meet them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use user_service::{
    http::cors::AllowedOrigins,
    local::{
        dynamodb::{self, AccessKeyId, EmbeddedDynamoDb},
        gateway::{self, Settings, Takes},
        http::Timeouts,
    },
};

use crate::support::program::{Running, user_service};

const USER: &str = r#"{"userId":"canary-7","name":"Ada canary","email":"ada.canary@example.com"}"#;

/// The answer to bytes that no HTTP client would send, up to the end of the connection.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// The status of an answer, and the problem in it.
fn problem(answer: &str) -> (&str, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

async fn default_service() -> Running {
    Running::start(user_service(&["--port", "0"])).await
}

async fn service_for(allowed_origins: &str) -> Running {
    let mut command = user_service(&["--port", "0"]);
    command.env("ALLOWED_ORIGINS", allowed_origins);
    Running::start(command).await
}

/// Checks that an answer of the gateway itself is a problem document like the service's.
#[track_caller]
fn is_problem(answer: &(u16, HeaderMap, Value), status: u16, code: &str) {
    let (found, headers, problem) = answer;
    assert_eq!(*found, status, "{answer:?}");
    assert_eq!(
        headers["content-type"], "application/problem+json",
        "{answer:?}"
    );
    assert_eq!(headers["cache-control"], "no-store", "{answer:?}");
    assert_eq!(headers["x-content-type-options"], "nosniff", "{answer:?}");
    assert_eq!(problem["status"], status, "{answer:?}");
    assert_eq!(problem["code"], code, "{answer:?}");
    assert_eq!(problem["message"], problem["detail"], "{answer:?}");
    for member in ["title", "detail", "requestId"] {
        let text = problem[member].as_str();
        assert!(text.is_some_and(|text| !text.is_empty()), "{answer:?}");
    }
}

#[tokio::test]
async fn a_request_for_a_host_that_is_not_this_machine_is_refused() {
    let service = default_service().await;
    let port = service.address.port();
    for head in [
        format!("POST /users HTTP/1.1\r\nHost: evil.example:{port}\r\n"),
        format!("POST /users HTTP/1.1\r\nHost: localhost.evil.example:{port}\r\n"),
        format!("POST /users HTTP/1.1\r\nHost: 127.0.0.1.evil.example:{port}\r\n"),
        format!("POST /users HTTP/1.1\r\nHost: evil.example@localhost:{port}\r\n"),
        format!("POST /users HTTP/1.1\r\nHost: 192.0.2.1:{port}\r\n"),
        format!("POST /users HTTP/1.1\r\nHost: 0.0.0.0:{port}\r\n"),
        format!("POST http://evil.example:{port}/users HTTP/1.1\r\nHost: localhost:{port}\r\n"),
        String::from("POST /users HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"),
        String::from("POST /users HTTP/1.1\r\nHost:\r\n"),
        String::from("POST /users HTTP/1.0\r\n"),
    ] {
        let length = USER.len();
        let request = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{USER}");
        let answer = raw(service.address, &request).await;
        let (status, problem) = problem(&answer);
        assert_eq!(
            (status, &problem["code"]),
            ("403", &json!("access_denied")),
            "{head}"
        );
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains("only for localhost"), "{message}");
    }
    assert_eq!(service.get("/users/canary-7").await.0, 404);
    let answer = service
        .send(
            Method::GET,
            "/users",
            &[("host", "evil.example")],
            &Value::Null,
        )
        .await;
    is_problem(&answer, 403, "access_denied");
}

#[tokio::test]
async fn a_request_for_any_loopback_host_is_served() {
    let service = default_service().await;
    for host in [
        "localhost",
        "LOCALHOST:3000",
        "localhost.",
        "app.localhost:80",
        "127.0.0.1",
        "127.8.9.10:3000",
        "[::1]:3000",
    ] {
        let headers = [("host", host)];
        let answer = service.send(Method::GET, "/users/1", &headers, &Value::Null);
        assert_eq!(answer.await.0, 200, "{host}");
    }
}

#[tokio::test]
async fn a_server_on_all_addresses_serves_each_address_and_no_name() {
    let service = Running::start(user_service(&["--host", "0.0.0.0", "--port", "0"])).await;
    for (host, status) in [
        ("192.0.2.1:3000", 200),
        ("[2001:db8::1]", 200),
        ("localhost:3000", 200),
        ("evil.example:3000", 403),
        ("192.0.2.1.evil.example", 403),
    ] {
        let headers = [("host", host)];
        let answer = service.send(Method::GET, "/users/1", &headers, &Value::Null);
        assert_eq!(answer.await.0, status, "{host}");
    }
}

#[tokio::test]
async fn what_a_page_of_another_site_sends_is_refused_before_anything_is_done() {
    let service = default_service().await;
    for origin in [
        "https://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example:3000",
        "http://evil.example@localhost",
        "http://192.0.2.1:3000",
        "null",
        "",
        "file://",
    ] {
        // A request that a browser sends without a preflight: no Content-Type is one of those.
        let (host, length) = (service.address, USER.len());
        let request = format!(
            "POST /users HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{USER}"
        );
        let answer = raw(service.address, &request).await;
        let (status, problem) = problem(&answer);
        assert_eq!(
            (status, &problem["code"]),
            ("403", &json!("access_denied")),
            "{origin}"
        );
        assert!(!answer.contains("access-control-"), "{answer}");
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains("ALLOWED_ORIGINS"), "{message}");

        let headers = [("origin", origin), ("access-control-request-method", "PUT")];
        for method in [Method::GET, Method::OPTIONS, Method::DELETE] {
            let answer = service
                .send(method, "/users/1", &headers, &Value::Null)
                .await;
            is_problem(&answer, 403, "access_denied");
        }
    }
    assert_eq!(service.get("/users/canary-7").await.0, 404);
    assert_eq!(service.get("/users/1").await.0, 200);
}

#[tokio::test]
async fn a_page_of_this_machine_on_any_port_is_served_and_reads_the_answers() {
    let service = default_service().await;
    for origin in [
        "http://localhost:5173",
        "https://localhost",
        "http://app.localhost:8080",
        "https://127.0.0.1:8443",
        "http://[::1]:3000",
    ] {
        let preflight = [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
        ];
        let preflight = service.send(Method::OPTIONS, "/users/1", &preflight, &Value::Null);
        let (status, preflight, _) = preflight.await;
        assert_eq!(status, 204, "{origin}");
        let allowed = preflight.get_all("access-control-allow-headers").iter();
        let allowed: Vec<_> = allowed.map(|value| value.to_str().unwrap()).collect();
        // The page may send `X-Local-Caller` too.
        assert!(allowed.contains(&"x-local-caller"), "{allowed:?}");

        let headers = [("origin", origin)];
        let patch = json!({ "name": "Ada canary" });
        let (status, answer, _) = service
            .send(Method::PATCH, "/users/1", &headers, &patch)
            .await;
        assert_eq!(status, 200, "{origin}");
        for headers in [preflight, answer] {
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(headers["vary"], "origin");
        }
    }
}

#[tokio::test]
async fn allowed_origins_replaces_the_origins_that_are_served() {
    let own = |service: &Running| format!("http://{}", service.address);
    let status = async |service: &Running, origin: &str| {
        let headers = [("origin", origin)];
        let answer = service.send(Method::GET, "/users", &headers, &Value::Null);
        answer.await.0
    };
    let named = service_for("https://app.example.com").await;
    assert_eq!(status(&named, "https://app.example.com").await, 200);
    assert_eq!(status(&named, "http://localhost:5173").await, 403);
    assert_eq!(status(&named, &own(&named)).await, 200, "the page at /docs");
    let none = service_for("").await;
    assert_eq!(status(&none, "http://localhost:5173").await, 403);
    assert_eq!(status(&none, &own(&none)).await, 200);
    let any = service_for("*").await;
    for origin in ["https://evil.example", "null"] {
        assert_eq!(status(&any, origin).await, 200, "{origin}");
    }
}

#[tokio::test]
async fn the_gateways_own_errors_are_problems_that_an_allowed_page_can_read() {
    let service = default_service().await;
    let origin = "http://localhost:5173";
    let wrong_caller = [("origin", origin), ("x-local-caller", ":admin")];
    let wrong_caller = service.send(Method::GET, "/users", &wrong_caller, &Value::Null);
    let wrong_caller = wrong_caller.await;
    is_problem(&wrong_caller, 400, "invalid_header");
    let message = wrong_caller.2["message"].as_str().unwrap();
    assert!(message.starts_with("X-Local-Caller must be"), "{message}");
    let body = json!("x".repeat(10 * 1024 * 1024));
    let too_large = service
        .send(Method::POST, "/users", &[("origin", origin)], &body)
        .await;
    is_problem(&too_large, 413, "body_too_large");
    for (_, headers, _) in [wrong_caller, too_large] {
        assert_eq!(headers["access-control-allow-origin"], origin);
    }
}

#[tokio::test]
async fn a_function_that_fails_is_a_502_that_tells_nothing_of_why() {
    for response in [
        Err(String::from("a secret cause")),
        Ok(json!({ "statusCode": 1, "body": "a secret cause" })),
        Ok(json!("a secret cause")),
    ] {
        let invoke = move |_| std::future::ready(response.clone());
        let address = serve(invoke, Timeouts::default()).await;
        let request = format!(
            "GET /users HTTP/1.1\r\nHost: {address}\r\nOrigin: http://localhost:5173\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = raw(address, &request).await;
        let (status, problem) = problem(&answer);
        assert_eq!(
            (status, &problem["code"]),
            ("502", &json!("internal_error"))
        );
        assert!(answer.contains("access-control-allow-origin: http://localhost:5173"));
        assert!(answer.contains("content-type: application/problem+json"));
        assert!(!answer.contains("secret"), "{answer}");
    }
}

/// Serves a function, as `user-service` does.
async fn serve<Invocation>(
    invoke: impl Fn(Value) -> Invocation + Clone + Send + Sync + 'static,
    timeouts: Timeouts,
) -> SocketAddr
where
    Invocation: Future<Output = Result<Value, String>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings {
        caller: None,
        takes: Takes::NoneOfForeignPages,
        origins: AllowedOrigins::Loopback,
        timeouts,
        health: None,
        served: std::sync::Arc::default(),
    };
    let never = std::future::pending();
    tokio::spawn(gateway::serve(listener, invoke, settings, never));
    address
}

/// What comes before the end of the connection, which the other side has to make.
async fn until_closed(connection: &mut TcpStream) -> String {
    let mut answer = String::new();
    let read = connection.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    read.expect("the connection is open still").unwrap();
    answer
}

#[tokio::test]
async fn a_client_that_stalls_in_the_head_loses_its_connection() {
    let timeouts = Timeouts {
        head: Duration::from_millis(100),
        ..Timeouts::default()
    };
    let invoke = |_| std::future::ready(Ok(json!({ "statusCode": 204 })));
    let address = serve(invoke, timeouts).await;
    for sent in ["", "GET /users HT", "GET /users HTTP/1.1\r\nHost: local"] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(sent.as_bytes()).await.unwrap();
        assert!(
            !until_closed(&mut connection).await.contains("204"),
            "{sent}"
        );
    }
    // The same holds after an answer.
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /users HTTP/1.1\r\nHost: {address}\r\n\r\nGET /us");
    connection.write_all(request.as_bytes()).await.unwrap();
    let answer = until_closed(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}

#[tokio::test]
async fn a_client_that_stalls_in_the_body_is_answered_with_408_and_loses_its_connection() {
    let timeouts = Timeouts {
        body: Duration::from_millis(100),
        ..Timeouts::default()
    };
    let invoke = |_| async { panic!("the function is not to see it") };
    let address = serve(invoke, timeouts).await;
    for framing in [
        "Content-Length: 100\r\n\r\n{\"name\"",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"nam\r\n",
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("POST /users HTTP/1.1\r\nHost: {address}\r\n{framing}");
        connection.write_all(request.as_bytes()).await.unwrap();
        let answer = until_closed(&mut connection).await;
        let (status, problem) = problem(&answer);
        assert_eq!(
            (status, &problem["code"]),
            ("408", &json!("malformed_request"))
        );
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

/// A `Scan` of the table of users, with a signature that nobody made.
const SCAN: &str = "X-Amz-Target: DynamoDB_20120810.Scan\r\nX-Amz-Date: 20260101T000000Z\r\n\
     Authorization: AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
     SignedHeaders=host, Signature=x\r\nContent-Type: application/x-amz-json-1.0\r\n";

#[tokio::test]
async fn the_embedded_dynamodb_refuses_what_a_browser_sends() {
    let service = default_service().await;
    let greeting = service.greeting.join("\n");
    let (_, dynamodb) = greeting
        .split_once("gone when this stops) at http://")
        .unwrap();
    let dynamodb: SocketAddr = dynamodb.lines().next().unwrap().parse().unwrap();
    let body = r#"{"TableName":"UserData"}"#;
    let scan = async |line: &str, fields: &str| {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\n{fields}{SCAN}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        raw(dynamodb, &request).await
    };
    let own = format!("Host: {dynamodb}\r\n");
    // Programs are answered. Node.js sends `Sec-Fetch-Mode`, as browsers do.
    for fields in [own.clone(), format!("{own}Sec-Fetch-Mode: cors\r\n")] {
        let answer = scan("POST /", &fields).await;
        // It is that of a program that has no key.
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("UnrecognizedClientException"), "{answer}");
        assert!(!answer.contains("Test User"), "{answer}");
    }

    for (line, fields) in [
        ("POST /", format!("{own}Origin: http://{dynamodb}\r\n")),
        ("POST /", format!("{own}Origin: null\r\n")),
        ("POST /", format!("{own}Sec-Fetch-Site: same-origin\r\n")),
        ("POST /", format!("{own}Sec-Fetch-Site: none\r\n")),
        (
            "POST /",
            format!("Host: evil.example:{}\r\n", dynamodb.port()),
        ),
        ("POST /", format!("Host: 0.0.0.0:{}\r\n", dynamodb.port())),
        ("POST /", String::new()),
        ("POST http://evil.example/", own.clone()),
        (
            "OPTIONS /",
            format!(
                "{own}Origin: http://localhost:5173\r\nAccess-Control-Request-Method: POST\r\n"
            ),
        ),
    ] {
        let answer = scan(line, &fields).await;
        assert!(
            answer.starts_with("HTTP/1.1 403"),
            "{line} {fields}: {answer}"
        );
        assert!(answer.contains("AccessDeniedException"), "{answer}");
        assert!(!answer.contains("access-control-"), "{answer}");
        assert!(!answer.contains("Test User"), "{answer}");
    }
}

#[tokio::test]
async fn the_embedded_dynamodb_answers_only_for_its_access_key_id() {
    let dynamodb = EmbeddedDynamoDb::in_memory(AccessKeyId::random())
        .await
        .unwrap();
    let with_key = aws_sdk_dynamodb::Client::new(&dynamodb.sdk_config().await);
    assert!(with_key.list_tables().send().await.is_ok());
    let without_key = dynamodb::sdk_config(dynamodb.endpoint_url()).await;
    let without_key = aws_sdk_dynamodb::Client::new(&without_key);
    let refused = without_key.list_tables().send().await.unwrap_err();
    let code = refused
        .as_service_error()
        .and_then(|error| error.meta().code());
    assert_eq!(code, Some("UnrecognizedClientException"));
    assert_ne!(AccessKeyId::random(), AccessKeyId::random());
}

#[tokio::test]
async fn the_embedded_dynamodb_says_what_is_wrong_with_a_request() {
    let dynamodb = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let address = dynamodb.endpoint_url().strip_prefix("http://").unwrap();
    let send = async |line: &str, fields: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\n{fields}Connection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        raw(address.parse().unwrap(), &request).await
    };
    let put = SCAN.replace("Scan", "PutItem");
    let unsigned = "X-Amz-Target: DynamoDB_20120810.Scan\r\n";
    for (line, fields, body, status, says) in [
        ("GET /", SCAN, "", "404", "Send POST /"),
        ("POST /table", SCAN, "{}", "404", "Send POST /"),
        (
            "POST /",
            unsigned,
            "{}",
            "400",
            "MissingAuthenticationToken",
        ),
        (
            "POST /",
            &SCAN.replace("Scan", "Leap"),
            "{}",
            "400",
            "UnknownOperationException",
        ),
        (
            "POST /",
            SCAN,
            "{\"TableName\":\"Nothing\"}",
            "400",
            "ResourceNotFoundException",
        ),
        ("POST /", SCAN, "[", "400", "ValidationException"),
        (
            "POST /",
            &put,
            "{\"TableName\":\"UserData\",\"Item\":{\"userId\":{\"N\":\"abc\"}}}",
            "400",
            "\"message\":\"The parameter cannot be converted to a numeric value: abc",
        ),
    ] {
        let answer = send(line, fields, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains(says), "{says} in {answer}");
    }
}

#[tokio::test]
async fn the_embedded_dynamodb_takes_a_chunked_body_and_gives_whole_pages() {
    use aws_sdk_dynamodb::types::AttributeValue;

    let dynamodb = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
        .await
        .unwrap();
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url());
    let _makes_the_tables = Running::start(command).await;
    let client = aws_sdk_dynamodb::Client::new(&dynamodb.sdk_config().await);
    for id in 0..4 {
        let put = client.put_item().table_name("UserData");
        let put = put.item("userId", AttributeValue::S(format!("canary-{id}")));
        let put = put.item("text", AttributeValue::S("é".repeat(190_000)));
        put.send().await.unwrap();
    }
    // DynamoDB ends a page at 1 MB.
    let page = client.scan().table_name("UserData").send().await.unwrap();
    assert!(page.last_evaluated_key.is_some());
    let pages = client
        .scan()
        .table_name("UserData")
        .into_paginator()
        .items();
    let users: Vec<_> = pages.send().try_collect().await.unwrap();
    assert_eq!(users.len(), 5);

    let address = dynamodb.endpoint_url().strip_prefix("http://").unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\n{SCAN}Connection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\nc\r\n{{\"TableName\"\r\nc\r\n:\"UserData\"}}\r\n0\r\n\r\n"
    );
    let answer = raw(address.parse().unwrap(), &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.200}");
}
