//! Lines that somebody else has added to a container's hosts file: the container itself, or who looks after it.
//!
//! As with Docker they stay until the file is made anew, whoever else comes and goes. What is ours is told by its end, which
//! nobody sees ([`MARK`]), and is never read back as truth: it follows from the registry alone. A version before wrote
//! lines without that end; those are known by what they say.

use std::collections::{HashMap, HashSet};

use registry::Change;

use crate::hosts::{self, Text};

/// How each of our lines ends, but those for `localhost`: resolvers pass over it, and nobody writes it by hand.
pub(crate) const MARK: &str = " \t";

/// So many bytes of others' lines are kept. Whatever is beyond is left out.
pub(crate) const MOST: usize = 64 << 10;

/// What becomes of a hosts file.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) change: Change,
    /// Lines were left out: there were more than may be kept.
    pub(crate) is_cut: bool,
}

/// Whether a line ends as ours do; they may have spaces behind, up to the end of their place.
pub(crate) fn is_marked(line: &[u8]) -> bool {
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\r')).count();
    line[..line.len() - blanks].ends_with(MARK.as_bytes())
}

/// What was a line of ours, if it was, before somebody wrote further names behind its end. A tab behind the address comes
/// first, so that what people put in columns is seldom taken for one.
fn before_mark(line: &str) -> Option<&str> {
    let (before, _) = line.split_once(MARK).filter(|(before, _)| before.contains('\t'))?;
    Some(before)
}

/// Lines of ours by their addresses and first names: somebody may have added names to one, which then serves as well.
#[derive(Debug)]
pub(crate) struct Ours<'a>(HashMap<(&'a str, &'a str), Vec<&'a str>>);

impl<'a> Ours<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let mut ours: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            if let (Some(address), Some(first)) = (words.next(), words.next()) {
                ours.entry((address, first)).or_default().push(line.trim_end());
            }
        }
        Self(ours)
    }

    /// The lines that such a line has all names of, and more.
    pub(crate) fn within(&self, line: &str) -> Vec<&'a str> {
        if !is_marked(line.as_bytes()) && before_mark(line).is_none() {
            return Vec::new();
        }
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next() else {
            return Vec::new();
        };
        // Each once: a line may have any number of names, and any of them as often as it likes.
        let names: HashSet<&str> = words.collect();
        let lines = names.iter().filter_map(|name| self.0.get(&(address, *name))).flatten();
        let has = |ours: &&&str| {
            let mut own = ours.split_ascii_whitespace().skip(1);
            names.len() > own.clone().count() && own.all(|name| names.contains(name))
        };
        lines.filter(has).copied().collect()
    }
}

