//! `cleat inspect`: a container's networks, addresses, ports and links; as JSON in the shape of `docker inspect`.

use cni::Ip;
use registry::Member;
use serde_json::{Map, Value, json};

use super::View;
use crate::age;
use crate::docker;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::network::id;
use crate::output::{self, Table};
use crate::runs::{self, Record, Run};
use crate::runtime::Runtime;
use crate::template::Template;

/// The arguments of `cleat inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or IDs of the containers
    #[arg(required = true)]
    containers: Vec<String>,
    /// Print a line for each container by a template, such as '{{.NetworkSettings.Networks}}' or '{{json .Config}}'
    #[arg(short, long, value_name = "TEMPLATE", conflicts_with = "json")]
    format: Option<Template>,
    #[command(flatten)]
    view: View,
}

/// Describes each one.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let inventory = Inventory::read(&Runtime::new(environment, &args.view.cache))?;
    let described = args.containers.iter().map(|container| describe(&inventory, container));
    let (tables, objects): (Vec<_>, Vec<_>) = described.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    if let Some(template) = &args.format {
        let lines = objects
            .iter()
            .map(|object| Ok(template.fill(object)? + "\n"))
            .collect::<Result<String, String>>();
        let cure = "`cleat inspect --json` shows all fields";
        return output::text(&lines.map_err(|reason| Error::refused("use --format", reason, cure))?);
    }
    if args.view.form.is_json() { output::json(&objects) } else { output::tables(&tables) }
}

fn describe(inventory: &Inventory, container: &str) -> Result<(Table, Value), Error> {
    match inventory.container(container) {
        Err(error @ Error::NoContainer { .. }) => alone(&runs::running(container)?.ok_or(error)?),
        found => found.map(|attachments| (table(&attachments), object(&attachments))),
    }
}

/// A container of `cleat run` that runs on no network.
fn alone(run: &Run) -> Result<(Table, Value), Error> {
    let Record { container_id, name, created, networks, .. } = &run.record;
    let (short, since, spec) =
        (registry::short_id(container_id), age::timestamp(*created), run.record.spec()?);
    // `host` or `none`, unless it was started on a network. Docker has an endpoint for these, too.
    let built_in = spec.no_network();
    let name = name.as_ref().unwrap_or(&short);
    let all: Map<String, Value> = built_in
        .iter()
        .map(|name| ((*name).to_owned(), json!({"NetworkID": id(name), "IPAddress": ""})))
        .collect();
    let object = json!({
        "Id": container_id,
        "Created": since,
        "Name": format!("/{name}"),
        "Config": {"Hostname": spec.hostname.as_ref().unwrap_or(&short)},
        "HostConfig": {
            "NetworkMode": built_in.or(networks.first().map(String::as_str)),
            "PortBindings": {},
            "Links": [],
        },
        "NetworkSettings": {"SandboxKey": run.netns(), "Ports": {}, "Networks": all},
    });
    let table = Table::of_pairs([
        ("Name", name.clone()),
        ("ID", container_id.clone()),
        ("Runtime", "cleat".to_owned()),
        ("Namespace", run.netns().unwrap_or_default().display().to_string()),
        ("Network", built_in.unwrap_or("none").to_owned()),
        ("Since", since),
    ]);
    Ok((table, object))
}

fn table(attachments: &[&Attached]) -> Table {
    let mut pairs = Vec::new();
    let mut say = |name: &'static str, value: String| {
        if !value.is_empty() {
            pairs.push((name, value));
        }
    };
    if let Some(first) = attachments.first() {
        say("Name", first.name());
        say("ID", first.attachment.container_id.to_string());
        say("Runtime", first.caller.to_owned());
        say("Pod namespace", first.namespace.clone());
        say("Namespace", first.netns.display().to_string());
    }
    for attached in attachments {
        say("Network", attached.attachment.network.to_string());
        let host = attached.host_interface().map(|host| format!(", {host} on the host")).unwrap_or_default();
        say("  Interface", format!("{}{host}", attached.attachment.ifname));
        say("  Addresses", attached.addresses().join(", "));
        say("  MAC", attached.mac().to_owned());
        say("  Ports", attached.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        say("  Aliases", attached.aliases().join(", "));
        say("  Links", attached.links().join(", "));
        say("  Since", attached.since.map(age::timestamp).unwrap_or_default());
    }
    Table::of_pairs(pairs)
}

/// What `docker inspect` has of networks.
fn object(attachments: &[&Attached]) -> Value {
    let Some(first) = attachments.first() else {
        return Value::Null;
    };
    let ports = || docker::ports(attachments.iter().flat_map(|attached| &attached.ports));
    let members = attachments.iter().filter_map(|attached| attached.member.as_ref());
    let exposed = members.flat_map(Member::ports);
    let exposed =
        exposed.flat_map(|range| range.numbers().map(move |port| format!("{port}/{}", range.protocol())));
    let mut all_ports: Map<String, Value> = exposed.map(|port| (port, Value::Null)).collect();
    all_ports.extend(ports().into_iter().map(|(port, bindings)| (port, json!(bindings))));
    let networks: Map<String, Value> = attachments
        .iter()
        .map(|attached| (attached.attachment.network.to_string(), network(attached)))
        .collect();
    json!({
        "Id": first.attachment.container_id.as_str(),
        "Created": first.since.map(age::timestamp),
        "Name": format!("/{}", first.name()),
        "Namespace": first.namespace,
        "Config": {"Hostname": first.member.as_ref().map(|member| &member.hostname)},
        "HostConfig": {
            "NetworkMode": first.attachment.network.as_str(),
            "PortBindings": ports(),
            "Links": links(attachments),
        },
        "NetworkSettings": {
            "SandboxKey": first.netns,
            "Ports": all_ports,
            "Networks": networks,
        },
    })
}

/// As Docker writes them: `/source:/recipient/alias`.
fn links(attachments: &[&Attached]) -> Vec<String> {
    let links = |attached: &&Attached| -> Vec<String> {
        let name = attached.name();
        let links = attached.member.iter().flat_map(|member| &member.links);
        links.map(|link| format!("/{}:/{name}/{}", link.source, link.alias)).collect()
    };
    attachments.iter().flat_map(links).collect()
}

fn network(attached: &Attached) -> Value {
    let of_family = |v4: bool| attached.ips().find(|ip| ip.address.is_ipv4() == v4);
    let (v4, v6) = (of_family(true), of_family(false));
    let address = |ip: Option<&Ip>| ip.map(|ip| ip.address.ip().to_string()).unwrap_or_default();
    let gateway = |ip: Option<&Ip>| ip.and_then(|ip| ip.gateway).map(|ip| ip.to_string()).unwrap_or_default();
    let prefix = |ip: Option<&Ip>| ip.map(|ip| ip.address.prefix()).unwrap_or_default();
    json!({
        "Links": attached.links(),
        "Aliases": attached.aliases(),
        "NetworkID": id(attached.attachment.network.as_str()),
        "EndpointID": attached.endpoint_id(),
        "Gateway": gateway(v4),
        "IPAddress": address(v4),
        "IPPrefixLen": prefix(v4),
        "IPv6Gateway": gateway(v6),
        "GlobalIPv6Address": address(v6),
        "GlobalIPv6PrefixLen": prefix(v6),
        "MacAddress": attached.mac(),
        "Interface": attached.attachment.ifname.as_str(),
        "HostInterface": attached.host_interface(),
    })
}
