//! The start of the service as a Lambda function, beside other handlers: `cargo bench --bench lambda`.
//!
//! Each handler answers `GET /users?userId=1` under the Runtime API of the tests, with a stub of
//! DynamoDB that always has the user. `docs/performance.md` says what the figures mean.

mod chart;
mod documents;
mod handlers;
mod instructions;
mod limit;
#[path = "../support/machine.rs"]
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod machine;
mod measure;
#[path = "../../tests/api/support/runtime_api.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod runtime_api;
#[path = "../support/statistics.rs"]
mod statistics;
mod stub;
mod table;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Parser;

use self::{
    handlers::Skipped,
    limit::{Limit, PERCENT},
    measure::Samples,
    stub::Stub,
    table::Report,
};

/// Starts each handler many times, and prints tables of medians, spreads and ratios.
#[derive(Debug, Parser)]
struct Options {
    /// How many rounds there are. In each round, each handler starts three times.
    #[arg(long, default_value_t = 15)]
    starts: usize,
    /// Makes 3 rounds, to see that the benchmark works.
    #[arg(long)]
    quick: bool,
    /// Writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the chart to this file, as SVG.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Writes the figures into README.md and docs/performance.md, and beside the latter as SVG and JSON.
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// Counts the instructions of the service with valgrind instead, and fails if a count is more than
    /// 3 % above its budget. `--write` sets the budgets.
    #[arg(long)]
    instructions: bool,
    /// `cargo bench` adds this option.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    if options.instructions {
        let (service, stub) = (handlers::service(), Stub::start().await);
        return match instructions::check(&service, &stub, options.write).await {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        };
    }
    compare(options).await;
    ExitCode::SUCCESS
}

/// Measures all handlers.
async fn compare(options: Options) {
    let starts = if options.quick { 3 } else { options.starts };
    let (handlers, mut skipped) = handlers::build();
    let limit = Limit::new()
        .map_err(|reason| {
            let what = format!("the columns with {PERCENT} % of a processor");
            skipped.push(Skipped { what, reason });
        })
        .ok();
    let stub = Stub::start().await;
    for skipped in &skipped {
        eprintln!("{skipped}");
    }
    let mut samples: Vec<Samples> = handlers
        .iter()
        .map(|handler| Samples {
            size: vec![measure::size(&handler.code)],
            ..Samples::default()
        })
        .collect();
    for round in 1..=starts {
        eprintln!("round {round} of {starts}");
        for turn in 0..handlers.len() {
            // Each handler comes first in turn: the first one after a pause starts with cold caches.
            let next = (round + turn) % handlers.len();
            measure::round(&handlers[next], &stub, limit.as_ref(), &mut samples[next]).await;
        }
    }
    let kinds = handlers.iter().map(|handler| handler.kind);
    let report = Report::new(kinds.zip(samples).collect(), skipped);
    print!("{}", report.markdown());
    let json = format!("{:#}\n", report.json());
    if let Some(file) = options.json {
        fs::write(file, &json).expect("the file for --json is writable");
    }
    if let Some(file) = options.chart {
        fs::write(file, chart::svg(&report)).expect("the file for --chart is writable");
    }
    if options.write {
        documents::write(&report, &json).expect("the documents can be changed");
    }
}
