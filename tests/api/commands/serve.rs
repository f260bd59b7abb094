//! `user-service`: how it starts, and what it says.

use std::process::Stdio;

use http::Method;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use crate::support::{
    Service,
    program::{Running, one_line, output, user_service},
};

#[tokio::test]
async fn cargo_run_serves_the_tutorials_user_and_says_where() {
    let service = Running::start(user_service(&["--port", "0"])).await;
    let sample = json!({ "userId": "1", "name": "Test User", "email": "test@example.com" });
    assert_eq!(service.get("/users?userId=1").await, (200, sample));
    let greeting = service.greeting.join("\n");
    assert!(
        greeting.contains("table UserData of an embedded DynamoDB (in memory"),
        "{greeting}"
    );
    let address = service.address;
    assert!(
        greeting.contains(&format!("curl 'http://{address}/users?userId=1'")),
        "{greeting}"
    );
    assert!(
        greeting.contains(&format!("curl -i 'http://{address}/users' -H ")),
        "{greeting}"
    );
}

#[tokio::test]
async fn a_broken_aws_configuration_is_ignored() {
    let mut command = user_service(&["--port", "0"]);
    command.envs([
        ("AWS_PROFILE", "missing"),
        ("AWS_CONFIG_FILE", "/nowhere"),
        ("AWS_REGION", "mars-1"),
    ]);
    let service = Running::start(command).await;
    assert_eq!(service.get("/users/1").await.0, 200);
}

#[tokio::test]
async fn ctrl_c_and_sigterm_stop_it_cleanly() {
    for signal in ["-INT", "-TERM"] {
        let mut service = Running::start(user_service(&["--port", "0"])).await;
        assert_eq!(service.get("/users/1").await.0, 200);
        assert_eq!(service.signal(signal).await, Some(0), "{signal}");
        let mut rest = String::new();
        service
            .stdout
            .get_mut()
            .read_to_string(&mut rest)
            .await
            .unwrap();
        assert_eq!(rest, "Stopped after 1 request: 1 answered 2xx.\n");
    }
}

#[tokio::test]
async fn the_last_line_says_what_was_answered() {
    let mut service = Running::start(user_service(&["--port", "0"])).await;
    for (path, status) in [
        ("/users/1", 200),
        ("/users/2", 404),
        ("/nowhere", 404),
        ("/healthz", 200),
    ] {
        assert_eq!(service.get(path).await.0, status, "{path}");
    }
    assert_eq!(service.signal("-TERM").await, Some(0));
    let line = service.stdout.next_line().await.unwrap().unwrap();
    let expected = "Stopped after 4 requests: 2 answered 2xx, 2 answered 4xx.";
    assert_eq!(line, expected);
}

