//! ADD: everything in one transaction. What is in its way is a conflict, or was left behind and is removed first.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashSet};

use cni::{Attachment, ContainerId, Protocol};
use nftables::ledger::{self, Change, Entry};
use nftables::{Batch, Chain, Socket, Table};

use super::conflict::{Conflict, resolve};
use super::free_ports::{self, Candidates};
use super::owner::Owner;
use super::plan::Plan;
use super::table::{OWNERS, TABLE};
use super::{holdings, localhost, owner_record as record, route_localnet, rules as ruleset, standby};
use crate::backend::Known;
use crate::conf::{Conf, Mapping};
use crate::container::Container;
use crate::error::Error;
use crate::iptables::taken;
use crate::port::Port;
use crate::{flows, listener};

/// The ADD of an attachment: what is to be in the table, and what was decided for it so far.
pub(crate) struct Publish<'a> {
    attachment: &'a Attachment,
    container: &'a Container,
    /// By what localhost is to lead to the container, as far as this plugin switches it.
    locals: Vec<String>,
    /// Host ports that were left open are filled in as they are chosen.
    conf: Conf,
    /// By place in `conf.mappings`: whether the host port is this plugin's choice.
    open: Vec<bool>,
    /// Made when first needed.
    candidates: BTreeMap<Protocol, Candidates>,
    /// How often a port that was chosen was lost to another container.
    losses: u32,
    /// Whether this ADD repeats one, as to put back what is missing.
    repeats: bool,
    plan: Plan,
}

impl<'a> Publish<'a> {
    /// Decides what is to be there. With `by_chains` iptables publishes the ports, and only localhost leads to them by this
    /// table.
    pub(crate) fn new(
        rules: &mut Socket,
        attachment: &'a Attachment,
        mut conf: Conf,
        container: &'a Container,
        Known { ports, locals }: Known,
        by_chains: bool,
    ) -> Result<Self, Error> {
        let open: Vec<bool> = conf.mappings.iter().map(|mapping| mapping.host_port.is_none()).collect();
        // An ADD that is repeated keeps the ports that it chose.
        free_ports::recall(&mut conf.mappings, &ports);
        let Container { addresses, interface, .. } = container;
        let mut plan = Plan::new(attachment, &conf, addresses, interface, locals.clone())?;
        plan.by_chains = by_chains;
        let (candidates, losses, repeats) = (BTreeMap::new(), 0, false);
        let mut publish =
            Self { attachment, container, locals, conf, open, candidates, losses, repeats, plan };
        publish.choose_open(rules)?;
        Ok(publish)
    }

    /// Publishes the ports. A failure before the transaction leaves nothing behind; one after it is for the caller to
    /// undo, by removing the owner. `framed` are the tables of iptables that may have published a port before.
    pub(crate) fn run(mut self, rules: &mut Socket, framed: &[Table]) -> Result<(), Error> {
        if self.plan.ports.is_empty() {
            return Ok(());
        }
        listener::refuse(&self.conf, self.plan.ports.iter().map(|(_, port)| port))?;
        taken::refuse_taken(rules, framed, self.attachment, &self.plan.ports)?;
        self.commit(rules)?;
        if !self.container.localnets.is_empty() {
            let mut links = netlink::Socket::open()?;
            for interface in enable(&self.container.localnets, &mut links)? {
                if self.locals.contains(&interface) {
                    localhost::take_back(rules, &interface)?;
                }
            }
            route_localnet::close_left_on(rules, &mut links, self.container)?;
        }
        flows::forget_unpublished(rules, self.plan.ports.iter().map(|(_, port)| port))
    }

    /// Puts the plan into the table, in one transaction.
    pub(crate) fn commit(&mut self, rules: &mut Socket) -> Result<(), Error> {
        ledger::put(rules, &mut [self])
    }

    /// Gives each mapping without a host port one that is free as far as can be seen; whether it is, the transaction decides.
    fn choose_open(&mut self, rules: &mut Socket) -> Result<(), Error> {
        let mut is_chosen = false;
        for at in 0..self.conf.mappings.len() {
            let mapping: Mapping = self.conf.mappings[at];
            if mapping.host_port.is_some() {
                continue;
            }
            let candidates = match self.candidates.entry(mapping.protocol) {
                Slot::Occupied(known) => known.into_mut(),
                Slot::Vacant(slot) => {
                    let range = self.conf.free_ports.as_ref();
                    slot.insert(Candidates::new(rules, mapping.protocol, range, self.attachment)?)
                }
            };
            let port = candidates.choose(rules, &mapping, &self.conf.mappings, &self.container.addresses)?;
            self.conf.mappings[at].host_port = Some(port);
            is_chosen = true;
        }
        if is_chosen {
            let Container { addresses, interface, .. } = self.container;
            let by_chains = self.plan.by_chains;
            self.plan = Plan::new(self.attachment, &self.conf, addresses, interface, self.locals.clone())?;
            self.plan.by_chains = by_chains;
        }
        Ok(())
    }

