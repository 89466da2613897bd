//! The rules of an attachment for one family's program, as words of its command line. Pure.

use cni::{Attachment, ContainerId, Protocol, reference};
use ipnetwork::IpNetwork;
use iptables::{Family, Rule, Transaction};

use super::names::{DNAT, MASQ, SETMARK, TABLE};
use crate::conf::{ChainKeys, Conf};
use crate::port::Port;

/// The most ports that one rule can name (`XT_MULTI_PORTS`).
const MULTIPORT_MAX: usize = 15;
/// The bit of the mark that asks for masquerading, where none is named.
const MARK_BIT: u32 = 13;

/// The rules of one family, each as words in the order in which the programs print them.
#[derive(Debug)]
pub(super) struct Layout {
    pub family: Family,
    /// The container's chain.
    pub chain: String,
    pub comment: String,
    pub container_id: ContainerId,
    /// In `CNI-HOSTPORT-DNAT`, what leads there.
    pub entries: Vec<Vec<String>>,
    /// In the container's chain.
    pub rules: Vec<Vec<String>>,
    pub ports: Vec<Port>,
    /// What the common chains mark by; `None` where another program masquerades, or none.
    mark: Option<String>,
}

impl Layout {
    /// For the families that the container has ports in.
    pub(super) fn of_families(
        attachment: &Attachment,
        conf: &Conf,
        addresses: &[IpNetwork],
        ports: &[Port],
    ) -> Vec<Self> {
        let of_address = |address: &IpNetwork| {
            let is_v4 = address.is_ipv4();
            let ports: Vec<Port> =
                ports.iter().filter(|port| port.container.is_ipv4() == is_v4).copied().collect();
            (!ports.is_empty()).then(|| Self::new(attachment, conf, *address, ports))
        };
        addresses.iter().filter_map(of_address).collect()
    }

    fn new(attachment: &Attachment, conf: &Conf, address: IpNetwork, ports: Vec<Port>) -> Self {
        let (network, id) = (&attachment.network, &attachment.container_id);
        let chain = reference::chain("DN-", network, id);
        let comment = reference::comment("dnat ", network, id);
        let ChainKeys { mark_bit, mark_chain, conditions_v4, conditions_v6 } = &conf.chains;
        let is_v4 = address.is_ipv4();
        let conditions = if is_v4 { conditions_v4 } else { conditions_v6 };
        let masquerades = mark_chain.as_deref().unwrap_or(SETMARK);
        let masquerades = conf.snat.then_some(masquerades);
        let bit = 1_u32 << mark_bit.unwrap_or(MARK_BIT);
        Self {
            family: if is_v4 { Family::V4 } else { Family::V6 },
            entries: entries(&ports, &chain, &comment, conditions),
            rules: ports.iter().flat_map(|port| rules(port, address, masquerades, conf.masq_all)).collect(),
            chain,
            comment,
            container_id: id.clone(),
            ports,
            mark: (conf.snat && mark_chain.is_none()).then(|| format!("{bit:#x}/{bit:#x}")),
        }
    }

    /// The chains that must be there.
    pub(super) fn chains(&self) -> Vec<&str> {
        let common: &[&str] = if self.mark.is_some() { &[DNAT, SETMARK, MASQ] } else { &[DNAT] };
        common.iter().copied().chain([self.chain.as_str()]).collect()
    }

    /// The rules that all containers share: chain, words, and whether at the chain's head.
    pub(super) fn frame(&self) -> Vec<(&'static str, Vec<String>, bool)> {
        let to_dnat = || words("-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT");
        let mut frame = vec![("PREROUTING", to_dnat(), false), ("OUTPUT", to_dnat(), false)];
        if let Some(mark) = &self.mark {
            let comment = |text: &str| ["-m", "comment", "--comment", text].map(str::to_owned);
            let marking =
                [&comment("CNI portfwd masquerade mark")[..], &words(&format!("-j MARK --set-xmark {mark}"))];
            let masquerading =
                [&comment("CNI portfwd requiring masquerade")[..], &words("-j CNI-HOSTPORT-MASQ")];
            frame.push((SETMARK, marking.concat(), false));
            frame.push((MASQ, words(&format!("-m mark --mark {mark} -j MASQUERADE")), false));
            frame.push(("POSTROUTING", masquerading.concat(), true));
        }
        frame
    }

