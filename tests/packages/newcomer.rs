//! The first command on a machine without Rust, or without a linker.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::root::{in_debian, refused};

#[test]
fn make_says_what_to_install() {
    in_debian(|| {
        for target in ["all", "demo", "test", "deb", "packages"] {
            let said = refused(&["make", "-C", "/source", target, "CARGO_TARGET_DIR=/root/nothing"]);
            let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("make: ")).collect();
            assert_eq!(lines.len(), 2, "{said}");
            assert!(lines[0].contains("there is no cargo in PATH"), "{said}");
            assert!(lines[1].contains("https://sh.rustup.rs | sh"), "{said}");
        }
        for tool in ["cargo", "rustc"] {
            let path = format!("/usr/bin/{tool}");
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for target in ["all", "demo", "test"] {
            let said = refused(&["make", "-C", "/source", target, "CARGO_TARGET_DIR=/root/nothing"]);
            assert!(said.contains("apt-get install gcc libc6-dev"), "{said}");
        }
    });
}
