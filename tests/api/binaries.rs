//! What a person who starts the binaries meets.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, ChildStdout, Command},
};
use user_service::local::dynamodb::{self, EmbeddedDynamoDb};

use crate::{
    events::rest_event,
    harness::log_file,
    runtime_api::{Outcome, RuntimeApi},
    store_proxy::StoreProxy,
};

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
    pub greeting: Vec<String>,
    pub address: SocketAddr,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    log: PathBuf,
}

impl Running {
    pub async fn start(mut command: Command) -> Self {
        let (log, file) = log_file("user-service");
        command.stdout(Stdio::piped()).stderr(file);
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
            log,
        }
    }

    /// What it has written to the standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The status, the header fields and the JSON of an answer; null where it is empty.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, HeaderMap, Value) {
        let mut request = http::Request::builder()
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

/// What a command says that ends by itself.
pub async fn output(mut command: Command) -> Output {
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    output.expect("it runs on").unwrap()
}

pub fn one_line(output: &Output) -> String {
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
        greeting.contains(&format!("curl -i 'http://{address}/users' -H ")),
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

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_data_file_and_what_is_beside_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let arguments = ["--port", "0", "--data", file.to_str().unwrap()];
    let modes = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let mut modes: Vec<_> = files
            .map(|file| {
                let file = file.unwrap();
                let mode = file.metadata().unwrap().permissions().mode();
                (file.file_name().into_string().unwrap(), mode & 0o777)
            })
            .collect();
        modes.sort();
        modes
    };
    let private = ["users.db", "users.db-shm", "users.db-wal"].map(|name| (name.into(), 0o600));
    let mut service = Running::start(user_service(&arguments)).await;
    assert_eq!(modes(), private);
    assert_eq!(service.signal("-KILL").await, None);
    // The same holds for files that were open to others before.
    for (name, _) in &private {
        let file = folder.path().join(name);
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    }
    let service = Running::start(user_service(&arguments)).await;
    assert_eq!(modes(), private);
    assert_eq!(service.get("/users/1").await.0, 200);
}

#[tokio::test]
async fn the_file_of_another_program_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = folder.path().join("notes.db");
    let database = rusqlite::Connection::open(&sqlite).unwrap();
    database
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes (note TEXT);")
        .unwrap();
    drop(database);
    let open = folder.path().join("open.db");
    let database = rusqlite::Connection::open(&open).unwrap();
    database
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes (note TEXT);")
        .unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "Notes, and no database.").unwrap();
    let files = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files
            .map(|file| file.unwrap().file_name())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let before = files();
    for (file, says) in [
        (&sqlite, "this is the SQLite database of another program"),
        (&open, "this is the SQLite database of another program"),
        (&text, "this is not a database"),
    ] {
        let content = std::fs::read(file).unwrap();
        let permissions = std::fs::metadata(file).unwrap().permissions();
        let refused = output(user_service(&[
            "--data",
            file.to_str().unwrap(),
            "--port",
            "0",
        ]))
        .await;
        assert_eq!(refused.status.code(), Some(1));
        let line = one_line(&refused);
        let expected = format!(
            "error: {}: {says}, and no file of this service; ",
            file.display()
        );
        assert!(line.starts_with(&expected), "{line}");
        assert_eq!(std::fs::read(file).unwrap(), content);
        assert_eq!(std::fs::metadata(file).unwrap().permissions(), permissions);
    }
    assert_eq!(files(), before);
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

