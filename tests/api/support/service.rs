//! A running user service, and requests to it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use user_service::{
    lambda::Function as LambdaFunction,
    store::{Tables, UserStore},
};

use super::{
    Answer, Setup, contract, runtime_api::Outcome, sandboxes::Sandboxes, store_proxy::StoreProxy,
};

/// A running user service.
pub struct Service {
    parts: Parts,
    /// Whether another client has written items.
    has_other_clients: AtomicBool,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
}

/// What a service consists of.
pub struct Parts {
    /// Where it listens.
    pub address: SocketAddr,
    /// The names of its tables.
    pub tables: Tables,
    /// Where other clients reach its DynamoDB.
    pub dynamodb_endpoint: String,
    /// Its DynamoDB, as other clients reach it.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Its store, as other clients reach it.
    pub user_store: UserStore,
    /// What stands between the service and its DynamoDB.
    pub proxy: StoreProxy,
    /// The function behind its gateway.
    pub function: Function,
    /// See [`Setup::other_types`].
    pub other_types: bool,
}

/// The function behind the gateway.
pub enum Function {
    /// In this process.
    InProcess(LambdaFunction),
    /// The Lambda binary.
    Lambda(Sandboxes),
}

impl Service {
    /// Starts a service with empty tables.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// Starts a service with empty tables, whose users may share an email address.
    pub async fn sharing_emails() -> Self {
        let setup = Setup {
            shared_emails: true,
            ..Setup::default()
        };
        setup.start().await
    }

    /// The service of these parts.
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            has_other_clients: AtomicBool::new(false),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Sends a `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// Sends a `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// Sends a `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, &[], body).await
    }

    /// Sends a `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PUT, path, &[], body).await
    }

    /// Sends a `PATCH` with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PATCH, path, &[], body).await
    }

    /// Sends any method with a JSON body.
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

    /// Sends any request. `path` goes out as it is. Checks the answer against the document.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let answer = self
            .send_unchecked(method.clone(), path, headers, body)
            .await;
        self.check(method.as_str(), path, &answer);
        answer
    }

    /// The same, without a check of the answer: it may be one of the gateway, whose function is gone.
    pub async fn send_unchecked(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.parts.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.client.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        if self.parts.other_types {
            contract::check_with_other_types(method, path, answer);
        } else if self.has_other_clients.load(Ordering::Relaxed) {
            contract::check_with_other_clients(method, path, answer);
        } else {
            contract::check(method, path, answer);
        }
        answer.check_entity_tag();
    }

    /// Another client writes items. From now on, users in answers may have members that are not in the
    /// document.
    pub fn another_client_writes(&self) {
        self.has_other_clients.store(true, Ordering::Relaxed);
    }

    /// Sends an event to the function as it is. Only through Lambda.
    pub async fn invoke(&self, event: &Value) -> Outcome {
        self.invoke_within(event, Duration::from_secs(30)).await
    }

    /// Sends an event to the function, which has `time` to answer. Only through Lambda.
    pub async fn invoke_within(&self, event: &Value, time: Duration) -> Outcome {
        self.sandboxes().invoke(event, time).await
    }

    /// Sends an event to the function and takes its response for an answer.
    pub async fn answer(&self, event: &Value) -> Answer {
        let response = match &self.parts.function {
            Function::InProcess(function) => function.invoke(event.clone()).await.unwrap(),
            Function::Lambda(_) => match self.invoke(event).await {
                Outcome::Response(response) => response,
                Outcome::Error(error) => panic!("the function failed: {error}"),
            },
        };
        Answer::from_proxy_response(&response)
    }

    /// Kills the processes of the function as `kill -9` does, and starts others. Only
    /// through Lambda.
    pub async fn kill_and_restart(&self) {
        self.sandboxes().kill_and_restart().await;
    }

    fn sandboxes(&self) -> &Sandboxes {
        match &self.parts.function {
            Function::Lambda(sandboxes) => sandboxes,
            Function::InProcess(_) => panic!("a service in this process"),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.parts.address
    }

    /// What stands between the service and its DynamoDB.
    pub fn store(&self) -> &StoreProxy {
        &self.parts.proxy
    }

    /// The store, as a command that an operator runs has it.
    pub fn user_store(&self) -> &UserStore {
        &self.parts.user_store
    }

    /// DynamoDB, as other clients reach it.
    pub fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        &self.parts.dynamodb
    }

    /// Where other clients reach its DynamoDB.
    pub(super) fn dynamodb_endpoint(&self) -> &str {
        &self.parts.dynamodb_endpoint
    }

    /// The names of its tables.
    pub(super) fn tables(&self) -> &Tables {
        &self.parts.tables
    }
}
