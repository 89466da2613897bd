//! What a member is called in the hosts files of others.

use registry::{Member, qualify, short_id};

use crate::name::{MAX_NAME, distinct};

/// What a member is called by those who see the network: `name.network` first, as gethostbyaddr(3) answers with the first
/// name; then its name, `name.namespace`, aliases and short ID, and the latter two with the network. Each once.
/// `is_outdated`: as an earlier version wrote it, without the last group.
pub(crate) fn in_network(member: &Member, network: &str, is_outdated: bool) -> Vec<String> {
    let mut names: Vec<String> = qualified(&member.name, network).into_iter().collect();
    let further = || member.aliases.iter().cloned().chain([short_id(&member.container_id)]);
    names.push(member.name.clone());
    if !member.tenant().is_empty() {
        names.push(qualify(&member.name, member.tenant()));
    }
    names.extend(further());
    if !is_outdated {
        names.extend(further().filter_map(|name| qualified(&name, network)));
    }
    distinct(names)
}

/// `name.network`, where that is short enough for a name.
pub(crate) fn qualified(name: &str, network: &str) -> Option<String> {
    let name = format!("{name}.{network}");
    (name.len() <= MAX_NAME).then_some(name)
}

/// What a member is called by another tenant that may know it: its names with its namespace.
pub(crate) fn with_namespace(member: &Member) -> Vec<String> {
    let names = [&member.name].into_iter().chain(&member.aliases);
    names.map(|name| qualify(name, member.tenant())).collect()
}