/// A DynamoDB at `0.0.0.0`, which is reachable here and is no loopback host, and an
/// environment with its URL and credentials.
async fn elsewhere(dynamodb: &EmbeddedDynamoDb) -> (StoreProxy, Vec<(&'static str, String)>) {
    let proxy = StoreProxy::start(dynamodb.endpoint_url()).await;
    let url = proxy.endpoint_url().replace("127.0.0.1", "0.0.0.0");
    let environment = vec![
        ("AWS_ENDPOINT_URL_DYNAMODB", url),
        ("AWS_REGION", "us-east-1".into()),
        ("AWS_ACCESS_KEY_ID", "x".into()),
        ("AWS_SECRET_ACCESS_KEY", "x".into()),
    ];
    (proxy, environment)
}

#[tokio::test]
async fn in_a_dynamodb_elsewhere_nothing_is_made_and_a_missing_table_is_told_at_start() {
    let dynamodb = EmbeddedDynamoDb::in_memory().await.unwrap();
    let (_proxy, environment) = elsewhere(&dynamodb).await;
    let mut command = user_service(&["--port", "0"]);
    command.envs(environment);
    let refused = output(command).await;
    assert_eq!(refused.status.code(), Some(1));
    let line = one_line(&refused);
    assert!(
        line.contains("there is no table UserData; make it"),
        "{line}"
    );
    let said = String::from_utf8(refused.stdout).unwrap();
    assert!(!said.contains("listens"), "{said}");
    let client =
        aws_sdk_dynamodb::Client::new(&dynamodb::sdk_config(dynamodb.endpoint_url()).await);
    assert_eq!(
        client.list_tables().send().await.unwrap().table_names(),
        [""; 0]
    );
}

#[tokio::test]
async fn no_page_of_this_machine_may_ask_for_users_elsewhere_unless_it_is_named() {
    let dynamodb = EmbeddedDynamoDb::in_memory().await.unwrap();
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url());
    let _makes_the_tables = Running::start(command).await;
    let (_proxy, environment) = elsewhere(&dynamodb).await;
    for (named, status, allowed) in [
        (None, 403, None),
        (Some(""), 403, None),
        (
            Some("http://localhost:5173"),
            200,
            Some("http://localhost:5173"),
        ),
    ] {
        let mut command = user_service(&["--port", "0"]);
        command.envs(environment.clone());
        command.envs(named.map(|named| ("ALLOWED_ORIGINS", named)));
        let service = Running::start(command).await;
        assert_eq!(service.get("/users/1").await.0, 200);
        let headers = [("origin", "http://localhost:5173")];
        let answer = service
            .send(Method::GET, "/users", &headers, &Value::Null)
            .await;
        assert_eq!(answer.0, status, "{named:?}");
        let found = answer.1.get("access-control-allow-origin");
        assert_eq!(
            found.map(|origin| origin.to_str().unwrap()),
            allowed,
            "{named:?}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_elsewhere_without_credentials_is_one_line_that_says_what_to_set() {
    for (region, says) in [
        (None, "there is no AWS region; set AWS_REGION"),
        (
            Some("us-east-1"),
            "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
    ] {
        let mut command = user_service(&["--port", "0"]);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", "http://dynamodb.example:8000");
        command.envs(region.map(|region| ("AWS_REGION", region)));
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1), "{region:?}");
        let line = one_line(&refused);
        let expected = format!("error: http://dynamodb.example:8000: {says}");
        assert!(line.starts_with(&expected), "{line}");
        let said = String::from_utf8(refused.stdout).unwrap();
        assert!(!said.contains("listens"), "{said}");
    }
}

#[tokio::test]
async fn an_emulator_without_transactions_or_time_to_live_is_told_before_a_table_is_made() {
    for operation in [&["TransactWriteItems"], &["DescribeTimeToLive"]] {
        let dynamodb = EmbeddedDynamoDb::in_memory().await.unwrap();
        let proxy = StoreProxy::start(dynamodb.endpoint_url()).await;
        proxy.lack(operation);
        let mut command = user_service(&["--port", "0"]);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", proxy.endpoint_url());
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1));
        let line = one_line(&refused);
        let expected = format!("it has no {}, which the service needs", operation[0]);
        assert!(line.contains(&expected), "{line}");
        let client =
            aws_sdk_dynamodb::Client::new(&dynamodb::sdk_config(dynamodb.endpoint_url()).await);
        assert_eq!(
            client.list_tables().send().await.unwrap().table_names(),
            [""; 0]
        );
    }
}

