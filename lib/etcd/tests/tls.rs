//! TLS with certificates of both sides, made by openssl(1).

use std::fs;

use etcd::{Client, Config, Identity, Kind, Put, Tls};
use sandbox::pki::{authority, certificate, path};

use crate::server::{Server, TIMING, client, endpoint, run};

/// A server that wants a certificate of its CA from each client.
fn secure(certificate: &str) -> Server {
    let (cert, key, ca) =
        (path(&format!("{certificate}.pem")), path(&format!("{certificate}.key")), path("ca.pem"));
    let options =
        ["--cert-file", &cert, "--key-file", &key, "--trusted-ca-file", &ca, "--client-cert-auth=true"];
    let mut server = Server::begin(0, &["127.0.0.11"], &options, "https");
    let (admin, admin_key) = (path("admin.pem"), path("admin.key"));
    // Its own check would fail where the server's certificate is meant to be bad.
    server.etcdctl_with(&[
        "--insecure-skip-tls-verify",
        "--cacert",
        &ca,
        "--cert",
        &admin,
        "--key",
        &admin_key,
    ]);
    server.await_health();
    server
}

fn pki() {
    authority("ca");
    authority("foreign");
    certificate("server", "ca", "etcd", "2", "IP:127.0.0.11");
    certificate("admin", "ca", "root", "2", "DNS:admin");
    certificate("n1", "ca", "n1", "2", "DNS:n1");
}

fn as_client(server: &Server, ca: &str, name: Option<&str>) -> Client {
    let identity = |name| Identity {
        certificate: path(&format!("{name}.pem")).into(),
        key: path(&format!("{name}.key")).into(),
    };
    let tls = Tls { ca: path(&format!("{ca}.pem")).into(), client: name.map(identity) };
    let config = Config { tls: Some(tls), timing: TIMING, ..Config::new(vec![endpoint(server)]) };
    Client::new(config).unwrap()
}

/// The error of a client that is not let in, which was never executed.
async fn refused(client: &Client) -> String {
    let error = client.put(Put::new("/n/1", "refused")).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Unreachable(_)), "{error}");
    error.to_string()
}

#[test]
fn a_client_with_its_certificate_is_let_in() {
    run(async || {
        pki();
        let server = secure("server");
        let client = as_client(&server, "ca", Some("n1"));
        client.put(Put::new("/n/1", "one")).await.unwrap();
        assert_eq!(server.etcdctl(&["get", "/n/1"]), "/n/1\none\n");
    });
}

#[test]
fn a_certificates_common_name_is_the_user() {
    run(async || {
        pki();
        let server = secure("server");
        for args in [
            &["user", "add", "root:rootpw"][..],
            &["user", "grant-role", "root", "root"],
            &["user", "add", "n1:unused"],
            &["role", "add", "node"],
            &["role", "grant-permission", "node", "readwrite", "/n/1"],
            &["user", "grant-role", "n1", "node"],
            &["auth", "enable"],
        ] {
            server.etcdctl(args);
        }
        let client = as_client(&server, "ca", Some("n1"));
        client.put(Put::new("/n/1", "one")).await.unwrap();
        let error = client.put(Put::new("/n/2", "two")).await.unwrap_err();
        let wanted = "permission denied for the common name of /run/pki/n1.pem; as root: etcdctl role grant-permission";
        assert!(error.to_string().contains(wanted), "{error}");
    });
}

#[test]
fn a_server_with_a_bad_certificate_is_refused_with_the_reason() {
    run(async || {
        pki();
        certificate("stranger", "foreign", "etcd", "2", "IP:127.0.0.11");
        certificate("misnamed", "ca", "etcd", "2", "IP:127.0.0.12");
        certificate("expired", "ca", "etcd", "0", "IP:127.0.0.11");
        for (name, reason) in [
            ("stranger", "the server's certificate is signed by none of those in /run/pki/ca.pem"),
            ("misnamed", "the server's certificate is not for 127.0.0.11"),
            ("expired", "the server's certificate has expired"),
        ] {
            let mut server = secure(name);
            let error = refused(&as_client(&server, "ca", Some("n1"))).await;
            assert!(error.contains(reason) && error.contains(&server.url()), "{name}: {error}");
            server.kill();
        }
    });
}

