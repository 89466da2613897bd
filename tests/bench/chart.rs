//! The chart of the README: what an ADD and a DEL take, with this suite and with the reference.

use std::fmt::Write;
use std::fs;

use crate::lives::Level;
use crate::suites::VERBS;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 200.0;
const BAR: f64 = 16.0;
const ROW: f64 = 54.0;
const TOP: f64 = 62.0;
const COLOURS: [&str; 2] = ["#2f7d6d", "#b9a07a"];

/// The machine and its kernel, in a line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let version = env!("CARGO_PKG_VERSION");
    format!("cleat {version}, {cores} x {}, Linux {}", model.unwrap_or("CPU"), kernel.trim())
}

/// Draws it.
pub(crate) fn draw(levels: &[Level], machine: &str) -> String {
    let rows: Vec<(String, Vec<f64>)> = VERBS
        .iter()
        .filter(|(verb, _)| *verb != "CHECK")
        .flat_map(|(verb, steps)| {
            levels.iter().map(move |level| {
                let medians = (0..level.suites.len()).map(|suite| level.median(suite, steps)).collect();
                (format!("{verb}, {} there", level.count), medians)
            })
        })
        .collect();
    let longest = rows.iter().flat_map(|(_, medians)| medians).copied().fold(1.0, f64::max);
    let height = TOP + ROW * rows.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"16\" y=\"24\" font-size=\"16\" \
         font-weight=\"bold\">bridge + host-local + one published port, milliseconds (median)</text>\n"
    );
    for (suite, name) in ["cleat", "reference plugins"].iter().enumerate() {
        let x = LEFT + 110.0 * suite as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"47\">{name}</text>",
            COLOURS[suite],
            x + 18.0
        );
    }
    for (row, (label, medians)) in rows.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let _ = writeln!(svg, "<text x=\"16\" y=\"{}\">{label}</text>", y + 24.0);
        for (suite, median) in medians.iter().enumerate() {
            let y = y + 4.0 + (BAR + 3.0) * suite as f64;
            let width = (median / longest * (WIDTH - LEFT - 90.0)).max(1.0);
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{}\"/><text x=\"{:.1}\" \
                 y=\"{}\">{median:.1}</text>",
                COLOURS[suite],
                LEFT + width + 6.0,
                y + 13.0
            );
        }
    }
    let _ = writeln!(
        svg,
        "<text x=\"16\" y=\"{}\" font-size=\"11\" fill=\"#666\">{machine}</text>\n</svg>",
        height - 10.0
    );
    svg
}
