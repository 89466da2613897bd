//! What the programs of a commit left on a node: one file for each story, recorded in one sandbox and loaded into another.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket,
};
use sandbox::{Namespaced, run};
use serde_json::{Value, json};

use super::elements;
use super::links;
use super::story::Story;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/upgrade-1f927b4");
/// Where the programs keep files, besides those in `/run` that begin with `cleat`.
const STATE: [&str; 2] = ["/var/lib/cni", "/etc/netns"];
const TRACE: &str = "/run/trace";
/// The texts that replace the boot ID in a recording, and its first part, by which bridge marks a gate's rules.
const BOOT: [&str; 2] = ["BOOT-ID", "BOOTMARK"];
/// Programs that list rules and, with `restore` for `save`, load them.
const IPTABLES: [&str; 2] = ["iptables-nft-save", "ip6tables-nft-save"];

/// The file of one story.
pub(super) struct Recording(String);

impl Recording {
    pub(super) fn of(story: &Story) -> Self {
        Self(format!("{FOLDER}/{}.json", story.name))
    }

    /// Records a node with these containers, which [`traced`] programs attached.
    pub(super) fn make(&self, containers: &[&Namespaced]) {
        let mut files = Vec::new();
        let of_run = fs::read_dir("/run").unwrap().map(|entry| entry.unwrap().path());
        let of_run = of_run.filter(|path| path.to_str().unwrap().starts_with("/run/cleat"));
        of_run.chain(STATE.iter().map(PathBuf::from)).for_each(|path| read(&path, &mut files));
        // The files are written in this order again: the programs compare one file's date with those of others.
        files.sort_by_key(|(date, _)| *date);
        // Built-in chains exist already on the node that loads the recording.
        let is_ours = |line: &String| !line.starts_with(':') || line.starts_with(":CNI-");
        let chains =
            IPTABLES.map(|save| lines(&output(save, &[])).into_iter().filter(is_ours).collect::<Vec<_>>());
        let is_used = chains.iter().flatten().any(|line| line.contains("CNI-"));
        let record = json!({
            "links": links::script(containers),
            "nftables": nftables(),
            "messages": messages(),
            "iptables": if is_used { &chains[..] } else { &[] },
            "files": files.into_iter().map(|(_, file)| file).collect::<Vec<_>>(),
        });
        fs::create_dir_all(FOLDER).unwrap();
        let text = serde_json::to_string_pretty(&record).unwrap() + "\n";
        fs::write(&self.0, with_boot(&text, &this_boot(), &BOOT.map(str::to_owned))).unwrap();
    }

