//! A reboot of the host, as far as the programs can see it.

use std::fs;
use std::path::Path;

use sandbox::Namespaced;

use crate::shared::shell::shell;

/// Ends the containers, and removes all that does not survive a reboot. The kernel's boot ID cannot change here, so another
/// one is mounted over it.
pub(crate) fn reboot(containers: Vec<Namespaced>) {
    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    drop(containers);
    // The kernel removes a namespace's interfaces some time later; here they go at once.
    shell(
        "for link in $(ip -o link show | grep -o '\\(veth[0-9a-f]*\\|cleat[0-9]\\)[@:]' | tr -d @:); do ip link del $link || true; done",
    );
    shell(
        "nft flush ruleset; rm -rf /run/cleat; ip -6 route del local fd63:6c65:6174::34c3 table local; ip route del local 169.254.213.2 table local || true",
    );
    for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(Path::new("/proc/sys/net").join(file), "0").unwrap();
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    fs::write("/run/boot_id", boot).unwrap();
    shell(&format!("umount {BOOT_ID} 2>/dev/null; mount --bind /run/boot_id {BOOT_ID} && rm /run/boot_id"));
}
