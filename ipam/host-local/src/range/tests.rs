use super::*;

fn range(subnet: &str, start: &str, end: &str, gateway: &str) -> Result<Range, RangeFault> {
    let address = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    Range::new(subnet.parse().unwrap(), address(start), address(end), address(gateway))
}

#[test]
fn defaults_are_those_of_the_reference() {
    for (subnet, shown, gateway, size) in [
        ("10.1.0.0/24", "10.1.0.1-10.1.0.254", "10.1.0.1", 253),
        ("10.1.0.0/30", "10.1.0.1-10.1.0.2", "10.1.0.1", 1),
        ("255.255.255.0/24", "255.255.255.1-255.255.255.254", "255.255.255.1", 253),
        ("fd00::/126", "fd00::1-fd00::3", "fd00::1", 2),
        ("::/0", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1", u128::MAX - 1),
    ] {
        let range = range(subnet, "", "", "").unwrap();
        assert_eq!((range.to_string().as_str(), range.size()), (shown, size));
        assert_eq!(range.gateway.to_string(), gateway);
    }
}

#[test]
fn the_whole_of_ipv6_can_be_counted() {
    let range = range("::/0", "::", "", "").unwrap();
    assert_eq!((range.size(), range.start), (u128::MAX - 1, 0));
}

#[test]
fn ends_may_be_the_subnets_own_and_the_gateway_elsewhere() {
    let range = range("10.1.0.0/24", "10.1.0.0", "10.1.0.255", "169.254.1.1").unwrap();
    assert_eq!((range.size(), range.gateway_inside()), (256, None));
    assert_eq!(range.with_prefix("10.1.0.9".parse().unwrap()).to_string(), "10.1.0.9/24");
    assert!(range.contains("::ffff:10.1.0.9".parse().unwrap()));
    assert!(!range.contains("::10.1.0.9".parse().unwrap()));
}

#[test]
fn hosts_beside_the_range_can_be_asked_for() {
    let v4 = range("10.1.0.0/24", "10.1.0.128", "10.1.0.191", "").unwrap();
    let v6 = range("fd00::/64", "fd00::10", "fd00::20", "").unwrap();
    for (range, address, serves) in [
        (&v4, "10.1.0.128", true),
        (&v4, "10.1.0.5", true),
        (&v4, "::ffff:10.1.0.254", true),
        (&v4, "10.1.0.0", false),
        (&v4, "10.1.0.255", false),
        (&v4, "10.1.1.5", false),
        (&v4, "fd00::5", false),
        (&v6, "fd00::ffff:ffff:ffff:ffff", true),
        (&v6, "fd00::", false),
    ] {
        assert_eq!(range.serves(address.parse().unwrap()), serves, "{address}");
    }
}

#[test]
fn ranges_that_cannot_serve_are_refused_with_the_cure() {
    for (subnet, start, end, gateway, words) in [
        ("10.1.2.3/24", "", "", "", "subnet 10.1.2.3/24 has host bits: write 10.1.2.0/24"),
        ("10.1.0.0/31", "", "", "", "subnet 10.1.0.0/31 is too small: use a prefix length of at most 30"),
        ("10.1.0.0/32", "", "", "", "too small"),
        ("fd00::/127", "", "", "", "at most 126"),
        ("fd00::/128", "", "", "", "too small"),
        ("10.1.0.0/24", "10.1.1.1", "", "", "rangeStart 10.1.1.1 is outside subnet 10.1.0.0/24"),
        ("10.1.0.0/24", "", "10.2.0.1", "", "rangeEnd 10.2.0.1 is outside"),
        ("10.1.0.0/24", "fd00::1", "", "", "rangeStart fd00::1 is outside"),
        ("10.1.0.0/24", "10.1.0.9", "10.1.0.8", "", "rangeStart 10.1.0.9 is after rangeEnd 10.1.0.8"),
        ("10.1.0.0/24", "", "", "fd00::1", "gateway fd00::1 is of another address family"),
    ] {
        let fault = range(subnet, start, end, gateway).unwrap_err().to_string();
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn sets_hold_one_family_and_each_address_once() {
    let set = |subnets: &[&str]| {
        RangeSet::new(subnets.iter().map(|subnet| range(subnet, "", "", "").unwrap()).collect())
    };
    assert_eq!(set(&[]).unwrap_err(), RangeFault::EmptySet);
    assert!(
        set(&["10.1.0.0/24", "fd00::/64"]).unwrap_err().to_string().contains("different address families")
    );
    assert!(set(&["10.1.0.0/24", "10.1.0.128/25"]).unwrap_err().to_string().contains("overlap"));
    let sets = [set(&["10.1.0.0/24"]).unwrap(), set(&["10.2.0.0/24", "10.1.0.0/16"]).unwrap()];
    assert!(sets[1].refuse_overlaps(&sets[..1]).is_err());
    let sets = [set(&["10.1.0.0/24", "10.1.1.0/24"]).unwrap(), set(&["fd00::/64"]).unwrap()];
    assert_eq!(sets[1].refuse_overlaps(&sets[..1]), Ok(()));
    assert_eq!((sets[0].size(), sets[1].is_ipv4()), (506, false));
}
