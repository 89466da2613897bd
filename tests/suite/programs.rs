//! What the architecture demands of the programs, their crates and the crates' lints.

use std::fs;
use std::path::Path;

use crate::shared::programs::{CLEAT, PLUGINS};

#[test]
fn programs_are_static() {
    for (name, program) in
        PLUGINS.into_iter().chain([("cleat", CLEAT), ("cleat-nri", env!("CARGO_BIN_EXE_cleat-nri"))])
    {
        let bytes = fs::read(program).unwrap();
        // ELF64, little endian: e_phoff, e_phentsize, e_phnum; PT_INTERP (3) names a dynamic loader.
        assert_eq!(bytes[..6], *b"\x7fELF\x02\x01", "{name}");
        let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let start = usize::try_from(u64::from_le_bytes(bytes[32..40].try_into().unwrap())).unwrap();
        let interpreters =
            (0..word(56)).filter(|n| bytes[start + n * word(54)..][..4] == [3, 0, 0, 0]).count();
        assert_eq!(interpreters, 0, "{name} needs a dynamic loader");
    }
}

/// The layers: plugins never depend on plugins, and libraries never on what is above them.
#[test]
fn crates_depend_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dependencies = |folder: &str| {
        let manifest = fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let section = section.split("\n[").next().unwrap_or_default().to_owned();
        section
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let all = [
        "bridge",
        "host-port",
        "link-env",
        "loopback",
        "macvlan",
        "host-local",
        "cleat-cli",
        "cleat-nri",
        "cleat-overlay",
        "cni",
        "folder",
        "interface",
        "iptables",
        "lock",
        "netlink",
        "nftables",
        "overlay",
        "registry",
        "wire",
        "etcd",
    ];
    // Nothing that a plugin or cleat links waits for a cluster.
    let without_etcd: Vec<&str> =
        all.into_iter().filter(|name| !["etcd", "cleat-overlay"].contains(name)).collect();
    for (folder, allowed) in [
        ("lib/folder", &["lock"][..]),
        ("lib/lock", &[]),
        ("lib/etcd", &[]),
        ("lib/cni", &["lock"]),
        ("lib/iptables", &["lock"]),
        ("lib/wire", &[]),
        ("lib/netlink", &["wire"]),
        ("lib/nftables", &["wire"]),
        ("lib/overlay", &["cni", "folder"]),
        ("lib/registry", &["cni", "folder", "lock"]),
        ("ipam/host-local", &["cni", "folder", "lock"]),
        // The one exception: host-local runs within the process of the plugin that asks for addresses.
        ("lib/interface", &["cni", "netlink", "host-local"]),
        ("plugins/bridge", &["cni", "interface", "iptables", "lock", "netlink", "nftables", "overlay"]),
        ("plugins/host-port", &["cni", "iptables", "netlink", "nftables"]),
        ("plugins/link-env", &["cni", "lock", "nftables", "registry"]),
        ("plugins/loopback", &["cni", "netlink"]),
        ("plugins/macvlan", &["cni", "interface", "lock", "netlink"]),
        // cleat-nri gives containers what link-env keeps for them.
        ("plugins/nri", &["link-env", "registry"]),
        // The agent of overlay networks, which no other crate links: its rtnetlink is for who lives long.
        ("plugins/overlay", &["cni", "etcd", "folder", "lock", "nftables", "overlay"]),
        // cleat needs every plugin for the types of its configuration, and host-port for the published ports as well.
        ("cli", &without_etcd),
    ] {
        for dependency in dependencies(folder).iter().filter(|name| all.contains(&name.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{folder} must not depend on {dependency}");
        }
    }
}

/// No crate is exempt from what the workspace forbids: unsafe code above all.
#[test]
fn every_crate_keeps_the_workspaces_lints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |folder: &str| fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
    let workspace = read("");
    assert!(workspace.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    let members = workspace.split("members = [\n").nth(1).unwrap().split("]\n").next().unwrap();
    let members = members.lines().map(|line| line.trim().trim_matches([',', '"']));
    for member in members.chain([""]) {
        assert!(read(member).contains("[lints]\nworkspace = true\n"), "{member}");
    }
}
