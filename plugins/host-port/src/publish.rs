//! ADD: everything in one transaction. What is in its way is a conflict, or was left behind and is removed first.

use std::collections::HashSet;

use cni::{Attachment, ContainerId};
use nftables::{Batch, Chain, Socket, Table};

use crate::conf::{Conf, Mapping};
use crate::container::Container;
use crate::error::Error;
use crate::free::{self, Candidates};
use crate::holder::Owner;
use crate::memory;
use crate::plan::{self, Plan};
use crate::port::{Port, Protocol};
use crate::ruleset::{self, OWNERS, TABLE};
use crate::way::{Way, clear_way};
use crate::{chains, flows, listener, localhost, spare};

/// How often a transaction is tried again when another process changed something in between.
pub(crate) const TRIES: usize = 50;

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
            && let Some(own) = memory::recall(rules, &Owner::of(attachment), &[])?
        {
            // An ADD that is repeated keeps the ports that it chose.
            free::recall(&mut conf.mappings, &own.ports);
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
        if self.conf.check_listeners
            && let Some((_, port)) = plan.ports.iter().find(|(_, port)| listener::is_bound(port))
        {
            return Err(Error::Listened { port: *port, address: listener::address(port) });
        }
        chains::refuse_taken(rules, framed, self.attachment, &plan.ports)?;
        let plan = self.commit(rules, plan)?;
        if !self.container.localnets.is_empty() {
            let mut links = netlink::Socket::open()?;
            for interface in enable(&self.container.localnets, &mut links)? {
                if self.locals.contains(&interface) {
                    localhost::take_back(rules, &interface)?;
                }
            }
            localhost::close_left_on(rules, &mut links, self.container)?;
        }
        flows::forget_unpublished(rules, plan.ports.iter().map(|(_, port)| port))
    }

    /// For localhost alone: iptables publishes the ports.
    fn localhost(mut self, rules: &mut Socket) -> Result<(), Error> {
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

    fn commit(&mut self, rules: &mut Socket, mut plan: Plan) -> Result<Plan, Error> {
        for _ in 0..TRIES {
            match self.send(rules, &mut plan) {
                Ok(()) => return Ok(plan),
                // What it leads to has just been removed, with the last container that needed it; or whoever came before
                // has changed.
                Err(Error::Nftables(error)) if error.is_not_found() || error.is_restart() => {}
                // Older kernels call a key that exists with other data busy.
                Err(Error::Nftables(error)) if error.is_exists() || error.is_busy() => {
                    match clear_way(rules, &plan, &self.attachment.container_id)? {
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
                            plan = self.plan(rules)?;
                        }
                        Way::Taken { port, holder, .. } => return Err(Error::Taken { port, holder }),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended("publish ports"))
    }

    /// One attempt. What others have before this one must still be theirs when it is carried out.
    fn send(&self, rules: &mut Socket, plan: &mut Plan) -> Result<(), Error> {
        if plan.before.is_empty() {
            return Ok(self.batch(rules, plan)?.commit(rules)?);
        }
        let generation = rules.generation()?;
        let (mut spares, mut shared) = (HashSet::new(), Vec::new());
        for port in plan.spares.drain() {
            if rules.get_element(port.map(), &port.key())?.is_some() {
                spares.insert(port);
            }
        }
        let mut lent = HashSet::new();
        for port in plan.lent.drain() {
            if let Some((set, key)) = port.localhost()
                && rules.get_element(set, &key)?.is_some()
            {
                lent.insert(port);
            }
        }
        for address in plan.shared.drain(..) {
            let (map, key) = memory::hair_place(address);
            if rules.get_element(map, &key)?.is_some() {
                shared.push(address);
            }
        }
        (plan.spares, plan.lent, plan.shared) = (spares, lent, shared);
        let mut batch = self.batch(rules, plan)?;
        for owner in &plan.before {
            if let Some(found) = rules.get_element(&OWNERS, &[owner.key()?])?
                && let (Some(chain), Some(text)) = (memory::chain(&found), &found.comment)
            {
                let heir = std::slice::from_ref(&plan.owner);
                spare::enter(&mut batch, owner, chain, text, heir)?;
            }
        }
        Ok(batch.commit_at(rules, generation)?)
    }

    /// The whole of it. What has to be made besides the elements is asked for first: to try and be refused costs the
    /// kernel a grace period.
    fn batch(&self, rules: &mut Socket, plan: &Plan) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        let has_chain = rules.has_chain(&Chain::new(TABLE, &plan.chain.name))?;
        if !has_chain || self.repeats {
            if !rules.has_table(&TABLE)? {
                ruleset::create_table(&mut batch)?;
            } else if self.repeats || !ruleset::is_of_this_version(rules)? {
                ruleset::restore_table(&mut batch)?;
            }
            if has_chain {
                plan.chain.restore(&mut batch, rules)?;
            } else {
                plan.chain.create(&mut batch, rules)?;
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
                free::remember(rules, &mut batch, *protocol, port)?;
            }
        }
        Ok(batch)
    }
}

/// Has localhost lead through interfaces, and returns those that it did not lead through before.
fn enable(localnets: &[String], links: &mut netlink::Socket) -> Result<Vec<String>, Error> {
    let mut switched = Vec::new();
    for interface in localnets {
        if localhost::enable(links, interface)? {
            switched.push(interface.clone());
        }
    }
    Ok(switched)
}

/// ADD with the iptables backend. What a failure leaves is for the caller to undo.
pub(crate) fn by_chains(
    mut rules: Option<&mut Socket>,
    attachment: &Attachment,
    conf: &Conf,
    container: &Container,
) -> Result<(), Error> {
    let ports = plan::published(&conf.mappings, &container.addresses)?;
    if ports.is_empty() {
        return Ok(());
    }
    if conf.check_listeners
        && let Some(port) = ports.iter().find(|port| listener::is_bound(port))
    {
        return Err(Error::Listened { port: *port, address: listener::address(port) });
    }
    let mut links = netlink::Socket::open()?;
    if let Some(rules) = rules.as_deref_mut() {
        let mut plan = Plan::new(attachment, conf, &container.addresses, &container.interface, Vec::new())?;
        // Iptables masquerades by ports, not by addresses.
        plan.hair.clear();
        clear_ports(rules, plan, &attachment.container_id)?;
        if !container.localnets.is_empty() {
            Publish::new(rules, attachment, conf.for_localhost(), container)?.localhost(rules)?;
        }
    }
    enable(&container.localnets, &mut links)?;
    if let Some(rules) = rules.as_deref_mut() {
        localhost::close_left_on(rules, &mut links, container)?;
    }
    chains::add(rules, attachment, conf, container, &ports)?;
    // The kernel has connection tracking without nf_tables as well.
    flows::forget_unpublished(&mut Socket::open()?, ports.iter())
}

/// Fails where a port is another container's in the table. What is this one's own, or was left behind, goes.
fn clear_ports(rules: &mut Socket, mut plan: Plan, container_id: &ContainerId) -> Result<(), Error> {
    for _ in 0..TRIES {
        match clear_way(rules, &plan, container_id)? {
            Way::Taken { port, holder, .. } => return Err(Error::Taken { port, holder }),
            Way::Clear => return Ok(()),
            // Both have it: the one goes first, and the other remains when that is left.
            Way::Before(found) => {
                let own: HashSet<Port> = found.iter().filter_map(|before| before.port).collect();
                plan.ports.retain(|(_, port)| !own.contains(port));
            }
            Way::Repeated | Way::Cleared => {}
        }
    }
    Err(Error::Contended("publish ports"))
}
