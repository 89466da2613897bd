//! What README.md and docs/performance.md show: a chart, and tables with a row for each measurement and a column for each suite.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::chart;
use crate::suites::Suite;

/// The lines between which a table is written.
const MARKS: [&str; 2] = ["<!-- bench -->\n", "<!-- /bench -->\n"];

/// A figure of each suite that was measured.
pub(crate) type Figures = [Option<f64>; Suite::ALL.len()];

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    cells: Vec<String>,
    /// Whether README.md shows it.
    is_headline: bool,
}

impl Summary {
    /// Adds a row of texts, in the order of the suites.
    pub(crate) fn texts<const N: usize>(&mut self, what: &str, cells: [String; N]) {
        self.rows.push(Row { what: what.to_owned(), cells: cells.into(), is_headline: false });
    }

    /// Adds a row of milliseconds. Those of other suites have their ratio to cleat's.
    pub(crate) fn times(&mut self, what: &str, milliseconds: Figures) {
        let [Some(ours), others @ ..] = milliseconds else { return };
        let other = |time: f64| format!("{time:.1} ms ({:.1}×)", time / ours);
        let [a, b, c] = others.map(|time| time.map_or_else(String::new, other));
        self.texts(what, [format!("{ours:.2} ms"), a, b, c]);
    }

    /// The same, for a row that README.md shows as well.
    pub(crate) fn headline(&mut self, what: &str, milliseconds: Figures) {
        self.times(what, milliseconds);
        if let Some(row) = self.rows.last_mut() {
            row.is_headline = true;
        }
    }

    /// The table of all rows, in Markdown.
    pub(crate) fn markdown(&self) -> String {
        table(self.rows.iter())
    }

    /// Writes the chart to its file, and the tables into README.md and docs/performance.md.
    pub(crate) fn write(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::write(root.join("tests/bench/chart.svg"), chart::draw(&self.markdown())).unwrap();
        let headlines = table(self.rows.iter().filter(|row| row.is_headline));
        for (file, table) in [("README.md", headlines), ("docs/performance.md", self.markdown())] {
            let text = fs::read_to_string(root.join(file)).unwrap();
            let Some(text) = between_marks(&text, &table) else { panic!("{file} has no lines {MARKS:?}") };
            fs::write(root.join(file), text).unwrap();
        }
        println!("\nwritten: README.md, docs/performance.md and tests/bench/chart.svg");
    }
}

/// Rows as a table, with the versions below.
fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut text = format!("| | {} |\n|---|---|---|---|---|\n", Suite::ALL.map(Suite::title).join(" | "));
    for Row { what, cells, .. } in rows {
        let mut cells = cells.clone();
        cells.resize(Suite::ALL.len(), String::new());
        let _ = writeln!(text, "| {what} | {} |", cells.join(" | "));
    }
    format!("{text}\nMedians of whole processes, by `make bench`: {}.\n", machine())
}

/// The text with `new` between the two marks, if the text has them.
fn between_marks(text: &str, new: &str) -> Option<String> {
    let (before, rest) = text.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}\n{new}\n{}{after}", MARKS[0], MARKS[1]))
}

/// The versions of what was measured, and the machine.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let [cleat, reference, newest, netavark] = Suite::ALL.map(Suite::version);
    format!(
        "cleat {cleat}, containernetworking-plugins {reference} (iptables) and {newest} (nftables), netavark {netavark} \
         (nftables); {cores} × {}, Linux {}, {}",
        model.unwrap_or("CPU"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/etc/os-release")
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))
            .unwrap_or("")
            .trim_matches('"'),
    )
}
