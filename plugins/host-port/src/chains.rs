//! The iptables backend: the reference's chains in table `nat` of each family, where nerdctl and operators look for them.
//!
//! ```text
//! -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT        (and OUTPUT)
//! -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
//! -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net\" id: \"c\"" -m multiport --dports 8080 -j CNI-DN-…
//! -A CNI-DN-… -s 10.1.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
//! -A CNI-DN-… -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80
//! ```
//!
//! One start of `iptables-restore` a family makes them, all or nothing. Of several rules for one port the first counts, so
//! whoever finds another container's before its own has lost, and takes its own away. As with the reference, a container
//! has one chain a network, whatever its interfaces there, and DEL removes it whole; `hostPort: 0` and `[::1]` are not
//! offered. Where the kernel has `nf_tables` as well, 127.0.0.1 comes by its stand-in (`localhost`), which that table masquerades;
//! else by `route_localnet`, as with the reference.

mod conflict;
mod holders;
mod layout;
mod led;
mod removal;

use iptables::{Family, Iptables, Rule, Transaction, Variant};
use nftables::{Socket, Table};

use crate::conf::Conf;
use crate::container::Container;
use crate::error::Error;
use crate::port::Port;
use layout::Layout;

pub(crate) use holders::{framed, have_ports, refuse_taken};
pub(crate) use removal::{del, del_legacy, gc};

pub(crate) const TABLE: &str = "nat";
/// The same of either family as nftables has them.
pub(crate) const TABLES: [Table; 2] =
    [Table::new(nftables::Family::Ip, TABLE), Table::new(nftables::Family::Ip6, TABLE)];
const DNAT: &str = "CNI-HOSTPORT-DNAT";
const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQ: &str = "CNI-HOSTPORT-MASQ";

/// How often a change is tried again when somebody else changed something in between.
const TRIES: usize = 5;

/// Refuses what this backend has no way to do for a container.
pub(crate) fn refuse_unsupported(conf: &Conf, container: &Container) -> Result<(), Error> {
    let has_ipv6 = container.addresses.iter().any(ipnetwork::IpNetwork::is_ipv6);
    for mapping in &conf.mappings {
        if mapping.host_port.is_none() {
            return Err(Error::Unsupported {
                key: "hostPort 0",
                cure: "name a host port, or use \"backend\": \"nftables\"",
            });
        }
        if has_ipv6 && mapping.host_ip.is_some_and(|ip| ip.is_ipv6() && ip.is_loopback()) {
            return Err(Error::Unsupported {
                key: "hostIP ::1",
                cure: "use 127.0.0.1, or \"backend\": \"nftables\"",
            });
        }
    }
    Ok(())
}

/// Sets the rules up. What a failure leaves is for the caller to undo.
pub(crate) fn add(
    rules: Option<&mut Socket>,
    attachment: &cni::Attachment,
    conf: &Conf,
    container: &Container,
    ports: &[Port],
) -> Result<(), Error> {
    let layouts = Layout::of_families(attachment, conf, &container.addresses, ports);
    // Most nodes have the common chains by now: to see that costs no program where they are in nf_tables.
    let mut has_frame = false;
    if let Some(rules) = rules {
        let chain = nftables::Chain::new(TABLES[0], DNAT);
        has_frame = rules.has_chain(&chain)?;
    }
    for layout in &layouts {
        commit(layout, has_frame)?;
    }
    if conf.chains.conditions_v4.is_empty() && conf.chains.conditions_v6.is_empty() {
        for layout in &layouts {
            conflict::check(layout)?;
        }
    }
    Ok(())
}

fn commit(layout: &Layout, has_frame: bool) -> Result<(), Error> {
    let program = Iptables::find(layout.family)?;
    let guess = if has_frame { layout.container() } else { layout.everything() };
    let Err(mut error) = program.commit(&guess) else { return Ok(()) };
    for _ in 0..TRIES {
        match program.commit(&missing(layout, &program)?) {
            Ok(()) => return Ok(()),
            Err(again) => error = again,
        }
    }
    Err(error.into())
}

/// What is missing beside what is there.
fn missing(layout: &Layout, program: &Iptables) -> Result<Transaction, Error> {
    let mut change = Transaction::new(TABLE);
    for chain in layout.chains() {
        if program.rules(TABLE, chain)?.is_none() {
            change.new_chain(chain);
        }
    }
    for (chain, words, at_head) in layout.frame() {
        let there = program.rules(TABLE, chain)?.unwrap_or_default();
        if !there.iter().any(|rule| is_like(rule, &words)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if at_head {
                change.insert(chain, &words)
            } else {
                change.append(chain, &words)
            };
        }
    }
    // What an earlier life of the container left for the same ports goes.
    let base = program.rules(TABLE, DNAT)?.unwrap_or_default();
    for rule in base.iter().filter(|rule| layout.replaces_entry(rule)) {
        change.delete_rule(rule);
    }
    let own = program.rules(TABLE, &layout.chain)?.unwrap_or_default();
    for rule in own.iter().filter(|rule| layout.replaces(rule)) {
        change.delete_rule(rule);
    }
    layout.append(&mut change);
    Ok(change)
}

/// Names what differs from what [`add`] set up, or the reference: where the administrator's choice of a program keeps it,
/// or in the variant that is named.
pub(crate) fn check(
    attachment: &cni::Attachment,
    conf: &Conf,
    container: &Container,
    ports: &[Port],
    variant: Option<Variant>,
) -> Result<(), Error> {
    for layout in Layout::of_families(attachment, conf, &container.addresses, ports) {
        let chosen = || Iptables::find(layout.family);
        let named = variant.map(|variant| Iptables::find_variant(layout.family, variant));
        let program = named.map_or_else(chosen, |program| program.or_else(|_| chosen()))?;
        let differs = |chain: &str, words: &[String]| {
            let (path, rule) = (program.path().display(), words.join(" "));
            Err(Error::Differs(format!("{path} -t {TABLE} has no rule \"{rule}\" in chain {chain}")))
        };
        for (chain, words, _) in layout.frame() {
            let there = program.rules(TABLE, chain)?.unwrap_or_default();
            if !there.iter().any(|rule| is_like(rule, &words)) {
                return differs(chain, &words);
            }
        }
        let base = program.rules(TABLE, DNAT)?.unwrap_or_default();
        for entry in &layout.entries {
            // The reference names the ports of either family in both.
            let mut ports = layout.ports.iter().filter(|port| layout::is_in(port, entry));
            if !ports.all(|port| base.iter().any(|rule| layout.leads(rule, port))) {
                return differs(DNAT, entry);
            }
        }
        let own = program.rules(TABLE, &layout.chain)?.unwrap_or_default();
        for words in &layout.rules {
            if !own.iter().any(|rule| rule.words() == words) {
                return differs(&layout.chain, words);
            }
        }
    }
    Ok(())
}

/// Whether the programs are there and work.
pub(crate) fn status() -> Result<(), Error> {
    for family in Family::ALL {
        let program = Iptables::find(family)?;
        // A kernel without IPv6 has no table for it either.
        if family == Family::V4 || std::path::Path::new("/proc/sys/net/ipv6").exists() {
            program.rules(TABLE, "PREROUTING")?;
        }
    }
    Ok(())
}

/// Whether a rule of the common chains is there: by where it leads, and what it marks by.
fn is_like(rule: &Rule, words: &[String]) -> bool {
    let option = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    ["-j", "--set-xmark", "--mark"].iter().all(|name| rule.option(name) == option(name).map(String::as_str))
}
