//! The DynamoDB of this machine: embedded, or the one that the environment names
//! ([`Endpoint`](crate::endpoint::Endpoint)).

mod file;
mod server;

use std::{net::Ipv4Addr, path::Path, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    meta::{credentials::CredentialsProviderChain, region::RegionProviderChain},
};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use dynoxide::Database;
use lambda_http::http::Uri;
use tokio::net::TcpListener;

use crate::{
    endpoint::is_loopback,
    local::http::{self, Timeouts},
    store,
};

/// How long a connection may be idle: the SDK closes those that it keeps after 90 seconds.
const IDLE: Duration = Duration::from_secs(120);

/// A DynamoDB in this process, served on a port that only programs on this machine reach: it
/// refuses browsers.
#[derive(Debug)]
pub struct EmbeddedDynamoDb {
    endpoint_url: String,
}

impl EmbeddedDynamoDb {
    /// Starts one whose tables are gone when the process ends.
    ///
    /// # Errors
    /// A sentence for the person who started it.
    pub async fn in_memory() -> Result<Self, String> {
        let database =
            Database::memory().map_err(|error| format!("the embedded DynamoDB: {error}"))?;
        Self::serve(database).await
    }

    /// Starts one that keeps its tables in `file`, and makes the file if it is
    /// not there. What was answered outlives the process, however it ends. Only the owner
    /// of the file can read and write it. A file of another program is refused, and left
    /// as it is.
    ///
    /// # Errors
    /// A sentence for the person who started it.
    pub async fn in_file(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        // A whole path is never one of SQLite's own names, such as `:memory:`.
        let path = std::path::absolute(file).map_err(|error| format!("{shown}: {error}"))?;
        let path = path
            .to_str()
            .ok_or_else(|| format!("{shown}: the path is not UTF-8"))?;
        file::prepare(path).map_err(|error| format!("{shown}: {error}"))?;
        let database = Database::new(path).map_err(|error| format!("{shown}: {error}"))?;
        Self::serve(database).await
    }

    async fn serve(database: Database) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the embedded DynamoDB: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let timeouts = Timeouts {
            head: IDLE,
            ..Timeouts::default()
        };
        let answer = move |request, _| server::answer(database.clone(), timeouts, request);
        tokio::spawn(http::serve(
            listener,
            timeouts.head,
            answer,
            std::future::pending(),
        ));
        Ok(Self {
            endpoint_url: format!("http://{address}"),
        })
    }

    /// Where it listens.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }
}

/// Checks that `url` can be the endpoint of a DynamoDB.
///
/// # Errors
/// A sentence for the person who set it.
pub fn check_endpoint(url: &str) -> Result<(), String> {
    let uri: Option<Uri> = url.parse().ok();
    let is_http = |uri: &Uri| ["http", "https"].contains(&uri.scheme_str().unwrap_or_default());
    match uri.filter(|uri| is_http(uri) && uri.host().is_some_and(|host| !host.is_empty())) {
        Some(_) => Ok(()),
        None => Err(format!(
            "{url:?} is not a URL such as http://127.0.0.1:8000"
        )),
    }
}

/// Whether the endpoint `url` is on this machine.
pub fn is_on_this_machine(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    uri.and_then(|uri| uri.host().map(is_loopback))
        .unwrap_or(false)
}

/// The configuration for the DynamoDB at `endpoint_url`: the standard one of AWS,
/// or, for one on this machine, the environment alone. That one takes any
/// credentials, so where there are none it gets made-up ones, and no profile that
/// is meant for AWS can come in the way.
pub async fn sdk_config(endpoint_url: &str) -> SdkConfig {
    if !is_on_this_machine(endpoint_url) {
        return aws_config::defaults(BehaviorVersion::latest())
            .http_client(store::http_client())
            .endpoint_url(endpoint_url)
            .load()
            .await;
    }
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(Region::from_static("us-east-1"));
    let anyone = Credentials::new("local", "local", None, None, "local endpoint");
    let credentials = CredentialsProviderChain::first_try(
        "Environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("LocalEndpoint", anyone);
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(store::http_client())
        .region(region.region().await)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint_url)
        .build()
}
