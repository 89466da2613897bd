//! Edge cases of the verbs: no ports, a missing element, and reading back what is published.

use cni::{Command, Plugin, Protocol};
use host_port::{HostPort, published};
use sandbox::isolated;
use serde_json::json;

use crate::world::{World, request, ruleset};

#[test]
fn without_ports_nothing_is_made() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        let result = web.add(&json!([]), &json!({})).unwrap();
        assert_eq!(result.interfaces.len(), 3);
        web.check(&json!([]), &json!({})).unwrap();
        assert_eq!(ruleset(), "");
        HostPort::status(&request(Command::Status, json!({}))).unwrap();
    });
}

#[test]
fn what_is_missing_is_named() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        let mappings = json!([{"hostPort": 8080, "containerPort": 80}]);
        let error = web.check(&mappings, &json!({})).unwrap_err();
        assert_eq!(
            error.message(),
            "table inet cleat_host_port is missing, and with it every port of container web interface eth0 on network net"
        );
        web.add(&mappings, &json!({})).unwrap();
        let delete = ["delete", "element", "inet", "cleat_host_port", "port6", "{ tcp . 8080 }"];
        assert!(std::process::Command::new("nft").args(delete).status().unwrap().success());
        let error = web.check(&mappings, &json!({})).unwrap_err();
        assert_eq!(error.message(), "element tcp . 8080 of map port6 is missing");
        web.del();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn what_is_published_is_read_back() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        web.add(
            &json!([{"hostPort": 53, "containerPort": 5353, "protocol": "UDP", "hostIP": "127.0.0.1"}]),
            &json!({}),
        )
        .unwrap();
        let all = published(&mut nftables::Socket::open().unwrap()).unwrap();
        assert_eq!(all.len(), 1);
        let only = &all[0];
        assert_eq!(only.owner, web.attachment().token());
        assert_eq!((only.port.protocol, only.port.host_port), (Protocol::Udp, 53));
        assert_eq!(only.port.to_string(), "127.0.0.1:53/udp");
        assert_eq!(only.port.container.to_string(), "10.1.0.11:5353");
        let names = [&only.interface, &only.ifname, &only.network, &only.container_id];
        assert_eq!(names, ["veth11", "eth0", "net", "web"]);
        println!("{}", ruleset());
    });
}

#[test]
fn a_listing_can_be_loaded_again() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        web.add(&json!([{"hostPort": 80, "containerPort": 80}, {"hostPort": 81, "containerPort": 81, "hostIP": "127.0.0.1"}]), &json!({}))
            .unwrap();
        let before = ruleset();
        let file = "/run/ruleset.nft";
        std::fs::write(file, format!("flush ruleset\n{before}")).unwrap();
        assert!(std::process::Command::new("nft").args(["-f", file]).status().unwrap().success());
        assert_eq!(ruleset(), before);
    });
}
