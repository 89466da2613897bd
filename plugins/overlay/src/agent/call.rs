//! Calls to the engine: one at a time, which the task waits for beside everything else.

use ipnetwork::IpNetwork;
use tokio::time::Instant;

use super::task::{Answer, Call, Step, Task};
use crate::engine::Engine;
use crate::record::Claim;

impl Task {
    /// Begins the call that is needed next, if one is and none is under way.
    pub(super) fn call_next(&mut self, now: Instant) {
        if self.call.is_some() || now < self.retry_at {
            return;
        }
        if let Some(engine) = self.engine.clone() {
            self.call = self.next_call(engine, now);
        }
    }

    fn next_call(&mut self, engine: Engine, now: Instant) -> Option<Call> {
        if self.blocked.is_none() || self.is_retrying {
            let step = self.step_call(&engine);
            if step.is_some() {
                return step;
            }
        }
        if self.is_trusted && (self.list_for.is_some() || self.guard.is_list_due(now)) {
            return Some(Box::pin(async move { Answer::Listed(engine.nodes().await) }));
        }
        if self.is_trusted && self.is_alive_due {
            self.is_alive_due = false;
            let (node, mut lease) = (self.node.clone(), self.lease.take());
            return Some(Box::pin(async move {
                let outcome = engine.keep_alive(&node, &mut lease).await;
                Answer::Alive(lease, outcome)
            }));
        }
        None
    }

    fn step_call(&self, engine: &Engine) -> Option<Call> {
        let engine = engine.clone();
        match (self.step, &self.memory) {
            (Step::Network, _) => Some(Box::pin(async move { Answer::Network(engine.network().await) })),
            (Step::Create, Some(memory)) => {
                let network = memory.network.clone();
                Some(Box::pin(async move { Answer::Created(engine.create(&network).await) }))
            }
            // Before its first claim, the list says whether another node is in its place.
            (Step::Claim, Some(memory)) if memory.blocks.is_empty() && !self.is_list_told => None,
            (Step::Claim, Some(memory)) => {
                let (network, me) = (memory.network.clone(), self.me());
                let earlier: Vec<IpNetwork> = memory.blocks.clone();
                Some(Box::pin(async move { Answer::Claimed(engine.claim(&network, &me, &earlier).await) }))
            }
            (Step::Publish, Some(_)) => {
                let (node, record) = (self.node.clone(), self.record()?);
                Some(Box::pin(async move {
                    let outcome = engine.publish(&node, &record).await;
                    Answer::Published(record, outcome)
                }))
            }
            _ => None,
        }
    }

    /// This node, as its claims name it.
    pub(super) fn me(&self) -> Claim {
        Claim { node: self.node.clone(), machine: self.machine.clone() }
    }
}
