//! The chain of a network: whom it masquerades, and by which chains it needs localhost.

use ipnetwork::IpNetwork;
use nftables::{Batch, Chain, Expr, Field, Selector, Socket};

use super::names;
use super::skeleton::LOOPBACK;
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
    /// By what localhost leads to the container: [`super::table::LO4`], [`super::table::LO`], or interfaces of an old version.
    pub locals: Vec<String>,
    /// The chain is one of the first version, which masqueraded whatever the host itself sends.
    pub is_old: bool,
}

impl NetworkChain {
    /// Adds the chain, or puts back the rules of one that is there, and the same for the chains of its interfaces. Fails where
    /// another process makes one of them meanwhile.
    pub(crate) fn put(&self, batch: &mut Batch, socket: &mut Socket, is_there: bool) -> Result<(), Error> {
        for interface in &self.locals {
            let name = names::local_chain(interface);
            let local = Chain::new(TABLE, &name);
            let has_local = socket.has_chain(&local)?;
            if is_there || !has_local {
                begin(batch, &local, has_local).add_rule(&local, &[Expr::jump(NETWORKS.name)], None);
            }
        }
        let chain = Chain::new(TABLE, &self.name);
        begin(batch, &chain, is_there);
        for exprs in self.rules() {
            batch.add_rule(&chain, &exprs, None);
        }
        Ok(())
    }

    /// Whether its rules are there.
    pub(crate) fn is_complete(&self, socket: &mut Socket) -> Result<bool, Error> {
        Ok(socket.rules(&Chain::new(TABLE, &self.name))?.len() == self.rules().len())
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

/// Empties a chain that is there, or creates it.
fn begin<'b>(batch: &'b mut Batch, chain: &Chain, is_there: bool) -> &'b mut Batch {
    if is_there { batch.flush_chain(chain) } else { batch.create_chain(chain) }
}
