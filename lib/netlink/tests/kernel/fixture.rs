//! What the tests share: each runs in a sandbox, and makes links and namespaces there.

use std::process::{Child, Command, Stdio};

use netlink::{Link, Namespace, Peer, Socket, Veth};

/// Declares a test that runs in the sandbox.
macro_rules! sandboxed {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)+) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            ::sandbox::isolated(|| $body);
        }
    )+};
}
pub(crate) use sandboxed;

/// A process in a network namespace of its own.
pub(crate) struct Container {
    process: Child,
    pub(crate) namespace: Namespace,
}

impl Container {
    #[allow(clippy::disallowed_methods, reason = "a namespace needs a process to begin with")]
    pub(crate) fn start() -> Self {
        let mut process = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The newline says that unshare is done.
        std::io::Read::read_exact(process.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let namespace = Namespace::open(format!("/proc/{}/ns/net", process.id()).as_ref()).unwrap();
        Self { process, namespace }
    }

    /// The PID of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A veth with everything left open.
pub(crate) fn veth<'a>(name: &'a str, peer: &'a str, namespace: &'a Namespace) -> Veth<'a> {
    use std::os::fd::AsFd;
    let peer = Peer { name: peer, mac: None, namespace: namespace.as_fd() };
    Veth { name, mac: None, mtu: None, master: None, alias: None, peer }
}

/// A link that must be there.
pub(crate) fn link(socket: &mut Socket, name: &str) -> Link {
    socket.get_link(name).unwrap().unwrap_or_else(|| panic!("no link {name}"))
}
