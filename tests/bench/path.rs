//! The data path: what packets on their way to a container cost.

mod bridges;
mod connections;
mod load;
mod node;

use crate::summary::Summary;

/// Measures and prints all of it.
pub(crate) fn measure(rounds: usize, summary: &mut Summary) {
    connections::measure(rounds, summary);
    bridges::measure(rounds, summary);
}
