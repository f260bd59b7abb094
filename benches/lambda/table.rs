//! The tables, and the figures for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{
    handlers::{Kind, Skipped},
    machine::{machine, version},
    measure::Samples,
    statistics::quantile,
};

/// A column of the tables.
pub struct Figure {
    /// Its name for programs.
    key: &'static str,
    /// Its name for people.
    name: &'static str,
    samples: fn(&Samples) -> &[f64],
}

impl Figure {
    const fn new(key: &'static str, name: &'static str, samples: fn(&Samples) -> &[f64]) -> Self {
        Self { key, name, samples }
    }

    /// The quantile `share`, if it was measured.
    fn quantile(&self, samples: &Samples, share: f64) -> Option<f64> {
        let samples = (self.samples)(samples);
        (!samples.is_empty()).then(|| quantile(samples, share))
    }
}

const INIT: Figure = Figure::new("init_ms", "init ms", |it| &it.init);
const FIRST: Figure = Figure::new("first_ms", "first ms", |it| &it.first);
/// The start that a client waits for.
pub const START: Figure = Figure::new(
    "spawn_to_first_answer_tls_ms",
    "spawn to first answer ms, TLS",
    |it| &it.spawn_to_answer,
);
const FIRST_TLS: Figure = Figure::new("first_tls_ms", "first ms, TLS", |it| &it.first_tls);
const WARM: Figure = Figure::new("warm_p50_ms", "warm p50 ms", |it| &it.warm);
/// What a request costs.
pub const CPU: Figure = Figure::new("cpu_us_a_request", "CPU µs a request", |it| &it.cpu);
const FIRST_LIMITED: Figure = Figure::new(
    "first_tls_ms_at_15_percent",
    "first ms, TLS, at 15 % CPU",
    |it| &it.first_limited,
);
const FIRST_BY_WARM_LIMITED: Figure = Figure::new(
    "first_by_warm_tls_at_15_percent",
    "first ÷ warm p50, TLS, at 15 % CPU",
    |it| &it.first_by_warm_limited,
);
const PEAK_RSS: Figure = Figure::new("peak_rss_mib", "peak RSS MiB", |it| &it.peak_rss);
const SIZE: Figure = Figure::new("size_mb", "size MB", |it| &it.size);

/// All columns.
const FIGURES: [Figure; 10] = [
    INIT,
    FIRST,
    START,
    FIRST_TLS,
    WARM,
    CPU,
    FIRST_LIMITED,
    FIRST_BY_WARM_LIMITED,
    PEAK_RSS,
    SIZE,
];

/// A ratio of two medians: of the service, and of another handler or of itself.
struct Ratio {
    name: &'static str,
    figure: Figure,
    /// The handler that the service is compared with. The figure is a ratio itself if there is none.
    other: Option<Kind>,
    /// The ratio to reach.
    aim: f64,
}

const RATIOS: [Ratio; 6] = [
    Ratio {
        name: "init ÷ floor",
        figure: INIT,
        other: Some(Kind::Floor),
        aim: 1.5,
    },
    Ratio {
        name: "init ÷ AWS SDK defaults",
        figure: INIT,
        other: Some(Kind::SdkDefaults),
        aim: 0.25,
    },
    Ratio {
        name: "spawn to first answer, TLS ÷ no SDK",
        figure: START,
        other: Some(Kind::Raw),
        aim: 1.3,
    },
    Ratio {
        name: "first answer ÷ warm p50, TLS, at 15 % CPU",
        figure: FIRST_BY_WARM_LIMITED,
        other: None,
        aim: 2.0,
    },
    Ratio {
        name: "CPU a request ÷ no SDK",
        figure: CPU,
        other: Some(Kind::Raw),
        aim: 1.6,
    },
    Ratio {
        name: "peak RSS ÷ floor",
        figure: PEAK_RSS,
        other: Some(Kind::Floor),
        aim: 2.0,
    },
];

/// All that was measured.
pub struct Report {
    rows: Vec<(Kind, Samples)>,
    skipped: Vec<Skipped>,
    machine: [String; 2],
}

impl Report {
    /// The report of these handlers.
    pub fn new(rows: Vec<(Kind, Samples)>, skipped: Vec<Skipped>) -> Self {
        Self {
            rows,
            skipped,
            machine: machine_and_programs(),
        }
    }

    /// The handlers with the median of a figure, where it was measured.
    pub fn medians(&self, figure: &Figure) -> Vec<(Kind, f64)> {
        self.rows
            .iter()
            .filter_map(|(kind, samples)| Some((*kind, figure.quantile(samples, 0.5)?)))
            .collect()
    }

    /// The median of one handler.
    fn median(&self, figure: &Figure, kind: Kind) -> Option<f64> {
        let mut medians = self.medians(figure).into_iter();
        medians.find_map(|(it, median)| (it == kind).then_some(median))
    }

