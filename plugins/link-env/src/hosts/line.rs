//! One line of a hosts file: how it is written, how long it may be, and how it is recognised as ours.

use std::fmt::Write;
use std::net::IpAddr;

use registry::{Member, Slot, filler};

/// The end of each of our lines, but those for `localhost`. Resolvers ignore it, and people hardly type it.
pub(crate) const MARK: &str = " \t";

/// musl reads lines into a buffer of 512 bytes (`src/network/lookup_name.c`) and skips the rest of longer ones.
pub(super) const MAX_LINE: usize = 510;
/// Of that, what is left for address and names.
const MAX_NAMES: usize = MAX_LINE - MARK.len();

/// The first line of every hosts file.
pub(crate) const LOOPBACK: &str = "127.0.0.1\tlocalhost\n";
/// The lines after it, on a node with IPv6.
pub(crate) const LOOPBACK_V6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
     ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Whether a line is one of those for `localhost` that every hosts file has.
pub(crate) fn is_loopback(line: &[u8]) -> bool {
    LOOPBACK.lines().chain(LOOPBACK_V6.lines()).any(|known| known.as_bytes() == line)
}

/// Whether a line ends with the mark, with or without the spaces that fill its slot.
pub(crate) fn is_marked(line: &[u8]) -> bool {
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\r')).count();
    line[..line.len() - blanks].ends_with(MARK.as_bytes())
}

/// The part before the mark, of a line of ours to which somebody has added names at its end. It has to have a tab after the
/// address, so that columns which people align with tabs are seldom taken for one.
pub(crate) fn before_mark(line: &str) -> Option<&str> {
    let (before, _) = line.split_once(MARK).filter(|(before, _)| before.contains('\t'))?;
    Some(before)
}

/// A member's lines with these names, exactly as long as its slot; a comment where they do not fit.
pub(crate) fn fitted<S: AsRef<str>>(member: &Member, names: &[S], slot: Slot) -> String {
    let mut text = String::with_capacity(slot.length);
    push_lines(&mut text, member, names);
    if text.pop().is_none() || text.len() + 1 > slot.length {
        return filler(slot.length);
    }
    while text.len() + 1 < slot.length {
        text.push(' ');
    }
    text.push('\n');
    text
}

/// Writes a member's lines, one for each address, IPv4 first, all with the same names; none where there are no names.
pub(crate) fn push_lines<S: AsRef<str>>(text: &mut String, member: &Member, names: &[S]) {
    let v4 = member.addresses.iter().filter(|address| address.is_ipv4());
    let v6 = member.addresses.iter().filter(|address| address.is_ipv6());
    for address in v4.chain(v6) {
        push_line(text, *address, names);
    }
}

/// Writes an address with its names. Names that would make the line too long get a further line.
pub(crate) fn push_line<S: AsRef<str>>(text: &mut String, address: IpAddr, names: &[S]) {
    let mut start = text.len();
    for (index, name) in names.iter().map(AsRef::as_ref).enumerate() {
        if index > 0 && text.len() - start + 1 + name.len() <= MAX_NAMES {
            text.push(' ');
        } else {
            if index > 0 {
                end_line(text);
            }
            start = text.len();
            // Writing to a string cannot fail.
            let _ = write!(text, "{address}\t");
        }
        text.push_str(name);
    }
    if !names.is_empty() {
        end_line(text);
    }
}

fn end_line(text: &mut String) {
    text.push_str(MARK);
    text.push('\n');
}