    /// Removes what was left behind in the plan's way, yields to what others have rightly, and chooses another free port for
    /// one that was lost. Fails where another container has a port that was asked for by number.
    fn resolve(&mut self, rules: &mut Socket) -> Result<(), Error> {
        match resolve(rules, &self.plan, &self.attachment.container_id)? {
            Conflict::None | Conflict::Removed => Ok(()),
            Conflict::Repeated => {
                self.repeats = true;
                Ok(())
            }
            Conflict::Earlier(found) => {
                for before in found {
                    self.plan.yield_to(before);
                }
                Ok(())
            }
            Conflict::Taken { at, .. } if self.open[at] => {
                self.losses += 1;
                for candidates in self.candidates.values_mut() {
                    candidates.step_aside(self.losses);
                }
                self.conf.mappings[at].host_port = None;
                self.choose_open(rules)
            }
            Conflict::Taken { port, holder, .. } => Err(Error::Taken { port, holder }),
        }
    }

    /// Adds everything to a transaction. Chains and the table are looked up first: a refused transaction costs the kernel a
    /// grace period.
    fn fill(&self, rules: &mut Socket, batch: &mut Batch) -> Result<(), Error> {
        let plan = &self.plan;
        let has_chain = rules.has_chain(&Chain::new(TABLE, &plan.chain.name))?;
        if !has_chain || self.repeats {
            if !rules.has_table(&TABLE)? {
                ruleset::create_table(batch)?;
            } else if self.repeats || !ruleset::is_of_this_version(rules)? {
                ruleset::restore_table(batch)?;
            }
            plan.chain.put(batch, rules, has_chain)?;
        }
        for ((map, _), element, _) in plan.elements() {
            batch.create_element(map, &element);
        }
        batch.create_element(&OWNERS, &plan.record()?);
        // By protocol the last that was chosen.
        for protocol in self.candidates.keys() {
            let chosen = self.conf.mappings.iter().zip(&self.open).rev();
            let last = chosen.filter(|(_, open)| **open).find(|(mapping, _)| mapping.protocol == *protocol);
            if let Some(port) = last.and_then(|(mapping, _)| mapping.host_port) {
                free_ports::remember(rules, batch, *protocol, port)?;
            }
        }
        Ok(())
    }
}

impl Entry<Error> for Publish<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, rules: &mut Socket, change: &mut Change) -> Result<(), Error> {
        if change.is_blocked {
            self.resolve(rules)?;
        }
        if !self.plan.earlier.is_empty() {
            // What others have before this one must still be theirs in the transaction.
            change.needs_ruleset_as_read();
            self.plan.forget_gone(rules)?;
        }
        self.fill(rules, &mut change.batch)?;
        for owner in &self.plan.earlier {
            if let Some(found) = rules.get_element(&OWNERS, &[owner.key()?])?
                && let (Some(chain), Some(text)) = (record::chain(&found), &found.comment)
            {
                let heir = std::slice::from_ref(&self.plan.owner);
                standby::enter(&mut change.batch, owner, chain, text, heir)?;
            }
        }
        Ok(())
    }
}

/// Reads what an attachment's ADD builds on.
pub(crate) fn known(
    rules: &mut Socket,
    attachment: &Attachment,
    conf: &Conf,
    container: &Container,
) -> Result<Known, Error> {
    let mut known = Known::default();
    if conf.mappings.iter().any(|mapping| mapping.host_port.is_none())
        && let Some(own) = holdings::recall(rules, &Owner::of(attachment), &[])?
    {
        known.ports = own.ports;
    }
    for interface in &container.localnets {
        if container.off.contains(interface) || localhost::is_ours(rules, interface)? {
            known.locals.push(interface.clone());
        }
    }
    Ok(known)
}

/// Has localhost lead through interfaces, and returns those that it did not lead through before.
pub(crate) fn enable(localnets: &[String], links: &mut netlink::Socket) -> Result<Vec<String>, Error> {
    let mut switched = Vec::new();
    for interface in localnets {
        if localhost::enable(links, interface)? {
            switched.push(interface.clone());
        }
    }
    Ok(switched)
}

/// For the backend of iptables: fails where a port is another container's in the table. What is this one's own, or was left
/// behind, goes.
pub(crate) fn clear_ports(
    rules: &mut Socket,
    attachment: &Attachment,
    conf: &Conf,
    container: &Container,
) -> Result<(), Error> {
    let mut plan = Plan::new(attachment, conf, &container.addresses, &container.interface, Vec::new())?;
    // Iptables masquerades by ports, not by addresses.
    plan.hair.clear();
    let container_id = &attachment.container_id;
    ledger::put(rules, &mut [&mut Clearing { plan, container_id, is_clear: false }])
}

/// Looks for conflicts until there is none: each look removes what it finds.
struct Clearing<'a> {
    plan: Plan,
    container_id: &'a ContainerId,
    is_clear: bool,
}

impl Entry<Error> for Clearing<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, rules: &mut Socket, _: &mut Change) -> Result<(), Error> {
        match resolve(rules, &self.plan, self.container_id)? {
            Conflict::Taken { port, holder, .. } => return Err(Error::Taken { port, holder }),
            Conflict::None => self.is_clear = true,
            // Both have it: the one goes first, and the other remains when that is left.
            Conflict::Earlier(found) => {
                let own: HashSet<Port> = found.iter().filter_map(|before| before.port).collect();
                self.plan.ports.retain(|(_, port)| !own.contains(port));
            }
            Conflict::Repeated | Conflict::Removed => {}
        }
        Ok(())
    }

    fn is_settled(&mut self, _: &mut Socket) -> Result<bool, Error> {
        Ok(self.is_clear)
    }
}