    /// Everything, where nothing is there yet.
    pub(super) fn everything(&self) -> Transaction {
        let mut change = Transaction::new(TABLE);
        for chain in self.chains() {
            change.new_chain(chain);
        }
        for (chain, words, at_head) in self.frame() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if at_head {
                change.insert(chain, &words)
            } else {
                change.append(chain, &words)
            };
        }
        self.append(&mut change);
        change
    }

    /// The container's part, where the common chains are there.
    pub(super) fn container(&self) -> Transaction {
        let mut change = Transaction::new(TABLE);
        change.new_chain(&self.chain);
        self.append(&mut change);
        change
    }

    /// Appends the container's rules.
    pub(super) fn append(&self, change: &mut Transaction) {
        let of_entries = self.entries.iter().map(|words| (DNAT, words));
        let of_rules = self.rules.iter().map(|words| (self.chain.as_str(), words));
        for (chain, words) in of_rules.chain(of_entries) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            change.append(chain, &words);
        }
    }

    /// Whether a rule of `CNI-HOSTPORT-DNAT` leads a port to the container's chain. Conditions are printed otherwise than
    /// they are written.
    pub(super) fn leads(&self, rule: &Rule, port: &Port) -> bool {
        rule.target() == Some(&self.chain)
            && rule.comment() == Some(&self.comment)
            && names_port(rule, port.protocol, port.host_port)
    }

    /// Whether a rule of `CNI-HOSTPORT-DNAT` leads to the container's chain for a port that is published anew.
    pub(super) fn replaces_entry(&self, rule: &Rule) -> bool {
        rule.target() == Some(&self.chain)
            && self.ports.iter().any(|port| names_port(rule, port.protocol, port.host_port))
    }

    /// Whether a rule of the container's chain is for a port that is published anew.
    pub(super) fn replaces(&self, rule: &Rule) -> bool {
        self.ports.iter().any(|port| names_port(rule, port.protocol, port.host_port))
    }
}

/// Whether a rule of the common chains is there: by where it leads, and what it marks by.
pub(super) fn is_like(rule: &Rule, words: &[String]) -> bool {
    let option = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    ["-j", "--set-xmark", "--mark"].iter().all(|name| rule.option(name) == option(name).map(String::as_str))
}

/// Whether a rule is for a port of the host.
pub(super) fn names_port(rule: &Rule, protocol: Protocol, number: u16) -> bool {
    let ports = rule.option("--dports").or_else(|| rule.option("--dport")).unwrap_or_default();
    rule.option("-p") == Some(protocol.name())
        && ports.split(',').any(|port| {
            let (first, last) = port.split_once(':').unwrap_or((port, port));
            matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&number))
        })
}

/// Whether an entry, in the words of [`entries`], is for a port.
pub(super) fn is_in(port: &Port, entry: &[String]) -> bool {
    let after = |name: &str| entry.iter().position(|word| word == name).and_then(|at| entry.get(at + 1));
    let number = port.host_port.to_string();
    after("-p").is_some_and(|protocol| protocol == port.protocol.name())
        && after("--dports").is_some_and(|ports| ports.split(',').any(|one| *one == number))
}

/// The rules that lead to the container's chain: by protocol in the order of their names, some ports at a time.
fn entries(ports: &[Port], chain: &str, comment: &str, conditions: &[String]) -> Vec<Vec<String>> {
    let mut entries = Vec::new();
    for protocol in [Protocol::Sctp, Protocol::Tcp, Protocol::Udp] {
        let numbers: Vec<String> = ports
            .iter()
            .filter(|port| port.protocol == protocol)
            .map(|port| port.host_port.to_string())
            .collect();
        for some in numbers.chunks(MULTIPORT_MAX) {
            let named = ["-p", protocol.name(), "-m", "comment", "--comment", comment];
            let mut entry: Vec<String> = named
                .into_iter()
                .chain(["-m", "multiport", "--dports", &some.join(",")])
                .map(str::to_owned)
                .collect();
            entry.extend_from_slice(conditions);
            entry.extend(["-j", chain].map(str::to_owned));
            entries.push(entry);
        }
    }
    entries
}

/// The rules of one port: who is masqueraded, then where it leads.
fn rules(port: &Port, address: IpNetwork, masquerades: Option<&str>, all: bool) -> Vec<Vec<String>> {
    let protocol = port.protocol.name();
    let to = port.host_ip.map(|ip| format!("-d {} ", IpNetwork::from(ip))).unwrap_or_default();
    let matches = format!("{to}-p {protocol} -m {protocol} --dport {}", port.host_port);
    let mut rules = Vec::new();
    if let Some(chain) = masquerades {
        if all {
            rules.push(words(&format!("{matches} -j {chain}")));
        } else {
            let subnet = IpNetwork::new(address.network(), address.prefix()).unwrap_or(address);
            let localhost = address.is_ipv4().then(|| "127.0.0.1/32".to_owned());
            for source in [subnet.to_string()].into_iter().chain(localhost) {
                rules.push(words(&format!("-s {source} {matches} -j {chain}")));
            }
        }
    }
    rules.push(words(&format!("{matches} -j DNAT --to-destination {}", port.container)));
    rules
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
