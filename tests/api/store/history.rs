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
};

use fastrand::Rng;
use futures_util::{StreamExt, future::join_all, stream};

use crate::support::{
    Setup, Through, claims_are_those_of_the_users, history_is_exact, random_write, send_write,
    some_id,
};

const PROCESSES: usize = 8;
const CLIENTS: usize = 64;
/// How often all processes are killed.
const KILLS: usize = 10;

fn variable<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().ok().unwrap_or_else(|| panic!("{name}={text}")),
        Err(_) => default,
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
            if send_write(&service, random_write(&mut random, &users)).await {
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