    /// Loads the recording on a node that has the containers' namespaces, without interfaces in them.
    pub(super) fn load(&self) {
        let text = fs::read_to_string(&self.0).unwrap_or_else(|error| panic!("{}: {error}", self.0));
        let text = with_boot(&text, &BOOT.map(str::to_owned), &this_boot());
        let record: Value = serde_json::from_str(&text).unwrap();
        input("sh", &["-ex"], &text_of(&record["links"]));
        for (save, rules) in IPTABLES.iter().zip(record["iptables"].as_array().unwrap()) {
            input(&save.replace("save", "restore"), &["--noflush"], &text_of(rules));
        }
        for message in record["messages"].as_array().unwrap() {
            send(message.as_str().unwrap());
        }
        let listed = record["nftables"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let listed: BTreeSet<String> = elements(listed).collect();
        assert_eq!(elements(nftables().iter().map(String::as_str)).collect::<BTreeSet<_>>(), listed);
        record["files"].as_array().unwrap().iter().for_each(write);
    }
}

/// The tables that are not iptables' own.
fn nftables() -> Vec<String> {
    let tables = output("nft", &["list", "tables"]);
    let is_iptables = |table: &&str| {
        ["filter", "nat", "mangle", "raw", "security"].iter().any(|name| {
            [format!("table ip {name}"), format!("table ip6 {name}")].contains(&(*table).to_owned())
        })
    };
    tables
        .lines()
        .filter(|table| !is_iptables(table))
        .flat_map(|table| {
            let words: Vec<&str> = ["--stateless", "list"].into_iter().chain(table.split(' ')).collect();
            lines(&output("nft", &words))
        })
        .collect()
}

/// A folder of the same programs, with a `cleat` that runs under strace(1) and so records what they send to the kernel.
pub(super) fn traced(programs: &Path) -> PathBuf {
    let folder = PathBuf::from("/run/traced");
    fs::create_dir(&folder).unwrap();
    for plugin in ["bridge", "host-local", "host-port", "link-env"] {
        symlink(programs.join(plugin), folder.join(plugin)).unwrap();
    }
    let (strace, cleat) = ("strace -A -f -e trace=sendto -e write=all", programs.join("cleat"));
    fs::write(
        folder.join("cleat"),
        format!("#!/bin/sh\nexec {strace} -o {TRACE} {} \"$@\"\n", cleat.display()),
    )
    .unwrap();
    fs::set_permissions(folder.join("cleat"), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The nftables transactions of the trace, in hexadecimal digits: nft(8) cannot load all that it lists.
fn messages() -> Vec<String> {
    let mut sent: Vec<String> = Vec::new();
    for line in fs::read_to_string(TRACE).unwrap().lines() {
        match line.strip_prefix(" | ") {
            Some(dump) => sent.last_mut().unwrap().extend(dump[7..56].split_whitespace()),
            None => sent.push(String::new()),
        }
    }
    // NFNL_MSG_BATCH_BEGIN. Some have the ruleset's generation ID, which differs on another node and is cut out.
    let plain = |message: String| match message.strip_prefix("1c0000001000") {
        Some(rest) => Some(format!("140000001000{}{}", &rest[..28], &rest[44..])),
        None => message.starts_with("140000001000").then_some(message),
    };
    sent.into_iter().filter_map(plain).collect()
}

fn send(message: &str) {
    let digits = message.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let (family, protocol) = (AddressFamily::Netlink, SockProtocol::NetlinkNetFilter);
    let socket = socket(family, SockType::Raw, SockFlag::empty(), protocol).unwrap();
    sendto(socket.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()).unwrap();
}

fn read(path: &Path, files: &mut Vec<(SystemTime, Value)>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let mut file = json!({"path": path, "mode": format!("{:o}", meta.permissions().mode() & 0o777)});
    if meta.is_symlink() {
        file["link"] = json!(fs::read_link(path).unwrap());
    } else if meta.is_file() {
        file["text"] = fs::read_to_string(path).unwrap().into();
    } else {
        for entry in fs::read_dir(path).unwrap() {
            read(&entry.unwrap().path(), files);
        }
    }
    files.push((meta.modified().unwrap(), file));
}

fn write(file: &Value) {
    let path = Path::new(file["path"].as_str().unwrap());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if let Some(target) = file["link"].as_str() {
        return symlink(target, path).unwrap();
    }
    match file["text"].as_str() {
        Some(text) => fs::write(path, text).unwrap(),
        None => fs::create_dir_all(path).unwrap(),
    }
    let mode = u32::from_str_radix(file["mode"].as_str().unwrap(), 8).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The ID of this boot, and its first part.
fn this_boot() -> [String; 2] {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let first = id.split('-').next().unwrap().to_owned();
    [id, first]
}

/// A recording with other words for the boot. The transactions have the second one in hexadecimal digits.
fn with_boot(text: &str, from: &[String; 2], to: &[String; 2]) -> String {
    let digits = |word: &String| word.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let text = text.replace(&from[0], &to[0]).replace(&from[1], &to[1]);
    text.replace(&digits(&from[1]), &digits(&to[1]))
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn input(program: &str, args: &[&str], text: &str) {
    let output = run(Command::new(program).args(args), text.as_bytes());
    assert!(output.status.success(), "{program} {args:?}: {output:?}\n{text}");
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn text_of(lines: &Value) -> String {
    lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned() + "\n").collect()
}
