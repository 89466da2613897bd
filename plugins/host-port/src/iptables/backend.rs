//! The verbs of this backend.

use nftables::Socket;

use super::add::{add, refuse_unsupported};
use super::{check, taken};
use crate::backend::{Backend, Known, Place, Wanted};
use crate::error::Error;
use crate::nftables::add::{self as table_add, Publish, clear_ports, enable};
use crate::nftables::check as table_check;
use crate::nftables::route_localnet;
use crate::nftables::table::LO;
use crate::other_backend;
use crate::{flows, listener};

/// The backend on request, and on a kernel without `nf_tables`. With a socket where the kernel has `nf_tables` as well.
pub(crate) struct Iptables(pub Option<Socket>);

impl Backend for Iptables {
    fn rules(&mut self) -> Option<&mut Socket> {
        self.0.as_mut()
    }

    fn others(&mut self, wanted: &Wanted) -> Result<Vec<Place>, Error> {
        refuse_unsupported(&wanted.conf, &wanted.container)?;
        other_backend::others(self.0.as_mut(), wanted.attachment, &wanted.container)
    }

    fn has_ports(&mut self, _: &Wanted) -> Result<bool, Error> {
        Ok(false)
    }

    fn known(&mut self, _: &Wanted) -> Result<Known, Error> {
        Ok(Known::default())
    }

    fn publish(&mut self, wanted: &Wanted, _: Known) -> Result<(), Error> {
        let Wanted { attachment, conf, container } = wanted;
        let ports = wanted.ports()?;
        if ports.is_empty() {
            return Ok(());
        }
        listener::refuse(conf, ports.iter())?;
        // [::1] is not offered.
        let mut container = container.clone();
        container.localnets.retain(|local| local != LO);
        let mut links = netlink::Socket::open()?;
        if let Some(rules) = self.0.as_mut() {
            clear_ports(rules, attachment, conf, &container)?;
            if !container.localnets.is_empty() {
                // Only now: what was in the way may have been this attachment's own.
                let conf = conf.for_localhost();
                let known = table_add::known(rules, attachment, &conf, &container)?;
                Publish::new(rules, attachment, conf, &container, known, true)?.commit(rules)?;
            }
        }
        enable(&container.localnets, &mut links)?;
        if let Some(rules) = self.0.as_mut() {
            route_localnet::close_left_on(rules, &mut links, &container)?;
        }
        add(self.0.as_mut(), attachment, conf, &container, &ports)?;
        // The kernel has connection tracking without nf_tables as well.
        flows::forget_unpublished(&mut Socket::open()?, ports.iter())
    }

    fn check(&mut self, wanted: Wanted) -> Result<(), Error> {
        let Wanted { attachment, conf, container } = &wanted;
        let missing = match check::check(attachment, conf, container, &wanted.ports()?, None) {
            Err(missing @ Error::Differs(_)) => missing,
            outcome => {
                return outcome.and_then(|()| {
                    table_check::localhost_of_chains(self.0.as_mut(), attachment, conf, container)
                });
            }
        };
        let mut framed = Vec::new();
        if let Some(rules) = self.0.as_mut() {
            if let Some(record) = table_check::record(rules, attachment)? {
                return table_check::check(rules, attachment, conf.clone(), container, &record);
            }
            framed = taken::framed(rules, &container.addresses)?;
        }
        let places = other_backend::places(self.0.as_mut(), &framed, attachment, container)?;
        match other_backend::check(self.0.as_mut(), &places, &wanted) {
            Ok(()) if places.is_empty() => Err(missing),
            outcome => outcome,
        }
    }

    fn status(&mut self) -> Result<(), Error> {
        check::status()
    }
}
