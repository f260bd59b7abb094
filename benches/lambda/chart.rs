//! The chart: two panels of horizontal bars, as SVG.

use std::fmt::Write;

use super::{
    handlers::Kind,
    table::{self, Report},
};

/// The width of the names, in pixels.
const NAMES: f64 = 178.0;

/// The width of the bars of a panel.
const BARS: f64 = 230.0;

/// The width of the value beside the longest bar, and of the space to the next panel.
const VALUES: f64 = 62.0;

/// The height of a row.
const ROW: f64 = 28.0;

/// The height above the first row.
const TOP: f64 = 50.0;

/// The height below the last row: the axis.
const BOTTOM: f64 = 30.0;

/// The background is a part of the chart, because a page can be dark where the browser is light.
const STYLE: &str = "
  text { font: 13px -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title, .service { font-weight: 600 }
  .axis { font-size: 11px; fill: #59636e }
  .background { fill: #ffffff }
  .grid { stroke: #d1d9e0 }
  .bar { fill: #818b98 }
  .bar.service { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .axis { fill: #9198a1 }
    .background { fill: #0d1117 }
    .grid { stroke: #3d444d }
    .bar { fill: #7d8590 }
    .bar.service { fill: #4493f8 }
  }
";

/// The chart of the start and of the processor time.
pub fn svg(report: &Report) -> String {
    let panels = [
        (
            "Spawn to first answer over TLS, ms",
            report.medians(&table::START),
        ),
        ("CPU a request, µs", report.medians(&table::CPU)),
    ];
    let mut rows: Vec<Kind> = Vec::new();
    for (kind, _) in panels.iter().flat_map(|(_, medians)| medians) {
        // The floor makes no TLS connection.
        if kind.calls_dynamodb() && !rows.contains(kind) {
            rows.push(*kind);
        }
    }
    let width = NAMES + 2.0 * (BARS + VALUES);
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>The start and the processor time of the service and of other handlers</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"background\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n"
    );
    for (row, kind) in rows.iter().enumerate() {
        let (x, y) = (NAMES - 10.0, TOP + ROW * (row as f64 + 0.5) + 4.5);
        let _ = writeln!(
            svg,
            "<text class=\"{}\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text>",
            class(*kind),
            kind.name()
        );
    }
    for (place, (title, medians)) in panels.iter().enumerate() {
        let left = NAMES + (BARS + VALUES) * place as f64;
        panel(&mut svg, left, title, &rows, medians);
    }
    svg + "</svg>\n"
}

/// One panel. Its axis is logarithmic, from the power of ten below all values to the one above.
fn panel(svg: &mut String, left: f64, title: &str, rows: &[Kind], medians: &[(Kind, f64)]) {
    let of = |kind: &Kind| {
        let mut medians = medians.iter();
        medians.find_map(|(it, median)| (it == kind).then_some(*median))
    };
    let values: Vec<f64> = rows.iter().filter_map(of).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let x = |value: f64| left + BARS * (value.log10() - low) / (high - low).max(1.0);
    let bottom = TOP + ROW * rows.len() as f64;
    let _ = writeln!(
        svg,
        "<text class=\"title\" x=\"{left}\" y=\"24\">{title}</text>\n\
         <text class=\"axis\" x=\"{left}\" y=\"40\">logarithmic scale</text>"
    );
    for power in low as i32..=high as i32 {
        let line = x(10_f64.powi(power));
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{line:.1} {TOP}V{bottom}\"/>\n\
             <text class=\"axis\" x=\"{line:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            10_f64.powi(power)
        );
    }
    for (row, kind) in rows.iter().enumerate() {
        let Some(value) = of(kind) else { continue };
        let y = TOP + ROW * row as f64;
        let end = x(value);
        let class = class(*kind);
        let _ = writeln!(
            svg,
            "<rect class=\"bar {class}\" x=\"{left}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n\
             <text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            y + 5.0,
            end - left,
            ROW - 10.0,
            end + 6.0,
            y + ROW / 2.0 + 4.5,
            table::number(value)
        );
    }
}

/// The class of the handler's texts and bars.
fn class(kind: Kind) -> &'static str {
    if kind == Kind::Service {
        "service"
    } else {
        "peer"
    }
}
