//! Counts of instructions, which do not depend on how busy the machine is, and their budgets.

use std::{collections::BTreeMap, fs, process::Command};

use serde::{Deserialize, Serialize};

use super::{
    handlers::{Handler, output},
    machine::version,
    measure::{Mode, Start},
    statistics::quantile,
    stub::Stub,
};

/// How far a count may be above its budget.
const TOLERANCE: f64 = 1.03;

/// How often each count is taken. Hash maps have random seeds, so two counts differ by about 0.2 %.
const RUNS: usize = 3;

/// How many warm requests are counted.
const WARM_REQUESTS: usize = 100;

/// The file of the budgets.
const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/lambda/instructions.json"
);

/// The counts of the service, over plain HTTP and without priming.
#[derive(Debug, Deserialize, Serialize)]
struct Counts {
    /// The compiler that built the service.
    rustc: String,
    /// What is counted, and its number of instructions.
    instructions: BTreeMap<String, u64>,
}

/// Counts the instructions of `service`, and compares them with their budgets. With `write`, they
/// become the budgets. Returns whether each count keeps its budget.
///
/// # Panics
/// Valgrind is missing, or a count fails.
pub async fn check(service: &Handler, stub: &Stub, write: bool) -> bool {
    let counts = counts(service, stub).await;
    if write {
        let text = serde_json::to_string_pretty(&counts).expect("strings and numbers");
        fs::write(FILE, format!("{text}\n")).expect("the file of the budgets is writable");
        eprintln!("The counts are the budgets in {FILE}.");
    }
    let budgets = fs::read_to_string(FILE).expect("the file of the budgets is there");
    let budgets: Counts = serde_json::from_str(&budgets).expect("the budgets are counts");
    println!("| instructions | counted | budget | ratio |\n| --- | --- | --- | --- |");
    let mut is_kept = true;
    for (what, count) in &counts.instructions {
        let budget = budgets.instructions[what];
        let ratio = *count as f64 / budget as f64;
        println!("| {what} | {count} | {budget} | {ratio:.3} |");
        is_kept &= ratio <= TOLERANCE;
    }
    if !is_kept {
        println!(
            "\nA count is more than 3 % above its budget. Find what has become slower. If it has to be so, set \
             the budgets with `cargo bench --bench lambda -- --instructions --write`. The budgets are of {}; \
             this is {}.",
            budgets.rustc, counts.rustc
        );
    }
    is_kept
}

async fn counts(service: &Handler, stub: &Stub) -> Counts {
    let valgrind = output(Command::new("sh").args(["-c", "command -v valgrind"]))
        .expect("valgrind is installed");
    let counted = Handler {
        program: valgrind.into(),
        arguments: vec![
            String::from("--tool=callgrind"),
            String::from("--callgrind-out-file=/dev/null"),
            service
                .program
                .to_str()
                .expect("the path is UTF-8")
                .to_owned(),
        ],
        ..service.clone()
    };
    let first = count(&counted, stub, 1).await;
    let all = count(&counted, stub, 1 + WARM_REQUESTS).await;
    let warm = all.saturating_sub(first) / WARM_REQUESTS as u64;
    Counts {
        rustc: version("rustc").unwrap_or_default(),
        instructions: BTreeMap::from([
            (String::from("from the start to the first answer"), first),
            (String::from("a warm GET"), warm),
        ]),
    }
}

/// The median of the instructions until the function asks for one more event than `requests`.
async fn count(counted: &Handler, stub: &Stub, requests: usize) -> u64 {
    let mut counts = Vec::new();
    for _ in 0..RUNS {
        let start = Start::of(counted, stub, Mode::Plain, None).await;
        for _ in 0..requests {
            start.invoke().await;
            start.polled().await;
        }
        counts.push(collected(&start.terminate().await));
    }
    quantile(&counts, 0.5) as u64
}

/// The number of instructions in the log of callgrind.
fn collected(log: &str) -> f64 {
    let count = log.lines().find_map(|line| line.split_once("Collected : "));
    let count = count.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind has not counted:\n{log}"))
}
