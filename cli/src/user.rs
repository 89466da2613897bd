//! The user of a command, as `/etc/passwd` and `/etc/group` have it. Read here, as static programs cannot ask the C library.

use std::fs;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::error::Error;

/// Whether this process may change its further groups: not in a user namespace of an ordinary user (`user_namespaces(7)`). To be
/// asked before a mount namespace is entered, as the answer is in this process's own /proc.
pub(crate) fn may_set_groups() -> bool {
    fs::read_to_string("/proc/self/setgroups").map_or(true, |text| text.trim() != "deny")
}

/// Makes this process one of `USER[:GROUP]`, each by name or number.
///
/// # Errors
/// There is no such user or group, or the kernel refuses the change.
pub(crate) fn become_user(text: &str, may_set_groups: bool) -> Result<(), Error> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
    let Some((user, main, more)) = find(text, &passwd, &group) else {
        return Err(Error::refused(
            format!("become user {text}"),
            "/etc/passwd or /etc/group has no such name",
            "give a number, which need not be listed",
        ));
    };
    let more: Vec<Gid> = more.into_iter().map(Gid::from_raw).collect();
    let groups = if may_set_groups { setgroups(&more) } else { Ok(()) };
    groups
        .and_then(|()| setgid(Gid::from_raw(main)))
        .and_then(|()| setuid(Uid::from_raw(user)))
        .map_err(|errno| Error::io(format!("become user {text}"), errno))
}

/// The numbers of the user, its group, and its further groups. A number that is not listed has group 0, as with Docker.
fn find(text: &str, passwd: &str, group: &str) -> Option<(u32, u32, Vec<u32>)> {
    let (user, of_group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let number = |fields: &[String], at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let by_number = user.parse::<u32>().ok();
    let users = passwd.lines().map(fields);
    let listed = users
        .into_iter()
        .find(|fields| fields[0] == user || by_number.is_some() && number(fields, 2) == by_number);
    let (uid, own, name) = match &listed {
        Some(fields) => (number(fields, 2)?, number(fields, 3)?, fields[0].as_str()),
        None => (by_number?, 0, ""),
    };
    let groups: Vec<Vec<String>> = group.lines().map(fields).collect();
    if let Some(wanted) = of_group {
        let listed = groups.iter().find(|fields| fields[0] == wanted).and_then(|fields| number(fields, 2));
        let main = listed.or_else(|| wanted.parse().ok())?;
        return Some((uid, main, vec![main]));
    }
    let is_in = |fields: &&Vec<String>| {
        !name.is_empty()
            && fields.get(3).is_some_and(|members| members.split(',').any(|member| member == name))
    };
    let more = groups.iter().filter(is_in).filter_map(|fields| number(fields, 2));
    Some((uid, own, std::iter::once(own).chain(more).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/false\n";
        let group = "root:x:0:\nwebs:x:34:\nlog:x:4:syslog,web\n";
        for (text, wanted) in [
            ("web", Some((33, 34, vec![34, 4]))),
            ("33", Some((33, 34, vec![34, 4]))),
            ("web:log", Some((33, 4, vec![4]))),
            ("1000", Some((1000, 0, vec![0]))),
            ("1000:1001", Some((1000, 1001, vec![1001]))),
            ("nobody", None),
            ("web:nobody", None),
            ("", None),
        ] {
            assert_eq!(find(text, passwd, group), wanted, "{text}");
        }
    }
}
