//! The user service on this machine: `cargo run`.

use std::{
    env,
    io::{ErrorKind, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::ProvideCredentials;
use clap::{Parser, Subcommand};
use tokio::{net::TcpListener, signal};
use user_service::{
    access::AuthMode,
    api::Api,
    endpoint::Endpoint,
    local::{
        claim_emails::claim_emails,
        dynamodb::{self, EmbeddedDynamoDb},
        gateway::{self, LocalCaller, Takes},
        http::Timeouts,
    },
    log,
    request::BasePath,
    response::AllowedOrigins,
    store::{self, Tables, UserStore},
    user::UserId,
};

/// How long running requests get to end.
const TIME_TO_STOP: Duration = Duration::from_secs(5);
/// After how long it is said that they are waited for.
const TIME_TO_SAY_SO: Duration = Duration::from_millis(200);

/// Runs the user service on this machine, over an embedded DynamoDB.
///
/// With AWS_ENDPOINT_URL_DYNAMODB or AWS_ENDPOINT_URL set, it uses the DynamoDB at that URL
/// (DynamoDB Local, LocalStack, AWS): on this machine with the environment alone, elsewhere
/// with your AWS configuration.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Environment:\n  AWS_ENDPOINT_URL_DYNAMODB  Use the DynamoDB at this URL; AWS_ENDPOINT_URL does so for all of AWS\n  RUST_LOG                   What to log, such as debug or user_service=warn [default: info]\n  ALLOWED_ORIGINS            The origins whose pages may call the service, or * [default: those of this machine, or none where the DynamoDB is elsewhere]"
)]
struct Options {
    /// The address to listen on: an IP address, or localhost
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = host)]
    host: IpAddr,
    /// The port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Keep the users in this file; without it they are gone when this stops
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Leave out the sample user that a new store begins with
    #[arg(long)]
    no_sample: bool,
    /// The table of users
    #[arg(long, value_name = "NAME", default_value = "UserData", value_parser = table_name, global = true)]
    table: String,
    /// The table of claims on email addresses
    #[arg(long, value_name = "NAME", default_value = "UserEmails", value_parser = table_name, global = true)]
    emails_table: String,
    /// The table of idempotency keys
    #[arg(long, value_name = "NAME", default_value = "UserIdempotencyKeys", value_parser = table_name)]
    idempotency_table: String,
    /// Whether at most one user has an email address; off, users may share one
    #[arg(long, value_name = "ON|OFF", default_value = "on")]
    unique_emails: Switch,
    /// Answer as if this user called: its `sub`, and groups such as `admin`
    ///
    /// Without it, everything is allowed, as it is to a service that signs its requests. A
    /// request may say otherwise in the header field X-Local-Caller.
    #[arg(long = "as", value_name = "SUB[:GROUP,...]")]
    caller: Option<LocalCaller>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Claims email addresses for users who were there before addresses were unique
    ///
    /// It walks the table of users, and claims for each user whose address nobody has claimed.
    /// The tables are in the file of --data, at AWS_ENDPOINT_URL_DYNAMODB, or with --aws those
    /// of your AWS configuration. It can run while the service does, and again after it was
    /// stopped. Users who share an address are listed, and left as they are.
    ClaimEmails {
        /// Claim for the users in this file, which the service has made
        #[arg(long, value_name = "FILE")]
        data: Option<PathBuf>,
        /// Claim for the users in AWS, with the credentials and the region of your AWS
        /// configuration
        #[arg(long)]
        aws: bool,
        /// Claims a second, at most: 1 to 10,000
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// Give up the claims of users who are gone or have another address, too
        #[arg(long)]
        give_up_left_over: bool,
    },
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Options {
    /// # Errors
    /// The options that name the same table.
    fn check_tables(&self) -> Result<(), String> {
        let emails = (self.unique_emails == Switch::On)
            .then_some(("--emails-table", self.emails_table.as_str()));
        let keys = ("--idempotency-table", self.idempotency_table.as_str());
        let mut named = vec![("--table", self.table.as_str()), keys];
        named.extend(emails);
        while let Some((option, table)) = named.pop() {
            if let Some((other, _)) = named.iter().find(|(_, other)| *other == table) {
                return Err(format!(
                    "{other} and {option} both name the table {table}; each needs one of its own"
                ));
            }
        }
        Ok(())
    }

    fn store(&self, config: &SdkConfig) -> UserStore {
        let tables = Tables {
            users: self.table.clone(),
            emails: (self.unique_emails == Switch::On).then(|| self.emails_table.clone()),
            idempotency_keys: self.idempotency_table.clone(),
        };
        UserStore::new(config, tables)
    }
}

/// An IP address, or the name that everyone knows for one.
fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        address => address
            .parse()
            .map_err(|_| "must be an IP address of this machine, or localhost".into()),
    }
}

