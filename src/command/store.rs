//! Opens the store that the options and the environment name.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::ProvideCredentials;
use clap::{Args, ValueEnum};

use super::{Error, say};
use crate::{
    local::dynamodb::{self, AccessKeyId, EmbeddedDynamoDb},
    settings::{Endpoint, MAX_DAYS, Setting, is_on_this_machine},
    store::{self, Retention, Tables, UserStore},
};

#[derive(Debug, Args)]
pub(super) struct TableOptions {
    /// The table of users
    #[arg(long, value_name = "NAME", default_value = USERS.example, value_parser = table_name, global = true)]
    table: String,
    /// The table of claims on email addresses
    #[arg(long, value_name = "NAME", default_value = EMAILS.example, value_parser = table_name, global = true)]
    emails_table: String,
    /// The table of idempotency keys [default: UserIdempotencyKeys]
    #[arg(long, value_name = "NAME", value_parser = table_name, global = true)]
    idempotency_table: Option<String>,
    /// The table of deleted users
    #[arg(long, value_name = "NAME", default_value = DELETED_USERS.example, value_parser = table_name, global = true)]
    deleted_users_table: String,
    /// The table of the history
    #[arg(long, value_name = "NAME", default_value = HISTORY.example, value_parser = table_name, global = true)]
    history_table: String,
    /// How many days a deleted user is kept; with 0, a deletion keeps nothing
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true, default_value_t = 30, value_parser = clap::value_parser!(u16).range(0..=i64::from(MAX_DAYS)), global = true)]
    deleted_users_days: u16,
    /// Whether there is a history of each user
    #[arg(long, value_name = "ON|OFF", default_value = "on", global = true)]
    history: Switch,
    /// How many days a record of the history is kept
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true, default_value_t = 400, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_DAYS)), global = true)]
    history_days: u16,
    /// Whether email addresses are unique; with off, users can share an address
    #[arg(long, value_name = "ON|OFF", default_value = "on", global = true)]
    unique_emails: Switch,
}

const USERS: Setting = Setting::new("--table", "UserData");
const EMAILS: Setting = Setting::new("--emails-table", "UserEmails");
const KEYS: Setting = Setting::new("--idempotency-table", "UserIdempotencyKeys");
const DELETED_USERS: Setting = Setting::new("--deleted-users-table", "DeletedUsers");
const HISTORY: Setting = Setting::new("--history-table", "UserHistory");

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Checks the rule of DynamoDB for the name of a table.
fn table_name(name: &str) -> Result<String, &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if (3..=255).contains(&name.len()) && name.chars().all(allowed) {
        Ok(name.to_owned())
    } else {
        Err("must be 3 to 255 of the characters A-Z a-z 0-9 _ . -")
    }
}

impl TableOptions {
    /// The tables that the service uses, with the options that name them.
    pub(super) fn named(&self) -> [(Setting, Option<&str>); 5] {
        [
            (USERS, Some(self.table.as_str())),
            (KEYS, Some(self.idempotency_table())),
            (EMAILS, self.emails_table()),
            (DELETED_USERS, Some(self.deleted_users_table.as_str())),
            (HISTORY, Some(self.history_table.as_str())),
        ]
    }

    fn idempotency_table(&self) -> &str {
        self.idempotency_table.as_deref().unwrap_or(KEYS.example)
    }

    /// Whether an option names the table of idempotency keys.
    pub(super) fn names_idempotency_table(&self) -> bool {
        self.idempotency_table.is_some()
    }

    /// The table of the history. `None` if there is none.
    pub(super) fn history_table(&self) -> Option<&str> {
        match self.history {
            Switch::On => Some(&self.history_table),
            Switch::Off => None,
        }
    }

    /// The table of claims. `None` if users may share an address.
    pub(super) fn emails_table(&self) -> Option<&str> {
        match self.unique_emails {
            Switch::On => Some(&self.emails_table),
            Switch::Off => None,
        }
    }

