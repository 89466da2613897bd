//! A container that sends from many hardware addresses.

use std::process::Command;

use sandbox::Namespaced;

use super::EVERYBODY;
use super::frames::{frame, send_all};

/// How many hardware addresses a bridge has learned.
pub(super) fn learned(bridge: &str) -> usize {
    let output = Command::new("bridge").args(["fdb", "show", "br", bridge, "dynamic"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// A container sends from 6,000 hardware addresses.
pub(super) fn flood(netns: &Namespaced) {
    let frames: Vec<Vec<u8>> = (0..6_000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            frame(EVERYBODY, [2, 0x66, 0, 0, high, low], 0x88b5, &[0; 46])
        })
        .collect();
    netns.enter(|| send_all("eth0", &frames));
}
