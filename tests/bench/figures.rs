//! Medians, percentiles, and the bars that a ratio has to meet.

use std::time::Duration;

/// A percentile of the times, in milliseconds.
pub(crate) fn quantile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1000.0
}

/// The median of the times, in milliseconds.
pub(crate) fn median(times: &[Duration]) -> f64 {
    quantile(times, 50)
}

/// The median of plain numbers.
pub(crate) fn middle(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

/// Prints a ratio, its limit, and whether the ratio meets the limit.
pub(crate) fn bar(what: &str, ratio: f64, wanted: Bar) {
    let (met, sign, limit) = match wanted {
        Bar::AtLeast(limit) => (ratio >= limit, "at least", limit),
        Bar::AtMost(limit) => (ratio <= limit, "at most", limit),
    };
    let verdict = if met { "met" } else { "MISSED" };
    println!("  {what:62} {ratio:8.2}x   {sign} {limit}x: {verdict}");
}

/// The limit of a ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// The ratio must not be lower.
    AtLeast(f64),
    /// The ratio must not be higher.
    AtMost(f64),
}
