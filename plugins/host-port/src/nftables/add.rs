//! ADD: everything in one transaction. What is in its way is a conflict, or was left behind and is removed first.

use std::collections::HashSet;

use cni::{Attachment, ContainerId};
use nftables::ledger::{self, Change, Entry};
use nftables::{Batch, Chain, Socket, Table};

use super::conflict::{Way, clear_way};
use super::free_ports::{self, Candidates};
use super::owner::Owner;
use super::plan::Plan;
use super::table::{OWNERS, TABLE};
use super::{holdings, localhost, owner_record as record, route_localnet, rules as ruleset, standby};
use crate::conf::{Conf, Mapping};
use crate::container::Container;
use crate::error::Error;
use crate::iptables::taken;
use crate::port::{Port, Protocol};
use crate::{flows, listener};

/// One ADD.
pub(crate) struct Publish<'a> {
    attachment: &'a Attachment,
    container: &'a Container,
    locals: Vec<String>,
    /// Host ports that were left open are filled in as they are chosen.
    conf: Conf,
    /// By place in `conf.mappings`: whether the host port is this plugin's choice.
    open: Vec<bool>,
    /// Made when first needed.
    candidates: Vec<(Protocol, Candidates)>,
    /// How often a port that was chosen was lost to somebody else.
    losses: u32,
    /// Whether this ADD repeats one, as to put back what is missing.
    repeats: bool,
    /// Whether iptables publishes the ports.
    by_chains: bool,
}

impl<'a> Publish<'a> {
    pub(crate) fn new(
        rules: &mut Socket,
        attachment: &'a Attachment,
        mut conf: Conf,
        container: &'a Container,
    ) -> Result<Self, Error> {
        let open: Vec<bool> = conf.mappings.iter().map(|mapping| mapping.host_port.is_none()).collect();
        if open.contains(&true)
            && let Some(own) = holdings::recall(rules, &Owner::of(attachment), &[])?
        {
            // An ADD that is repeated keeps the ports that it chose.
            free_ports::recall(&mut conf.mappings, &own.ports);
        }
        let mut locals = Vec::with_capacity(container.localnets.len());
        for interface in &container.localnets {
            if container.off.contains(interface) || localhost::is_ours(rules, interface)? {
                locals.push(interface.clone());
            }
        }
        Ok(Self {
            attachment,
            container,
            locals,
            conf,
            open,
            candidates: Vec::new(),
            losses: 0,
            repeats: false,
            by_chains: false,
        })
    }

    /// Publishes the ports. A failure before the transaction leaves nothing behind; one after it is for the caller to
    /// undo, by removing the owner. `framed` are the tables of iptables that may have published a port before.
    pub(crate) fn run(mut self, rules: &mut Socket, framed: &[Table]) -> Result<(), Error> {
        let plan = self.plan(rules)?;
        if plan.ports.is_empty() {
            return Ok(());
        }
        listener::refuse(&self.conf, plan.ports.iter().map(|(_, port)| port))?;
        taken::refuse_taken(rules, framed, self.attachment, &plan.ports)?;
        let plan = self.commit(rules, plan)?;
        if !self.container.localnets.is_empty() {
            let mut links = netlink::Socket::open()?;
            for interface in enable(&self.container.localnets, &mut links)? {
                if self.locals.contains(&interface) {
                    localhost::take_back(rules, &interface)?;
                }
            }
            route_localnet::close_left_on(rules, &mut links, self.container)?;
        }
        flows::forget_unpublished(rules, plan.ports.iter().map(|(_, port)| port))
    }

    /// For localhost alone: iptables publishes the ports.
    pub(crate) fn localhost(mut self, rules: &mut Socket) -> Result<(), Error> {
        self.by_chains = true;
        let plan = self.plan(rules)?;
        self.commit(rules, plan).map(drop)
    }

    fn plan(&mut self, rules: &mut Socket) -> Result<Plan, Error> {
        for at in 0..self.conf.mappings.len() {
            if self.conf.mappings[at].host_port.is_none() {
                self.choose(rules, at)?;
            }
        }
        let Container { addresses, interface, .. } = self.container;
        let mut plan = Plan::new(self.attachment, &self.conf, addresses, interface, self.locals.clone())?;
        plan.by_chains = self.by_chains;
        Ok(plan)
    }

    /// Gives a mapping a host port that is free as far as can be seen; whether it is, the transaction decides.
    fn choose(&mut self, rules: &mut Socket, at: usize) -> Result<(), Error> {
        let mapping: Mapping = self.conf.mappings[at];
        let known = self.candidates.iter().position(|(protocol, _)| *protocol == mapping.protocol);
        let index = if let Some(index) = known {
            index
        } else {
            let range = self.conf.free_ports.as_ref();
            let candidates = Candidates::new(rules, mapping.protocol, range, self.attachment)?;
            self.candidates.push((mapping.protocol, candidates));
            self.candidates.len() - 1
        };
        let candidates = &mut self.candidates[index].1;
        let port = candidates.choose(rules, &mapping, &self.conf.mappings, &self.container.addresses)?;
        self.conf.mappings[at].host_port = Some(port);
        Ok(())
    }

