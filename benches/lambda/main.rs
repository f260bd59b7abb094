//! The start of the service as a Lambda function, beside other handlers: `cargo bench --bench lambda`.
//!
//! Each handler answers `GET /users?userId=1` under the Runtime API of the tests, with a stub of
//! DynamoDB that always has the user. `docs/performance.md` says what the figures mean.

mod handlers;
mod measure;
#[path = "../../tests/api/support/runtime_api.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod runtime_api;
mod stub;
mod table;

use std::path::PathBuf;

use clap::Parser;

use self::{handlers::Handler, measure::Samples, stub::Stub};

/// Starts each handler many times, and prints a table of medians.
#[derive(Debug, Parser)]
struct Options {
    /// How often each handler starts. The starts are interleaved.
    #[arg(long, default_value_t = 15)]
    starts: usize,
    /// Starts each handler 3 times, to see that the benchmark works.
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
    let starts = if options.quick { 3 } else { options.starts };
    let handlers = handlers::build();
    let stub = Stub::start().await;
    let mut figures: Vec<(Handler, Samples)> = handlers
        .into_iter()
        .map(|handler| (handler, Samples::default()))
        .collect();
    for round in 1..=starts {
        eprintln!("round {round} of {starts}");
        for (handler, samples) in &mut figures {
            measure::round(handler, &stub, samples).await;
        }
    }
    print!("{}", table::markdown(&figures, starts));
    if let Some(file) = options.json {
        let figures = table::json(&figures, starts);
        std::fs::write(&file, format!("{figures:#}\n")).expect("the file for --json is writable");
    }
}
