//! A network with its members' hosts lines, rendered once for all who see them: a change rewrites the file of every
//! member, and each file names every member.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::ops::Range;

use registry::{Member, Network, short_id};

use crate::name::MAX_NAME;

/// musl reads lines into a buffer of 512 bytes (`src/network/lookup_name.c`) and passes over the rest of longer ones.
const MAX_LINE: usize = 510;

/// A network, and the lines of its members from when they are first asked for.
#[derive(Debug)]
pub(crate) struct Neighbourhood {
    pub(crate) network: Network,
    lines: OnceCell<Lines>,
}

/// The lines of all members, and where whose lines and names are.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) text: String,
    /// The part of the text that each member has, in their order.
    pub(crate) parts: Vec<Range<usize>>,
    /// The places of the members that have a name, which is in small letters, in their lines.
    pub(crate) places: HashMap<String, Vec<usize>>,
}

impl Neighbourhood {
    pub(crate) fn new(network: Network) -> Self {
        Self { network, lines: OnceCell::new() }
    }

    pub(crate) fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| {
            let members = &self.network.members;
            let mut lines = Lines {
                text: String::new(),
                parts: Vec::with_capacity(members.len()),
                places: HashMap::new(),
            };
            for (place, member) in members.iter().enumerate() {
                let start = lines.text.len();
                let names = self.names_of(member);
                push_lines(&mut lines.text, member, &names);
                lines.parts.push(start..lines.text.len());
                for name in names {
                    lines.places.entry(name.to_ascii_lowercase()).or_default().push(place);
                }
            }
            lines
        })
    }

    /// What a member is called by the others: name, aliases, short ID, `name.network`; each once.
    pub(crate) fn names_of(&self, member: &Member) -> Vec<String> {
        let mut names = vec![member.name.clone()];
        let further = member.aliases.iter().cloned().chain([short_id(&member.container_id)]);
        for name in further.chain(self.qualified(member)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// `name.network`, where it is short enough for a name.
    pub(crate) fn qualified(&self, member: &Member) -> Option<String> {
        let name = format!("{}.{}", member.name, self.network.name);
        (name.len() <= MAX_NAME).then_some(name)
    }
}

/// Writes a member's lines, one an address, IPv4 first, all with the same names; none where there are no names.
pub(crate) fn push_lines<S: AsRef<str>>(text: &mut String, member: &Member, names: &[S]) {
    let v4 = member.addresses.iter().filter(|address| address.is_ipv4());
    let v6 = member.addresses.iter().filter(|address| address.is_ipv6());
    for address in v4.chain(v6) {
        push_line(text, *address, names);
    }
}

/// Writes an address with its names: a further line for those that would make one too long.
pub(crate) fn push_line<S: AsRef<str>>(text: &mut String, address: IpAddr, names: &[S]) {
    let mut start = text.len();
    for (index, name) in names.iter().map(AsRef::as_ref).enumerate() {
        if index > 0 && text.len() - start + 1 + name.len() <= MAX_LINE {
            text.push(' ');
        } else {
            if index > 0 {
                text.push('\n');
            }
            start = text.len();
            // Writing to a string cannot fail.
            let _ = write!(text, "{address}\t");
        }
        text.push_str(name);
    }
    if !names.is_empty() {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_shorter_than_musls_buffer_and_have_every_name_once() {
        let mut network = Network::new("web");
        network.put(Member {
            container_id: "c1".into(),
            name: "many".into(),
            aliases: (0..60).map(|index| format!("alias-number-{index}")).collect(),
            addresses: vec!["10.0.0.2".parse().unwrap()],
            ..Member::default()
        });
        let neighbourhood = Neighbourhood::new(network);
        let text = &neighbourhood.lines().text;
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.len() <= MAX_LINE && line.starts_with("10.0.0.2\t")), "{text}");
        for name in neighbourhood.names_of(&neighbourhood.network.members[0]) {
            assert_eq!(text.split_ascii_whitespace().filter(|word| *word == name).count(), 1);
        }
    }
}
