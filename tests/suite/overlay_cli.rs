//! `cleat` over the agent of overlay networks: what it asks of `cleat-overlay`, which files it writes, what it takes back, and
//! what it shows.
//!
//! The program and the agent are stand-ins here, which answer with what was recorded: these tests are about the command line, and
//! about answers that a real engine gives only when something is wrong. With the real ones: `tests/overlay`.

mod nodes;
mod part;
mod problems;
mod stand_in;
