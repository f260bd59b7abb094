//! Starts a service for each test: with its own tables, and its own address.
//!
//! Two variables choose what the same tests run against:
//! - `AWS_ENDPOINT_URL_DYNAMODB`: that DynamoDB, in place of an embedded one.
//! - `TEST_THROUGH=lambda`: the Lambda binary, as processes under a Runtime API, in place of the
//!   same function in this process.

use std::{
    env,
    net::Ipv4Addr,
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use serde_json::Value;
use tokio::net::TcpListener;
use user_service::{
    http::{Api, base_path::BasePath, cors::AllowedOrigins},
    lambda::Function as LambdaFunction,
    local::{
        dynamodb::{self, AccessKeyId, EmbeddedDynamoDb},
        gateway::{self, Takes},
        http::Timeouts,
    },
    service::{AuthMode, UserService},
    store::{Retention, Tables, UserStore},
};
use uuid::Uuid;

use super::{
    logs::start_logging,
    runtime_api::{Outcome, RuntimeApi},
    sandboxes::{Environment, Sandboxes},
    service::{Function, Parts, Service},
    store_proxy::StoreProxy,
    tables::table_variables,
};

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

/// What a test needs of its service. The default is the service as it is deployed.
#[derive(Default)]
pub struct Setup {
    /// Leaves out the tables.
    pub without_table: bool,
    /// Users may share an email address: `UNIQUE_EMAILS=off`.
    pub shared_emails: bool,
    /// `DELETED_USERS_DAYS`, `HISTORY` and `HISTORY_DAYS`.
    pub retention: Retention,
    /// `AUTH_MODE`. If it is empty, it is `IAM`, and requests are signed.
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
    /// Another client puts values of other types into the fields of a user. The document gives
    /// the types of this service.
    pub other_types: bool,
    /// More of the Lambda binary's environment.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Setup {
    /// Starts the service.
    pub async fn start(self) -> Service {
        let endpoint = dynamodb_endpoint().await;
        self.start_with_new_tables(&endpoint).await
    }

    /// Starts the service with empty tables in the DynamoDB of another.
    pub async fn start_in_dynamodb_of(self, other: &Service) -> Service {
        self.start_with_new_tables(other.dynamodb_endpoint()).await
    }

    async fn start_with_new_tables(self, endpoint: &str) -> Service {
        start_logging();
        let test = Uuid::new_v4();
        let tables = Tables {
            users: format!("UserData-{test}"),
            emails: (!self.shared_emails).then(|| format!("UserEmails-{test}")),
            idempotency_keys: format!("UserIdempotencyKeys-{test}"),
            deleted_users: format!("DeletedUsers-{test}"),
            history: format!("UserHistory-{test}"),
        };
        self.start_with(endpoint, tables).await
    }

    /// Starts the service with the tables of another, which may have another configuration.
    pub async fn start_beside(self, other: &Service) -> Service {
        let mut tables = other.tables().clone();
        if self.shared_emails {
            tables.emails = None;
        }
        let setup = Self {
            without_table: true,
            ..self
        };
        setup.start_with(other.dynamodb_endpoint(), tables).await
    }

    async fn start_with(self, endpoint: &str, tables: Tables) -> Service {
        let proxy = StoreProxy::start(endpoint).await;
        let dynamodb = sdk_config(endpoint).await;
        let user_store = UserStore::new(&dynamodb, tables.clone(), self.retention, SystemTime::now);
        if !self.without_table {
            user_store.create_tables().await.unwrap();
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let function = match self.through.unwrap_or_else(Through::from_environment) {
            Through::Lambda => self.serve_lambda(listener, &tables, &proxy).await,
            Through::InProcess => self.serve_in_process(listener, &tables, &proxy).await,
        };
        Service::new(Parts {
            address,
            tables,
            dynamodb_endpoint: endpoint.to_owned(),
            dynamodb: aws_sdk_dynamodb::Client::new(&dynamodb),
            user_store,
            proxy,
            function,
            other_types: self.other_types,
        })
    }

    async fn serve_in_process(
        &self,
        listener: TcpListener,
        tables: &Tables,
        proxy: &StoreProxy,
    ) -> Function {
        let settings = self.gateway_settings();
        let config = sdk_config(&proxy.endpoint_url()).await;
        let clock = self.clock.unwrap_or(SystemTime::now);
        let store = UserStore::new(&config, tables.clone(), self.retention, clock);
        let users = UserService::new(store);
        let auth_mode = AuthMode::parse(self.auth_mode()).unwrap();
        let api = Api::new(users, auth_mode, settings.origins.clone());
        let base_path = BasePath::parse(self.base_path).unwrap();
        let function = LambdaFunction::new(api.clone(), base_path.clone());
        tokio::spawn(gateway::serve(
            listener,
            gateway::invoke(api, base_path),
            settings,
            std::future::pending(),
        ));
        Function::InProcess(function)
    }

    async fn serve_lambda(
        &self,
        listener: TcpListener,
        tables: &Tables,
        proxy: &StoreProxy,
    ) -> Function {
        let environment = self.environment_of_lambda(tables, proxy);
        let sandboxes = Sandboxes::start(self.sandboxes.max(1), environment).await;
        let runtime_api = sandboxes.runtime_api().clone();
        tokio::spawn(gateway::serve(
            listener,
            move |event| invoke(runtime_api.clone(), event),
            self.gateway_settings(),
            std::future::pending(),
        ));
        Function::Lambda(sandboxes)
    }

    fn environment_of_lambda(&self, tables: &Tables, proxy: &StoreProxy) -> Environment {
        let endpoint = proxy.endpoint_url();
        let unique_emails = if self.shared_emails { "off" } else { "on" };
        let Retention {
            deleted_users_days,
            history_days,
        } = self.retention;
        let deleted_users_days = deleted_users_days.to_string();
        let history = if history_days.is_some() { "on" } else { "off" };
        let history_days = history_days
            .map(|days| days.to_string())
            .unwrap_or_default();
        let own = [
            ("DELETED_USERS_DAYS", deleted_users_days.as_str()),
            ("HISTORY", history),
            ("HISTORY_DAYS", &history_days),
            ("AUTH_MODE", self.auth_mode()),
            ("UNIQUE_EMAILS", unique_emails),
            ("ISSUER_KIND", "cognito"), // the claims of the tests, for JWT
            ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
            ("ALLOWED_ORIGINS", self.allowed_origins),
            ("BASE_PATH", self.base_path),
            ("RUST_LOG", "trace"),
        ];
        table_variables(tables)
            .iter()
            .chain(&own)
            .chain(self.environment)
            .map(|(name, value)| (*name, String::from(*value)))
            .collect()
    }

    fn auth_mode(&self) -> &'static str {
        match self.auth_mode {
            "" => "IAM",
            mode => mode,
        }
    }

    /// The settings of the gateway that stands for API Gateway.
    fn gateway_settings(&self) -> gateway::Settings {
        gateway::Settings {
            caller: None,
            takes: Takes::All,
            origins: AllowedOrigins::parse(self.allowed_origins).unwrap(),
            timeouts: Timeouts::default(),
            health: None,
            served: std::sync::Arc::default(),
        }
    }
}

/// Sends an event to the Lambda binary, as API Gateway does.
async fn invoke(runtime_api: RuntimeApi, event: Value) -> Result<Value, String> {
    let time = Duration::from_secs(30);
    match runtime_api.invoke(event.to_string(), time).await? {
        Outcome::Response(response) => Ok(response),
        Outcome::Error(error) => Err(error.to_string()),
    }
}

/// The DynamoDB that the environment names, or a new embedded one.
async fn dynamodb_endpoint() -> String {
    match env::var("AWS_ENDPOINT_URL_DYNAMODB") {
        Ok(endpoint) if !endpoint.is_empty() => endpoint,
        _ => {
            let embedded = EmbeddedDynamoDb::in_memory(AccessKeyId::known("local"))
                .await
                .unwrap();
            embedded.endpoint_url().to_owned()
        }
    }
}

/// The configuration for the DynamoDB at `endpoint_url`. Every process of a test has the same
/// credentials and region, because DynamoDB Local keeps the tables of each apart.
async fn sdk_config(endpoint_url: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "tests");
    dynamodb::sdk_config(endpoint_url)
        .await
        .into_builder()
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}
