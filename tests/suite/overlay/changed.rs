//! What others change while members are there: the rules, the device, and what the agent's file says.

use sandbox::isolated;
use sandbox::traffic::ask_tcp;
use serde_json::{Value, json};

use super::cluster::{BOTH, Cluster, Member, OUTSIDE, at, rules};
use crate::shared::members::{assert_closed, assert_open, ways};
use crate::shared::shell::shell;

/// Each family's answer shows that a member is seen by its own address.
fn sees(from: &Member, to: &Member) -> bool {
    from.ips().iter().zip(to.at(80)).all(|(own, to_at)| {
        let seen = ask_tcp(Some(&from.netns), &to_at).unwrap_or_default();
        seen == format!("{} sees {own}", to.netns.name())
    })
}

#[test]
fn what_is_broken_is_named_and_the_next_add_mends_it() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let [first, _, third] = &cluster.nodes;
        let keys = json!({"ingress": "published"});
        let (one, three) = (first.add(&keys, "one"), third.add(&keys, "three"));
        cluster.outside.enter(|| {
            shell(
                "ip route add 10.201.1.0/24 via 198.51.100.1
                 ip -6 route add fd00:201:0:1::/64 via 2001:db8:51::1",
            );
        });
        let guard = "$(nft list chains | grep -o 'overlay_[0-9a-f]*')";
        let gate = "$(nft list chains | grep -o 'published_[0-9a-f]*')";
        for (number, (breakage, words)) in [
            (format!("nft flush chain inet cleat_gate {guard}"), "overlay_"),
            (format!("nft insert rule inet cleat_gate {guard} accept"), "overlay_"),
            ("nft delete element inet cleat_gate into '{ vx1 }'".to_owned(), "map into"),
            ("nft delete element inet cleat_gate from '{ vx1 }'".to_owned(), "map from"),
            (
                format!(
                    "nft delete rule inet cleat_gate {gate} handle \
                     $(nft -a list chain inet cleat_gate {gate} | sed -n 's,.*\"overlay vx1\" # handle ,,p')"
                ),
                "does not let overlay device vx1 in",
            ),
            ("nft delete table inet cleat_gate".to_owned(), "is not closed"),
        ]
        .into_iter()
        .enumerate()
        {
            one.check().silent();
            first.shell(&breakage);
            one.is_broken(words);
            let other = first.add(&keys, &format!("other{number}"));
            one.check().silent();
            assert!(sees(&one, &three) && sees(&three, &one), "{breakage}");
            assert_closed(&ways(Some(&cluster.outside), &one.at(80)));
            other.del();
        }
        one.del();
        assert!(!rules(first).contains("cleat"), "{}", rules(first));
    });
}

#[test]
fn a_device_that_is_gone_or_of_another_mtu_is_named() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let node = &cluster.nodes[0];
        let one = node.add(&json!({}), "one");
        let status = |words: &str| {
            let (code, said) = node.call("STATUS", &node.conf(&json!({})), &one.netns).error();
            assert!(code == 50 && said.contains(words), "{code}: {said}");
        };
        node.shell("ip link set vx1 mtu 1400");
        one.is_broken("link vx1, which leads to the other nodes of overlay network wide, has MTU 1400");
        status("has MTU 1400");
        let mut file = node.file();
        file["mtu"] = json!(1400);
        node.write(&file);
        one.check().silent();
        let two = node.add(&json!({}), "two");
        assert_eq!(two.result["interfaces"][1]["mtu"], 1400);
        node.shell("ip link set vx1 down");
        one.is_broken("is down");
        node.shell("ip link del vx1");
        one.is_broken("does not exist");
        status("does not exist");
        two.del();
        one.del();
        assert!(!rules(node).contains("cleat"), "{}", rules(node));
    });
}

#[test]
fn another_device_takes_the_place_of_the_first() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let [first, _, third] = &cluster.nodes;
        let keys = json!({"internal": true, "icc": true});
        let (one, three) = (first.add(&keys, "one"), third.add(&keys, "three"));
        assert!(sees(&one, &three));
        first.shell(&format!("ip link del vx1\n{}", first.device("vx2")));
        let mut file = first.file();
        file["device"] = json!("vx2");
        first.write(&file);
        one.is_broken("overlay_");
        first.call("STATUS", &first.conf(&keys), &one.netns).silent();
        assert!(!sees(&one, &three));
        let two = first.add(&keys, "two");
        assert!(sees(&one, &three) && sees(&three, &two));
        one.check().silent();
        assert!(!rules(first).contains("vx1"), "{}", rules(first));
        two.del();
        one.del();
        assert!(!rules(first).contains("cleat"), "{}", rules(first));
    });
}

#[test]
fn another_prefix_holds_for_those_that_are_there() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let [first, _, third] = &cluster.nodes;
        let keys = json!({"ingress": "published"});
        let (one, three) = (first.add(&keys, "one"), third.add(&keys, "three"));
        // The third host gets a block of a second prefix.
        let wider = |number: usize, blocks: Value| {
            let node = &cluster.nodes[number];
            let mut file = node.file();
            file["prefixes"] = json!(["10.201.0.0/16", "fd00:201::/48", "10.202.0.0/16", "fd00:202::/48"]);
            if blocks.is_array() {
                file["blocks"] = blocks;
            }
            node.write(&file);
        };
        wider(2, json!([{"subnet": "10.202.3.0/24"}, {"subnet": "fd00:202:0:3::/64"}]));
        first.shell(
            "ip route add 10.202.3.0/24 via 10.201.3.0 dev vx1 onlink
             ip -6 route add fd00:202:0:3::/64 via fd00:201:0:3:: dev vx1 onlink",
        );
        let four = third.add(&keys, "four");
        assert_eq!(four.ips()[0], "10.202.3.2");
        assert!(!sees(&one, &four), "the first host does not know of the prefix yet");
        wider(0, Value::Null);
        one.is_broken("cleat_gate");
        let two = first.add(&keys, "two");
        assert!(sees(&one, &four) && sees(&two, &four) && sees(&four, &one) && sees(&one, &three));
        one.check().silent();
        two.check().silent();
        for family in [0, 1] {
            assert!(ask_tcp(Some(&one.netns), &at(OUTSIDE[family], 80)).unwrap().contains("outside sees"));
        }
        one.del();
        two.del();
        assert!(!rules(first).contains("cleat"), "{}", rules(first));
        assert_open(&ways(Some(&three.netns), &four.at(80)));
    });
}

#[test]
fn a_device_leads_the_members_of_one_bridge() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let node = &cluster.nodes[0];
        let one = node.add(&json!({}), "one");
        let other = sandbox::Namespaced::new("other");
        let second = node.conf(&json!({"name": "second", "bridge": "br1"}));
        let (code, said) = node.call("ADD", &second, &other).error();
        assert!(code == 7 && said.contains("device vx1 leads the members of bridge br0"), "{code}: {said}");
        node.call("DEL", &second, &other).silent();
        one.check().silent();
        // Another network of the same bridge that does not know of it takes nothing away.
        let mut beside =
            node.conf(&json!({"name": "beside", "overlay": "", "isGateway": false, "ipMasq": false}));
        beside["ipam"]["ranges"] = json!([[{"subnet": "10.77.0.0/24"}]]);
        beside["ipam"]["routes"] = json!([]);
        let third = sandbox::Namespaced::new("third");
        let _ = node.call("ADD", &beside, &third).result();
        one.check().silent();
        node.call("DEL", &beside, &third).silent();
        one.check().silent();
        one.del();
        assert!(!rules(node).contains("cleat"), "{}", rules(node));
    });
}
