//! `cleat network create`: writes a complete conflist that conflicts with no other network.

use std::net::IpAddr;
use std::str::FromStr;

use bridge::OBSTACLE;
use clap::ArgAction;
use clap::builder::RangedU64ValueParser;
use cni::{IfName, NetworkList, NetworkName, delegate};
use ipnetwork::IpNetwork;

use super::known::BUILT_IN;
use crate::environment::Environment;
use crate::error::Error;
use crate::network::{Described, Folder, Ingress, Pool, Taken, Wanted, obstacles};
use crate::output;
use crate::runtime::{CacheFolder, Making, Runtime};
use crate::suggestion::nearest;

/// The driver of the networks that are written here: the plugin that makes the interfaces.
const BRIDGE: &str = "bridge";

/// The arguments of `cleat network create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    name: String,
    /// The plugin that makes the interfaces
    #[arg(short, long, default_value = BRIDGE)]
    driver: String,
    /// Subnet, one a family [default: a free one]
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<IpNetwork>,
    /// The bridge's address in the subnet [default: its first]
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,
    /// The part of the subnet that containers get addresses of
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<IpNetwork>,
    /// Also an IPv6 subnet
    #[arg(long)]
    ipv6: bool,
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
    /// MTU of the interfaces, in bytes
    #[arg(long, value_parser = RangedU64ValueParser::<u32>::new().range(68..=65_535))]
    mtu: Option<u32>,
    /// An option by Docker's name, such as com.docker.network.bridge.name=br0
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    options: Vec<DockerOption>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// One `-o`, which sets one of these.
#[derive(Clone, Debug, Default)]
struct DockerOption {
    bridge: Option<String>,
    mtu: Option<u32>,
    icc: Option<bool>,
    masquerade: Option<bool>,
}

impl FromStr for DockerOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
        let flag = || value.parse().map_err(|_| format!("{key} is true or false, not {value:?}"));
        match key.strip_prefix("com.docker.network.") {
            Some("bridge.name") => Ok(Self { bridge: Some(value.to_owned()), ..Self::default() }),
            Some("driver.mtu") => {
                let mtu = value.parse().ok().filter(|mtu| (68..=65_535).contains(mtu));
                let mtu = mtu.ok_or_else(|| format!("{key} is 68 to 65535, not {value:?}"))?;
                Ok(Self { mtu: Some(mtu), ..Self::default() })
            }
            Some("bridge.enable_icc") => Ok(Self { icc: Some(flag()?), ..Self::default() }),
            Some("bridge.enable_ip_masquerade") => Ok(Self { masquerade: Some(flag()?), ..Self::default() }),
            Some("bridge.host_binding_ipv4") => {
                Err("publish with an address instead: -p 127.0.0.1:80:80".to_owned())
            }
            _ => Err(format!(
                "{key} is unknown: bridge.name, bridge.enable_icc, bridge.enable_ip_masquerade and driver.mtu are \
                 known, each behind com.docker.network."
            )),
        }
    }
}

/// Writes the conflist and prints the network's ID.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let doing = format!("create network {}", args.name);
    let refuse = |reason: String, cure: &str| Err(Error::refused(doing.as_str(), reason, cure));
    NetworkName::new(args.name.as_str()).map_err(Error::contract(doing.as_str()))?;
    if BUILT_IN.iter().any(|(name, _)| *name == args.name) {
        return refuse("that name means what every host has".to_owned(), "choose another name");
    }
    check_driver(args, environment, &doing)?;
    let runtime = Runtime::new(environment, &args.cache);
    let folder = Folder::lock(&environment.folder)?;
    let networks = runtime.networks();
    if let Some(known) = networks.iter().find(|list| list.name.as_str() == args.name) {
        let file = known.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        return refuse(format!("it is there already, in {file}"), "`cleat network rm` removes it first");
    }
    let bridge = args.bridge()?;
    let same = |list: &&NetworkList| Described::of(list).bridge.as_deref() == Some(bridge.as_str());
    if let Some(other) = networks.iter().find(same) {
        return refuse(format!("bridge {bridge} is network {}'s", other.name), "name another with --bridge");
    }
    // Attachments outlive the file of their network, and changes to it.
    let entries = runtime.cache.entries().map_err(Error::contract(doing.as_str()))?;
    let kept: Vec<_> = entries.into_iter().filter_map(|entry| Making::of(entry).ok()).collect();
    let all = networks.iter().chain(kept.iter().map(|making| &making.list));
    let pools = args.pools(&Taken::on_host(all, bridge.as_str())?, &doing)?;
    let wanted = Wanted {
        name: &args.name,
        bridge: bridge.as_str(),
        pools: &pools,
        internal: args.internal,
        icc: args.icc && !args.options.iter().any(|option| option.icc == Some(false)),
        masquerade: !args.options.iter().any(|option| option.masquerade == Some(false)),
        ingress: args.ingress,
        mtu: args.options.iter().filter_map(|option| option.mtu).next_back().or(args.mtu),
        opens: false,
    };
    let text = text(&wanted, &runtime, &doing)?;
    folder.create(&args.name, &text)?;
    output::text(&format!("{}\n", crate::network::id(&args.name)))
}

