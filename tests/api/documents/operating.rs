//! `docs/operating.md` has a section for each alarm of the stack, and its queries name fields that the
//! logs have.

use std::collections::BTreeSet;

const OPERATING: &str = include_str!("../../../docs/operating.md");
const TEMPLATE: &str = include_str!("../../../template.yaml");

/// The members of a line of the function (`src/http/log_line.rs`), and those of each line of a log.
const FUNCTION_FIELDS: &[&str] = &[
    "level",
    "message",
    "method",
    "route",
    "caller",
    "caller_arn",
    "status",
    "code",
    "cause",
    "request_id",
    "traceparent",
    "xray_trace_id",
    "Requests",
    "Latency",
    "StoreCalls",
    "StoreLatency",
    "StoreRetries",
    "Conflicts",
    "ColdStarts",
    "Priming",
];

/// The words of the query language that the page uses.
const WORDS: &[&str] = &[
    "fields",
    "filter",
    "stats",
    "sort",
    "limit",
    "parse",
    "by",
    "as",
    "in",
    "and",
    "or",
    "not",
    "like",
    "desc",
    "asc",
    "count",
    "sum",
    "max",
    "pct",
    "bin",
    "ispresent",
    "m",
];

/// The logical ids of the alarms in the template.
fn alarms() -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    let mut last = "";
    for line in TEMPLATE.lines() {
        let name = line.strip_prefix("  ").and_then(|it| it.strip_suffix(':'));
        if let Some(name) = name.filter(|name| !name.starts_with(' ')) {
            last = name;
        }
        if line.trim() == "Type: AWS::CloudWatch::Alarm" {
            names.insert(last);
        }
    }
    names
}

#[test]
fn every_alarm_has_a_section_and_a_row_and_every_section_has_an_alarm() {
    let expected = alarms();
    assert!(expected.len() >= 9, "{expected:?}");
    let headings = OPERATING
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    let sections: BTreeSet<_> = headings.filter(|it| it.ends_with("Alarm")).collect();
    assert_eq!(sections, expected);
    let rows = OPERATING
        .lines()
        .filter_map(|line| line.strip_prefix("| ["));
    let rows = rows
        .filter_map(|row| row.split_once(']'))
        .map(|(name, _)| name);
    let rows: BTreeSet<_> = rows.filter(|it| it.ends_with("Alarm")).collect();
    assert_eq!(rows, expected);
    // Each has a query and steps.
    for section in OPERATING.split("\n### ").filter(|it| {
        let heading = it.lines().next().unwrap_or_default();
        heading.ends_with("Alarm")
    }) {
        assert!(section.contains("```text\n# "), "{section}");
    }
}

/// The queries, each with the log that it is for.
fn queries() -> Vec<(&'static str, Vec<&'static str>)> {
    let blocks = OPERATING.split("```text\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let mut queries = Vec::new();
    for block in blocks {
        let mut lines = block.lines().map(str::trim);
        if let Some(log) = lines.next().and_then(|line| line.strip_prefix("# ")) {
            queries.push((log, lines.collect()));
        }
    }
    queries
}

/// The names of fields in a query: its words, without those of the language, texts, patterns, and the
/// names that it gives.
fn fields(lines: &[&str]) -> BTreeSet<String> {
    let query = lines.join(" ");
    let mut code = String::new();
    let mut until = None;
    for c in query.chars() {
        match (until, c) {
            (Some(end), c) if c == end => until = None,
            (Some(_), _) => {}
            (None, '"' | '/') => until = Some(c),
            (None, c) => code.push(c),
        }
    }
    let words = code.split(|c: char| !c.is_ascii_alphanumeric() && !"_@".contains(c));
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let mut given = BTreeSet::new();
    for pair in words.windows(2) {
        if pair[0] == "as" {
            given.insert(pair[1]);
        }
    }
    let names = words.into_iter().filter(|word| {
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        !is_number && !word.starts_with('@') && !WORDS.contains(word) && !given.contains(word)
    });
    names.map(str::to_owned).collect()
}

#[test]
fn the_queries_name_fields_that_the_logs_have() {
    let format = TEMPLATE.split_once("AccessLogSetting:").unwrap().1;
    let format = format.split("MethodSettings:").next().unwrap();
    let queries = queries();
    assert!(queries.len() > 15, "{}", queries.len());
    for (log, lines) in queries {
        for field in fields(&lines) {
            let is_known = match log {
                "function log" => FUNCTION_FIELDS.contains(&field.as_str()),
                "access log" => format.contains(&format!("\"{field}\":")),
                "canary log" => false,
                other => panic!("{other} is no log of this page"),
            };
            assert!(is_known, "{log} has no {field}: {lines:#?}");
        }
    }
}