    /// Carries the plan out, in one transaction.
    fn commit(&mut self, rules: &mut Socket, plan: Plan) -> Result<Plan, Error> {
        let mut addition = Addition { publish: self, plan, cleared: 0 };
        ledger::put(rules, &mut [&mut addition])?;
        Ok(addition.plan)
    }

    /// Does what stands in the way of the plan ask for: another plan, or a refusal.
    fn clear_way(&mut self, rules: &mut Socket, plan: &mut Plan) -> Result<(), Error> {
        match clear_way(rules, plan, &self.attachment.container_id)? {
            Way::Clear | Way::Cleared => {}
            Way::Repeated => self.repeats = true,
            Way::Before(found) => {
                for before in found {
                    plan.yield_to(before);
                }
            }
            Way::Taken { at, .. } if self.open[at] => {
                self.losses += 1;
                for (_, candidates) in &mut self.candidates {
                    candidates.step_aside(self.losses);
                }
                self.conf.mappings[at].host_port = None;
                *plan = self.plan(rules)?;
            }
            Way::Taken { port, holder, .. } => return Err(Error::Taken { port, holder }),
        }
        Ok(())
    }

    /// The whole of it. What has to be made besides the elements is asked for first: to try and be refused costs the
    /// kernel a grace period.
    fn fill(&self, rules: &mut Socket, batch: &mut Batch, plan: &Plan) -> Result<(), Error> {
        let has_chain = rules.has_chain(&Chain::new(TABLE, &plan.chain.name))?;
        if !has_chain || self.repeats {
            if !rules.has_table(&TABLE)? {
                ruleset::create_table(batch)?;
            } else if self.repeats || !ruleset::is_of_this_version(rules)? {
                ruleset::restore_table(batch)?;
            }
            if has_chain {
                plan.chain.restore(batch, rules)?;
            } else {
                plan.chain.create(batch, rules)?;
            }
        }
        for ((map, _), element, _) in plan.elements() {
            batch.create_element(map, &element);
        }
        batch.create_element(&OWNERS, &plan.memory()?);
        // By protocol the last that was chosen.
        for (protocol, _) in &self.candidates {
            let chosen = self.conf.mappings.iter().zip(&self.open).rev();
            let last = chosen.filter(|(_, open)| **open).find(|(mapping, _)| mapping.protocol == *protocol);
            if let Some(port) = last.and_then(|(mapping, _)| mapping.host_port) {
                free_ports::remember(rules, batch, *protocol, port)?;
            }
        }
        Ok(())
    }
}

/// The transaction of an ADD.
struct Addition<'a, 'b> {
    publish: &'a mut Publish<'b>,
    plan: Plan,
    /// The last attempt before which the way was cleared.
    cleared: usize,
}

impl Entry<Error> for Addition<'_, '_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, rules: &mut Socket, change: &mut Change) -> Result<(), Error> {
        let Self { publish, plan, cleared } = self;
        // The last attempt was refused: something has the same key, or what an element leads to has just been removed.
        if change.attempt > *cleared {
            *cleared = change.attempt;
            publish.clear_way(rules, plan)?;
        }
        if plan.before.is_empty() {
            return publish.fill(rules, &mut change.batch, plan);
        }
        // What others have before this one must still be theirs in the transaction.
        change.needs_ruleset_as_read();
        plan.forget_gone(rules)?;
        publish.fill(rules, &mut change.batch, plan)?;
        for owner in &plan.before {
            if let Some(found) = rules.get_element(&OWNERS, &[owner.key()?])?
                && let (Some(chain), Some(text)) = (record::chain(&found), &found.comment)
            {
                let heir = std::slice::from_ref(&plan.owner);
                standby::enter(&mut change.batch, owner, chain, text, heir)?;
            }
        }
        Ok(())
    }
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

/// A look at what is in the way, until nothing is: each look removes what it finds.
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
        match clear_way(rules, &self.plan, self.container_id)? {
            Way::Taken { port, holder, .. } => return Err(Error::Taken { port, holder }),
            Way::Clear => self.is_clear = true,
            // Both have it: the one goes first, and the other remains when that is left.
            Way::Before(found) => {
                let own: HashSet<Port> = found.iter().filter_map(|before| before.port).collect();
                self.plan.ports.retain(|(_, port)| !own.contains(port));
            }
            Way::Repeated | Way::Cleared => {}
        }
        Ok(())
    }

    fn is_settled(&mut self, _: &mut Socket) -> Result<bool, Error> {
        Ok(self.is_clear)
    }
}