/// Makes the old file, of which `most` bytes were read, have the new text and the lines of others. These stay where they
/// are, and so do ours: those that are no more become comments, new ones come at the end. Where the first lines of the text
/// change, or comments pile up, the file is made anew, with others' lines behind the one of the first lines that they
/// followed. A line of ours that has more names by now stays as long as ours would. `is_known` says of a line whether a version
/// before, or we as things were before, may have written it.
pub(crate) fn merge(old: &[u8], most: usize, text: &Text, is_known: impl Fn(&str) -> bool) -> Merged {
    if old.is_empty() || old == text.text.as_bytes() {
        let bytes = text.text.clone().into_bytes();
        return Merged { change: Change::Whole { bytes, is_mixed: false }, is_cut: false };
    }
    let mut is_cut = old.len() >= most;
    let whole_lines = old.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let old = if is_cut { &old[..whole_lines] } else { old };
    let (head, members) = text.text.split_at(text.head);
    let head: Vec<&str> = head.lines().collect();
    let places: HashMap<&[u8], usize> =
        (1..).zip(&head).map(|(place, line)| (bare(line.as_bytes()), place)).collect();
    // Where a line has other names by now, its address tells.
    let addresses: HashMap<&[u8], usize> =
        (1..).zip(&head).map(|(place, line)| (address(line.as_bytes()), place)).collect();
    let lines = || text.text.lines().filter(|line| !line.starts_with('#'));
    let mut missing: HashSet<&[u8]> = lines().map(|line| bare(line.as_bytes())).collect();

    let ours = Ours::of(&text.text);

    let mut kept: Vec<(usize, &[u8])> = Vec::new();
    let (mut start, mut length, mut dead, mut place) = (0, 0, 0, 0);
    let mut ending: Vec<usize> = Vec::new();
    let mut is_of_before = false;
    for line in old.split(|byte| *byte == b'\n') {
        let is_there = missing.remove(bare(line));
        let words = std::str::from_utf8(line).unwrap_or_default();
        let is_marked = is_marked(line) || before_mark(words).is_some_and(&is_known);
        let is_known = || is_known(words);
        let extended = if is_there { Vec::new() } else { ours.within(words) };
        let is_extended = !extended.is_empty() && !is_known();
        for line in extended.into_iter().filter(|_| is_extended) {
            missing.remove(line.as_bytes());
        }
        let is_ours = is_there || !is_extended && (is_marked || is_known());
        if is_nothing(line) || is_marked && line.starts_with(b"#") {
            dead += line.len() + 1;
        } else if !is_ours {
            length += line.len() + 1;
            kept.push((place, line));
        } else if is_marked && !is_there {
            ending.push(start);
        } else {
            is_of_before |= !is_there;
        }
        if is_ours || is_extended {
            let known = places.get(bare(line)).or_else(|| addresses.get(address(line)));
            place = place.max(known.copied().unwrap_or_default());
        }
        if length > MOST {
            is_cut = true;
            kept.pop();
            break;
        }
        start += line.len() + 1;
    }
    let is_like_before =
        !is_cut && !is_of_before && !head.iter().any(|line| missing.contains(bare(line.as_bytes())));
    let free =
        text.text.lines().filter(|line| line.starts_with('#')).map(|line| line.len() + 1).sum::<usize>();
    if !kept.is_empty() && is_like_before && dead <= free + MOST {
        let mut more = Vec::new();
        for line in lines().filter(|line| missing.contains(bare(line.as_bytes()))) {
            if more.is_empty() && !old.ends_with(b"\n") {
                more.push(b'\n');
            }
            more.extend_from_slice(line.as_bytes());
            more.push(b'\n');
        }
        return Merged { change: Change::Lines { ending, more }, is_cut };
    }
    let mut bytes = Vec::with_capacity(text.text.len() + length);
    // They are in the order of their places.
    let mut others = kept.iter().peekable();
    for place in 0..=head.len() {
        let here = std::iter::from_fn(|| others.next_if(|(known, _)| *known == place)).map(|(_, line)| *line);
        for line in here.chain(head.get(place).map(|line| line.as_bytes())) {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
    }
    bytes.extend_from_slice(members.as_bytes());
    Merged { change: Change::Whole { bytes, is_mixed: !kept.is_empty() }, is_cut }
}

/// What fills places, what a process that was killed left, and what is no text, besides our lines for `localhost`.
fn is_nothing(line: &[u8]) -> bool {
    let bare = bare(line);
    bare.iter().all(|byte| *byte == b'#') || bare.contains(&0) || hosts::is_loopback(bare)
}

fn address(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b'\t').next().unwrap_or_default()
}

