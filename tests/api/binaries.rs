//! What a person who starts the binaries meets.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
};

use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lambda_http::http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, ChildStdout, Command},
};
use user_service::local::dynamodb::{self, EmbeddedDynamoDb};

use crate::{harness::log_file, runtime_api::RuntimeApi};

/// The command of `cargo run`, with nothing of this process's environment.
pub fn user_service(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_user-service"));
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A running `user-service`.
pub struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    greeting: Vec<String>,
    address: SocketAddr,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
}

impl Running {
    pub async fn start(mut command: Command) -> Self {
        command
            .stdout(Stdio::piped())
            .stderr(log_file("user-service").1);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = Vec::new();
        while let Some(line) = stdout.next_line().await.unwrap() {
            greeting.push(line);
            if greeting.last().unwrap().contains("Ctrl-C") {
                break;
            }
        }
        let url = greeting
            .iter()
            .find_map(|line| line.split_once("listens on http://"));
        let address = url
            .unwrap_or_else(|| panic!("{greeting:?}"))
            .1
            .parse()
            .unwrap();
        Self {
            child,
            stdout,
            greeting,
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// The status, the header fields and the JSON of an answer; null where it is empty.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, HeaderMap, Value) {
        let mut request = lambda_http::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body.is_null() {
            true => String::new(),
            false => body.to_string(),
        };
        let body = Full::<bytes::Bytes>::from(body);
        let answer = self
            .client
            .request(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        (parts.status.as_u16(), parts.headers, body)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.send(Method::GET, path, &[], &Value::Null).await;
        (status, body)
    }

    async fn create(&self, id: &str) {
        let user = json!({ "userId": id, "name": "Ada canary", "email": "ada.canary@example.com" });
        let created = self.send(Method::POST, "/users", &[], &user).await;
        assert_eq!(created.0, 201);
    }

    async fn signal(&mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args([signal, &id])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
        self.child.wait().await.unwrap().code()
    }
}

async fn output(mut command: Command) -> Output {
    command.output().await.unwrap()
}

fn one_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

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
        greeting.contains(&format!("curl -i http://{address}/users -H ")),
        "{greeting}"
    );
}

#[tokio::test]
async fn an_aws_configuration_that_does_not_work_is_no_hindrance() {
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
        assert_eq!(rest, "Stopped.\n");
    }
}

#[tokio::test]
async fn no_sample_leaves_the_store_empty() {
    let service = Running::start(user_service(&["--port", "0", "--no-sample"])).await;
    assert_eq!(service.get("/users").await, (200, json!({ "items": [] })));
    assert!(!service.greeting.join("\n").contains("userId=1"));
}

#[tokio::test]
async fn any_page_may_call_it() {
    let service = Running::start(user_service(&["--port", "0"])).await;
    let origin = ("origin", "http://localhost:5173");
    let headers = [origin];
    let (_, answer, _) = service
        .send(Method::GET, "/users", &headers, &Value::Null)
        .await;
    assert_eq!(answer["access-control-allow-origin"], "*");
    // And say there who is to be taken for the caller.
    let preflight = [origin, ("access-control-request-method", "GET")];
    let (_, answer, _) = service
        .send(Method::OPTIONS, "/users", &preflight, &Value::Null)
        .await;
    let allowed = answer.get_all("access-control-allow-headers").iter();
    assert!(allowed.into_iter().any(|name| name == "x-local-caller"));
}

