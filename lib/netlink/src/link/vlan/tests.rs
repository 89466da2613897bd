use super::*;
use crate::link::bridge::BR_VLAN_FILTERING;

const TRUNK: BridgeVlan = BridgeVlan { first: 100, last: 120, pvid: false, untagged: false };
const ACCESS: BridgeVlan = BridgeVlan { first: 10, last: 10, pvid: true, untagged: true };

fn bytes(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.buffer
}

/// `struct ifinfomsg` of a family and an index, followed by 16-bit words.
fn message<const N: usize>(family: u16, index: u16, rest: [u16; N]) -> Vec<u8> {
    [words([family, 0, index, 0, 0, 0, 0, 0]), words(rest)].concat()
}

fn words<const N: usize>(words: [u16; N]) -> Vec<u8> {
    words.map(u16::to_ne_bytes).concat()
}

#[test]
fn writes_the_kernels_flags() {
    // IFLA_BRIDGE_VLAN_INFO is 2; BRIDGE_VLAN_INFO_PVID is 2, _UNTAGGED 4, _RANGE_BEGIN 8, _RANGE_END 16.
    assert_eq!(bytes(|spec| ACCESS.write(spec)), words([8, 2, 6, 10]));
    assert_eq!(bytes(|spec| TRUNK.write(spec)), words([8, 2, 8, 100, 8, 2, 16, 120]));
}

/// `AF_BRIDGE` is 7, `IFLA_AF_SPEC` 26, `IFLA_LINKINFO` 18, and within it `IFLA_INFO_KIND` 1 and `IFLA_INFO_DATA` 2.
/// `IFLA_BRIDGE_FLAGS` is 0, and has two bytes of padding; `BRIDGE_FLAGS_MASTER` is 1, `BRIDGE_FLAGS_SELF` 2.
#[test]
fn requests_are_the_kernels_word_for_word() {
    let port = bytes(|request| write_membership(request, VlanMember::Port(4), TRUNK));
    assert_eq!(port, message(7, 4, [28, 26, 6, 0, 1, 0, 8, 2, 8, 100, 8, 2, 16, 120]));
    let own = bytes(|request| write_membership(request, VlanMember::Bridge(5), ACCESS));
    assert_eq!(own, message(7, 5, [20, 26, 6, 0, 2, 0, 8, 2, 6, 10]));
    let filtering = bytes(|request| {
        request.raw(&header(5));
        super::super::request::info(request, "bridge", |data| data.bytes(BR_VLAN_FILTERING, &[1]));
    });
    let mut expected = message(0, 5, [28, 18, 11, 1]);
    expected.extend(b"bridge\0\0");
    expected.extend(words([12, 2, 5, 7]));
    expected.extend([1, 0, 0, 0]);
    assert_eq!(filtering, expected);
}

/// `IFLA_MASTER` is 10; `IFLA_AF_SPEC` has the VLANs, a range as its begin and its end.
#[test]
fn ports_on_a_vlan_are_told_from_others() {
    let port = |master| message(7, 9, [8, 10, master, 0, 28, 26, 8, 2, 6, 10, 8, 2, 8, 100, 8, 2, 16, 120]);
    let on = |vlan| is_on_vlan(&port(5), 5, vlan);
    assert_eq!([10, 100, 110, 120].map(on), [Some(true); 4]);
    assert_eq!([1, 11, 99, 121].map(on), [Some(false); 4]);
    assert_eq!(is_on_vlan(&port(6), 5, 10), Some(false), "of another bridge");
    assert_eq!(is_on_vlan(&port(9), 9, 10), Some(false), "the bridge itself");
    assert_eq!(is_on_vlan(&[0; 7], 5, 10), None);
}

#[test]
fn reads_runs_and_single_vlans() {
    assert_eq!(BridgeVlan::parse(&words([8, 1, 6, 10])), Some(ACCESS));
    assert_eq!(BridgeVlan::parse(&words([8, 1, 0, 100, 6, 2, 120, 0])), Some(TRUNK));
    assert_eq!(BridgeVlan::parse(&[]), None);
    assert_eq!(BridgeVlan::parse(&words([6, 1, 0])), None);
}
