//! Which boot of the host this is: leases of an earlier one belong to nobody.

use std::fs::File;
use std::io::Read;

/// The kernel's random ID of this boot (random(4)). Where /proc does not show it, leases are kept over a reboot, as
/// by the reference.
pub(crate) fn boot_id() -> Option<String> {
    // A UUID and a line feed, which the kernel hands over in one read.
    let mut buffer = [0; 64];
    let length = File::open("/proc/sys/kernel/random/boot_id").ok()?.read(&mut buffer).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