/// Which of two DynamoDBs `user-service` uses: the first has a user that the second has not.
#[tokio::test]
async fn the_endpoint_of_dynamodb_comes_before_that_of_aws_and_either_can_be_ignored() {
    let (first, second) = two_dynamodbs().await;
    let nowhere = "http://127.0.0.1:1";
    for (specific, general, ignored, found) in [
        (None, Some(first.endpoint_url()), None, 200),
        (Some(""), Some(first.endpoint_url()), None, 200),
        (Some(first.endpoint_url()), Some(nowhere), None, 200),
        (
            Some(second.endpoint_url()),
            Some(first.endpoint_url()),
            None,
            404,
        ),
        (
            Some(first.endpoint_url()),
            Some(first.endpoint_url()),
            Some("true"),
            404,
        ),
        (Some(first.endpoint_url()), None, Some("false"), 200),
    ] {
        let mut command = user_service(&["--port", "0"]);
        command.envs(specific.map(|url| ("AWS_ENDPOINT_URL_DYNAMODB", url)));
        command.envs(general.map(|url| ("AWS_ENDPOINT_URL", url)));
        command.envs(ignored.map(|ignored| ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignored)));
        let service = Running::start(command).await;
        assert_eq!(
            service.get("/users/canary-7").await.0,
            found,
            "{specific:?} {general:?} {ignored:?}"
        );
    }
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL", "localhost:8000");
    let line = one_line(&output(command).await);
    assert!(line.starts_with("error: AWS_ENDPOINT_URL: "), "{line}");
}

/// Two, of which the first has the user `canary-7`.
async fn two_dynamodbs() -> (EmbeddedDynamoDb, EmbeddedDynamoDb) {
    let dynamodbs = (
        EmbeddedDynamoDb::in_memory().await.unwrap(),
        EmbeddedDynamoDb::in_memory().await.unwrap(),
    );
    for (dynamodb, is_first) in [(&dynamodbs.0, true), (&dynamodbs.1, false)] {
        let mut command = user_service(&["--port", "0"]);
        command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url());
        let service = Running::start(command).await;
        if is_first {
            service.create("canary-7").await;
        }
    }
    dynamodbs
}

