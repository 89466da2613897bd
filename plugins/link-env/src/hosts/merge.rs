//! A hosts file keeps the lines that others have added to it: the container itself, or its operator.
//!
//! As with Docker they stay until the container is made anew. Our own lines end with a mark that nobody sees ([`MARK`]).
//! They are never read back as truth: the registry alone says what they are. An earlier version wrote lines without the
//! mark; those are recognised by their content (`former`).
//!
//! [`MARK`]: super::line::MARK

use std::collections::{HashMap, HashSet};

use registry::Change;

use super::line::{before_mark, is_loopback, is_marked};
use super::text::Text;

/// Bytes of others' lines that are kept. What exceeds them is left out.
pub(crate) const MOST: usize = 64 << 10;

/// What becomes of a hosts file.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) change: Change,
    /// Lines were left out: there were more than may be kept.
    pub(crate) is_cut: bool,
}

/// Our lines by address and first name. A line to which somebody has added names counts as ours.
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

    /// Our lines all of whose names this line has, with others.
    pub(crate) fn within(&self, line: &str) -> Vec<&'a str> {
        if !is_marked(line.as_bytes()) && before_mark(line).is_none() {
            return Vec::new();
        }
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next() else {
            return Vec::new();
        };
        // Each once: a line may have any number of names, and the same one many times.
        let names: HashSet<&str> = words.collect();
        let lines = names.iter().filter_map(|name| self.0.get(&(address, *name))).flatten();
        let has = |ours: &&&str| {
            let mut own = ours.split_ascii_whitespace().skip(1);
            names.len() > own.clone().count() && own.all(|name| names.contains(name))
        };
        lines.filter(has).copied().collect()
    }
}

/// Changes the old file, of which `most` bytes were read, to the new text with the lines of others.
///
/// Others' lines keep their positions, and so do ours that are still right. Our other lines become comments, and new ones are
/// appended. Where the part of the text before the blocks changes, or comments pile up, the whole file is written, with
/// others' lines after the line of that part which they followed. A line of ours with added names stays while its member
/// has its names. `is_known` says whether an earlier version, or this one before the change, may have written a line.
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
    // A line whose names have changed is found by its address.
    let addresses: HashMap<&[u8], usize> =
        (1..).zip(&head).map(|(place, line)| (address(line.as_bytes()), place)).collect();
    let lines = || text.text.lines().filter(|line| !line.starts_with('#'));
    let mut missing: HashSet<&[u8]> = lines().map(|line| bare(line.as_bytes())).collect();

    let ours = Ours::of(&text.text);
    let mut kept: Vec<(usize, &[u8])> = Vec::new();
    let (mut start, mut length, mut comments, mut place) = (0, 0, 0, 0);
    let mut ending: Vec<usize> = Vec::new();
    let mut has_former = false;
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
            comments += line.len() + 1;
        } else if !is_ours {
            length += line.len() + 1;
            kept.push((place, line));
        } else if is_marked && !is_there {
            ending.push(start);
        } else {
            has_former |= !is_there;
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
    let is_head_same =
        !is_cut && !has_former && !head.iter().any(|line| missing.contains(bare(line.as_bytes())));
    let free =
        text.text.lines().filter(|line| line.starts_with('#')).map(|line| line.len() + 1).sum::<usize>();
    if !kept.is_empty() && is_head_same && comments <= free + MOST {
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

/// Whether a line is nobody's: what fills slots, what a killed process left, what is no text; and our lines for `localhost`.
fn is_nothing(line: &[u8]) -> bool {
    let bare = bare(line);
    bare.iter().all(|byte| *byte == b'#') || bare.contains(&0) || is_loopback(bare)
}

fn address(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b'\t').next().unwrap_or_default()
}

fn bare(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::super::line::MARK;
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
