//! Frames as a container may send them.

use std::process::Command;

use sandbox::run;

/// Sends a frame through an interface of the calling thread's namespace. Perl does it, which every Debian has: a packet socket
/// (17 is `AF_PACKET`, 3 is `SOCK_RAW`) would need unsafe code here.
pub(crate) fn send(interface: &str, frame: &[u8]) {
    let link = netlink::Socket::open().unwrap().get_link(interface).unwrap().unwrap();
    let script = "socket(S, 17, 3, 0) or die $!; binmode STDIN; local $/;
        send(S, <STDIN>, 0, pack('SnlSCCa8', 17, 0, $ARGV[0], 0, 0, 0, '')) or die $!";
    let sent = run(Command::new("perl").args(["-e", script, &link.index.to_string()]), frame);
    assert!(sent.status.success(), "{sent:?}");
}
