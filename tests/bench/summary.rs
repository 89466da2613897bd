//! What the README shows: a chart, and a table with a row for each measurement and a column for each suite.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::chart;
use crate::lives::Level;
use crate::netavark;
use crate::suites::{VERBS, newest_reference};

/// The lines of the README between which the table is written.
const MARKS: [&str; 2] = ["<!-- bench -->\n", "<!-- /bench -->\n"];

/// The measurements that go to the README.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// The times of containers' lives, which the chart shows.
    pub levels: Vec<Level>,
    rows: Vec<(String, Vec<String>)>,
}

impl Summary {
    /// Adds a row of texts: cleat first, then the other suites that have one.
    pub(crate) fn texts<const N: usize>(&mut self, what: &str, cells: [String; N]) {
        self.rows.push((what.to_owned(), cells.into()));
    }

    /// Adds a row of milliseconds: cleat first, then the other suites, each with its ratio to cleat.
    pub(crate) fn times<const N: usize>(&mut self, what: &str, milliseconds: [Option<f64>; N]) {
        let Some(ours) = milliseconds[0] else { return };
        let mut is_ours = true;
        let cells = milliseconds.map(|time| match time {
            Some(time) if std::mem::take(&mut is_ours) => format!("{time:.2} ms"),
            Some(time) => format!("{time:.1} ms ({:.1}×)", time / ours),
            None => String::new(),
        });
        self.texts(what, cells);
    }

    /// Adds the rows of the containers' lives.
    pub(crate) fn lives(&mut self) {
        let levels = std::mem::take(&mut self.levels);
        for (verb, steps) in VERBS {
            for level in &levels {
                let what = format!("{verb}, {} containers there", level.count);
                self.times(&what, [0, 1, 2].map(|suite| level.median(suite, &steps)));
            }
        }
        self.levels = levels;
    }

    /// The table, in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = "| | cleat | reference plugins | netavark |\n|---|---|---|---|\n".to_owned();
        for (what, cells) in &self.rows {
            let cell = |number: usize| cells.get(number).map_or("", String::as_str);
            let _ = writeln!(text, "| {what} | {} | {} | {} |", cell(0), cell(1), cell(2));
        }
        format!("{text}\nMedians of whole processes, by `make bench`: {}.\n", machine())
    }

    /// Writes the chart to its file and the table into the README.
    pub(crate) fn write(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::write(root.join("tests/bench/chart.svg"), chart::draw(&self.levels)).unwrap();
        let file = root.join("README.md");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, between_marks(&text, &self.markdown())).unwrap();
        println!("\nwritten: README.md and tests/bench/chart.svg");
    }
}

/// The text with `new` between the two marks, which the text must contain.
fn between_marks(text: &str, new: &str) -> String {
    let Some((before, rest)) = text.split_once(MARKS[0]) else {
        panic!("README.md has no line {}", MARKS[0])
    };
    let Some((_, after)) = rest.split_once(MARKS[1]) else { panic!("README.md has no line {}", MARKS[1]) };
    format!("{before}{}\n{new}\n{}{after}", MARKS[0], MARKS[1])
}

/// The versions of what was measured, and the machine.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "cleat {}, containernetworking-plugins {} (nftables: {}), {}; {cores} × {}, Linux {}, {}",
        env!("CARGO_PKG_VERSION"),
        std::env::var("REFERENCE_VERSION").unwrap_or_else(|_| "of unknown version".to_owned()),
        read(&newest_reference().join("../../../version").display().to_string()).trim(),
        netavark::version(),
        model.unwrap_or("CPU"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/etc/os-release")
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))
            .unwrap_or("")
            .trim_matches('"'),
    )
}