#[tokio::test]
async fn healthz_says_that_the_server_runs_and_with_store_that_dynamodb_answers() {
    let dynamodb = Service::start().await;
    let mut command = user_service(&["--port", "0", "--no-sample"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.store().endpoint_url());
    let service = Running::start(command).await;
    let ok = (200, json!({ "status": "ok" }));
    assert_eq!(service.get("/healthz").await, ok);
    dynamodb.store().take_calls();
    assert_eq!(service.get("/healthz?store").await, ok);
    assert_eq!(dynamodb.store().take_calls(), ["GetItem"]);
    for (path, status, code) in [
        ("/healthz?stor", 400, "invalid_parameter"),
        ("/healthz/x", 404, "route_not_found"),
    ] {
        let (answered, problem) = service.get(path).await;
        assert_eq!(
            (answered, &problem["code"]),
            (status, &json!(code)),
            "{path}"
        );
    }
    let nothing = json!({});
    let (status, headers, problem) = service.send(Method::POST, "/healthz", &[], &nothing).await;
    assert_eq!(
        (status, &problem["code"]),
        (405, &json!("method_not_allowed"))
    );
    assert_eq!(headers["allow"], "GET, HEAD");
    let head = service.send(Method::HEAD, "/healthz", &[], &nothing).await;
    assert_eq!((head.0, head.2), (200, Value::Null));
    dynamodb.store().stop().await;
    assert_eq!(service.get("/healthz").await, ok, "the server still runs");
    let (status, problem) = service.get("/healthz?store").await;
    assert_eq!(
        (status, &problem["code"]),
        (503, &json!("store_unavailable"))
    );
}

#[tokio::test]
async fn no_sample_leaves_the_store_empty() {
    let service = Running::start(user_service(&["--port", "0", "--no-sample"])).await;
    assert_eq!(service.get("/users").await, (200, json!({ "items": [] })));
    assert!(!service.greeting.join("\n").contains("userId=1"));
}

#[tokio::test]
async fn it_answers_as_if_a_given_user_called() {
    let arguments = ["--port", "0", "--as", "canary-7"];
    let service = Running::start(user_service(&arguments)).await;
    let greeting = service.greeting.join("\n");
    assert!(
        greeting.contains("Caller: canary-7, unless a request names another in X-Local-Caller"),
        "{greeting}"
    );
    let list = async |caller: &[(&str, &str)]| {
        let answer = service.send(Method::GET, "/users", caller, &Value::Null);
        answer.await.0
    };
    assert_eq!(service.get("/users").await.0, 403);
    service.create("canary-7").await;
    assert_eq!(service.get("/users/canary-7").await.0, 200);
    assert_eq!(service.get("/users/1").await.0, 404);
    // Or as another, where a request says so.
    assert_eq!(
        list(&[("x-local-caller", "canary-8:editors,admin")]).await,
        200
    );
    assert_eq!(list(&[("x-local-caller", "canary-8:editors")]).await, 403);
    for wrong in ["", ":admin", "a b"] {
        assert_eq!(list(&[("x-local-caller", wrong)]).await, 400, "{wrong}");
    }

    let everything = Running::start(user_service(&["--port", "0"])).await;
    assert_eq!(everything.get("/users").await.0, 200);
    let as_user = [("x-local-caller", "canary-8")];
    let (status, _, _) = everything
        .send(Method::GET, "/users", &as_user, &Value::Null)
        .await;
    assert_eq!(status, 403);

    let refused = output(user_service(&["--as", ":admin"])).await;
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn help_is_for_people() {
    let help = output(user_service(&["--help"])).await;
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    for word in [
        "--host",
        "--port",
        "--data <FILE>",
        "--no-sample",
        "--table <NAME>",
        "3000",
        "AWS_ENDPOINT_URL_DYNAMODB",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[tokio::test]
async fn a_bad_flag_is_exit_code_2() {
    for arguments in [
        &["--prot", "1"][..],
        &["--port", "99999"],
        &["--host", "nowhere"],
        &["extra"],
        &["--table", "x"],
    ] {
        let refused = output(user_service(arguments)).await;
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(
            String::from_utf8(refused.stderr)
                .unwrap()
                .starts_with("error: ")
        );
    }
}

#[tokio::test]
async fn all_faults_of_the_configuration_are_reported_together() {
    for command in [&["--port", "0"][..], &["claim-emails"]] {
        let tables = ["--table", "UserEmails", "--emails-table", "UserEmails"];
        let mut service = user_service(&[&tables, command].concat());
        service.env("AWS_ENDPOINT_URL", "localhost:8000");
        service.env("ALLOWED_ORIGINS", "example.com");
        let refused = output(service).await;
        assert_eq!(refused.status.code(), Some(1), "{command:?}");
        assert_eq!(refused.stdout, b"", "{command:?}");
        let text = String::from_utf8(refused.stderr).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let says = [
            "error: --table and --emails-table both name the table UserEmails; ",
            "error: AWS_ENDPOINT_URL: \"localhost:8000\" is not an HTTP URL. ",
            "error: ALLOWED_ORIGINS: \"example.com\" is not an origin",
        ];
        assert_eq!(lines.len(), says.len(), "{text}");
        for (line, says) in lines.iter().zip(says) {
            assert!(line.starts_with(says), "{text}");
            assert!(line.contains(" Example: "), "{text}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_does_not_end_it() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut command = user_service(&["--port", &free.port().to_string()]);
    command.stdout(
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap(),
    );
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    while TcpStream::connect(free).await.is_err() {
        assert_eq!(child.try_wait().unwrap(), None, "it has ended");
        tokio::task::yield_now().await;
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let uri = format!("http://{free}/users/1").parse().unwrap();
    assert_eq!(client.get(uri).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_port_in_use_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = output(user_service(&["--port", &port])).await;
    assert_eq!(refused.status.code(), Some(1));
    let line = one_line(&refused);
    assert!(
        line.starts_with(&format!("error: cannot listen on 127.0.0.1:{port}: ")),
        "{line}"
    );
}

#[tokio::test]
async fn localhost_is_a_host_to_listen_on() {
    let service = Running::start(user_service(&["--host", "localhost", "--port", "0"])).await;
    assert!(service.address.ip().is_loopback());
    assert_eq!(service.get("/users/1").await.0, 200);
    assert!(!service.log().contains("warning"), "{}", service.log());
}

#[tokio::test]
async fn an_address_of_another_machine_is_told_as_one() {
    let refused = output(user_service(&["--host", "192.0.2.1", "--port", "0"])).await;
    assert_eq!(refused.status.code(), Some(1));
    let line = one_line(&refused);
    assert!(
        line.contains("this machine has no such address; choose another --host"),
        "{line}"
    );
    assert!(!line.contains("--port"), "{line}");
}

#[tokio::test]
async fn a_host_that_others_can_reach_is_warned_of() {
    let service = Running::start(user_service(&["--host", "0.0.0.0", "--port", "0"])).await;
    let log = service.log();
    let expected = format!(
        "warning: there is no authentication here: everyone who reaches {} can read and change",
        service.address
    );
    assert!(log.starts_with(&expected), "{log}");
    let service = Running::start(user_service(&["--port", "0"])).await;
    assert_eq!(service.log(), "");
}

#[tokio::test]
async fn the_help_of_a_command_has_only_the_options_that_it_uses() {
    for (command, options) in [
        ("vacuum", &["--data", "--help"][..]),
        (
            "claim-emails",
            &[
                "--data",
                "--aws",
                "--rate",
                "--give-up-left-over",
                "--table",
                "--emails-table",
                "--help",
            ],
        ),
    ] {
        for arguments in [&[command, "--help"][..], &["help", command]] {
            let help = output(user_service(arguments)).await;
            assert_eq!(help.status.code(), Some(0));
            let help = String::from_utf8(help.stdout).unwrap();
            let named = help.lines().filter_map(|line| {
                let line = line.trim_start();
                let is_option = line.starts_with("--") || line.starts_with("-h, ");
                let option = line.trim_start_matches("-h, ").split(' ').next();
                option.filter(|_| is_option)
            });
            assert_eq!(named.collect::<Vec<_>>(), options, "{help}");
        }
    }
}

#[tokio::test]
async fn a_misspelt_level_of_the_log_is_refused_and_named() {
    for filter in ["debg", "info,user_service=wran"] {
        let mut command = user_service(&["--port=0"]);
        command.env("RUST_LOG", filter);
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1));
        let line = one_line(&refused);
        assert!(line.starts_with("error: RUST_LOG: "), "{line}");
        assert!(line.contains("is no level"), "{line}");
        assert!(line.contains("RUST_LOG=debug"), "{line}");
    }
}

#[tokio::test]
async fn a_number_that_is_out_of_range_is_told_with_the_range() {
    for (arguments, range) in [
        (&["--deleted-users-days", "-1"][..], "-1 is not in 0..=3650"),
        (&["--history-days", "0"], "0 is not in 1..=3650"),
        (&["--history-days", "-7"], "-7 is not in 1..=3650"),
        (&["--port", "-1"], "-1 is not in 0..=65535"),
        (&["claim-emails", "--rate", "-1"], "-1 is not in 1..=10000"),
        (&["doctor", "--sample", "-1"], "-1 is not in 0..=1000000"),
    ] {
        let refused = output(user_service(arguments)).await;
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(text.contains(range), "{text}");
    }
}

#[tokio::test]
async fn equal_names_of_two_tables_are_refused_with_both_options() {
    for (arguments, options) in [
        (
            &["--table", "UserEmails"][..],
            "--table and --emails-table both name the table UserEmails",
        ),
        (
            &["--idempotency-table", "UserData"],
            "--table and --idempotency-table both name the table UserData",
        ),
        (
            &["--emails-table", "Abc", "--idempotency-table", "Abc"],
            "--idempotency-table and --emails-table both name the table Abc",
        ),
        (
            &["--table", "UserEmails", "claim-emails"],
            "--table and --emails-table both name the table UserEmails",
        ),
    ] {
        let refused = output(user_service(arguments)).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let line = one_line(&refused);
        assert!(line.starts_with(&format!("error: {options}; ")), "{line}");
    }
    // Where users may share an address, there is no table of claims.
    let arguments = [
        "--table",
        "UserEmails",
        "--unique-emails",
        "off",
        "--port",
        "0",
    ];
    assert_eq!(
        Running::start(user_service(&arguments))
            .await
            .get("/users/1")
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn debug_shows_each_call_of_dynamodb_with_its_time_and_outcome() {
    let mut command = user_service(&["--port", "0", "--as", "canary-7"]);
    command.env("RUST_LOG", "debug");
    let service = Running::start(command).await;
    service.create("canary-7").await;
    assert_eq!(service.get("/users/canary-7").await.0, 200);
    let lines: Vec<Value> = service
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for operation in ["TransactWriteItems", "GetItem"] {
        let is_call = |line: &&Value| line["operation"] == operation && line["outcome"] == "done";
        let call = lines.iter().find(is_call);
        let call = call.unwrap_or_else(|| panic!("{operation} in {lines:#?}"));
        assert_eq!(call["level"], "DEBUG");
        assert!(call["ms"].is_u64(), "{call}");
    }
    assert!(!service.log().contains("canary"));
}
