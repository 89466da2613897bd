//! `--network container:X`: the network of another container, of any runtime, with its host name, hosts file and resolver.

use std::path::PathBuf;

use cni::AddResult;

use crate::error::Error;
use crate::inventory::{Inventory, kept_result};
use crate::registered::hosts_of;
use crate::runs;
use crate::runtime::Runtime;
use crate::spec::Resolver;

/// What is shared.
#[derive(Debug)]
pub(crate) struct SharedNetwork {
    /// The path of the network namespace.
    pub(crate) netns: PathBuf,
    /// The other container's host name.
    pub(crate) hostname: String,
    /// Its hosts file, where it has one of its own.
    pub(crate) hosts: Option<PathBuf>,
    /// Its interfaces, and what their ADDs said.
    pub(crate) results: Vec<(String, AddResult)>,
    /// What its options say of the resolver.
    pub(crate) resolver: Resolver,
}

impl SharedNetwork {
    /// That of a container that runs.
    pub(crate) fn of(container: &str, runtime: &Runtime<'_>) -> Result<Self, Error> {
        let inventory = Inventory::read(runtime)?;
        let (attachments, run) = match inventory.container(container) {
            Ok(attachments) => {
                let id = attachments.first().map_or(container, |first| first.container_id());
                let run = runs::running(id)?;
                (attachments, run)
            }
            Err(error @ Error::NoContainer { .. }) => {
                (Vec::new(), Some(runs::running(container)?.ok_or(error)?))
            }
            Err(error) => return Err(error),
        };
        let spec = run.as_ref().map(|run| run.record.spec()).transpose()?;
        let living = attachments.iter().find(|attached| !attached.is_gone() && attached.life.why().is_none());
        let netns =
            run.as_ref().and_then(runs::Run::netns).or_else(|| living.map(|living| living.netns.clone()));
        let Some(netns) = netns else {
            return Err(Error::refused(
                format!("use the network of container {container}"),
                "it does not run, or its namespace is not known",
                "`cleat ps` shows which run",
            ));
        };
        let member = attachments.iter().find_map(|attached| attached.member.as_ref());
        let named = spec.as_ref().and_then(|spec| spec.hostname.clone());
        let hostname = named.or_else(|| member.map(|member| member.hostname.clone()));
        let id = run.as_ref().map(|run| run.record.container_id.as_str());
        let id = id.or_else(|| living.map(|living| living.container_id())).unwrap_or(container);
        let result = |attached: &&crate::inventory::Attached| {
            let entry = runtime.cache.read(&attached.attachment).ok().flatten();
            (attached.attachment.ifname.to_string(), entry.as_ref().map(kept_result).unwrap_or_default())
        };
        Ok(Self {
            netns,
            hostname: hostname.unwrap_or_else(|| registry::short_id(id)),
            hosts: hosts_of(&inventory, &attachments),
            results: attachments.iter().map(result).collect(),
            resolver: spec.map(|spec| spec.resolver).unwrap_or_default(),
        })
    }
}