#[tokio::test]
async fn the_lambda_binary_uses_the_endpoint_of_dynamodb_before_that_of_aws() {
    let (first, second) = two_dynamodbs().await;
    for (specific, general, found) in [
        ("", first.endpoint_url(), 200),
        (first.endpoint_url(), second.endpoint_url(), 200),
        (second.endpoint_url(), first.endpoint_url(), 404),
    ] {
        let runtime_api = RuntimeApi::start().await.unwrap();
        let environment = [
            ("TABLE_NAME", "UserData"),
            ("EMAILS_TABLE_NAME", "UserEmails"),
            ("IDEMPOTENCY_TABLE_NAME", "UserIdempotencyKeys"),
            ("AUTH_MODE", "IAM"),
            ("AWS_ENDPOINT_URL_DYNAMODB", specific),
            ("AWS_ENDPOINT_URL", general),
        ];
        let binary = env!("CARGO_BIN_EXE_lambda");
        let log = log_file("lambda").1;
        let _sandbox = runtime_api.start_sandbox(binary, environment, log).unwrap();
        let event = rest_event("GET", "/users/canary-7").to_string();
        let Outcome::Response(response) = runtime_api
            .invoke(event, Duration::from_secs(30))
            .await
            .unwrap()
        else {
            panic!("the function failed");
        };
        assert_eq!(response["statusCode"], found, "{specific} {general}");
    }
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

/// The log of the Lambda binary, which does not start: each fault of its configuration.
async fn faults_of_the_lambda_binary(environment: &[(&str, &str)]) -> Vec<String> {
    let runtime_api = RuntimeApi::start().await.unwrap();
    let (path, file) = log_file("lambda");
    let binary = env!("CARGO_BIN_EXE_lambda");
    let mut sandbox = runtime_api
        .start_sandbox(binary, environment.iter().copied(), file)
        .unwrap();
    let code = sandbox.ended().await.unwrap().code();
    assert_eq!(code, Some(1), "{environment:?}");
    let log = std::fs::read_to_string(path).unwrap();
    let line: Value = serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}"));
    assert_eq!(line["message"], "not started");
    let cause = line["cause"].as_str().unwrap();
    cause.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_lambda_binary_says_at_start_what_is_wrong_with_its_configuration() {
    let complete = [
        ("TABLE_NAME", "UserData"),
        ("EMAILS_TABLE_NAME", "UserEmails"),
        ("IDEMPOTENCY_TABLE_NAME", "UserIdempotencyKeys"),
        ("AUTH_MODE", "IAM"),
    ];
    for (name, value, says) in [
        ("TABLE_NAME", "", "TABLE_NAME: not set. "),
        ("EMAILS_TABLE_NAME", "", "EMAILS_TABLE_NAME: not set. "),
        ("UNIQUE_EMAILS", "no", "UNIQUE_EMAILS: must be on or off"),
        (
            "IDEMPOTENCY_TABLE_NAME",
            "",
            "IDEMPOTENCY_TABLE_NAME: not set. ",
        ),
        (
            "IDEMPOTENCY_TABLE_NAME",
            "UserData",
            "TABLE_NAME and IDEMPOTENCY_TABLE_NAME both name the table UserData; ",
        ),
        ("AUTH_MODE", "", "AUTH_MODE: not set. "),
        (
            "AUTH_MODE",
            "iam",
            "AUTH_MODE: must be IAM, COGNITO or NONE, not \"iam\". ",
        ),
        ("AWS_REGION", "", "AWS_REGION: not set. "),
        (
            "ALLOWED_ORIGINS",
            "example.com",
            "ALLOWED_ORIGINS: \"example.com\" is not an origin",
        ),
        ("BASE_PATH", "users", "BASE_PATH: must not be users"),
        ("BASE_PATH", "//users/", "BASE_PATH: must not be users"),
        (
            "AWS_ENDPOINT_URL",
            "localhost:8000",
            "AWS_ENDPOINT_URL: \"localhost:8000\" is not an HTTP URL. ",
        ),
        (
            "AWS_LAMBDA_RUNTIME_API",
            "",
            "AWS_LAMBDA_RUNTIME_API: not set. Lambda sets it. On your machine, use `cargo run`. ",
        ),
    ] {
        let environment = [&complete[..], &[(name, value)]].concat();
        let faults = faults_of_the_lambda_binary(&environment).await;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(says), "{faults:?}");
        assert!(faults[0].contains(" Example: "), "{faults:?}");
        assert!(faults[0].contains(&format!("{name}=")), "{faults:?}");
    }
}

#[tokio::test]
async fn the_lambda_binary_reports_all_faults_of_its_configuration_in_one_line_of_the_log() {
    let faults = faults_of_the_lambda_binary(&[
        ("TABLE_NAME", "UserData"),
        ("IDEMPOTENCY_TABLE_NAME", "UserData"),
        ("AUTH_MODE", "iam"),
        ("BASE_PATH", "users"),
        ("AWS_REGION", ""),
    ])
    .await;
    let named: Vec<_> = faults
        .iter()
        .map(|fault| fault.split([':', ' ']).next().unwrap())
        .collect();
    let expected = [
        "EMAILS_TABLE_NAME",
        "TABLE_NAME", // and IDEMPOTENCY_TABLE_NAME
        "AUTH_MODE",
        "BASE_PATH",
        "AWS_REGION",
    ];
    assert_eq!(named, expected, "{faults:?}");
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
    let local_only = ["dynoxide-rs ", "rusqlite ", "clap ", "utoipa-swagger-ui "];
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
    // In a table that it made, every claim would be left over.
    for option in ["--table", "--emails-table"] {
        let other = [&arguments[..], &[option, "Others", "--give-up-left-over"]].concat();
        let refused = output(user_service(&other)).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(one_line(&refused).contains("there is no table Others"));
    }
    let claimed = output(user_service(&arguments)).await;
    let text = String::from_utf8(claimed.stdout).unwrap();
    assert!(
        text.starts_with("1 users: 0 claimed now, 1 before"),
        "{text}"
    );
}

