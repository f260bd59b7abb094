//! A service for each test: its own table, and its own address.
//!
//! Two variables choose what the same tests run against:
//! - `AWS_ENDPOINT_URL_DYNAMODB`: that DynamoDB, in place of an embedded one.
//! - `TEST_THROUGH=lambda`: the Lambda binary, as processes under a Runtime API,
//!   in place of the same function in this process.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    panic::Location,
    path::PathBuf,
    sync::{LazyLock, Once},
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_dynamo::Item;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use user_service::{
    http::{Api, base_path::BasePath, cors::AllowedOrigins},
    lambda::Function as LambdaFunction,
    local::{
        dynamodb::{self, EmbeddedDynamoDb},
        gateway::{self, Takes},
        http::Timeouts,
    },
    log,
    service::{AuthMode, UserService},
    store::{Tables, UserStore},
};
use uuid::Uuid;

use crate::{
    contract,
    runtime_api::{Outcome, RuntimeApi, Sandbox},
    store_proxy::StoreProxy,
};

/// Stands in every name, email and id of the tests that can have it, and must
/// stand in no log.
pub const CANARY: &str = "canary";

/// The logs of the test run, one file for each process.
pub static LOGS: LazyLock<PathBuf> = LazyLock::new(|| {
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("logs");
    fs::create_dir_all(&logs).unwrap();
    logs
});

/// A log file of its own, for one process.
pub fn log_file(process: &str) -> (PathBuf, File) {
    let path = LOGS.join(format!("{process}-{}.log", Uuid::new_v4()));
    let file = File::create(&path).unwrap();
    (path, file)
}

/// Which function stands behind the gateway.
#[derive(Clone, Copy, PartialEq)]
pub enum Through {
    /// The one in this process.
    InProcess,
    /// The Lambda binary.
    Lambda,
}

impl Through {
    fn from_environment() -> Self {
        match env::var("TEST_THROUGH").as_deref() {
            Err(_) | Ok("") => Self::InProcess,
            Ok("lambda") => Self::Lambda,
            Ok(other) => panic!("TEST_THROUGH is lambda or not set, and not {other}"),
        }
    }
}

/// A running user service.
pub struct Service {
    address: SocketAddr,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    tables: Tables,
    /// The tables, as other clients of DynamoDB reach it.
    dynamodb: aws_sdk_dynamodb::Client,
    user_store: UserStore,
    proxy: StoreProxy,
    function: Function,
    other_types: bool,
}

enum Function {
    InProcess(LambdaFunction),
    Lambda {
        runtime_api: RuntimeApi,
        environment: Vec<(&'static str, String)>,
        sandboxes: tokio::sync::Mutex<Vec<Sandbox>>,
    },
}

/// What a test asks of its service; by default, what it needs least.
#[derive(Default)]
pub struct Setup {
    /// Whether to leave out the tables.
    pub without_table: bool,
    /// Whether users may share an email address.
    pub shared_emails: bool,
    /// `AUTH_MODE`; empty, it is `IAM`, and requests are signed.
    pub auth_mode: &'static str,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: &'static str,
    /// `BASE_PATH`.
    pub base_path: &'static str,
    /// How many requests run at a time through Lambda; 0 counts as 1.
    pub sandboxes: usize,
    /// Runs through this, whatever the environment says.
    pub through: Option<Through>,
    /// What tells the time, in this process.
    pub clock: Option<fn() -> SystemTime>,
    /// Whether another client puts values of other types into the fields of a user, for which
    /// the document gives the types of this service.
    pub other_types: bool,
    /// More of the Lambda binary's environment.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Service {
    /// Starts one with an empty table.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, &[], body).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PUT, path, &[], body).await
    }

