//! The documents that show the figures.

use std::{fs, io, path::Path};

use super::{chart, table::Report};

/// The line before the figures in a document.
const START: &str = "<!-- figures -->\n";

/// The line after them.
const END: &str = "<!-- /figures -->";

/// Writes the report into README.md and docs/performance.md, and the chart and `json` beside the latter.
///
/// # Errors
/// A file cannot be read or written, or a document has no place for figures.
pub fn write(report: &Report, json: &str) -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    replace(&root.join("README.md"), &report.short())?;
    replace(&root.join("docs/performance.md"), &report.markdown())?;
    fs::write(root.join("docs/performance.svg"), chart::svg(report))?;
    fs::write(root.join("docs/performance.json"), json)
}

/// Replaces what is between the two lines.
fn replace(document: &Path, figures: &str) -> io::Result<()> {
    let text = fs::read_to_string(document)?;
    let parts = text.split_once(START).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| {
        let document = document.display();
        io::Error::other(format!("{document} has no place for figures"))
    })?;
    fs::write(
        document,
        format!("{before}{START}\n{figures}\n{END}{after}"),
    )
}
