//! `GET /users?userId=` without the AWS SDK: one signed GetItem over hyper and rustls. It primes its
//! connection as the service does, unless `PRIMING` is `off`.

use std::{env, sync::Arc, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lambda_http::{Error, Request, RequestExt, Response, run, service_fn};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Map, Value, json};

struct Store {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: String,
    table: String,
    region: String,
    identity: Identity,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = Store::from_environment()?;
    if env::var("PRIMING").as_deref() != Ok("off") {
        let _ = store.get("priming").await;
    }
    run(service_fn(async |request: Request| {
        let query = request.query_string_parameters();
        let item = store.get(query.first("userId").unwrap_or_default()).await?;
        let (status, body) = match item {
            Some(item) => (200, item),
            None => (404, json!({ "message": "No user data found" })),
        };
        let response = Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(body.to_string())?;
        Ok::<_, Error>(response)
    }))
    .await
}

impl Store {
    fn from_environment() -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        if let Ok(file) = env::var("SSL_CERT_FILE") {
            roots.add(CertificateDer::from_pem_file(file)?)?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let key = env::var("AWS_ACCESS_KEY_ID")?;
        let secret = env::var("AWS_SECRET_ACCESS_KEY")?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(https),
            endpoint: env::var("AWS_ENDPOINT_URL_DYNAMODB")?,
            table: env::var("TABLE_NAME")?,
            region: env::var("AWS_REGION")?,
            identity: Credentials::new(key, secret, None, None, "environment").into(),
        })
    }

    async fn get(&self, user_id: &str) -> Result<Option<Value>, Error> {
        let body = json!({ "TableName": self.table, "Key": { "userId": { "S": user_id } } });
        let body = body.to_string();
        let mut request = http::Request::post(format!("{}/", self.endpoint))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", "DynamoDB_20120810.GetItem")
            .body(Full::from(body.clone()))?;
        let parameters = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("dynamodb")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("")));
        let url = request.uri().to_string();
        let signable =
            SignableRequest::new("POST", url, headers, SignableBody::Bytes(body.as_bytes()))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        let response = self.client.request(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        let output: Value = serde_json::from_slice(&body)?;
        let item = output["Item"].as_object();
        Ok(item.map(|item| {
            let strings = item
                .iter()
                .map(|(name, value)| (name.clone(), value["S"].clone()));
            Value::Object(strings.collect::<Map<_, _>>())
        }))
    }
}
