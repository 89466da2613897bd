//! `cleat network inspect`: a network and its containers; as JSON with the keys of Docker, and others.

use serde_json::{Map, Value, json};

use super::known::{BUILT_IN, find};
use super::wide;
use crate::age;
use crate::commands::View;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::network::Described;
use crate::output::{self, Table};
use crate::runtime::Runtime;

/// The arguments of `cleat network inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of the networks, or the beginnings of their IDs
    #[arg(required = true)]
    networks: Vec<String>,
    #[command(flatten)]
    view: View,
}

/// Describes each one.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let inventory = Inventory::read(&Runtime::new(environment, &args.view.cache))?;
    let describe = |name: &String| match find(&inventory, name) {
        Err(error) => BUILT_IN
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(name, driver)| Described::built_in(name, driver))
            .ok_or(error),
        found => found.map(Described::of),
    };
    let networks = args.networks.iter().map(describe).collect::<Result<Vec<_>, _>>()?;
    if args.view.form.is_json() {
        let objects: Vec<Value> = networks.iter().map(|network| object(network, &inventory)).collect();
        return output::json(&objects);
    }
    let tables = |network: &Described| {
        let wide = network.overlay.as_ref().map(wide::Wide::of);
        let mut pairs = properties(network);
        pairs.extend(wide.iter().flat_map(wide::Wide::properties));
        let members = members(inventory.members_of(&network.name));
        [Some(Table::of_pairs(pairs)), wide.map(|wide| wide.peers()), Some(members)]
    };
    output::tables(&networks.iter().flat_map(tables).flatten().collect::<Vec<_>>())
}

fn properties(network: &Described) -> Vec<(&'static str, String)> {
    let pools = network.pools.iter().map(|pool| {
        let part = pool.part.map(|part| format!(", addresses of {part}")).unwrap_or_default();
        ("Subnet", format!("{}, gateway {}{part}", pool.subnet, pool.gateway))
    });
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let mut pairs = vec![
        ("Name", network.name.clone()),
        ("ID", network.id.clone()),
        ("Created", network.created.map(age::timestamp).unwrap_or_default()),
        ("Driver", network.driver.clone()),
    ];
    if let Some(parent) = &network.parent {
        pairs.push(("Parent", parent.clone()));
        pairs.extend(network.mode.clone().map(|mode| ("Mode", mode)));
        pairs.push(("Host reaches containers", yes(network.host_access)));
        pairs.extend(pools);
        pairs.extend(network.mtu.map(|mtu| ("MTU", mtu.to_string())));
        return pairs;
    }
    pairs.push(("Bridge", network.bridge.clone().unwrap_or_default()));
    pairs.extend(pools);
    pairs.push(("Internal", yes(network.internal)));
    pairs.push(("Members may talk", yes(network.icc)));
    pairs.push(("Masquerading", yes(network.masquerade)));
    pairs.extend(network.mtu.map(|mtu| ("MTU", mtu.to_string())));
    pairs
}

fn members<'a>(members: impl Iterator<Item = &'a Attached>) -> Table {
    let row = |attached: &Attached| {
        let ports: Vec<String> = attached.ports.iter().map(ToString::to_string).collect();
        [
            attached.short_id().into(),
            attached.called().into(),
            attached.attachment.ifname.as_str().into(),
            attached.host_interface().unwrap_or_default().into(),
            attached.mac().into(),
            attached.addresses().join(", ").into(),
            ports.join(", ").into(),
            attached.aliases().join(", ").into(),
            attached.links().join(", ").into(),
        ]
    };
    let heading =
        ["CONTAINER ID", "NAME", "INTERFACE", "ON HOST", "MAC", "ADDRESS", "PORTS", "ALIASES", "LINKS"];
    Table::of(heading, members.map(row))
}

/// The object of `docker network inspect`. Containers have further keys.
fn object(network: &Described, inventory: &Inventory) -> Value {
    let pools = network.pools.iter().map(|pool| {
        let mut config = json!({"Subnet": pool.subnet.to_string(), "Gateway": pool.gateway});
        if let Some(part) = pool.part {
            config["IPRange"] = part.to_string().into();
        }
        if !pool.auxiliary.is_empty() {
            config["AuxiliaryAddresses"] = json!(pool.auxiliary);
        }
        config
    });
    let containers: Map<String, Value> = inventory
        .members_of(&network.name)
        .map(|attached| (attached.attachment.container_id.to_string(), container(attached)))
        .collect();
    let mut object = json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created.map(age::timestamp),
        "Scope": network.scope(),
        "Driver": network.driver,
        "EnableIPv6": network.pools.iter().any(|pool| pool.subnet.is_ipv6()),
        "IPAM": {"Driver": network.ipam, "Options": {}, "Config": pools.collect::<Vec<_>>()},
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers,
        "Options": options(network),
        "Labels": {},
    });
    if let Some(overlay) = &network.overlay {
        wide::Wide::of(overlay).describe(&mut object);
    }
    object
}

fn container(attached: &Attached) -> Value {
    let addresses = attached.addresses();
    let address =
        |v4: bool| addresses.iter().find(|address| address.contains(':') != v4).cloned().unwrap_or_default();
    json!({
        "Name": attached.name(),
        "Namespace": attached.namespace,
        "EndpointID": attached.endpoint_id(),
        "MacAddress": attached.mac(),
        "IPv4Address": address(true),
        "IPv6Address": address(false),
        "Interface": attached.attachment.ifname.as_str(),
        "HostInterface": attached.host_interface(),
        "Ports": crate::docker::ports(&attached.ports),
        "Aliases": attached.aliases(),
        "Links": attached.links(),
    })
}

/// The options of a bridge by Docker's names, as text.
fn options(network: &Described) -> Map<String, Value> {
    if let Some(parent) = &network.parent {
        let mut options = vec![("parent".to_owned(), Value::from(parent.clone()))];
        options.extend(network.mode.clone().map(|mode| (format!("{}_mode", network.driver), mode.into())));
        options.extend(
            network.mtu.map(|mtu| ("com.docker.network.driver.mtu".to_owned(), mtu.to_string().into())),
        );
        options.extend(network.host_access.then(|| ("host_access".to_owned(), "true".into())));
        return options.into_iter().collect();
    }
    let Some(bridge) = &network.bridge else { return Map::new() };
    let mut options = vec![
        ("bridge.name", bridge.clone()),
        ("bridge.enable_icc", network.icc.to_string()),
        ("bridge.enable_ip_masquerade", network.masquerade.to_string()),
        ("bridge.host_binding_ipv4", "0.0.0.0".to_owned()),
    ];
    options.extend(network.mtu.map(|mtu| ("driver.mtu", mtu.to_string())));
    let named = |(key, value): (&str, String)| (format!("com.docker.network.{key}"), Value::from(value));
    options.into_iter().map(named).collect()
}
