//! The reference's masquerading with iptables: a chain of the container's own, in table `nat` of each family.
//!
//! ```text
//! -A POSTROUTING -s 10.1.0.5/32 -m comment --comment "name: \"net\" id: \"c\"" -j CNI-623e1c388032b20529218ecc
//! -A CNI-623e1c388032b20529218ecc -d 10.1.0.0/24 -m comment --comment … -j ACCEPT
//! -A CNI-623e1c388032b20529218ecc -d 10.244.0.0/16 -m comment --comment … -j RETURN        # ipMasqExcept
//! -A CNI-623e1c388032b20529218ecc ! -d 224.0.0.0/4 -m comment --comment … -j MASQUERADE
//! ```
//!
//! Rules are made and looked at by the programs. They are removed without, where they are in `nf_tables`: by their
//! handles, as iptables itself does. Only what the legacy variant has needs its program there too.

mod removal;
pub(super) mod search;

use std::net::IpAddr;

use cni::reference;
use ipnetwork::IpNetwork;
use iptables::{Family, Iptables, Rule, Transaction};
use nftables::Table;

use super::{Masquerade, chain_of};
use crate::error::{Result, differs};

pub(crate) use removal::{del_legacy, gc, gc_legacy, take};
pub(crate) use search::{not_masqueraded, not_masqueraded_by_legacy};

const TABLE: &str = "nat";
const BASE: &str = "POSTROUTING";
/// The table of each family in `nf_tables`.
const TABLES: [Table; 2] =
    [Table::new(nftables::Family::Ip, TABLE), Table::new(nftables::Family::Ip6, TABLE)];

/// What one family's program is to have for an attachment.
struct Wanted {
    chain: String,
    comment: String,
    /// Where traffic goes to groups.
    groups: &'static str,
    /// Each address as a network of its own, which is how iptables lists it.
    sources: Vec<String>,
    subnets: Vec<String>,
    /// Where packets keep their source as far as this chain goes.
    except: Vec<String>,
}

impl Wanted {
    /// `None` where the attachment has no address of the family.
    fn new(masquerade: &Masquerade<'_>, family: Family) -> Option<Self> {
        let is_v4 = family == Family::V4;
        let of_family = |network: &IpNetwork| (network.is_ipv4() == is_v4).then(|| network.to_string());
        let sources: Vec<String> =
            masquerade.addresses.iter().filter_map(|ip| of_family(&IpNetwork::from(*ip))).collect();
        let attachment = masquerade.attachment;
        (!sources.is_empty()).then(|| Self {
            chain: chain_of(attachment),
            comment: reference::comment("", &attachment.network, &attachment.container_id),
            groups: if is_v4 { "224.0.0.0/4" } else { "ff00::/8" },
            sources,
            subnets: masquerade.subnets.iter().filter_map(of_family).collect(),
            except: masquerade.except.iter().filter_map(of_family).collect(),
        })
    }

    /// The words of a rule: what it matches, the comment, where it leads.
    fn words<'w>(&'w self, matches: &[&'w str], target: &'w str) -> Vec<&'w str> {
        [matches, &["-m", "comment", "--comment", &self.comment, "-j", target]].concat()
    }

    /// Everything, where there is no chain yet.
    fn all(&self) -> Transaction {
        let mut change = Transaction::new(TABLE);
        change.new_chain(&self.chain);
        for subnet in &self.subnets {
            change.append(&self.chain, &self.words(&["-d", subnet], "ACCEPT"));
        }
        for network in &self.except {
            change.append(&self.chain, &self.words(&["-d", network], "RETURN"));
        }
        change.append(&self.chain, &self.words(&["!", "-d", self.groups], "MASQUERADE"));
        self.lead(&mut change);
        change
    }

    /// What is missing beside what an earlier ADD of the attachment left, or what another interface of the container
    /// on the same network has, which shares the chain.
    fn beside(&self, chain: &[Rule], base: &[Rule]) -> Transaction {
        let mut change = Transaction::new(TABLE);
        let has = |target: &str, to: Option<&str>| {
            chain.iter().any(|rule| rule.target() == Some(target) && rule.option("-d") == to)
        };
        for subnet in self.subnets.iter().filter(|subnet| !has("ACCEPT", Some(subnet.as_str()))) {
            change.insert(&self.chain, &self.words(&["-d", subnet], "ACCEPT"));
        }
        for network in self.except.iter().filter(|network| !has("RETURN", Some(network.as_str()))) {
            change.insert(&self.chain, &self.words(&["-d", network], "RETURN"));
        }
        if !has("MASQUERADE", None) {
            change.append(&self.chain, &self.words(&["!", "-d", self.groups], "MASQUERADE"));
        }
        for rule in base.iter().filter(|rule| self.sources.iter().any(|source| self.leads(rule, source))) {
            change.delete_rule(rule);
        }
        self.lead(&mut change);
        change
    }

    fn lead(&self, change: &mut Transaction) {
        for source in &self.sources {
            change.append(BASE, &self.words(&["-s", source], &self.chain));
        }
    }

    fn leads(&self, rule: &Rule, source: &str) -> bool {
        rule.target() == Some(&self.chain) && rule.option("-s") == Some(source)
    }
}

/// Sets up what masquerades an attachment.
pub(crate) fn add(masquerade: &Masquerade<'_>) -> Result<()> {
    for family in Family::ALL {
        let Some(wanted) = Wanted::new(masquerade, family) else { continue };
        let program = Iptables::find(family)?;
        let Err(error) = program.commit(&wanted.all()) else { continue };
        match program.rules(TABLE, &wanted.chain)? {
            Some(chain) => {
                let base = program.rules(TABLE, BASE)?.unwrap_or_default();
                program.commit(&wanted.beside(&chain, &base))?;
            }
            None => return Err(error.into()),
        }
    }
    Ok(())
}

/// Names what differs from what [`add`] set up.
pub(crate) fn check(masquerade: &Masquerade<'_>) -> Result<()> {
    for family in Family::ALL {
        let Some(wanted) = Wanted::new(masquerade, family) else { continue };
        let program = Iptables::find(family)?;
        let base = program.rules(TABLE, BASE)?.unwrap_or_default();
        let differs = |what: String| {
            let program = program.path().display();
            differs(format!("{what} is not masqueraded: {program} -t {TABLE} has no rule for it"))
        };
        let leads = |source: &&String| base.iter().any(|rule| wanted.leads(rule, source));
        if let Some(missing) = wanted.sources.iter().find(|source| !leads(source)) {
            return differs(format!("address {missing}"));
        }
        let chain = program.rules(TABLE, &wanted.chain)?.unwrap_or_default();
        if !chain.iter().any(|rule| rule.target() == Some("MASQUERADE")) {
            return differs(format!("what enters chain {}", wanted.chain));
        }
        let keeps = |network: &&String| {
            let is_it =
                |rule: &Rule| rule.target() == Some("RETURN") && rule.option("-d") == Some(network.as_str());
            chain.iter().any(is_it)
        };
        if let Some(missing) = wanted.except.iter().find(|network| !keeps(network)) {
            return differs(format!(
                "packets to {missing} do not keep their source: chain {} of {} has no rule for it",
                wanted.chain,
                program.path().display()
            ));
        }
    }
    Ok(())
}

/// Whether the programs are there and work.
pub(crate) fn status() -> Result<()> {
    Ok(Iptables::expect_chain(TABLE, BASE)?)
}

/// The address that a rule is for.
fn source(rule: &Rule) -> Option<IpAddr> {
    Some(rule.option("-s")?.parse::<IpNetwork>().ok()?.ip())
}