#[tokio::test]
async fn it_answers_as_if_a_given_user_called() {
    let arguments = ["--port", "0", "--as", "canary-7"];
    let service = Running::start(user_service(&arguments)).await;
    let greeting = service.greeting.join("\n");
    assert!(
        greeting.contains("Requests are taken for those of canary-7"),
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
async fn an_idempotency_key_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["--port", "0", "--data", file.to_str().unwrap()];
    let key = [("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324")];
    let user = json!({ "name": "Ada canary", "email": "ada.canary@example.com" });
    let mut service = Running::start(user_service(&arguments)).await;
    let (status, _, created) = service.send(Method::POST, "/users", &key, &user).await;
    assert_eq!(status, 201);
    assert_eq!(service.signal("-KILL").await, None);

    let service = Running::start(user_service(&arguments)).await;
    let posts = (0..32).map(|_| service.send(Method::POST, "/users", &key, &user));
    for (status, _, again) in futures_util::future::join_all(posts).await {
        assert_eq!((status, &again), (201, &created));
    }
    let mut other = user.clone();
    other["name"] = json!("Another canary");
    let (status, _, problem) = service.send(Method::POST, "/users", &key, &other).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_key_reused"))
    );
    let users = service.get("/users").await.1;
    assert_eq!(
        users["items"].as_array().unwrap().len(),
        2,
        "and the sample"
    );
}