    pub(super) fn store(&self, config: &SdkConfig) -> UserStore {
        let tables = Tables {
            users: self.table.clone(),
            emails: self.emails_table().map(str::to_owned),
            idempotency_keys: self.idempotency_table().to_owned(),
            deleted_users: self.deleted_users_table.clone(),
            history: self.history_table.clone(),
        };
        let retention = Retention {
            deleted_users_days: self.deleted_users_days,
            history_days: match self.history {
                Switch::On => Some(self.history_days),
                Switch::Off => None,
            },
        };
        UserStore::new(config, tables, retention, SystemTime::now)
    }
}

/// Where the tables are, if an option or the environment says so.
pub(super) enum Place {
    /// The file of `--data`.
    File(PathBuf),
    /// The DynamoDB that the environment names.
    Endpoint(Endpoint),
}

impl Place {
    /// The place that `--data` or the environment names. `None` if neither names one.
    ///
    /// # Errors
    /// Both name a place.
    pub(super) fn named(
        data: Option<PathBuf>,
        endpoint: Option<Endpoint>,
    ) -> Result<Option<Self>, Error> {
        match (data, endpoint) {
            (None, None) => Ok(None),
            (Some(file), None) => Ok(Some(Self::File(file))),
            (None, Some(endpoint)) => Ok(Some(Self::Endpoint(endpoint))),
            (Some(_), Some(Endpoint { variable, .. })) => Err(format!(
                "--data is for the embedded DynamoDB; unset {variable} to use it"
            )
            .into()),
        }
    }
}

/// The store of the service.
pub(super) struct Opened {
    pub(super) store: UserStore,
    /// A line that describes it.
    pub(super) description: String,
    /// The embedded DynamoDB that it uses, if it uses one.
    pub(super) embedded: Option<EmbeddedDynamoDb>,
}

/// Opens the store for the service. If `sample` is set, a new store gets a sample user. Creates
/// missing tables, except in a DynamoDB elsewhere.
///
/// # Errors
/// Why the store cannot be used.
pub(super) async fn open(
    tables: &TableOptions,
    place: Option<Place>,
    sample: bool,
) -> Result<Opened, Error> {
    match place {
        None => {
            let embedded = EmbeddedDynamoDb::in_memory(AccessKeyId::random()).await?;
            open_embedded(tables, embedded, sample, "in memory, gone when this stops").await
        }
        Some(Place::File(file)) => {
            let is_new = std::fs::metadata(&file).map_or(true, |file| file.len() == 0);
            let embedded = EmbeddedDynamoDb::in_file(&file, AccessKeyId::random()).await?;
            let kept = format!("kept in {}", file.display());
            open_embedded(tables, embedded, is_new && sample, &kept).await
        }
        Some(Place::Endpoint(Endpoint { url, .. })) => open_endpoint(tables, &url, sample).await,
    }
}

async fn open_embedded(
    tables: &TableOptions,
    embedded: EmbeddedDynamoDb,
    sample: bool,
    kept: &str,
) -> Result<Opened, Error> {
    let (table, url) = (&tables.table, embedded.endpoint_url());
    let store = tables.store(&embedded.sdk_config().await);
    store.create_tables().await?;
    if sample {
        store.put_sample_user().await?;
    }
    let description = format!("table {table} of an embedded DynamoDB ({kept}) at {url}");
    Ok(Opened {
        store,
        description,
        embedded: Some(embedded),
    })
}

async fn open_endpoint(tables: &TableOptions, url: &str, sample: bool) -> Result<Opened, Error> {
    say(&format!("Connecting to the DynamoDB at {url} ..."));
    let config = dynamodb::sdk_config(url).await;
    let store = tables.store(&config);
    prepare(&store, &config, url, sample)
        .await
        .map_err(|error| format!("{url}: {error}"))?;
    let description = format!("table {} of the DynamoDB at {url}", tables.table);
    Ok(Opened {
        store,
        description,
        embedded: None,
    })
}

