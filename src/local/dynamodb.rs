//! The embedded DynamoDB, and the SDK configuration for any DynamoDB.

mod file;
mod server;

use std::{
    future, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    meta::{credentials::CredentialsProviderChain, region::RegionProviderChain},
};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use dynoxide::{Database, DynoxideError};
use thiserror::Error;
use tokio::net::TcpListener;

pub use self::file::FileError;
use crate::{
    local::http::{self, Timeouts},
    settings::is_on_this_machine,
    store,
};

/// How long a connection may be idle. The SDK closes an idle connection after 90 seconds, so this
/// is longer.
const IDLE: Duration = Duration::from_secs(120);

/// A DynamoDB in this process. Only programs on this machine can reach its port. It refuses
/// browsers.
#[derive(Debug)]
pub struct EmbeddedDynamoDb {
    endpoint_url: String,
}

/// Why an embedded DynamoDB did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The engine has no memory for its tables.
    #[error("the embedded DynamoDB: {0}")]
    Engine(DynoxideError),
    /// It cannot listen.
    #[error("the embedded DynamoDB: {0}")]
    Listen(#[from] io::Error),
    /// The file cannot keep its tables.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, FileError),
}

impl EmbeddedDynamoDb {
    /// Starts an embedded DynamoDB in memory. Its tables are lost when the process ends.
    ///
    /// # Errors
    /// [`StartError::Engine`] and [`StartError::Listen`].
    pub async fn in_memory() -> Result<Self, StartError> {
        Self::serve(Database::memory().map_err(StartError::Engine)?).await
    }

    /// Starts an embedded DynamoDB that keeps its tables in `file`. Creates the file if it does not
    /// exist. A write that was answered is not lost if the process crashes. Only the owner of the
    /// file can read and write it. A file of another program is refused and not changed.
    ///
    /// # Errors
    /// [`StartError::File`] and [`StartError::Listen`].
    pub async fn in_file(file: &Path) -> Result<Self, StartError> {
        let failed = |error| StartError::File(file.to_owned(), error);
        Self::serve(file::open(file).map_err(failed)?).await
    }

    async fn serve(database: Database) -> Result<Self, StartError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let timeouts = Timeouts {
            head: IDLE,
            ..Timeouts::default()
        };
        let answer = move |request, _| server::answer(database.clone(), timeouts, request);
        let never = future::pending();
        tokio::spawn(http::serve(listener, timeouts.head, answer, never));
        Ok(Self {
            endpoint_url: format!("http://{address}"),
        })
    }

    /// The URL at which it listens.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }
}

/// The configuration for the DynamoDB at `endpoint_url`. For a DynamoDB elsewhere, it is the
/// standard configuration of AWS. For a DynamoDB on this machine, it comes only from the
/// environment, so that no profile for AWS interferes. A DynamoDB on this machine accepts any
/// credentials, so made-up credentials are used if the environment has none.
pub async fn sdk_config(endpoint_url: &str) -> SdkConfig {
    if !is_on_this_machine(endpoint_url) {
        return aws_config::defaults(BehaviorVersion::latest())
            .http_client(store::http_client(store::TrustedRoots::System))
            .endpoint_url(endpoint_url)
            .load()
            .await;
    }
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(Region::from_static("us-east-1"));
    let made_up = Credentials::new("local", "local", None, None, "local endpoint");
    let credentials = CredentialsProviderChain::first_try(
        "Environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("LocalEndpoint", made_up);
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(store::http_client(store::TrustedRoots::System))
        .region(region.region().await)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint_url)
        .build()
}
