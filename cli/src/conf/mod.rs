//! `cleat conf check`: whether network configurations are valid, without making an attachment.
//!
//! Three things are asked: is every key known and of its type (`keys`, by the schemas of `schemas`); would the plugins take
//! the configuration (their own validation) and are they there; do the networks' subnets clash with each other or with the
//! host (`subnets`). Of other plugins only the program is looked for, as nothing is known of their keys.

mod document;
mod file;
mod keys;
mod page;
mod plugins;
mod schemas;
mod subnets;

use std::fs::File;
use std::path::{Path, PathBuf};

use cni::{MAX_INPUT, NetworkList};
use ipnetwork::IpNetwork;

use document::{Node, Position, position};
pub use file::Finding;
use file::Network;
use keys::Fault;
pub(crate) use page::page;
pub(crate) use plugins::expect_acceptable;
pub(crate) use schemas::files as schema_files;

/// What the host has that configurations can disagree with.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The folders of plugins.
    pub(crate) path: Vec<PathBuf>,
    /// Destinations of the host's routes, with the link that each leads out of.
    pub(crate) routes: Vec<(IpNetwork, String)>,
}

/// Checks files, in the order given. Without surroundings they are judged by themselves.
pub(crate) fn check(files: &[PathBuf], surroundings: Option<&Surroundings>) -> Vec<Finding> {
    findings(files, files.iter().map(|file| read(file)), surroundings)
}

/// What is wrong with the content of one file, judged by itself; `file` is what findings call it.
#[must_use]
pub fn check_content(file: &Path, content: &[u8]) -> Vec<Finding> {
    findings(&[file.to_owned()], [parse(file, content.to_owned())], None)
}

fn findings(
    files: &[PathBuf],
    read: impl IntoIterator<Item = Result<Network, Finding>>,
    surroundings: Option<&Surroundings>,
) -> Vec<Finding> {
    let (mut networks, mut findings) = (Vec::new(), Vec::new());
    for network in read {
        match network {
            Ok(network) => networks.push(network),
            Err(finding) => findings.push(finding),
        }
    }
    for (index, network) in networks.iter().enumerate() {
        let mut faults = judge(network);
        faults.extend(twice(network, &networks[..index]));
        if let Some(surroundings) = surroundings {
            faults.extend(plugins::missing(network, &surroundings.path));
            // Its plugin refuses what has mistakes before it looks at the host.
            if faults.is_empty() {
                faults.extend(plugins::dropped(network, &surroundings.path));
            }
            faults.extend(plugins::without_agent(network));
        }
        findings.extend(network.findings(faults));
    }
    let routes = surroundings.map(|surroundings| surroundings.routes.as_slice()).unwrap_or_default();
    findings.extend(subnets::clashes(&networks, routes));
    let order = |finding: &Finding| files.iter().position(|file| *file == finding.file);
    findings.sort_by_key(|finding| (order(finding), finding.line, finding.column));
    findings
}

fn read(path: &Path) -> Result<Network, Finding> {
    let content = if is_descriptor(path) {
        File::open(path).and_then(|pipe| cni::file::read_at_most(pipe, MAX_INPUT))
    } else {
        cni::file::read(path, MAX_INPUT)
    };
    let failed = |error| Finding::new(path, Position::START, format!("read the file: {error}"));
    parse(path, content.map_err(failed)?)
}

/// Whether a path is one by which shells pass a pipe (`/dev/stdin`, `/dev/fd/63`). Other files must be regular ones.
fn is_descriptor(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd")
}

fn parse(file: &Path, content: Vec<u8>) -> Result<Network, Finding> {
    let text = String::from_utf8(content).map_err(|error| {
        let valid =
            String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        Finding::new(file, position(&valid, valid.len()), "the file is not UTF-8 text".to_owned())
    })?;
    let root = document::parse(&text).map_err(|(message, position)| Finding::new(file, position, message))?;
    let name = root.get("name").and_then(Node::text).unwrap_or_default().to_owned();
    Ok(Network { file: file.to_owned(), text, root, name })
}

/// What is wrong with a file by itself.
fn judge(network: &Network) -> Vec<Fault> {
    let (root, mut faults) = (&network.root, Vec::new());
    if root.get("plugins").is_some() {
        keys::judge(root, &cni::schema::network(), "", &mut faults);
    }
    // The plugins' values are dropped: they are in the tree already, and large files have many.
    let list = NetworkList::from_slice(network.text.as_bytes()).map(|list| (list.version, list.name));
    match list {
        Ok((version, name)) => faults.extend(plugins::judge(network, version, &name)),
        Err(error) => {
            faults.extend(network.plugins().iter().flat_map(plugins::judge_keys));
            let fault = plugins::fault(root, &error);
            // An error without a position is not reported where the keys explain it.
            if fault.at != root.at || faults.is_empty() {
                faults.push(fault);
            }
        }
    }
    faults
}

/// A network whose name another file has: only the first is ever used.
fn twice(network: &Network, earlier: &[Network]) -> Option<Fault> {
    let first = earlier.iter().find(|other| !network.name.is_empty() && other.name == network.name)?;
    let name = network.root.get("name")?;
    let problem =
        format!("network {:?} is in {} already", network.name, first.at(first.root.get("name")?.at));
    Some(Fault::new(name.at, problem, "give each network a name of its own; runtimes use the first"))
}

#[cfg(test)]
mod tests;
