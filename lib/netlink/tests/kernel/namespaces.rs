use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use netlink::{Error, FoundNamespace, Namespace, NsidsWithProcesses, Socket, sysctl};

use crate::fixture::{Container, link, sandboxed, veth};

const AT_ONCE: Duration = Duration::ZERO;

fn current() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}

sandboxed! {
    fn entering_leaves_the_caller_where_it_was() {
        let container = Container::start();
        let before = current();
        let inside = container.namespace.enter(current).unwrap();
        assert_ne!(inside, before);
        assert_eq!(current(), before);
        assert!(!container.namespace.is_current().unwrap());
        assert!(container.namespace.enter(|| container.namespace.is_current().unwrap()).unwrap());
        assert!(Namespace::current().unwrap().is_current().unwrap());

        let panicked = std::panic::catch_unwind(|| container.namespace.enter(|| panic!("inside")));
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
        assert_eq!(current(), before);
    }

    fn sockets_and_sysctls_are_the_namespaces_own() {
        let container = Container::start();
        let mut inside = container.namespace.socket().unwrap();
        let lo = link(&mut inside, "lo").index;
        inside.set_up(lo).unwrap();
        assert!(link(&mut inside, "lo").up);
        assert!(!link(&mut netlink::Socket::open().unwrap(), "lo").up);
        let path = "net/ipv4/conf/all/arp_notify";
        assert!(container.namespace.enter(|| sysctl::set(path, "1")).unwrap().unwrap());
        assert_eq!(sysctl::get(path).unwrap(), "0");
    }

    fn other_files_are_refused() {
        let error = Namespace::open(Path::new("/proc/self/status")).unwrap_err();
        assert!(matches!(error, Error::NotNamespace { .. }));
        assert_eq!(error.to_string(), "open network namespace /proc/self/status: not a namespace file");
        let error = Namespace::open(Path::new("/run/no/such")).unwrap_err();
        assert_eq!(error.to_string(), "open network namespace /run/no/such: no such file or directory");
        assert!(error.is_not_found());
        let wrong_kind = Namespace::open(Path::new("/proc/self/ns/uts")).unwrap();
        assert_eq!(wrong_kind.enter(|| ()).unwrap_err().to_string(), "enter network namespace: invalid argument");
    }

    fn locks_exclude_each_other() {
        let path = format!("/proc/{}/ns/net", std::process::id());
        let (one, two) = (Namespace::open(path.as_ref()).unwrap(), Namespace::current().unwrap());
        let first = one.lock_shared(AT_ONCE).unwrap().unwrap();
        let second = two.lock_shared(AT_ONCE).unwrap().unwrap();
        assert!(two.try_lock_exclusive().unwrap().is_none());
        drop(first);
        // The second lock is still held: each lock has an open file description of its own.
        assert!(one.try_lock_exclusive().unwrap().is_none());
        drop(second);
        let exclusive = one.try_lock_exclusive().unwrap().unwrap();
        assert!(one.try_lock_exclusive().unwrap().is_none());
        let start = Instant::now();
        assert!(two.lock_shared(Duration::from_millis(20)).unwrap().is_none());
        assert!(start.elapsed() >= Duration::from_millis(20));
        drop(exclusive);
        assert!(two.lock_shared(AT_ONCE).unwrap().is_some());
        // Another namespace is another lock.
        let container = Container::start();
        let _other = container.namespace.try_lock_exclusive().unwrap().unwrap();
        assert!(one.try_lock_exclusive().unwrap().is_some());
    }

    fn the_other_end_of_a_veth_tells_whether_its_namespace_lives() {
        let mut socket = Socket::open().unwrap();
        let container = Container::start();
        socket.add_veth(&veth("far", "inner", &container.namespace)).unwrap();
        let mut inside = container.namespace.socket().unwrap();
        let inner = link(&mut inside, "inner");
        inside.add_address(inner.index, "10.1.0.5/16".parse().unwrap(), netlink::AddressFlags::default()).unwrap();
        let far = link(&mut socket, "far");
        let number = socket.number_of(&container.namespace).unwrap();
        assert!(number.is_some() && far.peer_netns == number);
        let found = socket.far_end(&far).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.mac, found.peer_index), ("inner", inner.mac, Some(far.index)));
        let addresses = socket.addresses_in(number.unwrap()).unwrap();
        assert_eq!(addresses.iter().map(|(_, found)| found.network.to_string()).collect::<Vec<_>>(), ["10.1.0.5/16"]);
        assert!(NsidsWithProcesses::read(&mut socket).unwrap().is_behind(&far));
        assert_eq!(FoundNamespace::all().unwrap().len(), 1);
        // A pair within one namespace leads nowhere.
        socket.add_veth(&veth("near", "nearer", &Namespace::current().unwrap())).unwrap();
        let near = link(&mut socket, "near");
        assert_eq!((near.peer_netns, socket.far_end(&near).unwrap()), (None, None));
        assert!(socket.links().unwrap().iter().any(|link| link.name == "far"));
        // A namespace without a process lives on until its last descriptor is closed.
        let descriptor = container.namespace.as_fd().as_raw_fd();
        let kept = Namespace::open(format!("/proc/self/fd/{descriptor}").as_ref()).unwrap();
        drop((container, inside));
        assert!(!NsidsWithProcesses::read(&mut socket).unwrap().is_behind(&far));
        assert!(socket.far_end(&far).unwrap().is_some());
        drop(kept);
        // The kernel frees a closed netlink socket, and with it the namespace, after a grace period.
        let deadline = Instant::now() + Duration::from_secs(5);
        while socket.far_end(&far).unwrap().is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(socket.far_end(&far).unwrap(), None);
        assert_eq!(socket.addresses_in(number.unwrap()).unwrap(), []);
    }

    fn locks_hold_between_processes() {
        let here = Namespace::current().unwrap();
        let lock = here.lock_shared(AT_ONCE).unwrap().unwrap();
        assert!(!flock(&["--exclusive"]));
        assert!(flock(&["--shared"]));
        drop(lock);
        assert!(flock(&["--exclusive"]));
        let lock = here.try_lock_exclusive().unwrap().unwrap();
        assert!(!flock(&["--shared"]));
        drop(lock);
    }
}

/// Whether flock(1), in a process of its own, gets the lock.
#[allow(clippy::disallowed_methods, reason = "another process is the point")]
fn flock(mode: &[&str]) -> bool {
    let mut command = std::process::Command::new("flock");
    command.args(mode).args(["--nonblock", "/proc/self/ns/net", "true"]).status().unwrap().success()
}
