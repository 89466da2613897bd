//! Published ports, which move from one network of a container to another.

use serde_json::Value;

use super::cached::CachedAttachment;
use super::networks::Networks;
use crate::error::Error;
use crate::inventory::{Attached, keep_ports};
use crate::network::{LINK_ENV, PORT_MAPPINGS, declaring, publishes};
use crate::runtime::Making;

/// The capability under which ports are kept while the container is on no network that could publish them.
const UNPUBLISHED: &str = "io.cleat.portMappings";

/// The ports that an attachment publishes, with the numbers that free ports were given; `None` where there are none.
pub(crate) fn numbered(attached: &Attached) -> Option<Value> {
    let mut making = Making::of(attached.entry.clone()?).ok()?;
    if !publishes(&making.list) {
        return None;
    }
    keep_ports(&mut making, attached);
    making.capabilities.remove(PORT_MAPPINGS).filter(is_something)
}

fn is_something(mappings: &Value) -> bool {
    mappings.as_array().is_some_and(|mappings| !mappings.is_empty())
}

impl Networks<'_> {
    /// Records the heir of the ports that a network publishes which is about to be left: the first of the others that can.
    /// Returns whether there is one; otherwise the ports are kept with any of them.
    pub(crate) fn assign_heir(&mut self, mappings: &Value) -> Result<bool, Error> {
        let runtime = self.runtime;
        if let Some(heir) = self.all.iter_mut().find(|cached| cached.can_publish()) {
            // It may have them already, as podman passes the same ports to each network.
            if heir.published().is_none() {
                heir.keep(runtime, PORT_MAPPINGS, Some(mappings.clone()))?;
            }
            return Ok(true);
        }
        if let Some(any) = self.all.first_mut() {
            any.keep(runtime, UNPUBLISHED, Some(mappings.clone()))?;
        }
        Ok(false)
    }

    /// Publishes the ports of the heir, once the network that was left does not.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        let heir = self.all.iter().find(|cached| cached.published().is_some());
        heir.map_or(Ok(()), |heir| self.publish_on(heir))
    }

    /// Moves the ports to the network that comes first of those that can publish them, unless it has ports. `current` are
    /// those that are published, with the numbers that free ports were given. Where none are, they are those that were kept,
    /// or else the first of `wanted` that are free. On failure they stay where they were.
    pub(crate) fn settle_ports(&mut self, current: Option<Value>, wanted: Vec<Value>) -> Result<(), Error> {
        let Some(first) = self.all.iter().position(CachedAttachment::can_publish) else { return Ok(()) };
        if self.all[first].published().is_some() {
            return Ok(());
        }
        let holders: Vec<usize> =
            (0..self.all.len()).filter(|at| self.all[*at].published().is_some()).collect();
        let held = holders.first().and_then(|holder| self.all[*holder].published().cloned());
        let kept = self.all.iter().find_map(|cached| cached.making.capabilities.get(UNPUBLISHED)).cloned();
        let mut candidates = match held {
            Some(held) => vec![current.unwrap_or(held)],
            None => kept.into_iter().chain(wanted).collect(),
        };
        candidates.retain(is_something);
        let mut outcome = Ok(());
        for mappings in candidates {
            let moved = self.move_to(first, &holders, &mappings);
            if moved.is_ok() {
                let runtime = self.runtime;
                return self.all.iter_mut().try_for_each(|cached| cached.keep(runtime, UNPUBLISHED, None));
            }
            // The first refusal is reported.
            outcome = outcome.and(moved);
        }
        outcome
    }

    fn move_to(&mut self, first: usize, holders: &[usize], mappings: &Value) -> Result<(), Error> {
        let runtime = self.runtime;
        self.all[first].keep(runtime, PORT_MAPPINGS, Some(mappings.clone()))?;
        let moved = holders
            .iter()
            .try_for_each(|holder| self.unpublish(*holder))
            .and_then(|()| self.publish_on(&self.all[first]));
        moved.inspect_err(|_| {
            // This error is reported; what cannot be put back, `check` finds.
            let _ = self.unpublish(first);
            if let Some(holder) = holders.first() {
                let _ = self.all[*holder]
                    .keep(runtime, PORT_MAPPINGS, Some(mappings.clone()))
                    .and_then(|()| self.publish_on(&self.all[*holder]));
            }
        })
    }

    fn unpublish(&mut self, at: usize) -> Result<(), Error> {
        let runtime = self.runtime;
        let cached = &mut self.all[at];
        let doing = format!("take the ports of {}", cached.attachment);
        let list = &cached.making.list;
        for (place, _) in declaring(list, PORT_MAPPINGS).filter(|(_, name)| *name != LINK_ENV) {
            let removed = runtime.chain(list).del_alone(place, &cached.making.parameters(&cached.attachment));
            removed.map_err(Error::contract(doing.as_str()))?;
        }
        cached.keep(runtime, PORT_MAPPINGS, None)?;
        // Containers that link to this one must no longer find its ports here.
        self.add_again(&self.all[at], &doing, |name| name == LINK_ENV)
    }

    fn publish_on(&self, cached: &CachedAttachment) -> Result<(), Error> {
        self.add_again(cached, &format!("publish the ports of {}", cached.attachment), |_| true)
    }

    /// Repeats the ADD of those plugins that get ports.
    fn add_again(
        &self,
        CachedAttachment { attachment, making, .. }: &CachedAttachment,
        doing: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let mut plugins = declaring(&making.list, PORT_MAPPINGS).filter(|(_, name)| is_meant(name));
        plugins.try_for_each(|(place, _)| {
            let added = self.runtime.chain(&making.list).add_again(place, &making.parameters(attachment));
            added.map_err(Error::contract(doing))
        })
    }
}

impl CachedAttachment {
    fn can_publish(&self) -> bool {
        publishes(&self.making.list)
    }

    /// The ports that it publishes.
    fn published(&self) -> Option<&Value> {
        let mappings = self.making.capabilities.get(PORT_MAPPINGS);
        mappings.filter(|mappings| is_something(mappings) && self.can_publish())
    }
}
