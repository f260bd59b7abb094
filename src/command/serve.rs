//! The local server: `user-service` without a command.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::{
    net::TcpListener,
    signal,
    time::{sleep, timeout},
};

use super::{
    Error, say,
    store::{self, Opened, Place, TableOptions},
};
use crate::{
    http::Api,
    http::base_path::BasePath,
    local::{
        events::{Events, Secret, Webhook},
        gateway::{self, LocalCaller, Served, Takes},
        http::Timeouts,
    },
    service::{AuthMode, UserService},
    settings::{LocalSettings, is_http_url},
    store::{Consistency, UserStore},
    user::UserId,
};

/// How long running requests may continue after the signal to stop.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// The delay between the signal to stop and the message that requests are still running.
const NOTICE_DELAY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(super) struct ServeOptions {
    /// The address to listen on: an IP address, or localhost
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = host)]
    host: IpAddr,
    /// The port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 3000, allow_negative_numbers = true)]
    port: u16,
    /// Keep the users in this file; without it they are gone when this stops
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
    /// Create no sample user in a new store
    #[arg(long)]
    no_sample: bool,
    /// Treat each request as a request of this user: its `sub`, and groups such as `admin`
    ///
    /// Without it, each caller is a service, which may do everything. A request may name
    /// another caller in the header field X-Local-Caller.
    #[arg(long = "as", value_name = "SUB[:GROUP,...]")]
    caller: Option<LocalCaller>,
    /// Print each event of the history as a line of JSON (CloudEvents 1.0)
    ///
    /// These are the events that a stack pushes with the parameter EventTarget. Only with the embedded
    /// DynamoDB.
    #[arg(long)]
    events: bool,
    /// Post each event to this URL, signed as Standard Webhooks
    ///
    /// The variable EVENTS_SECRET has the secret that signs them. Without it, a random one is made and
    /// printed.
    #[arg(long, value_name = "URL", value_parser = http_url)]
    events_to: Option<String>,
}

/// Reads a URL of HTTP.
fn http_url(text: &str) -> Result<String, &'static str> {
    match is_http_url(text) {
        true => Ok(text.to_owned()),
        false => Err("must be a URL, such as http://127.0.0.1:4000/events"),
    }
}

/// Reads an IP address or `localhost`.
fn host(text: &str) -> Result<IpAddr, &'static str> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        address => address
            .parse()
            .map_err(|_| "must be an IP address of this machine, or localhost"),
    }
}

/// Opens the store, and serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// Why it cannot serve.
pub(super) async fn run(
    options: ServeOptions,
    tables: &TableOptions,
    settings: LocalSettings,
) -> Result<(), Error> {
    let LocalSettings {
        allowed_origins,
        endpoint,
        events_secret,
    } = settings;
    let listener = listen(SocketAddr::from((options.host, options.port))).await?;
    let address = listener.local_addr()?;
    let place = Place::named(options.data, endpoint)?;
    let Opened {
        store,
        description,
        embedded,
    } = store::open(tables, place, !options.no_sample).await?;
    let pushed = options.events || options.events_to.is_some();
    let events = match (pushed, embedded, tables.history_table()) {
        (false, _, _) => None,
        (true, Some(embedded), Some(table)) => Some(Events::follow(embedded, table)?),
        (true, None, _) => {
            return Err("--events and --events-to are for the embedded DynamoDB".into());
        }
        (true, Some(_), None) => return Err("without a history there are no events".into()),
    };
    let has_sample_user = has_sample_user(&store).await;
    let caller = options.caller.as_ref();
    say(&greeting(address, &description, caller, has_sample_user));
    if let Some(events) = events {
        let webhook = options.events_to.map(|url| {
            let secret = events_secret.unwrap_or_else(|| {
                let secret = Secret::random();
                say(&format!("Events are signed with {secret}"));
                secret
            });
            Webhook::new(url, secret)
        });
        tokio::spawn(push(events, options.events, webhook));
    }
    let served = Arc::<Served>::default();
    let users = UserService::new(store.clone());
    // The local gateway always names a caller.
    let api = Api::new(users, AuthMode::Cognito, allowed_origins.clone());
    let function = gateway::invoke(api, BasePath::default());
    let settings = gateway::Settings {
        caller: options.caller,
        takes: Takes::NoneOfForeignPages,
        origins: allowed_origins,
        timeouts: Timeouts::default(),
        health: Some(store),
        served: Arc::clone(&served),
    };
    tokio::select! {
        served = gateway::serve(listener, function, settings, stop_signal()) => served?,
        () = grace_period_over() => {}
    }
    say(&format!("Stopped after {served}."));
    Ok(())
}

/// Prints and posts the events until the process ends.
async fn push(mut events: Events, prints: bool, webhook: Option<Webhook>) {
    loop {
        let new = match events.next().await {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(cause = %error, "no more events");
                return;
            }
        };
        for event in new {
            if prints {
                say(&event.to_string());
            }
            if let Some(webhook) = &webhook {
                webhook.post(&event).await;
            }
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| cannot_listen(address, &error))?;
    if !address.ip().is_loopback() {
        let address = listener.local_addr().unwrap_or(address);
        eprintln!(
            "warning: there is no authentication here: everyone who reaches {address} can read \
             and change all users"
        );
    }
    Ok(listener)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let change = if error.kind() == ErrorKind::AddrNotAvailable {
        "this machine has no such address; choose another --host, such as 127.0.0.1, or 0.0.0.0 \
         for all that it has"
    } else {
        "choose another --port, or 0 for a free one"
    };
    format!("cannot listen on {address}: {error}; {change}")
}

async fn has_sample_user(store: &UserStore) -> bool {
    match UserId::for_lookup("1".into()) {
        Ok(user_id) => matches!(
            store.get(&user_id, Consistency::Eventual).await,
            Ok(Some(_))
        ),
        Err(_) => false,
    }
}

fn greeting(
    address: SocketAddr,
    store: &str,
    caller: Option<&LocalCaller>,
    has_sample_user: bool,
) -> String {
    let url = format!("http://{address}");
    let create = format!(
        "  curl -i '{url}/users' -H 'Content-Type: application/json' \
         -d '{{\"name\":\"Ada Lovelace\",\"email\":\"ada@example.com\"}}'"
    );
    let read = |user_id: &str| format!("  curl '{url}/users?userId={user_id}'");
    let list = format!("  curl '{url}/users'");
    let (caller, examples) = match caller {
        Some(caller) => (
            format!("Caller: {caller}, unless a request names another in X-Local-Caller\n"),
            vec![create, read(&caller.user_id())],
        ),
        None if has_sample_user => (String::new(), vec![read("1"), create, list]),
        None => (String::new(), vec![create, list]),
    };
    format!(
        "user-service {version} listens on {url}\n\
         Store: {store}\n\
         {caller}\
         \n\
         Try:\n\
         {examples}\n\
         \n\
         Or read and try the API at {url}/docs\n\
         \n\
         Ctrl-C stops it.",
        version = env!("CARGO_PKG_VERSION"),
        examples = examples.join("\n"),
    )
}

/// Resolves when the grace period after the signal to stop is over, or at a second signal. So a
/// client that keeps its connection open cannot delay the end.
async fn grace_period_over() {
    stop_signal().await;
    sleep(NOTICE_DELAY).await;
    say("Waiting for running requests to end; Ctrl-C again ends them.");
    let _ = timeout(GRACE_PERIOD, stop_signal()).await;
}

/// Resolves at the next Ctrl-C or SIGTERM.
async fn stop_signal() {
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
