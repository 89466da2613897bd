//! Masquerading in one table of the suite's own.
//!
//! A verdict map takes each container's address to its network's chain, which lets traffic to the network's
//! own subnets and to groups pass and masquerades the rest. Per container there is one element an address, and one that
//! remembers under the host interface's name which these are, so that DEL needs to know nothing else:
//!
//! ```text
//! table inet cleat_bridge {
//!     map masq4 { type ipv4_addr : verdict; elements = { 10.1.0.5 comment "veth… net 1a2b3c4d eth0 id" : goto net_… } }
//!     map masq6 { type ipv6_addr : verdict; }
//!     set owners { type ifname; elements = { "veth…" comment "net_… 10.1.0.5" } }
//!     chain networks { }
//!     chain net_… { jump networks; ip daddr 10.1.0.0/24 return; ip daddr 224.0.0.0/4 return; masquerade }
//!     chain post { type nat hook postrouting priority srcnat; ip saddr vmap @masq4; ip6 saddr vmap @masq6 }
//! }
//! ```
//!
//! The kernel counts the references: a network's chain can be deleted once no element leads to it, and the empty chain
//! `networks`, which every one of them jumps to, once there is no network; the table goes with it.

mod removal;

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nftables::{
    Batch, Chain, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type, Verdict,
    priority,
};

use super::Masquerade;
use crate::error::Error;
use crate::names;
use crate::tables::{COMMENT_MAX, TRIES, comment, contended, ignore_change, interface};

pub(super) use removal::{del, owners};

const TABLE: Table = Table::new(Family::Inet, "cleat_bridge");
const MASQ4: Set = Set::vmap(TABLE, "masq4", &[Type::Ipv4Addr]);
const MASQ6: Set = Set::vmap(TABLE, "masq6", &[Type::Ipv6Addr]);
const OWNERS: Set = Set::new(TABLE, "owners", &[Type::Ifname]);
const NETWORKS: Chain = Chain::new(TABLE, "networks");
const POST: Chain = Chain::base(TABLE, "post", Kind::Nat, HookPoint::Postrouting, priority::SRCNAT);

/// What the table has for one attachment.
#[derive(Debug)]
pub(super) struct Members<'a> {
    owner: String,
    chain: String,
    subnets: &'a [IpNetwork],
    elements: Vec<Element>,
    addresses: &'a [IpAddr],
}

impl<'a> Members<'a> {
    /// What the table has for an attachment.
    pub(super) fn new(masquerade: &'a Masquerade<'_>) -> Self {
        let Masquerade { attachment, addresses, subnets } = masquerade;
        let owner = names::host_interface(attachment);
        let texts: Vec<String> = subnets.iter().map(ToString::to_string).collect();
        let chain = names::chain(&attachment.network, &texts);
        let comment = comment(&owner, attachment);
        let elements = addresses.iter().map(|address| {
            Element::new(&[field(*address)]).verdict(Verdict::goto(chain.as_str())).comment(comment.as_str())
        });
        Self { elements: elements.collect(), owner, chain, subnets, addresses }
    }

    /// Sets it up in one transaction. What stands under one of the addresses is left of a container that has gone,
    /// since IPAM gave the address away anew, and is replaced.
    pub(super) fn add(&self, socket: &mut Socket) -> Result<(), Error> {
        for _ in 0..TRIES {
            // To try and be refused would cost the kernel a grace period, some ten milliseconds.
            let missing = self.missing(socket)?;
            match self.batch(missing)?.commit(socket) {
                Ok(()) => return Ok(()),
                // The chain has just gone with another container.
                Err(error) if error.is_not_found() => {}
                // Somebody else has just made the table or the chain; or an element is stale. Older kernels call one
                // that leads elsewhere busy.
                Err(error) if error.is_exists() || error.is_busy() => {
                    if missing == Missing::Nothing {
                        self.clear(socket)?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended(&TABLE))
    }

    fn missing(&self, socket: &mut Socket) -> Result<Missing, Error> {
        Ok(if socket.has_chain(&Chain::new(TABLE, &self.chain))? {
            Missing::Nothing
        } else if socket.has_table(&TABLE)? {
            Missing::Chain
        } else {
            Missing::Table
        })
    }

    fn batch(&self, missing: Missing) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        if missing == Missing::Table {
            batch
                .create_table(&TABLE)
                .add_set(&MASQ4)
                .add_set(&MASQ6)
                .add_set(&OWNERS)
                .add_chain(&NETWORKS)
                .add_chain(&POST);
            batch.add_rule(&POST, &[Expr::vmap(&[Selector::IpSaddr], MASQ4)], None);
            batch.add_rule(&POST, &[Expr::vmap(&[Selector::Ip6Saddr], MASQ6)], None);
        }
        if missing != Missing::Nothing {
            self.add_chain(&mut batch)?;
        }
        for (element, address) in self.elements.iter().zip(self.addresses) {
            batch.create_element(map(*address), element);
        }
        batch.add_element(&OWNERS, &Element::new(&[interface(&self.owner)?]).comment(self.memory()));
        Ok(batch)
    }

    fn add_chain(&self, batch: &mut Batch) -> Result<(), Error> {
        let chain = Chain::new(TABLE, &self.chain);
        batch.create_chain(&chain).add_rule(&chain, &[Expr::jump(NETWORKS.name)], None);
        let groups = ["224.0.0.0/4", "ff00::/8"].map(str::parse::<IpNetwork>);
        for network in self.subnets.iter().copied().map(Ok).chain(groups) {
            let network = network.map_err(|error| Error::Differs(error.to_string()))?;
            let daddr = if network.is_ipv4() { Selector::IpDaddr } else { Selector::Ip6Daddr };
            batch.add_rule(&chain, &[Expr::within(daddr, network), Expr::to_caller()], None);
        }
        batch.add_rule(&chain, &[Expr::Masquerade], None);
        Ok(())
    }

    /// What the owner's element remembers: the chain, then the addresses while there is room.
    fn memory(&self) -> String {
        let mut text = self.chain.clone();
        for address in self.addresses {
            let next = format!("{text} {address}");
            if next.len() > COMMENT_MAX - MORE.len() {
                return text + MORE;
            }
            text = next;
        }
        text
    }

    /// Takes out what stands under the addresses.
    fn clear(&self, socket: &mut Socket) -> Result<(), Error> {
        for address in self.addresses {
            ignore_change(Batch::new().del_element(map(*address), &[field(*address)]).commit(socket))?;
        }
        Ok(())
    }

    /// Names what differs from what [`Members::add`] set up.
    pub(super) fn check(&self, socket: &mut Socket) -> Result<(), Error> {
        for (element, address) in self.elements.iter().zip(self.addresses) {
            let found = socket.get_element(map(*address), &[field(*address)])?;
            if found.and_then(|found| found.data) != element.data {
                return Err(Error::Differs(format!(
                    "address {address} is not masqueraded: map {} of table inet {} does not lead it to chain {}",
                    map(*address).name,
                    TABLE.name,
                    self.chain
                )));
            }
        }
        Ok(())
    }
}

/// Ends a memory that had no room for every address.
const MORE: &str = " ...";

/// What a transaction has to make besides the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Chain,
    Table,
}

fn map(address: IpAddr) -> &'static Set<'static> {
    if address.is_ipv4() { &MASQ4 } else { &MASQ6 }
}

fn field(address: IpAddr) -> Field {
    match address {
        IpAddr::V4(address) => Field::Ipv4(address),
        IpAddr::V6(address) => Field::Ipv6(address),
    }
}
