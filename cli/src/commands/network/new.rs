//! What `network create` and `network join` have in common: the file of a network that is new on this host.

use bridge::OBSTACLE;
use clap::ArgAction;
use cni::{IfName, NetworkList};
use ipnetwork::IpNetwork;

use super::options::DockerOption;
use crate::error::Error;
use crate::network::{Described, Ingress, Pool, Taken, Wanted, obstacles};
use crate::output;
use crate::runtime::{Making, Runtime};

/// What is this host's own of a network.
#[derive(Debug, clap::Args)]
pub(super) struct HostOptions {
    /// Let nothing in and nothing out: members reach each other and the host alone
    #[arg(long)]
    internal: bool,
    /// Whether members may talk to each other without a link
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    icc: bool,
    /// Who may come in from outside the bridge
    #[arg(long, value_enum, default_value_t = Ingress::Published)]
    ingress: Ingress,
    /// Name of the bridge [default: br- and the beginning of the network's ID]
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// An option by Docker's name, such as com.docker.network.bridge.name=br0, or parent=eth0 of macvlan and ipvlan
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub(super) options: Vec<DockerOption>,
}

impl HostOptions {
    /// The bridge's name: an option, or made of the ID, as Docker does. Refuses one that another network has.
    pub(super) fn bridge(&self, name: &str, networks: &[NetworkList], doing: &str) -> Result<IfName, Error> {
        let option = self.options.iter().find_map(|option| option.bridge.clone());
        let bridge = self.bridge.clone().or(option);
        let bridge = bridge.unwrap_or_else(|| format!("br-{}", &crate::network::id(name)[..12]));
        let bridge = IfName::new(bridge).map_err(Error::contract("name the bridge"))?;
        let same = |list: &&NetworkList| {
            list.name.as_str() != name && Described::of(list).bridge.as_deref() == Some(bridge.as_str())
        };
        match networks.iter().find(same) {
            None => Ok(bridge),
            Some(other) => Err(Error::refused(
                doing,
                format!("bridge {bridge} is network {}'s", other.name),
                "name another with --bridge",
            )),
        }
    }

    /// The options that were given and are of the drivers macvlan and ipvlan.
    pub(super) fn upper(&self) -> Vec<(String, String)> {
        self.options.iter().filter_map(|option| option.upper.clone()).collect()
    }

    /// The options that were given and are of bridges alone.
    pub(super) fn of_bridges(&self) -> Vec<&'static str> {
        let has = |is: fn(&DockerOption) -> bool| self.options.iter().any(is);
        let given = [
            ("--internal", self.internal),
            ("--icc", !self.icc || has(|option| option.icc.is_some())),
            ("--ingress", self.ingress != Ingress::Published),
            ("--bridge", self.bridge.is_some() || has(|option| option.bridge.is_some())),
            ("enable_ip_masquerade", has(|option| option.masquerade.is_some())),
        ];
        given.into_iter().filter_map(|(option, is)| is.then_some(option)).collect()
    }

    /// The network, without what its driver has of its own.
    pub(super) fn wanted<'a>(&self, name: &'a str, bridge: &'a IfName, pools: &'a [Pool]) -> Wanted<'a> {
        Wanted {
            name,
            bridge: bridge.as_str(),
            overlay: None,
            pools,
            internal: self.internal,
            icc: self.icc && !self.options.iter().any(|option| option.icc == Some(false)),
            masquerade: !self.options.iter().any(|option| option.masquerade == Some(false)),
            ingress: self.ingress,
            mtu: None,
            opens: false,
        }
    }
}

/// What is in use on this host, without what the new network itself has here already: its bridge, and the prefixes `own`.
pub(super) fn taken(
    runtime: &Runtime<'_>,
    networks: &[NetworkList],
    (bridge, own): (&IfName, &[IpNetwork]),
    doing: &str,
) -> Result<Taken, Error> {
    // Attachments outlive the file of their network, and changes to it.
    let entries = runtime.cache.entries().map_err(Error::contract(doing))?;
    let kept: Vec<_> = entries.into_iter().filter_map(|entry| Making::of(entry).ok()).collect();
    let all = networks.iter().chain(kept.iter().map(|making| &making.list));
    Taken::on_host(all, bridge.as_str(), own)
}

/// The conflist. Where the host drops forwarded packets, as beside Docker or ufw, it makes the host accept those of the network,
/// which is reported. An internal network forwards nothing.
pub(super) fn text(wanted: &Wanted<'_>, runtime: &Runtime<'_>, doing: &str) -> Result<String, Error> {
    let text = |wanted: &Wanted<'_>| wanted.text().map_err(|error| Error::io(doing, error));
    // Of an overlay network the bridge knows nothing yet, and the host asks no more than where packets come from.
    let plain = text(&Wanted { overlay: None, ..*wanted })?;
    let list = NetworkList::from_slice(plain.as_bytes()).map_err(Error::contract(doing))?;
    let obstacle = obstacles::obstacle(&runtime.chain(&list)).filter(|_| !wanted.internal);
    let Some((_, said)) = obstacle else { return text(wanted) };
    let said = said.split_once(OBSTACLE).map_or(said.as_str(), |(chain, _)| chain.trim_end());
    output::tell(&format!(
        "cleat: {said} drops what is forwarded: network {} has \"forward\": \"accept\", by which its packets pass there\n",
        wanted.name
    ));
    text(&Wanted { opens: true, ..*wanted })
}
