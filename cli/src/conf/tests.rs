//! The whole check, on files.

use std::fs;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The findings, without the folder's name.
    fn check(&self, files: &[PathBuf], routes: &[(&str, &str)]) -> Vec<String> {
        let routes = routes.iter().map(|(dst, link)| (dst.parse().unwrap(), (*link).to_owned())).collect();
        let surroundings = Surroundings { path: vec![], routes };
        let folder = format!("{}/", self.0.path().display());
        let told = |finding: &Finding| finding.to_string().replace(&folder, "");
        let findings = check(files, Some(&surroundings));
        findings.iter().filter(|finding| !finding.message.contains("CNI_PATH")).map(told).collect()
    }

    fn check_one(&self, text: &str) -> Vec<String> {
        let file = self.file("a.conflist", text);
        self.check(&[file], &[])
    }
}

fn bridge(name: &str, bridge: &str, range: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[
{{"type":"bridge","bridge":"{bridge}","ipam":{{"type":"host-local","ranges":[[{{{range}}}]]}}}}]}}"#
    )
}

#[test]
fn every_mistake_of_a_file_is_told_at_its_place() {
    let text = r#"{
  "cniVersion": "1.0.0", "name": "n", "plugin": 1,
  "plugins": [
    { "type": "bridge", "isGatway": true, "mtu": "1500",
      "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.1.2.3/24" }]], "rotes": [] } },
    { "type": "host-port", "capabilities": { "portMappings": 1 }, "snat": 7 },
    { "type": "firewall", "anything": true }
  ]
}"#;
    assert_eq!(
        Folder::new().check_one(text),
        [
            r#"a.conflist:2:39: key "plugin" is unknown (did you mean "plugins"?)"#,
            r#"a.conflist:4:25: key "isGatway" is unknown (did you mean "isGateway"?)"#,
            r#"a.conflist:4:43: mtu must be a whole number, not "1500""#,
            "a.conflist:5:53: read ipam.ranges[0][0]: subnet 10.1.2.3/24 has host bits: write 10.1.2.0/24",
            r#"a.conflist:5:82: key "ipam.rotes" is unknown (did you mean "routes"?)"#,
            "a.conflist:6:46: capabilities.portMappings must be true or false, not 1",
            "a.conflist:6:67: snat must be true or false, not 7",
        ]
    );
}

#[test]
fn what_the_plugins_themselves_refuse_is_told_at_the_key() {
    let one = |plugin: &str| {
        Folder::new()
            .check_one(&format!("{{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[\n{plugin}]}}"))
    };
    for (plugin, place, words) in [
        (r#"{"type":"bridge","hairpinMode":true,"promiscMode":true}"#, "2:18", "exclude each other"),
        (r#"{"type":"bridge","mtu":7}"#, "2:18", "mtu 7 is out of range"),
        (r#"{"type":"bridge","bridge":"a name too long"}"#, "2:18", "bridge"),
        (r#"{"type":"bridge","ingress":"all"}"#, "2:18", "\"all\" is unknown"),
        (r#"{"type":"bridge","ipam":{"type":"host-local"}}"#, "2:18", "no ranges"),
        (r#"{"type":"link-env","endpoint":{"name":"a b"}}"#, "2:32", "invalid name \"a b\""),
        (r#"{"type":"link-env","endpoint":{"link":["a"]}}"#, "2:32", "did you mean \"links\""),
        (r#"{"type":"link-env","stateDir":"run"}"#, "2:20", "not an absolute path"),
        (
            r#"{"type":"macvlan","ipam":{"type":"host-local","subnet":"10.1.0.0"}}"#,
            "2:47",
            "no prefix length",
        ),
        (
            r#"{"type":"ptp","ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.1.0.0/25"}]]}}"#,
            "2:80",
            "overlap",
        ),
    ] {
        let told = one(plugin);
        assert_eq!(told.len(), 1, "{plugin}: {told:#?}");
        assert!(told[0].starts_with(&format!("a.conflist:{place}: ")) && told[0].contains(words), "{told:?}");
    }
    assert_eq!(one(r#"{"type":"bridge","ipam":{"type":"dhcp","daemonSocketPath":"/x"}}"#), [""; 0]);
}

#[test]
fn a_file_that_is_no_network_is_told() {
    let folder = Folder::new();
    for (text, words) in [
        ("{\n \"name\": }", "a.conflist:2:10: this is not JSON"),
        ("[]", "1:1"),
        (r#"{"cniVersion":"9.0.0","name":"n","plugins":[{"type":"bridge"}]}"#, "1:2: unsupported cniVersion"),
        (r#"{"cniVersion":"1.0.0","name":"a/b","plugins":[{"type":"bridge"}]}"#, "1:23: "),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[]}"#, "1:34: plugins is empty"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"tpye":"bridge"}]}"#, "1:46: "),
    ] {
        let told = folder.check_one(text);
        assert!(told.iter().any(|line| line.contains(words)), "{text}: {told:#?}");
    }
    let absent = folder.0.path().join("absent");
    assert!(folder.check(&[absent], &[])[0].contains("absent:1:1: read the file: No such file"));
}

#[test]
fn subnets_clash_across_files_and_with_the_host() {
    let folder = Folder::new();
    let one = folder.file("a", &bridge("a", "br0", r#""subnet":"10.1.0.0/16""#));
    let two = folder.file("b", &bridge("b", "br1", r#""subnet":"10.1.2.0/24""#));
    let told = folder.check(&[one.clone(), two], &[]);
    assert_eq!(
        told,
        [
            r#"b:2:73: subnet 10.1.2.0/24 clashes with 10.1.0.0/16 of network "a" (a:2:73) (give each network a subnet of its own)"#
        ]
    );
    // Networks on one bridge may share a subnet, each with addresses of its own.
    let low = folder.file("low", &bridge("low", "br", r#""subnet":"10.3.0.0/24","rangeEnd":"10.3.0.99""#));
    let high =
        folder.file("high", &bridge("high", "br", r#""subnet":"10.3.0.0/24","rangeStart":"10.3.0.100""#));
    let both =
        folder.file("both", &bridge("both", "br", r#""subnet":"10.3.0.0/24","rangeStart":"10.3.0.50""#));
    assert_eq!(folder.check(&[low.clone(), high], &[("10.3.0.0/24", "br")]), [""; 0]);
    assert_eq!(folder.check(&[low, both], &[]).len(), 1);
    let told =
        folder.check(&[one], &[("10.0.0.0/8", "eth0"), ("10.1.0.0/16", "br0"), ("192.0.2.0/24", "eth0")]);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("the host's route to 10.0.0.0/8 by eth0"), "{told:?}");
}

#[test]
fn a_name_that_another_file_has_is_told() {
    let folder = Folder::new();
    let one = folder.file("a", &bridge("n", "br0", r#""subnet":"10.1.0.0/16""#));
    let two = folder.file("b", &bridge("n", "br0", r#""subnet":"10.1.0.0/16""#));
    let told = folder.check(&[one, two], &[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("b:1:23: network \"n\" is in ") && told[0].contains("a:1:23 already"),
        "{told:?}"
    );
}
