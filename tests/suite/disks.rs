//! The folders of leases, names and results are on a full disk, on a read-only disk, or replaced by a symbolic link. An ADD that
//! cannot write is refused with the path and leaves nothing. DEL succeeds, at the latest when the disk is in order again.

use std::fs;

use sandbox::{Host, Namespaced, Snapshot, isolated};

use crate::shared::cleat::{DUAL, NETWORK, call, cleat, install_networks, states};
use crate::shared::containers::add;
use crate::shared::shell::{said, shell};

/// A second network for a container that has a default route already: this one gives none.
const ISOLATED: &str = "cleat-isolated";

/// The folders in which the plugins and `cleat` keep their state.
const FOLDERS: [&str; 4] = ["/run/cleat", "/var/lib/cni", "/var/lib/cni/networks", "/var/lib/cni/results"];

/// A file system that is mounted on a folder until this is dropped.
struct Disk(&'static str);

impl Disk {
    fn mount(folder: &'static str) -> Self {
        fs::create_dir_all(folder).unwrap();
        shell(&format!("mount -t tmpfs -o mode=700,size=512k,nr_inodes=500 disk {folder}"));
        Self(folder)
    }

    fn file(&self) -> String {
        format!("{}/fill", self.0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        shell(&format!("umount {}", self.0));
    }
}

/// Two containers on one network, one of them on a second network as well, and a third container on another network.
fn start() -> [Namespaced; 3] {
    let all = [add("one", NETWORK, 8080), add("two", NETWORK, 8081), add("three", DUAL, 8082)];
    let mut second = cleat(&["add", ISOLATED, "/run/netns/one", "--id", "one"]);
    let output = second.env("CNI_IFNAME", "eth1").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    all
}

/// `cleat del` of each attachment of [`start`]: exit codes and output.
fn stop() -> Vec<(Option<i32>, String)> {
    let all = [
        ("one", ISOLATED, "eth1"),
        ("one", NETWORK, "eth0"),
        ("two", NETWORK, "eth0"),
        ("three", DUAL, "eth0"),
    ];
    let del = |(id, network, ifname): (&str, &str, &str)| {
        let mut del = cleat(&["del", network, &format!("/run/netns/{id}"), "--id", id]);
        let output = del.env("CNI_IFNAME", ifname).output().unwrap();
        (output.status.code(), said(&output))
    };
    all.map(del).to_vec()
}

/// The output of `cleat add` for a new container, which must fail.
fn refused(netns: &Namespaced) -> String {
    let path = netns.path().to_str().unwrap();
    let (code, text) = call(&["add", NETWORK, path, "--id", netns.name()]);
    assert_eq!(code, Some(1), "{text}");
    text
}

#[test]
fn a_full_disk_refuses_the_new_by_its_path_and_keeps_nobody_from_going() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        for folder in FOLDERS {
            // No block is free, or no inode.
            for fill in [
                "cat /dev/zero >$FOLDER/fill",
                "mkdir $FOLDER/fill && cd $FOLDER/fill && for n in $(seq 500); do : >$n || break; done",
            ] {
                let disk = Disk::mount(folder);
                let containers = start();
                shell(&format!("({}) 2>/dev/null || true", fill.replace("$FOLDER", folder)));
                let late = Namespaced::new("late");
                let during = Snapshot::take();
                let text = refused(&late);
                assert!(
                    text.contains(folder) && text.to_lowercase().contains("no space left on device"),
                    "{folder}, {fill}: {text}"
                );
                let left = during.differences();
                assert!(left.is_empty(), "{folder}, {fill}: {left:#?}");
                for (code, text) in stop() {
                    assert_eq!(code, Some(0), "{folder}, {fill}: {text}");
                }
                drop((late, containers));
                shell(&format!("rm -r {}", disk.file()));
                let left = before.differences();
                assert!(left.is_empty(), "{folder}, {fill}: {left:#?}");
            }
        }
    });
}

#[test]
fn a_read_only_disk_is_named_and_what_is_on_it_goes_later() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        for folder in FOLDERS {
            let _disk = Disk::mount(folder);
            let containers = start();
            shell(&format!("mount -o remount,ro {folder}"));
            let late = Namespaced::new("late");
            let during = Snapshot::take();
            let text = refused(&late);
            assert!(
                text.contains(folder) && text.to_lowercase().contains("read-only file system"),
                "{folder}: {text}"
            );
            let left = during.differences();
            assert!(left.is_empty(), "{folder}: {left:#?}");
            assert_eq!(states(&["check"]), ["ok"; 4]);
            for (code, text) in stop() {
                assert_eq!(code, Some(1), "{folder}: {text}");
                assert!(
                    text.contains(folder) && text.to_lowercase().contains("read-only file system"),
                    "{folder}: {text}"
                );
            }
            // The kernel's objects were removed all the same.
            let left = before.differences();
            let of_kernel: Vec<&String> = left.iter().filter(|line| !line.contains(" file ")).collect();
            assert!(of_kernel.is_empty(), "{folder}: {of_kernel:#?}");
            shell(&format!("mount -o remount,rw {folder}"));
            for (code, text) in stop() {
                assert_eq!(code, Some(0), "{folder}: {text}");
            }
            drop((late, containers));
            let left = before.differences();
            assert!(left.is_empty(), "{folder}: {left:#?}");
        }
    });
}

/// The files of a folder with their content.
fn files(folder: &str) -> Vec<String> {
    let all = Snapshot::with_files_of(&[folder]);
    all.lines().filter(|line| line.starts_with("file ")).map(str::to_owned).collect()
}

/// Nothing is written or removed through a symbolic link that has replaced a folder.
#[test]
fn a_link_in_the_place_of_a_folder_is_not_followed() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let leases = "/var/lib/cni/networks/cleat";
        for folder in [
            "/run/cleat",
            "/run/cleat/registry",
            "/run/cleat/registry/cleat",
            "/run/cleat/containers",
            leases,
        ] {
            let containers = start();
            shell(&format!("mv {folder} /run/elsewhere && ln -s /run/elsewhere {folder}"));
            let victim = files("/run/elsewhere");
            let late = Namespaced::new("late");
            let during = Snapshot::take();
            let text = refused(&late);
            assert!(text.contains(&format!("{folder}: ")), "{folder}: {text}");
            let left = during.differences();
            assert!(left.is_empty(), "{folder}: {left:#?}");
            let (code, text) = call(&["check"]);
            assert!(code == Some(1) && text.contains(&format!("{folder}: ")), "{folder}: {text}");
            assert_eq!(files("/run/elsewhere"), victim, "{folder}");
            let told = stop();
            assert!(
                told.iter().any(|(code, text)| *code == Some(1) && text.contains(&format!("{folder}: "))),
                "{folder}: {told:?}"
            );
            assert_eq!(files("/run/elsewhere"), victim, "{folder}");
            shell(&format!("rm {folder} && mv /run/elsewhere {folder}"));
            for (code, text) in stop() {
                assert_eq!(code, Some(0), "{folder}: {text}");
            }
            drop((late, containers));
            let left = before.differences();
            assert!(left.is_empty(), "{folder}: {left:#?}");
        }
    });
}
