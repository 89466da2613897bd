//! The chain of a network: whom it masquerades, and by which chains it needs localhost.

use ipnetwork::IpNetwork;
use nftables::{Batch, Chain, Expr, Field, Selector, Socket};

use super::names;
use super::rules::LOOPBACK;
use super::table::{NETWORKS, STAND_IN, TABLE};
use crate::error::Error;

/// The chain of a network, for containers of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkChain {
    pub name: String,
    /// The container's subnets: from there, ports are reached by way of the host's address.
    pub subnets: Vec<IpNetwork>,
    /// Everybody is masqueraded.
    pub masq_all: bool,
    /// By what localhost leads to the container, as far as this plugin has that in hand.
    pub locals: Vec<String>,
    /// The chain is one of the first version, which masqueraded whatever the host itself sends.
    pub is_old: bool,
}

impl NetworkChain {
    /// Adds the chain, and those of its interfaces where there are none. Fails where any of them exists by now.
    pub(crate) fn create(&self, batch: &mut Batch, socket: &mut Socket) -> Result<(), Error> {
        let chain = Chain::new(TABLE, &self.name);
        batch.create_chain(&chain);
        self.create_locals(batch, socket)?;
        self.fill(batch);
        Ok(())
    }

    /// Puts back the rules of a chain that is there, and of its interfaces' chains.
    pub(crate) fn restore(&self, batch: &mut Batch, socket: &mut Socket) -> Result<(), Error> {
        for interface in &self.locals {
            let name = names::local_chain(interface);
            let local = Chain::new(TABLE, &name);
            if socket.has_chain(&local)? {
                batch.flush_chain(&local).add_rule(&local, &[Expr::jump(NETWORKS.name)], None);
            }
        }
        self.create_locals(batch, socket)?;
        batch.flush_chain(&Chain::new(TABLE, &self.name));
        self.fill(batch);
        Ok(())
    }

    /// Whether its rules are there.
    pub(crate) fn is_complete(&self, socket: &mut Socket) -> Result<bool, Error> {
        Ok(socket.rules(&Chain::new(TABLE, &self.name))?.len() == self.rules().len())
    }

    fn create_locals(&self, batch: &mut Batch, socket: &mut Socket) -> Result<(), Error> {
        for interface in &self.locals {
            let name = names::local_chain(interface);
            let local = Chain::new(TABLE, &name);
            if !socket.has_chain(&local)? {
                batch.create_chain(&local).add_rule(&local, &[Expr::jump(NETWORKS.name)], None);
            }
        }
        Ok(())
    }

    fn fill(&self, batch: &mut Batch) {
        let chain = Chain::new(TABLE, &self.name);
        for exprs in self.rules() {
            batch.add_rule(&chain, &exprs, None);
        }
    }

    fn rules(&self) -> Vec<Vec<Expr<'static>>> {
        let mut rules: Vec<Vec<Expr>> =
            self.locals.iter().map(|interface| vec![Expr::jump(names::local_chain(interface))]).collect();
        if rules.is_empty() {
            rules.push(vec![Expr::jump(NETWORKS.name)]);
        }
        if self.masq_all {
            rules.push(vec![Expr::Masquerade]);
            return rules;
        }
        if self.is_old {
            rules.push(vec![Expr::from_local(), Expr::Masquerade]);
        }
        for &subnet in &self.subnets {
            let saddr = if subnet.is_ipv4() { Selector::IpSaddr } else { Selector::Ip6Saddr };
            if !self.is_old {
                // Nobody answers localhost by way of another link. The host's own addresses anybody can answer.
                let localhost = match subnet {
                    IpNetwork::V4(_) => Expr::within(saddr, LOOPBACK),
                    IpNetwork::V6(_) => Expr::eq(saddr, Field::Ipv6(STAND_IN)),
                };
                rules.push(vec![localhost, Expr::Masquerade]);
            }
            rules.push(vec![Expr::within(saddr, subnet), Expr::Masquerade]);
        }
        rules
    }
}