/// The conflist. Where the host drops forwarded packets, as beside Docker or ufw, it makes the host accept those of the network,
/// which is reported. An internal network forwards nothing.
fn text(wanted: &Wanted<'_>, runtime: &Runtime<'_>, doing: &str) -> Result<String, Error> {
    let text = |wanted: &Wanted<'_>| wanted.text().map_err(|error| Error::io(doing, error));
    let plain = text(wanted)?;
    let list = NetworkList::from_slice(plain.as_bytes()).map_err(Error::contract(doing))?;
    let obstacle = obstacles::obstacle(&runtime.chain(&list)).filter(|_| !wanted.internal);
    let Some((_, said)) = obstacle else { return Ok(plain) };
    let said = said.split_once(OBSTACLE).map_or(said.as_str(), |(chain, _)| chain.trim_end());
    output::tell(&format!(
        "cleat: {said} drops what is forwarded: network {} has \"forward\": \"accept\", by which its packets pass there\n",
        wanted.name
    ));
    text(&Wanted { opens: true, ..*wanted })
}

/// Accepts the driver bridge only. The error distinguishes a typing error from a plugin that needs a conflist of its own.
fn check_driver(args: &Args, environment: &Environment, doing: &str) -> Result<(), Error> {
    let driver = args.driver.as_str();
    let found = delegate::find(driver, &environment.path);
    if driver == BRIDGE {
        return found.map(|_| ()).map_err(Error::contract(doing));
    }
    let built_in = BUILT_IN.iter().find(|(name, known)| *known == driver || *name == driver);
    let (reason, cure) = if let Some((name, _)) = built_in {
        let cure = format!("use it as it is: `cleat run --network {name}`");
        (format!("driver {driver} has nothing to configure"), cure)
    } else if found.is_ok() {
        (
            format!("driver {driver} is none that networks are written for"),
            format!(
                "write a *.conflist with {{\"type\": \"{driver}\"}} and, for names, {{\"type\": \"link-env\"}} behind it, into {}",
                environment.folder.display()
            ),
        )
    } else {
        let meant = nearest(driver, [BRIDGE, "host", "none"]);
        let cure = meant.map_or("use bridge".to_owned(), |meant| format!("did you mean {meant}?"));
        (format!("plugin {driver:?} not found in CNI_PATH"), cure)
    };
    Err(Error::refused(doing, reason, cure))
}

impl Args {
    /// The bridge's name: an option, or made of the ID, as Docker does.
    fn bridge(&self) -> Result<IfName, Error> {
        let option = self.options.iter().find_map(|option| option.bridge.clone());
        let name = self.bridge.clone().or(option);
        let name = name.unwrap_or_else(|| format!("br-{}", &crate::network::id(&self.name)[..12]));
        IfName::new(name).map_err(Error::contract("name the bridge"))
    }

    /// The subnets that were asked for, unless one is in use; by default free ones.
    fn pools(&self, taken: &Taken, doing: &str) -> Result<Vec<Pool>, Error> {
        let refuse = |reason: String, cure: &str| Error::refused(doing, reason, cure);
        let mut subnets = self.subnet.clone();
        for subnet in &subnets {
            if let Some(holder) = taken.holder(*subnet) {
                let cure = "choose another one, or leave --subnet out for a free one";
                return Err(refuse(format!("subnet {subnet} overlaps with {holder}"), cure));
            }
        }
        let has =
            |subnets: &[IpNetwork], v4: bool| subnets.iter().filter(|subnet| subnet.is_ipv4() == v4).count();
        if has(&subnets, true) > 1 || has(&subnets, false) > 1 {
            return Err(refuse("two subnets of one family".to_owned(), "give one of each family"));
        }
        if has(&subnets, true) == 0 && (subnets.is_empty() || self.ipv6) {
            let free = taken.free_v4();
            let all_taken = || refuse("no free IPv4 subnet is left".to_owned(), "name one with --subnet");
            subnets.insert(0, free.ok_or_else(all_taken)?);
        }
        if has(&subnets, false) == 0 && self.ipv6 {
            subnets.push(taken.free_v6()?);
        }
        let part_of = |subnet: &IpNetwork, address: IpAddr| subnet.is_ipv4() == address.is_ipv4();
        let pools = subnets.iter().map(|subnet| {
            let gateway = self.gateway.iter().find(|gateway| part_of(subnet, **gateway)).copied();
            let part = self.ip_range.iter().find(|range| part_of(subnet, range.network())).copied();
            Pool::new(*subnet, gateway, part)
                .map_err(|reason| refuse(reason, "mend --subnet, --gateway or --ip-range"))
        });
        let pools = pools.collect::<Result<Vec<_>, _>>()?;
        if self.gateway.len() > pools.len() || self.ip_range.len() > pools.len() {
            let reason = "more gateways or ranges than subnets".to_owned();
            return Err(refuse(reason, "give one of each for each family"));
        }
        Ok(pools)
    }
}
