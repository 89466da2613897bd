//! Answers of the kernel; an input is one datagram.

use nftables::conntrack::Filter;
use nftables::{Data, Family, HookPoint, Type, Verdict, key};

/// Links, addresses, routes, VLANs.
pub fn netlink(bytes: &[u8]) {
    use netlink::recorded;
    for link in recorded::links(bytes).unwrap_or_default() {
        let _ = recorded::addresses(bytes, link.index);
        let _ = recorded::bridge_vlans(bytes, link.index);
    }
    for link in 0..4 {
        let _ = recorded::addresses(bytes, link);
        let vlans = recorded::bridge_vlans(bytes, link).unwrap_or_default();
        let _ = vlans.iter().map(ToString::to_string).collect::<String>();
    }
    for route in recorded::routes(bytes).unwrap_or_default() {
        let _ = route.dst.to_string();
    }
    // An error from the kernel can be printed.
    let _ = recorded::links(bytes).map_err(|error| error.to_string());
}

/// Elements, rules, base chains.
pub fn nftables(bytes: &[u8]) {
    use nftables::recorded;
    const TYPES: [&[Type]; 4] = [
        &[Type::InetProto, Type::InetService],
        &[Type::Ipv4Addr, Type::InetProto, Type::InetService],
        &[Type::Ipv6Addr],
        &[Type::Ifname, Type::Ipv4Addr, Type::Mark, Type::EtherAddr],
    ];
    for element in recorded::elements(bytes).unwrap_or_default() {
        for types in TYPES {
            if let Ok(fields) = key::decode(types, &element.key) {
                assert_eq!(key::encode(&fields).len(), element.key.len());
            }
            if let Some(Data::Value(value)) = &element.data {
                let _ = key::decode(types, value);
            }
        }
        if let Some(Data::Verdict(verdict)) = &element.data {
            let _ = verdict.chain();
        }
    }
    for rule in recorded::rules(bytes).unwrap_or_default() {
        let _ = (rule.iptables_comment(), rule.leads_to("c"), rule.verdict().and_then(Verdict::chain));
    }
    for hook in [HookPoint::Prerouting, HookPoint::Forward] {
        for chain in recorded::base_chains(bytes, Family::Inet, hook).unwrap_or_default() {
            let _ = chain.as_chain().to_string();
        }
    }
}

/// Flows of connection tracking.
pub fn conntrack(bytes: &[u8]) {
    let v4 = Filter::new(Family::Ip, 17).orig_dport(53).reply_src([10, 1, 0, 2].into());
    let v6 = Filter::new(Family::Ip6, 6).reply_sport(80);
    for filter in [v4, v6] {
        let _ = nftables::recorded::flows(bytes, &filter);
    }
}
