//! The service over its embedded store in a file, with few and with many users:
//! `cargo bench --bench store`.
//!
//! Each number of users has its own `user-service` process with its own file. The harness is the
//! client. `docs/performance.md` says what the figures mean.

mod fill;
#[path = "../support/machine.rs"]
mod machine;
mod measure;
mod process;
#[path = "../support/statistics.rs"]
mod statistics;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;

use self::measure::Store;

/// How many requests of one kind follow each other.
const REQUESTS: usize = 10;

/// Times the requests of clients at several numbers of users, and prints a table of medians.
#[derive(Debug, Parser)]
struct Options {
    /// The numbers of users, each 1000 or more. The ratios are to the first one.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1000,100000,1000000",
        value_parser = clap::value_parser!(u64).range(1000..)
    )]
    users: Vec<u64>,
    /// How often each kind of request is sent 10 times, at each number of users in turn.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// 1,000 and 10,000 users and 2 rounds, to see that the benchmark works.
    #[arg(long)]
    quick: bool,
    /// Writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// `cargo bench` adds this option.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options::parse();
    let (users, rounds) = match options.quick {
        true => (vec![1_000, 10_000], 2),
        false => (options.users, options.rounds),
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("benches")
        .join("store");
    // An interrupted run leaves its copies.
    let copies = folder.join("run");
    let _ = fs::remove_dir_all(&copies);
    fs::create_dir_all(&copies).expect("the target folder is writable");
    let template = fill::Template::make(&copies).await;
    let mut stores = Vec::new();
    for users in users {
        let filled = fill::filled(&folder, &template, users);
        // The requests change the file, and the next run needs it as it is.
        let copy = copies.join(format!("{users}.db"));
        fs::copy(&filled, &copy).expect("the disk has room for a copy");
        eprintln!("walking {users} users");
        stores.push(Store::open(users, &copy).await);
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        measure::round(&mut stores, REQUESTS).await;
    }
    let requests = rounds * REQUESTS;
    print!("{}", table::markdown(&stores, requests));
    if let Some(file) = options.json {
        let figures = table::json(&stores, requests);
        fs::write(&file, format!("{figures:#}\n")).expect("the file for --json is writable");
    }
    drop(stores);
    fs::remove_dir_all(&copies).expect("the target folder is writable");
}
