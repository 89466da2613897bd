//! Both variants of iptables, as an administrator has them.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::shared::shell::shell;

/// Where the programs of the legacy variant are found as `iptables` and so on.
pub(crate) const LEGACY: &str = "/run/legacy";
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The rules and the CNI chains of both families, as `iptables-VARIANT-save` lists them, without counters and comments.
pub(crate) fn saved(variant: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for family in ["iptables", "ip6tables"] {
        let output = Command::new(format!("{family}-{variant}-save")).output().unwrap();
        assert!(output.status.success(), "{family}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // Built-in chains stay once a program has made them, the reference's and ours alike.
        lines.extend(
            text.lines()
                .filter(|line| line.starts_with("-A ") || line.starts_with(":CNI-"))
                .map(str::to_owned),
        );
    }
    lines
}

/// Makes iptables create what it never removes: built-in chains, and the legacy variant's lock file.
pub(crate) fn prime(variant: &str) {
    for (family, any) in [("iptables", "0.0.0.0/0"), ("ip6tables", "::/0")] {
        for chain in ["PREROUTING", "OUTPUT", "POSTROUTING"] {
            shell(&format!("{family}-{variant} -t nat -A {chain} -s {any} -j ACCEPT"));
            shell(&format!("{family}-{variant} -t nat -F {chain}"));
        }
    }
}

/// Sets up a variant; returns the `PATH` by which its programs are found.
pub(crate) fn choose(variant: &str) -> String {
    let path = if variant == "legacy" {
        choose_legacy();
        format!("{LEGACY}:{PATH}")
    } else {
        PATH.to_owned()
    };
    prime(variant);
    path
}

/// Chooses the legacy variant, as an administrator may.
pub(crate) fn choose_legacy() {
    fs::create_dir_all(LEGACY).unwrap();
    for name in ["iptables", "iptables-restore", "ip6tables", "ip6tables-restore"] {
        symlink("/usr/sbin/xtables-legacy-multi", format!("{LEGACY}/{name}")).unwrap();
    }
}
