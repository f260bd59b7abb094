//! The tables of figures.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{
    machine::{machine, version, version_of},
    measure::{Operation, Store},
    statistics::quantile,
};

/// The tables in Markdown: times, and memory while walking.
pub fn markdown(stores: &[Store], requests: usize) -> String {
    let mut text = format!(
        "{} {}\nMedians of {requests} requests in µs (p25–p75), and the ratio to the first \
         column.\n\n",
        machine_and_compiler(),
        versions()
    );
    let sizes = stores.iter().map(|store| grouped(store.users));
    let sizes = sizes.collect::<Vec<_>>().join(" users | ");
    let _ = writeln!(
        text,
        "| request | {sizes} users |\n| --- |{}",
        " --- |".repeat(stores.len())
    );
    for operation in Operation::ALL {
        let cells = stores.iter().map(|store| {
            let [p25, p50, p75] = quartiles(store, operation);
            let ratio = ratio(stores, store, operation);
            format!("{p50:.0} ({p25:.0}–{p75:.0}) ×{ratio:.2}")
        });
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let _ = writeln!(text, "| {} | {cells} |", operation.name());
    }
    text += "\nResident memory of the service while a client walks all pages, in MiB.\n\n\
             | users | pages | after the first page | after a tenth | at the end | peak |\n\
             | --- | --- | --- | --- | --- | --- |\n";
    for Store { users, walk, .. } in stores {
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
            grouped(*users),
            grouped(walk.pages),
            walk.first.resident,
            walk.tenth.resident,
            walk.end.resident,
            walk.end.peak
        );
    }
    text
}

/// The figures, for programs.
pub fn json(stores: &[Store], requests: usize) -> Value {
    let sizes = stores.iter().map(|store| {
        let times = Operation::ALL.map(|operation| {
            let [p25, p50, p75] = quartiles(store, operation);
            let ratio = ratio(stores, store, operation);
            let figures = json!({ "p25": p25, "p50": p50, "p75": p75, "ratio": ratio });
            (operation.name().to_owned(), figures)
        });
        let walk = json!({
            "pages": store.walk.pages,
            "first": store.walk.first.resident,
            "tenth": store.walk.tenth.resident,
            "end": store.walk.end.resident,
            "peak": store.walk.end.peak,
        });
        json!({ "users": store.users, "us": Map::from_iter(times), "walkMib": walk })
    });
    json!({
        "machine": machine_and_compiler(),
        "versions": versions(),
        "requests": requests,
        "sizes": sizes.collect::<Vec<_>>(),
    })
}

fn versions() -> String {
    format!(
        "user-service {}, dynoxide-rs {}, SQLite {}.",
        env!("CARGO_PKG_VERSION"),
        version_of("dynoxide-rs"),
        rusqlite::version()
    )
}

fn quartiles(store: &Store, operation: Operation) -> [f64; 3] {
    [0.25, 0.5, 0.75].map(|share| quantile(&store.times[operation as usize], share))
}

/// The median of `store` by that of the first store.
fn ratio(stores: &[Store], store: &Store, operation: Operation) -> f64 {
    let median = |store| quartiles(store, operation)[1];
    median(store) / stores.first().map_or(f64::NAN, median)
}

/// A number with a comma between groups of three digits.
fn grouped(number: u64) -> String {
    let mut text = number.to_string();
    for end in (1..text.len()).rev().skip(2).step_by(3) {
        text.insert(end, ',');
    }
    text
}

fn machine_and_compiler() -> String {
    format!("{}, {}.", machine(), version("rustc").unwrap_or_default())
}
