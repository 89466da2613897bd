//! The chart of the README: how long an ADD and a DEL take with cleat, the reference plugins and netavark.

use std::fmt::Write;

use crate::lives::{Level, NAMES};
use crate::suites::VERBS;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 150.0;
const BAR: f64 = 14.0;
const GAP: f64 = 3.0;
const TOP: f64 = 62.0;
/// The chart has colours for light and for dark pages.
const STYLE: &str = "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2328}\
    .title{font-size:15px;font-weight:600}.page{fill:#fff}.s0{fill:#1a7f64}.s1{fill:#b08a4a}.s2{fill:#7c86b8}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.s0{fill:#3fb994}.s1{fill:#c9a15c}\
    .s2{fill:#9aa4d6}}";

/// Draws the chart as SVG.
pub(crate) fn draw(levels: &[Level]) -> String {
    let mut rows = Vec::new();
    for (verb, steps) in VERBS.iter().filter(|(verb, _)| *verb != "CHECK") {
        for level in levels {
            let medians: Vec<f64> = (0..NAMES.len()).filter_map(|suite| level.median(suite, steps)).collect();
            rows.push((format!("{verb}, {} there", level.count), medians));
        }
    }
    let longest = rows.iter().flat_map(|(_, medians)| medians).copied().fold(1.0, f64::max);
    let height = |bars: usize| bars as f64 * (BAR + GAP) + 14.0;
    let total = TOP + rows.iter().map(|(_, medians)| height(medians.len())).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {total}\" width=\"{WIDTH}\" height=\"{total}\" \
         role=\"img\" aria-label=\"milliseconds of ADD and DEL by suite and number of containers\">\n<style>{STYLE}\
         </style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n<text class=\"title\" x=\"16\" y=\"24\">bridge, \
         address and one published port: milliseconds (median)</text>\n"
    );
    for (suite, name) in NAMES.iter().enumerate() {
        let x = LEFT + 110.0 * suite as f64;
        let _ = writeln!(
            svg,
            "<rect class=\"s{suite}\" x=\"{x}\" y=\"38\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"49\">{name}</text>",
            x + 18.0
        );
    }
    let mut y = TOP;
    for (label, medians) in &rows {
        let _ = writeln!(svg, "<text x=\"16\" y=\"{}\">{label}</text>", y + 12.0);
        for (suite, median) in medians.iter().enumerate() {
            let y = y + (BAR + GAP) * suite as f64;
            let width = (median / longest * (WIDTH - LEFT - 60.0)).max(1.0);
            let _ = writeln!(
                svg,
                "<rect class=\"s{suite}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\"/><text x=\"{:.1}\" \
                 y=\"{}\">{median:.1}</text>",
                LEFT + width + 6.0,
                y + 12.0
            );
        }
        y += height(medians.len());
    }
    svg + "</svg>\n"
}
