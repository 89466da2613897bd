//! An overlay network's prefixes are exceptions for all of its members: where it has got another one, the first ADD that
//! knows of it enters the members that are there as well. Other exceptions are what each configuration said.

use ipnetwork::IpNetwork;
use nftables::ledger::Change;
use nftables::{Element, Socket};

use super::layout::{OWNERS, exception, exception_word, members, owner_element};
use super::owner_record::Record;
use crate::error::Result;
use crate::filter::masquerade::Masquerade;
use crate::filter::owner::{first_word, interface, key_of};
use crate::names;

impl Masquerade<'_> {
    /// Adds to a transaction, which makes the sets of some exceptions, the addresses of the network's other members. Those of
    /// whom there is no record, or half of one, wait for repair.
    pub(super) fn spread(
        &self,
        socket: &mut Socket,
        change: &mut Change,
        networks: &[IpNetwork],
    ) -> Result<()> {
        change.needs_ruleset_as_read();
        let label = names::network_label(&self.attachment.network);
        let words: Vec<String> = networks.iter().map(exception_word).collect();
        for found in socket.elements(&OWNERS)? {
            let Some(owner) = key_of(&found).filter(|owner| *owner != self.owner) else { continue };
            let record = Record::of(found.comment);
            if record.is_cut() || !record.is_readable() || record.label() != label {
                continue;
            }
            let record = self.spread_to(socket, change, &owner, record, &words)?;
            let key = [interface(&owner)?];
            change.batch.del_element(&OWNERS, &key);
            change.batch.create_element(&OWNERS, &owner_element(&owner, &record)?);
        }
        Ok(())
    }

    /// Enters one member, and returns its record with the exceptions.
    fn spread_to(
        &self,
        socket: &mut Socket,
        change: &mut Change,
        owner: &str,
        record: Record,
        words: &[String],
    ) -> Result<Record> {
        let addresses: Vec<_> = record.addresses().filter(|ip| !self.addresses.contains(ip)).collect();
        for address in addresses {
            // Another owner's where two have it: then it is in the sets of that one.
            let member = socket.get_element(members(address), &[address.into()])?;
            let Some(member) = member.filter(|member| first_word(member) == Some(owner)) else { continue };
            for place in words.iter().filter_map(|word| exception(word, address)) {
                let comment = member.comment.as_deref().unwrap_or_default();
                change.batch.create_element(&place.set(), &Element::new(&place.key).comment(comment));
            }
        }
        Ok(words.iter().fold(record, |record, word| record.with_exception(word)))
    }
}