#[tokio::test]
async fn claim_emails_writes_nothing_into_an_empty_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let data = file.path().to_str().unwrap();
    let refused = output(user_service(&["claim-emails", "--data", data])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(one_line(&refused).ends_with("the file is empty\n"));
    assert_eq!(file.as_file().metadata().unwrap().len(), 0);
}

#[tokio::test]
async fn claim_emails_does_nothing_until_it_is_told_where() {
    let aws = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    for arguments in [
        &["claim-emails"][..],
        &["claim-emails", "--give-up-left-over"],
        &["--table", "UserData", "claim-emails", "--rate", "10"],
    ] {
        let mut command = user_service(arguments);
        command.envs(aws);
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let line = one_line(&refused);
        for place in ["--data FILE", "--aws", "AWS_ENDPOINT_URL_DYNAMODB"] {
            assert!(line.contains(place), "{place} in {line}");
        }
        assert_eq!(refused.stdout, b"");
    }
    // Two places are refused too.
    let embedded = EmbeddedDynamoDb::in_memory().await.unwrap();
    let endpoint = [("AWS_ENDPOINT_URL_DYNAMODB", embedded.endpoint_url())];
    for (arguments, environment) in [
        (&["claim-emails", "--aws"][..], &endpoint[..]),
        (&["claim-emails", "--aws", "--data", "/nowhere"], &[]),
        (&["--data", "/nowhere", "claim-emails", "--aws"], &[]),
    ] {
        let mut command = user_service(arguments);
        command.envs(aws).envs(environment.iter().copied());
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let line = one_line(&refused);
        assert!(line.contains("--aws"), "{line}");
    }
    let client =
        aws_sdk_dynamodb::Client::new(&dynamodb::sdk_config(embedded.endpoint_url()).await);
    let tables = client.list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), [""; 0]);
}

#[tokio::test]
async fn claim_emails_takes_the_tables_of_the_aws_configuration_with_aws() {
    let embedded = EmbeddedDynamoDb::in_memory().await.unwrap();
    let mut command = user_service(&["--port", "0"]);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", embedded.endpoint_url());
    let service = Running::start(command).await;
    service.create("canary-7").await;

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let profile = format!(
        "[default]\nregion = us-east-1\nendpoint_url = {}\naws_access_key_id = x\n\
         aws_secret_access_key = x\n",
        embedded.endpoint_url()
    );
    std::fs::write(&config, profile).unwrap();
    let mut command = user_service(&["claim-emails", "--aws"]);
    command.env("AWS_CONFIG_FILE", config);
    let claimed = output(command).await;
    let text = String::from_utf8(claimed.stdout).unwrap();
    assert!(
        text.starts_with("2 users: 0 claimed now, 2 before"),
        "{text}"
    );
}

#[tokio::test]
async fn claim_emails_has_a_help_of_its_own() {
    let help = output(user_service(&["claim-emails", "--help"])).await;
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    for word in [
        "--data <FILE>",
        "--aws",
        "--rate",
        "--give-up-left-over",
        "--table",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
    for word in ["gone when this stops", "--port", "--host"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

#[tokio::test]
async fn a_rate_of_claims_is_1_to_10_000_a_second() {
    for rate in ["0", "10001", "2000000000", "-1", "fast"] {
        let arguments = [
            "claim-emails",
            "--data",
            "/nowhere",
            &format!("--rate={rate}"),
        ];
        let refused = output(user_service(&arguments)).await;
        assert_eq!(refused.status.code(), Some(2), "{rate}");
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(text.contains("--rate <RATE>"), "{text}");
        assert!(
            rate == "fast" || text.contains("is not in 1..=10000"),
            "{text}"
        );
    }
}
