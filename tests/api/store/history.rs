//! The history is exact: a record for each write, and for nothing else.
//!
//! Clients send writes at random to the same users, through many processes of the service, which are
//! killed in between. Then the history of each user agrees with what is stored. Three variables:
//! - `HISTORY_SEED`: chooses the writes.
//! - `HISTORY_WRITES`: how many writes there are: 2,000. With 100,000 on 2,000 users, it takes some
//!   minutes on two cores.
//! - `HISTORY_USERS`: how many users there are: 40.

use std::{
    env,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{StreamExt, future::join_all, stream};
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    Service, Setup, Through, claims_are_those_of_the_users, history_is_exact, some_id,
};

const PROCESSES: usize = 8;
const CLIENTS: usize = 64;
/// How often all processes are killed.
const KILLS: usize = 10;
/// How long a client waits for an answer. The process that had the request may be killed.
const PATIENCE: Duration = Duration::from_secs(10);

fn variable<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().ok().unwrap_or_else(|| panic!("{name}={text}")),
        Err(_) => default,
    }
}

/// A write at random: its method, its path and its body.
fn write(random: &mut Rng, users: &[String]) -> (Method, String, Value) {
    let user_id = &users[random.usize(..users.len())];
    // Few addresses, so that some are taken.
    let email = format!("canary-{}@example.com", random.usize(..users.len()));
    let name = format!("canary {}", random.u32(..));
    let path = format!("/users/{user_id}");
    match random.u8(..17) {
        0..=2 => {
            let user = json!({ "userId": user_id, "name": name, "email": email });
            (Method::POST, "/users".to_owned(), user)
        }
        3 => (Method::PUT, path, json!({ "name": name, "email": email })),
        4..=6 => (Method::PATCH, path, json!({ "metadata": { "last": name } })),
        7 => (Method::PATCH, path, json!({ "email": email })),
        8 => (Method::PATCH, path, json!({ "status": "disabled" })),
        9 => (Method::PATCH, path, json!({ "status": "active" })),
        10 => {
            let path = format!("{path}?takeEmail=true");
            let taken = json!({ "email": email, "emailVerified": random.bool() });
            (Method::PATCH, path, taken)
        }
        11..=12 => (Method::DELETE, path, Value::Null),
        13..=14 => {
            let path = format!("/deleted-users/{user_id}/restore");
            let email = match random.bool() {
                true => json!({ "email": email }),
                false => json!({}),
            };
            (Method::POST, path, email)
        }
        15 => {
            let path = format!("/deleted-users/{user_id}");
            (Method::DELETE, path, Value::Null)
        }
        _ => (Method::DELETE, format!("{path}?erase=true"), Value::Null),
    }
}

#[tokio::test]
async fn the_history_is_exact_after_many_writers_and_kills() {
    let setup = Setup {
        sandboxes: PROCESSES,
        through: Some(Through::Lambda),
        ..Setup::default()
    };
    let service = setup.start().await;
    let seed = variable("HISTORY_SEED", fastrand::u64(..));
    let writes = variable("HISTORY_WRITES", 2_000_usize);
    let users = variable("HISTORY_USERS", 40_usize);
    println!("HISTORY_SEED={seed}");
    let users: Vec<String> = (0..users).map(|_| some_id()).collect();
    let done = AtomicUsize::new(0);
    let answered = AtomicUsize::new(0);
    let clients = (0..CLIENTS).map(async |client| {
        let mut random = Rng::with_seed(seed.wrapping_add(client as u64));
        loop {
            let number = done.fetch_add(1, SeqCst);
            if number >= writes {
                return;
            }
            if number % (writes / KILLS).max(1) == 1 {
                service.kill_and_restart().await;
            }
            if send(&service, write(&mut random, &users)).await {
                answered.fetch_add(1, SeqCst);
            }
        }
    });
    join_all(clients).await;
    assert!(answered.load(SeqCst) > writes / 4, "{answered:?}");
    claims_are_those_of_the_users(&service).await;
    let exact = users
        .iter()
        .map(|user_id| history_is_exact(&service, user_id));
    stream::iter(exact)
        .buffer_unordered(8)
        .collect::<()>()
        .await;
}

/// Sends a write. Says whether it succeeded.
async fn send(service: &Service, (method, path, body): (Method, String, Value)) -> bool {
    let headers = [("content-type", "application/json")];
    let (headers, body) = match body.is_null() {
        true => (&headers[..0], String::new()),
        false => (&headers[..], body.to_string()),
    };
    let sent = service.send_unchecked(method, &path, headers, body);
    match timeout(PATIENCE, sent).await {
        Ok(answer) => answer.status.is_success(),
        Err(_) => false,
    }
}