/// The rule of DynamoDB for the name of a table.
fn table_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if (3..=255).contains(&name.len()) && name.chars().all(allowed) {
        Ok(name.to_owned())
    } else {
        Err("must be 3 to 255 of the characters A-Z a-z 0-9 _ . -".into())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut options = Options::parse();
    let filter = env::var("RUST_LOG").ok();
    log::init(log::Format::of_standard_error(), filter.as_deref());
    let command = options.command.take();
    let ended = match (options.check_tables(), command) {
        (Err(message), _) => Err(message),
        (Ok(()), None) => run(options).await,
        (
            Ok(()),
            Some(Command::ClaimEmails {
                data,
                aws,
                rate,
                give_up_left_over,
            }),
        ) => {
            options.data = data.or(options.data);
            claim(&options, aws, rate, give_up_left_over).await
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn claim(options: &Options, aws: bool, rate: u32, gives_up: bool) -> Result<(), String> {
    if options.unique_emails == Switch::Off {
        return Err(String::from(
            "without unique emails there is nothing to claim",
        ));
    }
    let store = store_to_claim_in(options, aws).await?;
    say(&claim_emails(&store, rate, gives_up).await?.text());
    Ok(())
}

/// The store whose users to claim for. Nothing is made in it: in a new table of users, every
/// claim would be left over.
async fn store_to_claim_in(options: &Options, aws: bool) -> Result<UserStore, String> {
    let config = match (aws, &options.data, endpoint()) {
        (true, None, None) => {
            let config = aws_config::defaults(BehaviorVersion::latest());
            let config = config.http_client(store::http_client()).load().await;
            check_access(&config).await?;
            config
        }
        (true, Some(_), _) => {
            return Err(String::from(
                "--aws and --data are two places; give one of them",
            ));
        }
        (true, None, Some(endpoint)) => {
            return Err(format!(
                "--aws is for the tables of your AWS configuration; unset {} to use them",
                endpoint.variable
            ));
        }
        (false, None, None) => {
            return Err(String::from(
                "claim-emails has to be told where the tables are: --data FILE, --aws for those of \
                 your AWS configuration, or the environment variable AWS_ENDPOINT_URL_DYNAMODB",
            ));
        }
        (false, Some(_), Some(endpoint)) => return Err(two_places(&endpoint)),
        (false, Some(file), None) => {
            let shown = file.display();
            match std::fs::metadata(file) {
                Ok(file) if file.len() == 0 => return Err(format!("{shown}: the file is empty")),
                Ok(_) => {}
                Err(_) => return Err(format!("{shown}: there is no such file")),
            }
            let embedded = EmbeddedDynamoDb::in_file(file).await?;
            dynamodb::sdk_config(embedded.endpoint_url()).await
        }
        (false, None, Some(Endpoint { variable, url })) => {
            dynamodb::check_endpoint(&url).map_err(|error| format!("{variable}: {error}"))?;
            let config = dynamodb::sdk_config(&url).await;
            if !dynamodb::is_on_this_machine(&url) {
                check_access(&config).await?;
            }
            config
        }
    };
    let store = options.store(&config);
    store.check_users_and_claims().await?;
    Ok(store)
}

fn two_places(endpoint: &Endpoint) -> String {
    format!(
        "--data is for the embedded DynamoDB; unset {} to use it",
        endpoint.variable
    )
}

async fn run(options: Options) -> Result<(), String> {
    let asked = SocketAddr::from((options.host, options.port));
    let listener = TcpListener::bind(asked).await;
    let listener = listener.map_err(|error| cannot_listen(asked, &error))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    if !address.ip().is_loopback() {
        eprintln!(
            "warning: there is no authentication here: everyone who reaches {address} can read \
             and change all users"
        );
    }
    let origins = allowed_origins()?;
    let (store, kept) = open_store(&options).await?;
    let caller = options.caller.as_ref();
    say(&greeting(address, &kept, caller, has_user_1(&store).await));
    let api = Api::new(
        store,
        SystemTime::now,
        AuthMode::Cognito, // the local gateway always says who calls
        origins.clone(),
        BasePath::default(),
    );
    let settings = gateway::Settings {
        caller: options.caller,
        takes: Takes::NoneOfForeignPages,
        origins,
        timeouts: Timeouts::default(),
    };
    let served = gateway::serve(listener, gateway::invoke(api), settings, stop());
    tokio::select! {
        served = served => served.map_err(|error| error.to_string())?,
        () = out_of_patience() => {}
    }
    say("Stopped.");
    Ok(())
}

fn cannot_listen(asked: SocketAddr, error: &std::io::Error) -> String {
    let change = if error.kind() == ErrorKind::AddrNotAvailable {
        "this machine has no such address; choose another --host, such as 127.0.0.1, or 0.0.0.0 \
         for all that it has"
    } else {
        "choose another --port, or 0 for a free one"
    };
    format!("cannot listen on {asked}: {error}; {change}")
}

/// The endpoint of DynamoDB, where the environment names one.
fn endpoint() -> Option<Endpoint> {
    Endpoint::configured(|name| env::var(name).ok())
}

/// The origins whose pages may call the service. The default is every origin of this machine,
/// for front ends in development. Where the DynamoDB is elsewhere, the default is none: a page
/// that is open by chance must not reach those users.
fn allowed_origins() -> Result<AllowedOrigins, String> {
    match env::var("ALLOWED_ORIGINS") {
        Ok(origins) => {
            AllowedOrigins::parse(&origins).map_err(|error| format!("ALLOWED_ORIGINS: {error}"))
        }
        Err(_) => match endpoint() {
            Some(endpoint) if !dynamodb::is_on_this_machine(&endpoint.url) => {
                Ok(AllowedOrigins::None)
            }
            Some(_) | None => Ok(AllowedOrigins::Loopback),
        },
    }
}

/// Resolves when running requests have had their time to end, or at a second
/// signal: a client that holds its connection open does not hold up the end.
async fn out_of_patience() {
    stop().await;
    tokio::time::sleep(TIME_TO_SAY_SO).await;
    say("Waiting for running requests to end; Ctrl-C again ends them.");
    tokio::select! {
        () = stop() => {}
        () = tokio::time::sleep(TIME_TO_STOP) => {}
    }
}

/// The store, and a line that says what it is.
async fn open_store(options: &Options) -> Result<(UserStore, String), String> {
    match (endpoint(), &options.data) {
        (None, None) => {
            let embedded = EmbeddedDynamoDb::in_memory().await?;
            open_embedded(options, &embedded, true, "in memory, gone when this stops").await
        }
        (None, Some(file)) => {
            let is_new = std::fs::metadata(file).map_or(true, |file| file.len() == 0);
            let embedded = EmbeddedDynamoDb::in_file(file).await?;
            let kept = format!("kept in {}", file.display());
            open_embedded(options, &embedded, is_new, &kept).await
        }
        (Some(endpoint), None) => open_endpoint(options, &endpoint).await,
        (Some(endpoint), Some(_)) => Err(two_places(&endpoint)),
    }
}

async fn open_embedded(
    options: &Options,
    embedded: &EmbeddedDynamoDb,
    is_new: bool,
    kept: &str,
) -> Result<(UserStore, String), String> {
    let (table, endpoint) = (options.table.as_str(), embedded.endpoint_url());
    let store = options.store(&dynamodb::sdk_config(endpoint).await);
    store.create_tables().await?;
    if is_new && !options.no_sample {
        store.put_sample_user().await?;
    }
    let description = format!("table {table} of an embedded DynamoDB ({kept}) at {endpoint}");
    Ok((store, description))
}

async fn open_endpoint(
    options: &Options,
    Endpoint { variable, url }: &Endpoint,
) -> Result<(UserStore, String), String> {
    dynamodb::check_endpoint(url).map_err(|error| format!("{variable}: {error}"))?;
    say(&format!("Connecting to the DynamoDB at {url} ..."));
    let config = dynamodb::sdk_config(url).await;
    let store = options.store(&config);
    let failed = |error| format!("{url}: {error}");
    if dynamodb::is_on_this_machine(url) {
        store.check_operations().await.map_err(failed)?;
        if store.create_tables().await.map_err(failed)? && !options.no_sample {
            store.put_sample_user().await?;
        }
    } else {
        check_access(&config).await.map_err(failed)?;
    }
    store.check_tables().await.map_err(failed)?;
    let table = options.table.as_str();
    let description = format!("table {table} of the DynamoDB at {url}");
    Ok((store, description))
}

/// Checks that there are a region and credentials for a DynamoDB that asks for them.
async fn check_access(config: &SdkConfig) -> Result<(), String> {
    if config.region().is_none() {
        return Err(String::from("there is no AWS region; set AWS_REGION"));
    }
    let credentials = match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.ok(),
        None => None,
    };
    credentials.map(drop).ok_or_else(|| {
        String::from(
            "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
             name in AWS_PROFILE a profile that has some",
        )
    })
}

async fn has_user_1(store: &UserStore) -> bool {
    match UserId::for_lookup("1".into()) {
        Ok(user_id) => store.get(&user_id, false).await.is_ok(),
        Err(_) => false,
    }
}

fn greeting(
    address: SocketAddr,
    kept: &str,
    caller: Option<&LocalCaller>,
    has_user_1: bool,
) -> String {
    let url = format!("http://{address}");
    let create = format!(
        "  curl -i '{url}/users' -H 'Content-Type: application/json' \
         -d '{{\"name\":\"Ada Lovelace\",\"email\":\"ada@example.com\"}}'"
    );
    let read = format!("  curl '{url}/users?userId=1'\n");
    let list = format!("  curl '{url}/users'");
    let (caller, lines) = match caller {
        Some(caller) => (
            format!("Requests are taken for those of {caller}\n"),
            create + &format!("\n  curl '{url}/users?userId={}'", caller.sub()),
        ),
        None if has_user_1 => (String::new(), format!("{read}{create}\n{list}")),
        None => (String::new(), format!("{create}\n{list}")),
    };
    format!(
        "user-service {version} listens on {url}\n\
         Store: {kept}\n\
         {caller}\
         \n\
         Try:\n\
         {lines}\n\
         \n\
         Or read and try the API at {url}/docs\n\
         \n\
         Ctrl-C stops it.",
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// Says it on the standard output, if anyone is there to read it.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Resolves with the first Ctrl-C or SIGTERM.
async fn stop() {
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<Option<()>>();
    tokio::select! {
        _ = signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