fn bare(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "127.0.0.1\tlocalhost\n10.0.0.9\tdb \t\n10.0.0.2\tc1 \t\n";
    const MEMBERS: &str = "10.0.0.3\tb.shop b c2 \t  \n#####\n";

    fn text() -> Text {
        Text { text: format!("{OURS}{MEMBERS}"), head: OURS.len() }
    }

    fn merged(old: &str) -> String {
        let merged = merge(old.as_bytes(), 1 << 20, &text(), |line| line == "10.0.0.7\told");
        assert!(!merged.is_cut);
        match merged.change {
            Change::Whole { bytes, .. } => String::from_utf8(bytes).unwrap(),
            Change::Lines { ending, more } => {
                let mut text = old.as_bytes().to_vec();
                for start in ending {
                    text[start] = b'#';
                }
                String::from_utf8([text, more].concat()).unwrap()
            }
        }
    }

    #[test]
    fn nothing_moves_while_members_come_and_go() {
        let old = format!("# mine\n{OURS}192.0.2.1 a\r\n10.0.0.3\tb.shop b c2 \t  \n###\n192.0.2.3 c\n");
        assert_eq!(merged(&old), old);
        let gone = old.replace("10.0.0.3\tb.shop b", "10.0.0.8\tx.shop x");
        let (there, new) = (gone.replace("10.0.0.8", "#0.0.0.8"), MEMBERS.lines().next().unwrap());
        assert_eq!(merged(&gone), format!("{there}{new}\n"));
        // The second one of two, and no newline at the end.
        let (twice, end) = (format!("{old}{new}\n192.0.2.1 a"), "192.0.2.1 a");
        assert_eq!(merged(&twice), format!("{old}#{}\n{end}", &new[1..]));
        assert_eq!(merged(&format!("{OURS}{end}")), format!("{OURS}{end}\n{new}\n"));
    }

    #[test]
    fn others_lines_keep_their_places_when_the_first_lines_change() {
        let old = "# mine\n127.0.0.1\tlocalhost\n192.0.2.1 a\n10.0.0.9\tstore \t\n192.0.2.2 b\r\n10.0.0.2\tc1 \t\n192.0.2.3 c\n";
        assert_eq!(merged(&format!("{old}{MEMBERS}")), format!("{}{MEMBERS}", old.replace("store", "db")));
        assert_eq!(merged(""), text().text);
        let edited = "127.0.0.1 localhost me\n10.0.0.3\tb.shop b c2 mine\n";
        let stale = "10.0.0.8\tx.shop x \t   \n#0.0.0.8\tx.shop x \t\n10.0.0.7\told\n###\n\n\0\0\nff02::1\tip6-allnodes\n";
        assert_eq!(merged(&format!("{edited}{stale}")), format!("{edited}{OURS}{MEMBERS}"));
        // A file of the version before, whose lines are as they are now.
        let before = format!("{OURS}192.0.2.1 a\n").replace(MARK, "");
        assert_eq!(merged(&before), format!("{before}{}\n", MEMBERS.lines().next().unwrap()));
        assert_eq!(merged(&format!("{before}10.0.0.7\told\n")), format!("{OURS}192.0.2.1 a\n{MEMBERS}"));
    }

    #[test]
    fn a_line_of_ours_with_more_names_goes_with_its_member() {
        let old = format!("{OURS}{MEMBERS}").replace("c1", "c1 me").replace("b c2", "b c2 bee");
        assert_eq!(merged(&old), old);
        // When it is made anew, ours is beside it until the next change.
        let anew = merged(&old.replace("db", "store"));
        assert!(anew.contains("\tc1 me \t\n10.0.0.2\tc1 \t\n") && anew.contains("b c2 bee \t"), "{anew}");
        let next = anew
            .replace("\n10.0.0.2\tc1 \t", "\n#0.0.0.2\tc1 \t")
            .replace("\n10.0.0.3\tb.shop b c2 \t", "\n#0.0.0.3\tb.shop b c2 \t");
        assert_eq!([merged(&anew), merged(&next)], [next.clone(), next]);
        let gone = old.replace("10.0.0.3", "10.0.0.8");
        assert!(merged(&gone).contains("\n#0.0.0.8\tb.shop b c2 bee"), "{}", merged(&gone));
        assert!(!merged(&gone).contains("\n10.0.0.8"));
        // At the end of the line, where an editor puts it.
        let old = format!("{OURS}{MEMBERS}").replace("c2 \t  ", "c2 \t  bee # mine");
        assert_eq!(merged(&old), old);
        let gone = format!("{OURS}10.0.0.7\told \t bee\n192.0.2.1 a\n");
        assert!(merged(&gone).contains("\n#0.0.0.7\told \t bee\n192.0.2.1 a\n"), "{}", merged(&gone));
        // Columns of somebody's own.
        let own = format!("{OURS}192.0.2.7\tprinter \t# upstairs\n{MEMBERS}");
        assert_eq!(merged(&own), own);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let line = "192.0.2.1 name\n";
        let whole = |old: &[u8], most| {
            let merged = merge(old, most, &text(), |_| false);
            assert!(merged.is_cut);
            match merged.change {
                Change::Whole { bytes, .. } => String::from_utf8(bytes).unwrap(),
                change @ Change::Lines { .. } => panic!("{change:?}"),
            }
        };
        let kept = MOST / line.len();
        assert_eq!(
            whole(line.repeat(kept + 10).as_bytes(), 1 << 20),
            format!("{}{}", line.repeat(kept), text().text)
        );
        // Half a line is none.
        assert_eq!(whole(b"192.0.2.1 name\n192.0.2.2 ha", 27), format!("{line}{}", text().text));
    }

    #[test]
    fn comments_do_not_pile_up() {
        let old = format!("{OURS}192.0.2.1 a\n{}", "#0.0.0.8\tx.shop x \t\n".repeat(MOST / 10));
        assert_eq!(merged(&old), format!("{OURS}192.0.2.1 a\n{MEMBERS}"));
    }
}
