//! The verbs of this backend.

use nftables::{Socket, Table};

use super::add::{self, Publish};
use super::table::TABLE;
use super::{check, skeleton};
use crate::backend::{Backend, Other, Wanted};
use crate::error::Error;
use crate::iptables::taken;
use crate::other_backend;
use crate::port::Port;

/// The backend that is chosen where the kernel has `nf_tables` and nothing else was asked for.
pub(crate) struct Nftables {
    rules: Socket,
    /// The tables `nat` that have chains of the other backend, once they have been looked for.
    nat_tables: Vec<Table<'static>>,
}

impl Nftables {
    /// By a socket.
    pub(crate) const fn new(rules: Socket) -> Self {
        Self { rules, nat_tables: Vec::new() }
    }
}

impl Backend for Nftables {
    fn rules(&mut self) -> Option<&mut Socket> {
        Some(&mut self.rules)
    }

    fn others(&mut self, wanted: &Wanted) -> Result<Vec<Other>, Error> {
        self.nat_tables = taken::nat_tables(&mut self.rules, &wanted.container.addresses)?;
        other_backend::find(Some(&mut self.rules), &self.nat_tables, wanted)
    }

    fn has_ports(&mut self, wanted: &Wanted) -> Result<bool, Error> {
        Ok(check::record(&mut self.rules, wanted.attachment)?.is_some())
    }

    fn known(&mut self, wanted: &Wanted) -> Result<Vec<Port>, Error> {
        add::known(&mut self.rules, wanted)
    }

    fn publish(&mut self, wanted: &Wanted, known: &[Port]) -> Result<(), Error> {
        Publish::new(&mut self.rules, wanted, known, false)?.run(&mut self.rules, &self.nat_tables)
    }

    fn check(&mut self, wanted: &Wanted) -> Result<(), Error> {
        if let Some(record) = check::record(&mut self.rules, wanted.attachment)? {
            return check::check(&mut self.rules, wanted, &record);
        }
        let others = self.others(wanted)?;
        if others.is_empty() {
            return check::nothing(&mut self.rules, wanted.attachment);
        }
        other_backend::check(Some(&mut self.rules), &others, wanted)
    }

    fn status(&mut self) -> Result<(), Error> {
        if !self.rules.has_table(&TABLE)? {
            return skeleton::try_out(&mut self.rules);
        }
        skeleton::incomplete_chain(&mut self.rules)?.map_or(Ok(()), check::lacks_rules)
    }
}
