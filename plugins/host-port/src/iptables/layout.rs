//! The rules of an attachment for one family's program, as words of its command line. Pure.

use cni::{Attachment, ContainerId, Protocol, reference};
use ipnetwork::IpNetwork;
use iptables::{Family, Rule, Transaction};

use super::{DNAT, MASQ, SETMARK, TABLE};
use crate::backend::Wanted;
use crate::conf::{Conf, IptablesKeys, MARK_BIT};
use crate::error::Error;
use crate::port::Port;

/// The most ports that one rule can name (`XT_MULTI_PORTS`).
const MULTIPORT_MAX: usize = 15;

/// The rules of one family, each as words in the order in which the programs print them.
#[derive(Debug)]
pub(super) struct Layout {
    pub family: Family,
    /// The container's chain.
    pub chain: String,
    pub comment: String,
    pub container_id: ContainerId,
    /// In `CNI-HOSTPORT-DNAT`, what leads there, each with its ports.
    pub entries: Vec<(Vec<Port>, Vec<String>)>,
    /// In the container's chain.
    pub rules: Vec<Vec<String>>,
    pub ports: Vec<Port>,
    /// What the common chains mark by; `None` where another program masquerades, or none.
    mark: Option<String>,
}

impl Layout {
    /// For the families that the container has ports in.
    pub(super) fn of_families(wanted: &Wanted) -> Result<Vec<Self>, Error> {
        let all = wanted.ports()?;
        let of_address = |address: &IpNetwork| {
            let mut ports = all.clone();
            ports.retain(|port| port.container.is_ipv4() == address.is_ipv4());
            (!ports.is_empty()).then(|| Self::new(wanted.attachment, &wanted.conf, *address, ports))
        };
        Ok(wanted.container.addresses.iter().filter_map(of_address).collect())
    }

    fn new(attachment: &Attachment, conf: &Conf, address: IpNetwork, ports: Vec<Port>) -> Self {
        let (network, id) = (&attachment.network, &attachment.container_id);
        let chain = reference::chain("DN-", network, id);
        let comment = reference::comment("dnat ", network, id);
        let IptablesKeys { mark_bit, mark_chain, conditions_v4, conditions_v6 } = &conf.iptables;
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
    pub(super) fn common_rules(&self) -> Vec<(&'static str, Vec<String>, bool)> {
        let to_dnat = || words("-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT");
        let mut rules = vec![("PREROUTING", to_dnat(), false), ("OUTPUT", to_dnat(), false)];
        if let Some(mark) = &self.mark {
            let comment = |text: &str| ["-m", "comment", "--comment", text].map(str::to_owned);
            let marking =
                [&comment("CNI portfwd masquerade mark")[..], &words(&format!("-j MARK --set-xmark {mark}"))];
            let masquerading =
                [&comment("CNI portfwd requiring masquerade")[..], &words("-j CNI-HOSTPORT-MASQ")];
            rules.push((SETMARK, marking.concat(), false));
            rules.push((MASQ, words(&format!("-m mark --mark {mark} -j MASQUERADE")), false));
            rules.push(("POSTROUTING", masquerading.concat(), true));
        }
        rules
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
        for words in &self.rules {
            change.append(&self.chain, words);
        }
        for (_, words) in &self.entries {
            change.append(DNAT, words);
        }
    }

    /// Whether a rule of `CNI-HOSTPORT-DNAT` leads a port to the container's chain. Conditions are printed otherwise than
    /// they are written.
    pub(super) fn leads(&self, rule: &Rule, port: &Port) -> bool {
        rule.target() == Some(&self.chain) && rule.comment() == Some(&self.comment) && names_port(rule, port)
    }

    /// Whether a rule is for a port that is published anew.
    pub(super) fn replaces(&self, rule: &Rule) -> bool {
        self.ports.iter().any(|port| names_port(rule, port))
    }
}

/// Whether a rule of the common chains is there: by where it leads, and what it marks by.
pub(super) fn is_like(rule: &Rule, words: &[String]) -> bool {
    let option = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    ["-j", "--set-xmark", "--mark"].iter().all(|name| rule.option(name) == option(name).map(String::as_str))
}

/// Whether a rule is for a port of the host.
pub(super) fn names_port(rule: &Rule, port: &Port) -> bool {
    let ports = rule.option("--dports").or_else(|| rule.option("--dport")).unwrap_or_default();
    rule.option("-p") == Some(port.protocol.name())
        && ports.split(',').any(|ports| {
            let (first, last) = ports.split_once(':').unwrap_or((ports, ports));
            matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&port.host_port))
        })
}

/// The rules that lead to the container's chain: by protocol in the order of their names, some ports at a time.
fn entries(
    ports: &[Port],
    chain: &str,
    comment: &str,
    conditions: &[String],
) -> Vec<(Vec<Port>, Vec<String>)> {
    let mut entries = Vec::new();
    for protocol in [Protocol::Sctp, Protocol::Tcp, Protocol::Udp] {
        let ports: Vec<Port> = ports.iter().filter(|port| port.protocol == protocol).copied().collect();
        for some in ports.chunks(MULTIPORT_MAX) {
            let numbers: Vec<String> = some.iter().map(|port| port.host_port.to_string()).collect();
            let mut words = words(&format!("-p {protocol} -m comment --comment"));
            words.push(comment.to_owned());
            words.extend(self::words(&format!("-m multiport --dports {}", numbers.join(","))));
            words.extend_from_slice(conditions);
            words.extend(["-j", chain].map(str::to_owned));
            entries.push((some.to_vec(), words));
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