#[test]
fn a_bad_client_certificate_is_named() {
    run(async || {
        pki();
        certificate("stranger", "foreign", "n1", "2", "DNS:n1");
        certificate("expired", "ca", "n1", "0", "DNS:n1");
        let server = secure("server");
        for name in ["stranger", "expired"] {
            let error = refused(&as_client(&server, "ca", Some(name))).await;
            assert!(error.contains(&format!("the server refuses /run/pki/{name}.pem")), "{error}");
        }
        let error = refused(&as_client(&server, "ca", None)).await;
        assert!(error.contains("it may want a client certificate"), "{error}");
        assert_eq!(server.etcdctl(&["get", "/n/1"]), "");
    });
}

#[test]
fn files_that_are_wrong_are_named() {
    run(async || {
        pki();
        let server = secure("server");
        let cases = [
            ("missing", "", "read /run/pki/missing.pem: No such file"),
            ("empty", "", "/run/pki/empty.pem has no certificate in PEM"),
            ("torn", "-----BEGIN CERTIFICATE-----\nAAAA", "/run/pki/torn.pem is not valid PEM"),
        ];
        for (name, text, reason) in cases {
            if name != "missing" {
                fs::write(path(&format!("{name}.pem")), text).unwrap();
            }
            let error = refused(&as_client(&server, name, Some("n1"))).await;
            assert!(error.contains(reason), "{name}: {error}");
        }
        fs::write(path("n1.key"), "-----BEGIN SECRET-----\ngeheim").unwrap();
        let error = refused(&as_client(&server, "ca", Some("n1"))).await;
        assert!(
            error.contains("/run/pki/n1.key has no private key in PEM") && !error.contains("geheim"),
            "{error}"
        );
        fs::copy(path("admin.key"), path("n1.key")).unwrap();
        let error = refused(&as_client(&server, "ca", Some("n1"))).await;
        assert!(error.contains("/run/pki/n1.pem and /run/pki/n1.key do not belong together"), "{error}");
    });
}

/// As a tool for certificates does: the files are renewed, and nobody tells the process.
#[test]
fn renewed_files_are_taken_up_at_the_next_connect() {
    run(async || {
        pki();
        let mut server = secure("server");
        let client = as_client(&server, "ca", Some("n1"));
        client.put(Put::new("/n/1", "before")).await.unwrap();
        // A new CA signs everything anew, under the same names.
        server.kill();
        pki();
        server.restart();
        server.await_health();
        // The first call may find the end of the old connection.
        let _ = client.get("/n/1").await;
        client.put(Put::new("/n/1", "after")).await.unwrap();
        assert_eq!(server.etcdctl(&["get", "/n/1"]), "/n/1\nafter\n");
    });
}

#[test]
fn plain_and_secure_are_told_apart() {
    run(async || {
        pki();
        let server = secure("server");
        let plain = format!("http://{}:2379", server.host()).parse().unwrap();
        let wrong = Client::new(Config { timing: TIMING, ..Config::new(vec![plain]) }).unwrap();
        let error = wrong.get("/n/1").await.unwrap_err();
        assert!(error.to_string().contains("write https://"), "{error}");
        drop(server);

        let server = Server::start(&[]);
        client([&server]).put(Put::new("/n/1", "")).await.unwrap();
        let secure = format!("https://{}:2379", server.host()).parse().unwrap();
        let tls = Some(Tls { ca: path("ca.pem").into(), client: None });
        let wrong = Client::new(Config { timing: TIMING, tls, ..Config::new(vec![secure]) }).unwrap();
        let error = wrong.get("/n/1").await.unwrap_err();
        assert!(error.to_string().contains("write http://"), "{error}");
    });
}

#[test]
fn a_configuration_that_would_be_open_is_refused() {
    let endpoints = vec!["https://h1".parse().unwrap(), "http://h2".parse().unwrap()];
    let error = Client::new(Config::new(endpoints.clone())).unwrap_err();
    assert!(error.to_string().contains("needs the CA's certificate"), "{error}");
    let tls = Some(Tls { ca: path("ca.pem").into(), client: None });
    let error = Client::new(Config { tls, ..Config::new(endpoints) }).unwrap_err();
    assert!(error.to_string().contains("an endpoint is http"), "{error}");
    assert!(Client::new(Config::new(Vec::new())).is_err());
}