/// If the DynamoDB is on this machine, checks its operations and creates missing tables. Otherwise,
/// checks that there are a region and credentials. In both cases, checks the tables.
async fn prepare(
    store: &UserStore,
    config: &SdkConfig,
    url: &str,
    sample: bool,
) -> Result<(), Error> {
    if is_on_this_machine(url) {
        store.check_operations().await?;
        if store.create_tables().await? && sample {
            store.put_sample_user().await?;
        }
    } else {
        check_access(config).await?;
    }
    Ok(store.check_tables().await?)
}

/// Where the tables of a command are. `None` means the DynamoDB of the AWS configuration.
pub(super) fn place(
    command: &str,
    data: Option<PathBuf>,
    aws: bool,
    endpoint: Option<Endpoint>,
) -> Result<Option<Place>, Error> {
    match (aws, Place::named(data, endpoint)?) {
        (true, None) => Ok(None),
        (false, Some(place)) => Ok(Some(place)),
        (true, Some(Place::File(_))) => {
            Err("--aws and --data are two places; give one of them".into())
        }
        (true, Some(Place::Endpoint(Endpoint { variable, .. }))) => Err(format!(
            "--aws is for the tables of your AWS configuration; unset {variable} to use them"
        )
        .into()),
        (false, None) => Err(format!(
            "{command} needs to know where the tables are: --data FILE, --aws for those of your AWS \
             configuration, or the environment variable AWS_ENDPOINT_URL_DYNAMODB"
        )
        .into()),
    }
}

/// Opens the store for a command that works on existing users. If `place` is `None`, it is the
/// DynamoDB of the AWS configuration. Makes no table and no file.
///
/// # Errors
/// Why the store cannot be used.
pub(super) async fn open_existing(
    tables: &TableOptions,
    place: Option<Place>,
) -> Result<UserStore, Error> {
    let config = match place {
        Some(Place::File(file)) => {
            check_file(&file)?;
            let embedded = EmbeddedDynamoDb::in_file(&file, AccessKeyId::random()).await?;
            embedded.sdk_config().await
        }
        Some(Place::Endpoint(endpoint)) => sdk_config(Some(&endpoint)).await?,
        None => sdk_config(None).await?,
    };
    let store = tables.store(&config);
    store.check_users_and_claims().await?;
    Ok(store)
}

/// The configuration for the DynamoDB at `endpoint`. If it is `None`, it is the AWS configuration.
///
/// # Errors
/// There is no region, or there are no credentials.
pub(super) async fn sdk_config(endpoint: Option<&Endpoint>) -> Result<SdkConfig, Error> {
    let config = match endpoint {
        Some(Endpoint { url, .. }) => dynamodb::sdk_config(url).await,
        None => {
            aws_config::defaults(BehaviorVersion::latest())
                .http_client(store::http_client(store::TrustedRoots::System))
                .load()
                .await
        }
    };
    if !endpoint.is_some_and(|endpoint| is_on_this_machine(&endpoint.url)) {
        check_access(&config).await?;
    }
    Ok(config)
}

/// Checks that the file exists and is not empty.
pub(super) fn check_file(file: &Path) -> Result<(), String> {
    let shown = file.display();
    match std::fs::metadata(file) {
        Ok(file) if file.len() == 0 => Err(format!("{shown}: the file is empty")),
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{shown}: there is no such file")),
    }
}

/// Checks that there are a region and credentials. Without them, AWS refuses each call.
async fn check_access(config: &SdkConfig) -> Result<(), &'static str> {
    if config.region().is_none() {
        return Err("there is no AWS region; set AWS_REGION");
    }
    let credentials = match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.ok(),
        None => None,
    };
    credentials.map(drop).ok_or(
        "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name \
         in AWS_PROFILE a profile that has some",
    )
}
