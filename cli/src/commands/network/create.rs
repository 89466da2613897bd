//! `cleat network create`: writes a complete conflist that conflicts with no other network. Of an overlay network the engine is
//! told as well, and the agent.

pub(super) mod upper;

use std::net::IpAddr;

use clap::builder::RangedU64ValueParser;
use cni::{NetworkName, delegate};
use ipnetwork::IpNetwork;
use serde_json::{Value, json};

use super::known::BUILT_IN;
use super::new::{self, HostOptions};
use super::options::DockerOption;
use super::part::Part;
use crate::agent::{Conf, NodeOptions, Program};
use crate::environment::Environment;
use crate::error::Error;
use crate::network::{Folder, OVERLAY, Pool, Taken, Wanted};
use crate::output;
use crate::runtime::{CacheFolder, Runtime};
use crate::suggestion::nearest;

/// The driver of networks of one host: the plugin that makes the interfaces.
const BRIDGE: &str = "bridge";

/// The arguments of `cleat network create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    name: String,
    /// The plugin that makes the interfaces: bridge, macvlan or ipvlan on an interface of the host; overlay for a network of
    /// several hosts
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
    /// An address of the subnet that is another machine's, and no container gets
    #[arg(long, value_name = "NAME=IP", value_parser = auxiliary)]
    aux_address: Vec<(String, IpAddr)>,
    /// Also an IPv6 subnet
    #[arg(long)]
    ipv6: bool,
    /// MTU of the interfaces, in bytes
    #[arg(long, value_parser = RangedU64ValueParser::<u32>::new().range(68..=65_535))]
    mtu: Option<u32>,
    #[command(flatten)]
    host: HostOptions,
    #[command(flatten)]
    node: NodeOptions,
    /// Length of each node's block, one for each subnet [default: 24 of IPv4, 64 of IPv6]
    #[arg(long, value_name = "LENGTH", help_heading = "Overlay networks")]
    block_length: Vec<u8>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Writes the conflist and prints the network's ID.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let doing = format!("create network {}", args.name);
    let refuse = |reason: String, cure: &str| Err(Error::refused(doing.as_str(), reason, cure));
    let name = NetworkName::new(args.name.as_str()).map_err(Error::contract(doing.as_str()))?;
    if BUILT_IN.iter().any(|(name, _)| *name == args.name) {
        return refuse("that name means what every host has".to_owned(), "choose another name");
    }
    let upper = args.host.upper();
    let asked = upper::Driver::of(&args.driver)
        .map(|driver| upper::Asked::new(driver, &upper, &args.host.of_bridges(), environment, &doing))
        .transpose()?;
    if asked.is_none() {
        check_driver(args, environment, &doing)?;
        upper::expect_none(&upper, &args.driver, &doing)?;
    }
    args.expect_of_driver(&doing)?;
    let agent =
        if args.is_overlay() { Some((args.node.conf(&doing)?, Program::find(&doing)?)) } else { None };
    let runtime = Runtime::new(environment, &args.cache);
    let folder = Folder::lock(&environment.folder)?;
    let networks = runtime.networks();
    if let Some(known) = networks.iter().find(|list| list.name.as_str() == args.name) {
        let file = known.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        return refuse(format!("it is there already, in {file}"), "`cleat network rm` removes it first");
    }
    if let Some(asked) = asked {
        asked.expect_free(&networks, &doing)?;
        // The host may be on the network itself: a subnet that is named need not be free of its addresses.
        let taken = if args.subnet.is_empty() {
            Taken::on_host(&networks, asked.parent, &[])?
        } else {
            Taken::by_networks(&networks)
        };
        let pools = args.pools(&taken, &doing)?;
        asked.write(&folder, (&args.name, &pools, args.mtu()), &doing)?;
        return output::text(&format!("{}\n", crate::network::id(&args.name)));
    }
    let bridge = args.host.bridge(&args.name, &networks, &doing)?;
    let pools = args.pools(&new::taken(&runtime, &networks, (&bridge, &[]), &doing)?, &doing)?;
    let wanted = Wanted { mtu: args.mtu(), ..args.host.wanted(&args.name, &bridge, &pools) };
    match agent {
        None => folder.create(&args.name, &new::text(&wanted, &runtime, &doing)?).map(|_| ())?,
        Some((conf, program)) => {
            Part::expect_none(&name, &doing)?;
            let wanted = Wanted { overlay: Some(&args.name), ..wanted };
            let text = new::text(&wanted, &runtime, &doing)?;
            let shared = program.create(&name, &args.request(&conf, &pools, &doing)?)?;
            let conf = Conf { id: Some(shared.id), ..conf };
            let part = Part { program: &program, network: &name, conf: &conf };
            if let Err(error) = part.begin(&folder, &text) {
                // Nobody else can be on a network that was not there before this call.
                return Err(error.and(program.delete(&name, &conf)));
            }
        }
    }
    output::text(&format!("{}\n", crate::network::id(&args.name)))
}

