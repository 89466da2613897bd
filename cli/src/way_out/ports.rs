//! Published ports, which go from one network of a container to another.

use serde_json::Value;

use super::networks::Networks;
use super::standing::Standing;
use crate::error::Error;
use crate::inventory::{Attached, keep_ports};
use crate::network::{LINK_ENV, PORT_MAPPINGS, declaring, publishes};
use crate::runtime::Making;

/// Where the ports of a container are kept that is on no network which could publish them.
const PARKED: &str = "io.cleat.portMappings";

/// What an attachment publishes, with the numbers that free ports were given; `None` where that is nothing.
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
    /// Records which network is to have ports that another one, which is about to be left, publishes: the first of those
    /// that stay and can. Says whether one does; otherwise they are kept with any network that stays.
    pub(crate) fn bequeath(&mut self, mappings: &Value) -> Result<bool, Error> {
        let runtime = self.runtime;
        if let Some(heir) = self.all.iter_mut().find(|standing| standing.can_publish()) {
            // It may have them already, as podman passes the same ports to each network.
            if heir.published().is_none() {
                heir.keep(runtime, PORT_MAPPINGS, Some(mappings.clone()))?;
            }
            return Ok(true);
        }
        if let Some(any) = self.all.first_mut() {
            any.keep(runtime, PARKED, Some(mappings.clone()))?;
        }
        Ok(false)
    }

    /// Has the network that is to publish the ports do so, once nobody else does.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        let heir = self.all.iter().find(|standing| standing.can_publish() && standing.published().is_some());
        heir.map_or(Ok(()), |heir| self.publish_on(heir))
    }

    /// Moves the ports to the network that comes first of those that can publish them, unless it has ports. `current` are
    /// those of now with the numbers that free ports were given. Where nobody has any, they are those that were kept, or
    /// else the first of `wanted` that are free. What fails leaves them where they were.
    pub(crate) fn settle_ports(&mut self, current: Option<Value>, wanted: Vec<Value>) -> Result<(), Error> {
        let Some(first) = self.all.iter().position(Standing::can_publish) else { return Ok(()) };
        if self.all[first].published().is_some() {
            return Ok(());
        }
        let holders: Vec<usize> = (0..self.all.len())
            .filter(|at| self.all[*at].can_publish() && self.all[*at].published().is_some())
            .collect();
        let held = holders.first().and_then(|holder| self.all[*holder].published().cloned());
        let kept = self.all.iter().find_map(|standing| standing.capability(PARKED)).cloned();
        let mut candidates = match held {
            Some(held) => vec![current.unwrap_or(held)],
            None => kept.into_iter().chain(wanted).collect(),
        };
        candidates.retain(is_something);
        let mut refusal = None;
        for mappings in candidates {
            match self.move_to(first, &holders, &mappings) {
                Ok(()) => {
                    let runtime = self.runtime;
                    return self.all.iter_mut().try_for_each(|standing| standing.keep(runtime, PARKED, None));
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    fn move_to(&mut self, first: usize, holders: &[usize], mappings: &Value) -> Result<(), Error> {
        let runtime = self.runtime;
        self.all[first].keep(runtime, PORT_MAPPINGS, Some(mappings.clone()))?;
        let moved = holders
            .iter()
            .try_for_each(|holder| self.unpublish(*holder))
            .and_then(|()| self.publish_on(&self.all[first]));
        moved.inspect_err(|_| {
            // The error is what is told; what cannot be put back, `check` names.
            let _ = self.unpublish(first);
            if let Some(holder) = holders.first() {
                let _ = self.all[*holder]
                    .keep(runtime, PORT_MAPPINGS, Some(mappings.clone()))
                    .and_then(|()| self.publish_on(&self.all[*holder]));
            }
        })
    }

    fn unpublish(&mut self, at: usize) -> Result<(), Error> {
        let (runtime, netns) = (self.runtime, self.netns);
        let standing = &mut self.all[at];
        let doing = format!("take the ports of {}", standing.attachment);
        let making = standing.making(netns);
        let parameters = making.parameters(&standing.attachment);
        for (place, _) in declaring(&making.list, PORT_MAPPINGS).filter(|(_, name)| *name != LINK_ENV) {
            let removed = runtime.chain(&making.list).del_alone(place, &parameters);
            removed.map_err(Error::contract(doing.as_str()))?;
        }
        standing.keep(runtime, PORT_MAPPINGS, None)?;
        // Containers that link to this one must no longer find its ports here.
        self.add_again(&self.all[at], &doing, |name| name == LINK_ENV)
    }

    fn publish_on(&self, standing: &Standing) -> Result<(), Error> {
        self.add_again(standing, &format!("publish the ports of {}", standing.attachment), |_| true)
    }

    /// Repeats the ADD of those plugins that get ports.
    fn add_again(
        &self,
        standing: &Standing,
        doing: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let making = standing.making(self.netns);
        let chain = self.runtime.chain(&making.list);
        declaring(&making.list, PORT_MAPPINGS).filter(|(_, name)| is_meant(name)).try_for_each(
            |(place, _)| {
                let added = chain.add_again(place, &making.parameters(&standing.attachment));
                added.map_err(Error::contract(doing))
            },
        )
    }
}

impl Standing {
    fn can_publish(&self) -> bool {
        publishes(&self.list)
    }

    fn published(&self) -> Option<&Value> {
        self.capability(PORT_MAPPINGS).filter(|mappings| is_something(mappings))
    }
}
