//! Medians, percentiles, and the table that they are printed in.

use std::time::Duration;

/// The time that a share of all stays below, in milliseconds.
pub(crate) fn quantile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1000.0
}

/// In milliseconds.
pub(crate) fn median(times: &[Duration]) -> f64 {
    quantile(times, 50)
}

/// The one in the middle.
pub(crate) fn middle(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

/// A bar: what a ratio has to be, and what it is.
pub(crate) fn bar(what: &str, ratio: f64, wanted: Bar) {
    let (met, sign, limit) = match wanted {
        Bar::AtLeast(limit) => (ratio >= limit, "at least", limit),
        Bar::AtMost(limit) => (ratio <= limit, "at most", limit),
    };
    let verdict = if met { "met" } else { "MISSED" };
    println!("  {what:54} {ratio:8.2}x   {sign} {limit}x: {verdict}");
}

/// On which side of a ratio one wants to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// Faster by so much.
    AtLeast(f64),
    /// Slower by no more.
    AtMost(f64),
}
