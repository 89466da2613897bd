//! TLS, users and roles: what is refused is told with the cure, traffic goes on, and a mended file is taken up.

use std::fs;

use sandbox::etcd::Server;
use sandbox::isolated;
use sandbox::pki::{authority, certificate, path};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ENGINE, NET, merge};
use crate::host::until;
use crate::ping::none_is_lost;

/// A cluster whose engine wants certificates; each host has one of its own name, which is that of its user.
struct Secured {
    cluster: Cluster,
}

impl Secured {
    fn new() -> Self {
        let mut cluster = Cluster::bare();
        cluster.engine.kill();
        cluster.engine.wipe();
        authority("ca");
        authority("foreign");
        certificate("server", "ca", "etcd", "2", &format!("IP:{ENGINE}"));
        for name in ["root", "host1", "host2", "host3"] {
            certificate(name, "ca", name, "2", &format!("DNS:{name}"));
        }
        let [ca, cert, key, admin, admin_key] =
            ["ca.pem", "server.pem", "server.key", "root.pem", "root.key"].map(path);
        let options =
            ["--cert-file", &cert, "--key-file", &key, "--trusted-ca-file", &ca, "--client-cert-auth=true"];
        let mut engine = Server::begin_in(Some(&cluster.engine_host), 0, &[ENGINE], &options, "https");
        engine.etcdctl_with(&["--cacert", &ca, "--cert", &admin, "--key", &admin_key]);
        engine.await_health();
        cluster.engine = engine;
        let conf = Self::conf_of("root", &cluster);
        cluster.create(&json!({"conf": conf}));
        Self { cluster }
    }

    fn conf_of(user: &str, cluster: &Cluster) -> Value {
        let mut conf = cluster.conf();
        let [ca, cert, key] = ["ca.pem", &format!("{user}.pem"), &format!("{user}.key")].map(path);
        conf["engine"] =
            json!({"type": "etcd", "endpoints": [cluster.engine.url()], "ca": ca, "cert": cert, "key": key});
        conf
    }

    /// Roles as the documents give them: a host writes what is its own, and blocks.
    fn grant(&self) {
        let etcdctl = |args: &[&str]| self.cluster.engine.etcdctl(args);
        let below = format!("/cleat/v1/{NET}/");
        etcdctl(&["user", "add", "root:unused"]);
        for number in 1..=3 {
            let name = format!("host{number}");
            etcdctl(&["user", "add", &format!("{name}:unused")]);
            etcdctl(&["role", "add", &name]);
            etcdctl(&["role", "grant-permission", &name, "read", "--prefix", &below]);
            etcdctl(&[
                "role",
                "grant-permission",
                &name,
                "readwrite",
                "--prefix",
                &format!("{below}blocks/"),
            ]);
            for key in ["nodes", "alive"] {
                // The last host lacks a right.
                if number < 3 || key == "alive" {
                    etcdctl(&[
                        "role",
                        "grant-permission",
                        &name,
                        "readwrite",
                        &format!("{below}{key}/{name}"),
                    ]);
                }
            }
            etcdctl(&["user", "grant-role", &name, &name]);
        }
        etcdctl(&["user", "grant-role", "root", "root"]);
        etcdctl(&["auth", "enable"]);
    }

    fn start(&self) {
        for host in &self.cluster.hosts {
            host.configure(&Self::conf_of(&host.name(), &self.cluster));
            host.start();
        }
    }
}

/// Puts a host's certificate and key in the place of those that are there.
fn replace(name: &str, by: &str) {
    for end in ["key", "pem"] {
        fs::copy(path(&format!("{by}.{end}")), path(&format!("{name}.{end}"))).unwrap();
    }
}

#[test]
fn certificates_that_expire_or_are_foreign_are_told_and_mended() {
    isolated(|| {
        let mut secured = Secured::new();
        secured.start();
        for host in &secured.cluster.hosts {
            host.has_peers(2);
        }
        certificate("expired", "ca", "host3", "0", "DNS:host3");
        certificate("stranger", "foreign", "host3", "2", "DNS:host3");
        certificate("good", "ca", "host3", "2", "DNS:host3");
        // The connection that is there stays; the next one is refused.
        for bad in ["expired", "stranger"] {
            replace("host3", bad);
            secured.cluster.engine.kill();
            secured.cluster.engine.restart();
            secured.cluster.engine.await_health();
            let cluster = &secured.cluster;
            let [one, two, three] = cluster.containers();
            let pings = [one.pings(&three), two.pings(&three)];
            cluster.hosts[0].is("watching");
            cluster.hosts[2].says(bad, |health| {
                let error = health["engine"]["error"].as_str().unwrap_or_default();
                health["engine"]["up"] == false && error.contains("host3.pem")
            });
            let secret = fs::read_to_string(path("host3.key")).unwrap();
            let line = secret.lines().nth(1).unwrap();
            assert!(
                !cluster.hosts[2].log().contains(line)
                    && !cluster.hosts[2].health().to_string().contains(line)
            );
            replace("host3", "good");
            cluster.hosts[2].says("it is let in again", |health| health["engine"]["up"] == true);
            cluster.hosts[2].is("watching");
            none_is_lost(pings);
            for container in [&one, &two, &three] {
                container.del();
            }
        }
    });
}

#[test]
fn a_role_that_is_too_small_is_told_with_the_cure() {
    isolated(|| {
        let secured = Secured::new();
        secured.grant();
        secured.start();
        let cluster = &secured.cluster;
        let [first, second, third] = &cluster.hosts;
        first.has_peers(1);
        second.has_peers(1);
        third.says("the call that was refused", |health| {
            let all = health.to_string();
            all.contains("permission denied")
                && all.contains("nodes/host3")
                && all.contains("etcdctl role grant-permission")
        });
        let key = format!("/cleat/v1/{NET}/nodes/host3");
        cluster.engine.etcdctl(&["role", "grant-permission", "host3", "readwrite", &key]);
        until("it is published", || cluster.get("nodes/host3").is_some());
        for host in &cluster.hosts {
            host.has_peers(2);
            host.is("watching");
        }
        cluster.containers();
        // No host can speak for another.
        let as_third =
            ["--cert", &path("host3.pem"), "--key", &path("host3.key"), "--cacert", &path("ca.pem")];
        let put = ["--endpoints", &cluster.engine.url(), "put", "/cleat/v1/wide/nodes/host1", "x"];
        let output = third.run("env", &[&["ETCDCTL_API=3", "etcdctl"][..], &as_third, &put].concat(), "");
        assert!(!output.status.success(), "{output:?}");
    });
}

#[test]
fn a_wrong_ca_is_told() {
    isolated(|| {
        let secured = Secured::new();
        let host = &secured.cluster.hosts[0];
        let mut conf = Secured::conf_of("host1", &secured.cluster);
        conf["engine"]["ca"] = path("foreign.pem").into();
        let error = host.refused(&["show", NET, "--conf", "-"], &conf.to_string());
        assert!(error.contains("foreign.pem"), "{error}");
        let mut wanted = json!({"prefixes": ["10.202.0.0/16"]});
        merge(&mut wanted, &json!({"conf": conf}));
        let error = host.refused(&["create", "other"], &wanted.to_string());
        assert!(error.contains("foreign.pem"), "{error}");
        assert_eq!(secured.cluster.keys(), ["config"]);
    });
}
