//! Where the tests run: each starts itself again in new user, network, mount and PID namespaces, so that it
//! has the rights it needs and the host is not touched. Where that cannot be done, the test fails.

use std::process::{Child, Command, Stdio};

use netlink::{Link, Namespace, Peer, Socket, Veth};

const MARK: &str = "CLEAT_SANDBOX";

/// Declares a test that runs in the sandbox.
macro_rules! sandboxed {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)+) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            if crate::sandbox::enters(path.split_once("::").unwrap().1) {
                $body
            }
        }
    )+};
}
pub(crate) use sandboxed;

/// True inside the sandbox. Outside, runs the test there, and checks that it did run and succeed.
#[allow(clippy::disallowed_methods, reason = "the sandbox is a process with a mark in its environment")]
pub(crate) fn enters(test: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    print!("{report}");
    assert!(
        output.status.success() && report.contains("1 passed"),
        "{test} in the sandbox:\n{report}\n{errors}"
    );
    false
}

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
