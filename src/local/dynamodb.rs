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
use serde_json::Value;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

pub use self::file::FileError;
use self::server::Server;
use crate::{
    local::http::{self, Timeouts},
    settings::is_on_this_machine,
    store,
};

/// How often expired items are deleted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How long a connection may be idle. The SDK closes an idle connection after 90 seconds, so this
/// is longer.
const IDLE: Duration = Duration::from_secs(120);

/// A DynamoDB in this process. Every program on this machine can reach its port, so it answers only
/// requests with its access key id.
pub struct EmbeddedDynamoDb {
    endpoint_url: String,
    access_key_id: AccessKeyId,
    database: Database,
}

/// The access key id for which an embedded DynamoDB answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// A random one of 122 bits. Other accounts of this machine do not know it.
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// One that other programs know, too.
    pub fn known(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What happens to expired items.
#[derive(Clone, Copy, Debug)]
enum Expired {
    /// They are deleted every minute.
    Deleted,
    /// They stay.
    Kept,
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

/// Why a call of the engine failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// The engine has no such operation.
    #[error("the embedded DynamoDB has no such operation")]
    UnknownOperation,
    /// The engine refuses the call.
    #[error("the embedded DynamoDB: {0}")]
    Refused(#[from] DynoxideError),
}

impl EmbeddedDynamoDb {
    /// Starts an embedded DynamoDB in memory. Its tables are lost when the process ends.
    ///
    /// # Errors
    /// [`StartError::Engine`] and [`StartError::Listen`].
    pub async fn in_memory(access_key_id: AccessKeyId) -> Result<Self, StartError> {
        let database = Database::memory().map_err(StartError::Engine)?;
        Self::serve(database, access_key_id, Expired::Deleted).await
    }

    /// Starts an embedded DynamoDB that keeps its tables in `file`. Creates the file if it does not
    /// exist. A write that was answered is not lost if the process crashes. Only the owner of the
    /// file can read and write it. A file of another program is refused and not changed.
    ///
    /// # Errors
    /// [`StartError::File`] and [`StartError::Listen`].
    pub async fn in_file(file: &Path, access_key_id: AccessKeyId) -> Result<Self, StartError> {
        Self::of_file(file, access_key_id, Expired::Deleted).await
    }

    /// The same as [`EmbeddedDynamoDb::in_file`], for a command that changes nothing: expired items
    /// stay.
    ///
    /// # Errors
    /// [`StartError::File`] and [`StartError::Listen`].
    pub async fn in_file_with_expired(
        file: &Path,
        access_key_id: AccessKeyId,
    ) -> Result<Self, StartError> {
        Self::of_file(file, access_key_id, Expired::Kept).await
    }

    async fn of_file(
        file: &Path,
        access_key_id: AccessKeyId,
        expired: Expired,
    ) -> Result<Self, StartError> {
        let failed = |error| StartError::File(file.to_owned(), error);
        let database = file::open(file).map_err(failed)?;
        Self::serve(database, access_key_id, expired).await
    }

    async fn serve(
        database: Database,
        access_key_id: AccessKeyId,
        expired: Expired,
    ) -> Result<Self, StartError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let timeouts = Timeouts {
            head: IDLE,
            ..Timeouts::default()
        };
        let server = Server {
            database: database.clone(),
            access_key_id: access_key_id.clone(),
            timeouts,
        };
        let answer = move |request, _| server.clone().answer(request);
        let never = future::pending();
        tokio::spawn(http::serve(listener, timeouts.head, answer, never));
        match expired {
            Expired::Deleted => drop(tokio::spawn(sweep_regularly(database.clone()))),
            Expired::Kept => {}
        }
        Ok(Self {
            endpoint_url: format!("http://{address}"),
            access_key_id,
            database,
        })
    }

    /// Deletes the items that have expired (DynamoDB's Time to Live). This also happens every minute.
    ///
    /// # Errors
    /// The engine failed.
    pub fn sweep(&self) -> Result<(), DynoxideError> {
        self.database.sweep_ttl().map(drop)
    }

    /// Calls an operation of DynamoDB or of its streams. The input and the output are JSON.
    ///
    /// # Errors
    /// The engine refuses the call, or has no such operation.
    pub(super) fn call(&self, operation: &str, input: &Value) -> Result<Value, CallError> {
        let output = server::call(&self.database, operation, &input.to_string());
        let output = output.ok_or(CallError::UnknownOperation)??;
        serde_json::from_str(&output).map_err(|_| CallError::UnknownOperation)
    }

    /// The configuration with which an SDK reaches it.
    pub async fn sdk_config(&self) -> SdkConfig {
        let AccessKeyId(id) = &self.access_key_id;
        let credentials = Credentials::new(id, "local", None, None, "embedded DynamoDB");
        let config = sdk_config(&self.endpoint_url).await.into_builder();
        config
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// The URL at which it listens.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }
}

/// Deletes expired items every minute, because the engine does not do it by itself.
async fn sweep_regularly(database: Database) {
    let mut interval = interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let database = database.clone();
        let swept = spawn_blocking(move || database.sweep_ttl()).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(cause = %error, "expired items were not deleted");
        }
    }
}

/// Deletes the expired items of `file`, compacts it, and closes it. After that, neither the file nor
/// what SQLite keeps beside it has anything that was deleted.
///
/// # Errors
/// Why the file cannot be compacted, for example because a server uses it.
pub fn vacuum(file: &Path) -> Result<(), StartError> {
    let failed = |error| StartError::File(file.to_owned(), error);
    file::check_unused(file).map_err(failed)?;
    let database = file::open(file).map_err(failed)?;
    let vacuumed = database.sweep_ttl().and_then(|_| database.vacuum());
    vacuumed.map_err(|error| failed(error.into()))
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