    /// Any method with a JSON body.
    pub async fn send_json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(method, path, &headers, body.to_string()).await
    }

    /// Any request. `path` goes out as it is.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let method = request.method().to_string();
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        if self.other_types {
            contract::check_with_other_types(&method, path, &answer);
        } else {
            contract::check(&method, path, &answer);
        }
        answer.check_entity_tag();
        answer
    }

    /// Sends an event to the function as it is. Only through Lambda.
    pub async fn invoke(&self, event: &Value) -> Outcome {
        self.invoke_within(event, Duration::from_secs(30)).await
    }

    /// Sends an event to the function, which has `time` to answer.
    pub async fn invoke_within(&self, event: &Value, time: Duration) -> Outcome {
        let Function::Lambda { runtime_api, .. } = &self.function else {
            panic!("a service in this process");
        };
        runtime_api.invoke(event.to_string(), time).await.unwrap()
    }

    /// Sends an event to the function and takes its response for an answer.
    pub async fn answer(&self, event: &Value) -> Answer {
        let response = match &self.function {
            Function::InProcess(function) => function.invoke(event.clone()).await.unwrap(),
            Function::Lambda { .. } => match self.invoke(event).await {
                Outcome::Response(response) => response,
                Outcome::Error(error) => panic!("the function failed: {error}"),
            },
        };
        Answer::from_proxy_response(&response)
    }

    /// Kills the processes of the function as `kill -9` does, and starts others. Only
    /// through Lambda.
    pub async fn kill_and_restart(&self) {
        let Function::Lambda {
            runtime_api,
            environment,
            sandboxes,
        } = &self.function
        else {
            panic!("a service in this process");
        };
        for sandbox in sandboxes.lock().await.iter_mut() {
            sandbox.kill().await.unwrap();
            *sandbox = start_sandbox(runtime_api, environment);
        }
    }

    /// Puts an item, in DynamoDB's JSON, into the table.
    pub async fn put_item(&self, item: Value) {
        let item: Item = serde_json::from_value(item).unwrap();
        let call = self.dynamodb.put_item().table_name(&self.tables.users);
        call.set_item(Some(item.into())).send().await.unwrap();
    }

    /// Puts items, in DynamoDB's JSON, into the table; fast.
    pub async fn put_items(&self, items: Vec<Value>) {
        for batch in items.chunks(25) {
            let puts = batch.iter().map(|item| {
                let item: Item = serde_json::from_value(item.clone()).unwrap();
                let put = PutRequest::builder().set_item(Some(item.into()));
                WriteRequest::builder()
                    .put_request(put.build().unwrap())
                    .build()
            });
            let call = self.dynamodb.batch_write_item();
            let call = call.request_items(&self.tables.users, puts.collect());
            let left = call.send().await.unwrap().unprocessed_items;
            assert!(left.is_none_or(|left| left.is_empty()));
        }
    }

    /// Sets an attribute of the item with this key to a value in DynamoDB's JSON, as another
    /// client does, and says whether there is such an item.
    pub async fn set_attribute(&self, user_id: &str, name: &str, value: &Value) -> bool {
        let value: serde_dynamo::AttributeValue = serde_json::from_value(value.clone()).unwrap();
        let call = self.dynamodb.update_item().table_name(&self.tables.users);
        let call = call.key("userId", AttributeValue::S(user_id.to_owned()));
        let call = call.condition_expression("attribute_exists(userId)");
        let call = call.update_expression("SET #name = :value");
        let call = call.expression_attribute_names("#name", name);
        let call = call.expression_attribute_values(":value", value.into());
        match call.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => true,
            Err(error) if error.is_conditional_check_failed_exception() => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The item with this key in DynamoDB's JSON, null where there is none.
    pub async fn item(&self, user_id: &str) -> Value {
        let key = AttributeValue::S(user_id.to_owned());
        let call = self.dynamodb.get_item().table_name(&self.tables.users);
        let output = call
            .key("userId", key)
            .consistent_read(true)
            .send()
            .await
            .unwrap();
        output
            .item
            .map_or(Value::Null, |item| json!(Item::from(item)))
    }

    /// What stands between the service and its DynamoDB.
    pub fn store(&self) -> &StoreProxy {
        &self.proxy
    }

    /// The store, as a command that an operator runs has it.
    pub fn user_store(&self) -> &UserStore {
        &self.user_store
    }

    /// The name of its table.
    pub fn table(&self) -> &str {
        &self.tables.users
    }

    /// The name of its table of claims on email addresses.
    pub fn emails_table(&self) -> &str {
        self.tables.emails.as_deref().unwrap()
    }

    /// The name of its table of idempotency keys.
    pub fn idempotency_table(&self) -> &str {
        &self.tables.idempotency_keys
    }

    /// The claims on email addresses: who has which.
    pub async fn claims(&self) -> HashMap<String, String> {
        let call = self.dynamodb.scan().table_name(self.emails_table());
        let pages = call.consistent_read(true).into_paginator().items().send();
        let claims: Vec<_> = pages.try_collect().await.unwrap();
        let text =
            |claim: &HashMap<_, AttributeValue>, name: &str| claim[name].as_s().unwrap().to_owned();
        let claims = claims.iter();
        claims
            .map(|claim| (text(claim, "email"), text(claim, "userId")))
            .collect()
    }

    /// Puts in a claim on an email address, as if it had been left over.
    pub async fn put_claim(&self, email: &str, user_id: &str) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let call = self.dynamodb.put_item().table_name(self.emails_table());
        let call = call.item("email", text(email));
        let call = call.item("userId", text(user_id));
        call.send().await.unwrap();
    }

    /// Puts an item into the table of claims that names no user.
    pub async fn put_claim_of_nobody(&self, email: &str) {
        let call = self.dynamodb.put_item().table_name(self.emails_table());
        let call = call.item("email", AttributeValue::S(email.to_owned()));
        call.send().await.unwrap();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Setup {
    /// Starts the service.
    pub async fn start(self) -> Service {
        start_logging();
        let auth_mode = match self.auth_mode {
            "" => "IAM",
            mode => mode,
        };
        let direct = match env::var("AWS_ENDPOINT_URL_DYNAMODB") {
            Ok(endpoint) if !endpoint.is_empty() => endpoint,
            _ => EmbeddedDynamoDb::in_memory()
                .await
                .unwrap()
                .endpoint_url()
                .to_owned(),
        };
        let proxy = StoreProxy::start(&direct).await;
        let endpoint = proxy.endpoint_url();
        let test = Uuid::new_v4();
        let tables = Tables {
            users: format!("UserData-{test}"),
            emails: (!self.shared_emails).then(|| format!("UserEmails-{test}")),
            idempotency_keys: format!("UserIdempotencyKeys-{test}"),
        };
        let direct = sdk_config(&direct).await;
        let user_store = UserStore::new(&direct, tables.clone());
        if !self.without_table {
            user_store.create_tables().await.unwrap();
        }

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        // It stands for API Gateway.
        let settings = gateway::Settings {
            caller: None,
            takes: Takes::All,
            origins: AllowedOrigins::parse(self.allowed_origins).unwrap(),
            timeouts: Timeouts::default(),
        };
        let function;
        if self.through.unwrap_or_else(Through::from_environment) == Through::Lambda {
            let environment = [
                ("TABLE_NAME", tables.users.as_str()),
                (
                    "EMAILS_TABLE_NAME",
                    tables.emails.as_deref().unwrap_or_default(),
                ),
                ("IDEMPOTENCY_TABLE_NAME", &tables.idempotency_keys),
                ("AUTH_MODE", auth_mode),
                (
                    "UNIQUE_EMAILS",
                    if self.shared_emails { "off" } else { "on" },
                ),
                ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
                ("ALLOWED_ORIGINS", self.allowed_origins),
                ("BASE_PATH", self.base_path),
                ("RUST_LOG", "trace"),
            ];
            let environment = environment.iter().chain(self.environment);
            let environment = environment.map(|(name, value)| (*name, String::from(*value)));
            let environment: Vec<_> = environment.collect();
            let runtime = RuntimeApi::start().await.unwrap();
            let sandboxes = 0..self.sandboxes.max(1);
            let sandboxes = sandboxes.map(|_| start_sandbox(&runtime, &environment));
            function = Function::Lambda {
                runtime_api: runtime.clone(),
                sandboxes: tokio::sync::Mutex::new(sandboxes.collect()),
                environment,
            };
            let invoke = move |event: Value| {
                let runtime = runtime.clone();
                async move {
                    match runtime
                        .invoke(event.to_string(), Duration::from_secs(30))
                        .await?
                    {
                        Outcome::Response(response) => Ok(response),
                        Outcome::Error(error) => Err(error.to_string()),
                    }
                }
            };
            tokio::spawn(gateway::serve(
                listener,
                invoke,
                settings,
                std::future::pending(),
            ));
        } else {
            let store = UserStore::new(&sdk_config(&endpoint).await, tables.clone());
            let users = UserService::new(store, self.clock.unwrap_or(SystemTime::now));
            let auth_mode = AuthMode::parse(auth_mode).unwrap();
            let api = Api::new(users, auth_mode, settings.origins.clone());
            let base_path = BasePath::parse(self.base_path).unwrap();
            function = Function::InProcess(LambdaFunction::new(api.clone(), base_path.clone()));
            tokio::spawn(gateway::serve(
                listener,
                gateway::invoke(api, base_path),
                settings,
                std::future::pending(),
            ));
        }
        Service {
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            tables,
            dynamodb: aws_sdk_dynamodb::Client::new(&direct),
            user_store,
            proxy,
            function,
            other_types: self.other_types,
        }
    }
}

/// The configuration for the DynamoDB at `endpoint_url`, with the credentials and the region that
/// every process of a test has: DynamoDB Local keeps the tables of each apart.
async fn sdk_config(endpoint_url: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "tests");
    dynamodb::sdk_config(endpoint_url)
        .await
        .into_builder()
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn start_sandbox(runtime_api: &RuntimeApi, environment: &[(&'static str, String)]) -> Sandbox {
    let environment = environment.iter();
    let environment = environment.map(|(name, value)| (*name, value.as_str()));
    let log = log_file("lambda").1;
    runtime_api
        .start_sandbox(env!("CARGO_BIN_EXE_lambda"), environment, log)
        .unwrap()
}

/// Once for this process: every line of the service, at every level, to a file.
fn start_logging() {
    use tracing_subscriber::util::SubscriberInitExt;

    static START: Once = Once::new();
    START.call_once(|| {
        let file = log_file("tests").1;
        log::subscriber(log::Format::Json, Some("trace"), file).init();
    });
}

/// What came back.
#[must_use]
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The answer that a proxy response stands for.
    pub fn from_proxy_response(response: &Value) -> Self {
        let headers: HashMap<String, String> =
            serde_json::from_value(response["headers"].clone()).unwrap();
        Self {
            status: u16::try_from(response["statusCode"].as_u64().unwrap())
                .unwrap()
                .try_into()
                .unwrap(),
            headers: HeaderMap::try_from(&headers).unwrap(),
            body: response["body"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Checks the status code, and what every answer must have.
    #[track_caller]
    pub fn has_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:#?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:#?}");
        assert_eq!(
            self.header("x-content-type-options"),
            "nosniff",
            "{self:#?}"
        );
        if !self.body.is_empty() {
            let error = status >= 400;
            let media_type = if error {
                "application/problem+json"
            } else {
                "application/json"
            };
            assert_eq!(self.header("content-type"), media_type, "{self:#?}");
        }
        self
    }

    /// Checks that it is a problem with this code, whole in every part.
    #[track_caller]
    pub fn has_problem(self, status: u16, code: &str) -> Self {
        let answer = self.has_status(status);
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{answer:#?}");
        assert_eq!(problem["status"], status, "{answer:#?}");
        assert_eq!(problem["message"], problem["detail"], "{answer:#?}");
        for member in ["title", "detail", "requestId"] {
            let text = problem[member].as_str();
            assert!(
                text.is_some_and(|text| !text.is_empty()),
                "{member} of {answer:#?}"
            );
        }
        answer
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.body) {
            Ok(json) => json,
            Err(error) => panic!("{error} at {}: {self:#?}", Location::caller()),
        }
    }

    /// The fields that a problem finds fault with, with what it says of each.
    #[track_caller]
    pub fn field_errors(&self) -> Vec<(String, String)> {
        let errors = self.json()["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        errors
            .iter()
            .map(|error| (text(&error["field"]), text(&error["message"])))
            .collect()
    }

    /// Checks that an entity-tag is the one of the body, where there are both: a quoted
    /// SHA-256, cut to 128 bits.
    #[track_caller]
    fn check_entity_tag(&self) {
        let entity_tag = self.header("etag");
        if !entity_tag.is_empty() && !self.body.is_empty() {
            let hash = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(&self.body)[..16]);
            assert_eq!(entity_tag, format!("\"{hash}\""), "{self:#?}");
        }
    }

    /// The value of a header field, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Takes the state that the service keeps for itself out of an item, and returns its members.
#[track_caller]
pub fn take_state(item: &mut Value) -> Value {
    let state = item.as_object_mut().unwrap().remove("_userService");
    let state = state.unwrap()["M"].take();
    assert!(state["revision"]["S"].is_string(), "{state}");
    state
}

/// `If-Match` of the representation that an answer has given.
pub fn if_match(answer: &Answer) -> [(&'static str, &str); 1] {
    [("if-match", answer.header("etag"))]
}

/// A user that a client may create, with an email address that no other has.
pub fn ada() -> Value {
    let email = format!("ada.canary-{}@example.com", Uuid::new_v4());
    json!({ "name": "Ada canary Lovelace", "email": email })
}

/// A `userId` that no other test has.
pub fn some_id() -> String {
    format!("{CANARY}-{}", Uuid::new_v4())
}
