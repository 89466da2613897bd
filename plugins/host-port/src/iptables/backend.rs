//! The verbs of this backend.

use nftables::Socket;

use super::add::{add, refuse_unsupported};
use super::{check, taken};
use crate::backend::{Backend, Other, Wanted};
use crate::error::Error;
use crate::nftables::add::{Publish, clear_ports};
use crate::nftables::check as table_check;
use crate::nftables::table::LO;
use crate::nftables::{localhost, route_localnet};
use crate::other_backend;
use crate::port::Port;
use crate::{flows, listener};

/// The backend on request, and on a kernel without `nf_tables`. With a socket where the kernel has `nf_tables` as well.
pub(crate) struct Iptables(pub Option<Socket>);

impl Backend for Iptables {
    fn rules(&mut self) -> Option<&mut Socket> {
        self.0.as_mut()
    }

    fn others(&mut self, wanted: &Wanted) -> Result<Vec<Other>, Error> {
        refuse_unsupported(wanted)?;
        other_backend::others(self.0.as_mut(), wanted)
    }

    fn publish(&mut self, wanted: &Wanted, _: &[Port]) -> Result<(), Error> {
        let ports = wanted.ports()?;
        if ports.is_empty() {
            return Ok(());
        }
        listener::refuse(&wanted.conf, ports.iter())?;
        // [::1] is not offered.
        let mut wanted = wanted.clone();
        wanted.container.localnets.retain(|local| local != LO);
        let Wanted { container, .. } = &wanted;
        let mut links = netlink::Socket::open()?;
        if let Some(rules) = self.0.as_mut() {
            clear_ports(rules, &wanted)?;
            if !container.localnets.is_empty() {
                // Only now: what was in the way may have been this attachment's own.
                Publish::new(rules, &wanted, &[], true)?.commit(rules)?;
            }
        }
        for interface in &container.localnets {
            localhost::enable(&mut links, interface)?;
        }
        if let Some(rules) = self.0.as_mut() {
            route_localnet::close_left_on(rules, &mut links, container)?;
        }
        add(self.0.as_mut(), &wanted)?;
        ports.iter().for_each(Port::trace);
        // The kernel has connection tracking without nf_tables as well.
        flows::forget_unpublished(&mut Socket::open()?, ports.iter())
    }

    fn check(&mut self, wanted: &Wanted) -> Result<(), Error> {
        let missing = match check::check(wanted, None) {
            Ok(()) => return table_check::localhost_by_iptables(self.0.as_mut(), wanted),
            Err(missing @ Error::Differs(_)) => missing,
            Err(error) => return Err(error),
        };
        let mut nat_tables = Vec::new();
        if let Some(rules) = self.0.as_mut() {
            if let Some(record) = table_check::record(rules, wanted.attachment)? {
                return table_check::check(rules, wanted, &record);
            }
            nat_tables = taken::nat_tables(rules, &wanted.container.addresses)?;
        }
        let others = other_backend::find(self.0.as_mut(), &nat_tables, wanted)?;
        if others.is_empty() {
            return Err(missing);
        }
        other_backend::check(self.0.as_mut(), &others, wanted)
    }

    fn status(&mut self) -> Result<(), Error> {
        check::status()
    }
}
