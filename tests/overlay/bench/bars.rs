//! Figures beside their bounds.

use std::process::ExitCode;

/// What a figure must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// Counts the figures that miss their bounds.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    missed: usize,
}

impl Bars {
    /// Prints a figure, its bound, and whether it keeps it.
    pub(crate) fn judge(&mut self, what: &str, figure: f64, unit: &str, bound: Bound) {
        let (is_met, sign, limit) = match bound {
            Bound::AtMost(limit) => (figure <= limit, "at most", limit),
            Bound::AtLeast(limit) => (figure >= limit, "at least", limit),
        };
        let verdict = if is_met { "met" } else { "MISSED" };
        println!("  {what:68} {figure:9.2}{unit}   {sign} {limit:.2}{unit}: {verdict}");
        self.missed += usize::from(!is_met);
    }

    /// Whether all bounds were kept.
    pub(crate) fn verdict(&self) -> ExitCode {
        if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