    /// All tables, in Markdown.
    pub fn markdown(&self) -> String {
        let [computer, programs] = &self.machine;
        let mut text = format!(
            "{computer}\n{programs}\nMedians of {} rounds.\n\n",
            self.rounds()
        );
        text += &table("handler", &FIGURES, &self.rows, |figure, kind, samples| {
            self.cell(figure, kind, samples)
        });
        for skipped in &self.skipped {
            let _ = write!(text, "\n{skipped}\n");
        }
        text += "\nThe ratios of the service, and the ratios that it aims at:\n\n";
        text += "| ratio | measured | aim |\n| --- | --- | --- |\n";
        for ratio in &RATIOS {
            let measured = self
                .ratio(ratio)
                .map_or_else(|| String::from("–"), |measured| format!("{measured:.2}"));
            let _ = writeln!(text, "| {} | {measured} | ≤ {} |", ratio.name, ratio.aim);
        }
        text += "\nThe spreads, from the first quartile to the third:\n\n";
        // The size has one sample.
        let figures = &FIGURES[..FIGURES.len() - 1];
        text += &table("handler", figures, &self.rows, |figure, _, samples| {
            let low = figure.quantile(samples, 0.25)?;
            let high = figure.quantile(samples, 0.75)?;
            Some(format!("{}–{}", number(low), number(high)))
        });
        text
    }

    /// The table for README.md.
    pub fn short(&self) -> String {
        let figures = [INIT, START, CPU, PEAK_RSS, SIZE];
        let mut text = table("handler", &figures, &self.rows, |figure, _, samples| {
            figure.quantile(samples, 0.5).map(number)
        });
        for skipped in &self.skipped {
            let _ = write!(text, "\n{skipped}\n");
        }
        text
    }

    /// The median, and its ratio to the floor.
    fn cell(&self, figure: &Figure, kind: Kind, samples: &Samples) -> Option<String> {
        let median = figure.quantile(samples, 0.5)?;
        match self.median(figure, Kind::Floor) {
            Some(floor) if kind != Kind::Floor => {
                Some(format!("{} (×{:.1})", number(median), median / floor))
            }
            _ => Some(number(median)),
        }
    }

    fn ratio(&self, ratio: &Ratio) -> Option<f64> {
        let service = self.median(&ratio.figure, Kind::Service)?;
        match ratio.other {
            Some(other) => Some(service / self.median(&ratio.figure, other)?),
            None => Some(service),
        }
    }

    /// How many samples each handler has.
    fn rounds(&self) -> usize {
        self.rows
            .first()
            .map_or(0, |(_, samples)| samples.init.len())
    }

    /// The figures and the ratios, for programs.
    pub fn json(&self) -> Value {
        let handlers = self.rows.iter().map(|(kind, samples)| {
            let figures = FIGURES.iter().map(|figure| {
                let value = json!({
                    "median": figure.quantile(samples, 0.5),
                    "p25": figure.quantile(samples, 0.25),
                    "p75": figure.quantile(samples, 0.75),
                    "n": (figure.samples)(samples).len(),
                });
                (figure.key.to_owned(), value)
            });
            json!({ "handler": kind.name(), "figures": Map::from_iter(figures) })
        });
        let ratios = RATIOS.iter().map(
            |ratio| json!({ "ratio": ratio.name, "measured": self.ratio(ratio), "aim": ratio.aim }),
        );
        let skipped = self
            .skipped
            .iter()
            .map(|skipped| json!({ "what": skipped.what, "reason": skipped.reason }));
        json!({
            "machine": self.machine.join(" "),
            "rounds": self.rounds(),
            "handlers": handlers.collect::<Vec<_>>(),
            "ratios": ratios.collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(),
        })
    }
}

/// A table with a row for each handler. A cell without a value has a dash.
fn table(
    first: &str,
    figures: &[Figure],
    rows: &[(Kind, Samples)],
    cell: impl Fn(&Figure, Kind, &Samples) -> Option<String>,
) -> String {
    let names: Vec<_> = figures.iter().map(|figure| figure.name).collect();
    let mut text = format!("| {first} | {} |\n| --- |", names.join(" | "));
    text += &" --- |".repeat(figures.len());
    text.push('\n');
    for (kind, samples) in rows {
        let cells: Vec<_> = figures
            .iter()
            .map(|figure| cell(figure, *kind, samples).unwrap_or_else(|| String::from("–")))
            .collect();
        let name = match kind {
            Kind::Service => format!("**{}**", kind.name()),
            Kind::Floor | Kind::Raw | Kind::SdkDefaults | Kind::Node | Kind::Python => {
                kind.name().to_owned()
            }
        };
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

/// The number with three digits, or with all those before the point.
pub fn number(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Two sentences: the processor with the kernel, and the compiler with the languages.
fn machine_and_programs() -> [String; 2] {
    let programs = [("rustc", ""), ("node", "Node.js "), ("python3", "")];
    let programs = programs.map(|(program, name)| Some(format!("{name}{}", version(program)?)));
    let programs: Vec<_> = programs.into_iter().flatten().collect();
    [
        format!("{}.", machine()),
        format!("{}.", programs.join(", ")),
    ]
}
