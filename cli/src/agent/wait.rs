//! Waits for the agent's run file: with it, containers can be added.

use std::thread;
use std::time::{Duration, Instant};

use cni::NetworkName;

use super::socket::{self, Answer};
use crate::output;

/// How long to wait.
const PATIENCE: Duration = Duration::from_secs(15);
/// After that time people are told what is waited for. What the agent refuses for so long is no remnant of an earlier try.
const QUIET: Duration = Duration::from_secs(1);
/// How often to look. An agent takes some milliseconds.
const PAUSE: Duration = Duration::from_millis(20);

/// How the waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This node has a block.
    Ready,
    /// No agent runs.
    NotRunning,
    /// The agent has not come so far yet, and why.
    Waiting(String),
    /// The agent refuses to take part, and why.
    Refused(String),
}

/// Waits until the agent has written what this node may use of the network with that ID, but not for ever.
pub(crate) fn wait(network: &NetworkName, id: &str) -> Outcome {
    let start = Instant::now();
    let mut told = String::new();
    loop {
        // A file that is of no use is about to be replaced.
        if ::overlay::read(network).ok().flatten().is_some_and(|node| node.id == id) {
            return Outcome::Ready;
        }
        let elapsed = start.elapsed();
        let news = match socket::health(network) {
            // One that is being started anew may end in the middle of an answer.
            Err(error) => error.to_string(),
            Ok(Answer::NotRunning) => return Outcome::NotRunning,
            Ok(Answer::Unknown) => "the agent has not taken up the network yet".to_owned(),
            Ok(Answer::Health(health)) if health.is_refused() && elapsed > QUIET => {
                return Outcome::Refused(health.reason.unwrap_or(health.state));
            }
            Ok(Answer::Health(health)) => format!("the agent is {}", health.told()),
        };
        if elapsed > PATIENCE {
            return Outcome::Waiting(news);
        }
        if elapsed > QUIET && told != news {
            output::tell(&format!("cleat: network {network}: waiting for this node's block: {news}\n"));
            told = news;
        }
        thread::sleep(PAUSE);
    }
}
