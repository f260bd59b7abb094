//! The table of medians, with ratios to the floor.

use std::{fmt::Write, fs, process::Command};

use serde_json::{Value, json};

use super::{
    handlers::Handler,
    measure::{Samples, median},
};

/// The name of a figure, and how it is found.
type Figure = (&'static str, fn(&Handler, &Samples) -> Option<f64>);

const FIGURES: [Figure; 8] = [
    ("init ms", |_, samples| of(&samples.init)),
    ("first ms", |_, samples| of(&samples.first)),
    ("spawn to first answer ms, TLS", |_, samples| {
        of(&samples.spawn_to_answer)
    }),
    ("first ms, TLS", |_, samples| of(&samples.first_primed)),
    ("warm p50 ms", |_, samples| of(&samples.warm)),
    ("CPU µs a request", |_, samples| of(&samples.cpu)),
    ("peak RSS MiB", |_, samples| of(&samples.peak_rss)),
    ("binary MB", |handler, _| {
        let bytes = fs::metadata(&handler.program).ok()?.len();
        Some(bytes as f64 / 1e6)
    }),
];

fn of(samples: &[f64]) -> Option<f64> {
    (!samples.is_empty()).then(|| median(samples))
}

/// The table in Markdown. A cell has the median and its ratio to the floor.
pub fn markdown(figures: &[(Handler, Samples)], starts: usize) -> String {
    let mut text = format!("{} Medians of {starts} interleaved starts.\n\n", machine());
    let names = FIGURES.map(|(name, _)| name).join(" | ");
    let _ = writeln!(
        text,
        "| handler | {names} |\n| --- |{}",
        " --- |".repeat(FIGURES.len())
    );
    for (handler, samples) in figures {
        let cells = FIGURES.map(|(_, figure)| {
            let floor = figures
                .first()
                .and_then(|(floor, samples)| figure(floor, samples));
            match (figure(handler, samples), floor) {
                (Some(value), Some(floor)) => format!("{value:.2} (×{:.1})", value / floor),
                (Some(value), None) => format!("{value:.2}"),
                (None, _) => String::from("–"),
            }
        });
        let _ = writeln!(text, "| {} | {} |", handler.name, cells.join(" | "));
    }
    text
}

/// The medians, for programs.
pub fn json(figures: &[(Handler, Samples)], starts: usize) -> Value {
    let handlers = figures.iter().map(|(handler, samples)| {
        let medians =
            FIGURES.map(|(name, figure)| (name.to_owned(), json!(figure(handler, samples))));
        json!({ "handler": handler.name, "medians": serde_json::Map::from_iter(medians) })
    });
    json!({ "machine": machine(), "starts": starts, "handlers": handlers.collect::<Vec<_>>() })
}

/// The processor, the kernel and the compiler, in one sentence.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |line| {
        line.trim_start_matches(['\t', ' ', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    format!(
        "{cores} cores of {model}, Linux {}, {}.",
        kernel.trim(),
        rustc.unwrap_or_default().trim()
    )
}