#[tokio::test]
async fn data_in_a_file_outlives_a_kill_and_the_sample_is_put_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["--port", "0", "--data", file.to_str().unwrap()];
    let mut service = Running::start(user_service(&arguments)).await;
    assert_eq!(service.get("/users/1").await.0, 200);
    service.create("canary-7").await;
    assert_eq!(service.signal("-KILL").await, None);

    let service = Running::start(user_service(&arguments)).await;
    let (status, user) = service.get("/users/canary-7").await;
    assert_eq!((status, &user["version"]), (200, &json!(1)));
    drop(service);

    let mut with_another_table = arguments.to_vec();
    with_another_table.extend(["--table", "Others"]);
    let service = Running::start(user_service(&with_another_table)).await;
    assert_eq!(
        service.get("/users").await.1,
        json!({ "items": [] }),
        "the file was not new"
    );
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
async fn a_data_file_that_cannot_be_one_is_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "This is a text, and no database, of more bytes than a header has. ".repeat(20),
    )
    .unwrap();
    let missing = folder.path().join("missing/users.db");
    for file in [
        folder.path(),
        text.as_path(),
        missing.as_path(),
        Path::new("/proc/users.db"),
    ] {
        let refused = output(user_service(&[
            "--port",
            "0",
            "--data",
            file.to_str().unwrap(),
        ]))
        .await;
        assert_eq!(refused.status.code(), Some(1), "{file:?}");
        let line = one_line(&refused);
        assert!(
            line.starts_with(&format!("error: {}: ", file.display())),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_dynamodb_of_this_machine_needs_no_credentials_and_gets_its_table() {
    let dynamodb = EmbeddedDynamoDb::in_memory().await.unwrap();
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

#[tokio::test]
async fn in_a_dynamodb_elsewhere_nothing_is_made() {
    let embedded = EmbeddedDynamoDb::in_memory().await.unwrap();
    // Every address of this machine, and so none that says it is this machine.
    let elsewhere = embedded.endpoint_url().replace("127.0.0.1", "0.0.0.0");
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", elsewhere);
    command.envs([
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ]);
    let service = Running::start(command).await;
    let (status, problem) = service.get("/users/1").await;
    assert_eq!((status, &problem["code"]), (500, &json!("internal_error")));
    // And no page may ask for what is there, unless it is said which.
    let headers = [("origin", "http://localhost:5173")];
    let answer = service
        .send(Method::GET, "/users", &headers, &Value::Null)
        .await;
    assert!(!answer.1.contains_key("access-control-allow-origin"));
    let client =
        aws_sdk_dynamodb::Client::new(&dynamodb::sdk_config(embedded.endpoint_url()).await);
    assert_eq!(
        client.list_tables().send().await.unwrap().table_names(),
        [""; 0]
    );
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

#[tokio::test]
async fn the_lambda_binary_says_at_start_what_is_missing() {
    let runtime_api = RuntimeApi::start().await.unwrap();
    let without_emails = |more: &[(&'static str, &'static str)]| {
        let tables = [
            ("TABLE_NAME", "x"),
            ("IDEMPOTENCY_TABLE_NAME", "y"),
            ("UNIQUE_EMAILS", "off"),
        ];
        [&tables, more].concat()
    };
    for (environment, says) in [
        (vec![], "TABLE_NAME is not set"),
        (vec![("TABLE_NAME", "")], "TABLE_NAME is not set"),
        (vec![("TABLE_NAME", "x")], "EMAILS_TABLE_NAME is not set"),
        (
            vec![("TABLE_NAME", "x"), ("UNIQUE_EMAILS", "no")],
            "UNIQUE_EMAILS is on or off",
        ),
        (
            vec![("TABLE_NAME", "x"), ("UNIQUE_EMAILS", "off")],
            "IDEMPOTENCY_TABLE_NAME is not set",
        ),
        (without_emails(&[]), "AUTH_MODE is not set"),
        (
            without_emails(&[("AUTH_MODE", "iam")]),
            "AUTH_MODE is IAM, COGNITO or NONE",
        ),
        (
            without_emails(&[("AUTH_MODE", "IAM"), ("AWS_REGION", "")]),
            "AWS_REGION is not set",
        ),
        (
            without_emails(&[("AUTH_MODE", "IAM"), ("ALLOWED_ORIGINS", "example.com")]),
            "ALLOWED_ORIGINS: \"example.com\" is not an origin",
        ),
        (
            vec![("TABLE_NAME", "x"), ("AWS_LAMBDA_RUNTIME_API", "")],
            "this binary is for Lambda",
        ),
    ] {
        let (path, file) = log_file("lambda");
        let binary = env!("CARGO_BIN_EXE_lambda");
        let mut sandbox = runtime_api
            .start_sandbox(binary, environment, file)
            .unwrap();
        assert_eq!(sandbox.ended().await.unwrap().code(), Some(1), "{says}");
        let log = std::fs::read_to_string(path).unwrap();
        let line: Value =
            serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}"));
        let cause = line["cause"].as_str().unwrap().replace('\\', "");
        assert!(cause.starts_with(says), "{line}");
    }
}

#[tokio::test]
async fn the_lambda_binary_links_none_of_the_embedded_store() {
    let tree = async |features: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
            .args(features);
        let tree = output({
            command.current_dir(env!("CARGO_MANIFEST_DIR"));
            command
        })
        .await;
        String::from_utf8(tree.stdout).unwrap()
    };
    let local_only = [
        "dynoxide-rs ",
        "rusqlite ",
        "axum ",
        "clap ",
        "utoipa-swagger-ui ",
    ];
    let lambda = tree(&["--no-default-features"]).await;
    assert!(
        lambda.contains("aws-sdk-dynamodb ") && lambda.contains("lambda_http "),
        "{lambda}"
    );
    for name in local_only {
        assert!(!lambda.contains(name), "{name}");
    }
    let local = tree(&[]).await;
    assert!(
        local_only.iter().all(|name| local.contains(name)),
        "{local}"
    );
}

#[tokio::test]
async fn claims_are_made_in_a_file_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["claim-emails", "--data", file.to_str().unwrap()];
    let refused = output(user_service(&arguments)).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(one_line(&refused).ends_with("there is no such file\n"));
    assert!(!file.exists());

    let mut service =
        Running::start(user_service(&["--port", "0", arguments[1], arguments[2]])).await;
    assert_eq!(service.signal("-KILL").await, None);
    let claimed = output(user_service(&arguments)).await;
    assert_eq!(claimed.status.code(), Some(0));
    let text = String::from_utf8(claimed.stdout).unwrap();
    assert!(
        text.starts_with("1 users: 0 claimed now, 1 before"),
        "{text}"
    );
    // In another table of users, the claims are left over, and left alone.
    let other = [&arguments[..], &["--table", "Others"]].concat();
    let other = output(user_service(&other)).await;
    let text = String::from_utf8(other.stdout).unwrap();
    assert!(text.contains("--give-up-left-over gives them up"), "{text}");
    let claimed = output(user_service(&arguments)).await;
    let text = String::from_utf8(claimed.stdout).unwrap();
    assert!(
        text.starts_with("1 users: 0 claimed now, 1 before"),
        "{text}"
    );
}