/// Accepts the drivers bridge and overlay. The error distinguishes a typing error from a plugin that needs a conflist of its own.
fn check_driver(args: &Args, environment: &Environment, doing: &str) -> Result<(), Error> {
    let driver = args.driver.as_str();
    if [BRIDGE, OVERLAY].contains(&driver) {
        let found = delegate::find(BRIDGE, &environment.path);
        return found.map(|_| ()).map_err(Error::contract(doing));
    }
    let built_in = BUILT_IN.iter().find(|(name, known)| *known == driver || *name == driver);
    let (reason, cure) = if let Some((name, _)) = built_in {
        let cure = format!("use it as it is: `cleat run --network {name}`");
        (format!("only one instance of driver {driver} is allowed, network {name}"), cure)
    } else if delegate::find(driver, &environment.path).is_ok() {
        (
            format!("driver {driver} is none that networks are written for"),
            format!(
                "write a *.conflist with {{\"type\": \"{driver}\"}} and, for names, {{\"type\": \"link-env\"}} behind it, into {}",
                environment.folder.display()
            ),
        )
    } else {
        let meant = nearest(driver, [BRIDGE, OVERLAY, "macvlan", "ipvlan", "host", "none"]);
        let cure = meant.map_or("use bridge".to_owned(), |meant| format!("did you mean {meant}?"));
        (format!("plugin {driver:?} not found in CNI_PATH"), cure)
    };
    Err(Error::refused(doing, reason, cure))
}

impl Args {
    fn is_overlay(&self) -> bool {
        self.driver == OVERLAY
    }

    /// The MTU: of two, the one by Docker's name.
    fn mtu(&self) -> Option<u32> {
        self.host.options.iter().filter_map(|option| option.mtu).next_back().or(self.mtu)
    }

    /// Refuses options of the other driver, which would go unseen.
    fn expect_of_driver(&self, doing: &str) -> Result<(), Error> {
        let is_shared = self.host.options.iter().any(DockerOption::is_shared);
        let are_left_out = [self.gateway.is_empty(), self.ip_range.is_empty(), self.aux_address.is_empty()];
        if self.is_overlay() && are_left_out.contains(&false) {
            let reason = "--gateway, --ip-range and --aux-address are of a network of one host";
            return Err(Error::refused(
                doing,
                reason,
                "leave them out: each node gets a block of the subnet",
            ));
        }
        if !self.is_overlay() && (self.node.are_given() || is_shared || !self.block_length.is_empty()) {
            let reason =
                format!("an engine, and what goes with it, is of no use with driver {}", self.driver);
            return Err(Error::refused(doing, reason, "add -d overlay for a network of several hosts"));
        }
        Ok(())
    }

    /// What `cleat-overlay create` reads.
    fn request(&self, conf: &Conf, pools: &[Pool], doing: &str) -> Result<Value, Error> {
        if !self.block_length.is_empty() && self.block_length.len() != pools.len() {
            let reason =
                format!("{} subnets, and {} lengths of blocks", pools.len(), self.block_length.len());
            return Err(Error::refused(doing, reason, "give --block-length once for each subnet"));
        }
        let options = &self.host.options;
        let prefixes: Vec<String> = pools.iter().map(|pool| pool.subnet.to_string()).collect();
        let mut request = json!({"conf": conf, "prefixes": prefixes});
        let is_encrypted =
            options.iter().filter_map(|option| option.encrypted).next_back().unwrap_or_default();
        let given = [
            ("blockLengths", (!self.block_length.is_empty()).then(|| json!(self.block_length))),
            ("backend", is_encrypted.then(|| json!("wireguard"))),
            ("vni", options.iter().filter_map(|option| option.vni).next_back().map(Value::from)),
            ("port", options.iter().filter_map(|option| option.port).next_back().map(Value::from)),
            ("mtu", self.mtu().map(Value::from)),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                request[key] = value;
            }
        }
        Ok(request)
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
            let free = if self.is_overlay() { taken.free_wide_v4() } else { taken.free_v4() };
            let all_taken = || refuse("no free IPv4 subnet is left".to_owned(), "name one with --subnet");
            subnets.insert(0, free.ok_or_else(all_taken)?);
        }
        if has(&subnets, false) == 0 && self.ipv6 {
            subnets.push(taken.free_v6(if self.is_overlay() { 48 } else { 64 })?);
        }
        let part_of = |subnet: &IpNetwork, address: IpAddr| subnet.is_ipv4() == address.is_ipv4();
        let pools = subnets.iter().map(|subnet| {
            let gateway = self.gateway.iter().find(|gateway| part_of(subnet, **gateway)).copied();
            let part = self.ip_range.iter().find(|range| part_of(subnet, range.network())).copied();
            let own = self.aux_address.iter().filter(|(_, address)| subnet.contains(*address)).cloned();
            Pool::new(*subnet, gateway, part)
                .and_then(|pool| pool.with_auxiliary(own.collect()))
                .map_err(|reason| refuse(reason, "mend --subnet, --gateway, --ip-range or --aux-address"))
        });
        let pools = pools.collect::<Result<Vec<_>, _>>()?;
        if self.gateway.len() > pools.len() || self.ip_range.len() > pools.len() {
            let reason = "more gateways or ranges than subnets".to_owned();
            return Err(refuse(reason, "give one of each for each family"));
        }
        let is_outside = |address: IpAddr| !pools.iter().any(|pool| pool.subnet.contains(address));
        if let Some((name, address)) = self.aux_address.iter().find(|(_, address)| is_outside(*address)) {
            let reason = format!("auxiliary address {name}={address} is in none of the subnets");
            return Err(refuse(reason, "mend --aux-address or --subnet"));
        }
        Ok(pools)
    }
}

/// An auxiliary address by Docker's form.
fn auxiliary(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("write it as NAME=IP")?;
    let address = address.parse().map_err(|_| format!("{address:?} is no IP address"))?;
    Ok((name.to_owned(), address))
}
