use std::fs;

use super::*;

fn as_user(server: &Server, name: &str) -> Engine {
    fs::write("/run/password", "secret").unwrap();
    let conf = conf::Etcd {
        user: Some(name.to_owned()),
        password_file: Some("/run/password".into()),
        ..conf(&server.url())
    };
    with_conf(conf)
}

#[test]
fn a_role_that_is_too_small_is_told_with_the_call_and_the_cure() {
    run(async || {
        let mut server = Server::start(&[]);
        let admin = engine(&server);
        admin.create(&network()).await.unwrap();
        for args in [
            &["user", "add", "root:rootpw"][..],
            &["user", "add", "n1:secret"],
            &["role", "add", "n1"],
            &["role", "grant-permission", "n1", "read", "--prefix", "/cleat/v1/web/"],
            &["role", "grant-permission", "n1", "readwrite", "/cleat/v1/web/nodes/n1"],
            &["user", "grant-role", "n1", "n1"],
            &["user", "grant-role", "root", "root"],
            &["auth", "enable"],
        ] {
            let _ = server.etcdctl(args);
        }
        server.etcdctl_with(&["--user", "root:rootpw"]);
        let engine = as_user(&server, "n1");
        // Its own record, and no other.
        assert_eq!(engine.publish("n1", &record(1)).await.unwrap(), Published::Put);
        let error = engine.publish("n2", &record(2)).await.unwrap_err().to_string();
        assert!(error.contains("permission denied for user n1"), "{error}");
        assert!(error.contains("readwrite /cleat/v1/web/nodes/n2"), "{error}");
        assert!(error.contains("grant-permission ROLE read /cleat/v1/web/config"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        let error = engine.claim(&network(), &me(1), &[]).await.unwrap_err().to_string();
        assert!(error.contains("readwrite /cleat/v1/web/blocks/10.201."), "{error}");
        let error = engine.keep_alive("n1", &mut None).await.unwrap_err().to_string();
        assert!(error.contains("put /cleat/v1/web/alive/n1"), "{error}");
        let error = engine.delete().await.unwrap_err().to_string();
        assert!(error.contains("readwrite --prefix /cleat/v1/web/"), "{error}");
        // The cures help.
        for keys in [&["--prefix", "/cleat/v1/web/blocks/"][..], &["/cleat/v1/web/alive/n1"]] {
            let grant = ["role", "grant-permission", "n1", "readwrite"];
            let _ = server.etcdctl(&[&grant, keys].concat());
        }
        engine.claim(&network(), &me(1), &[]).await.unwrap();
        engine.keep_alive("n1", &mut None).await.unwrap();
        engine.leave("n1", &me(1)).await.unwrap();
        // The watch reads, and needs no more.
        let mut watch = engine.watch();
        while !matches!(within(watch.next()).await, Change::Listed { .. }) {}
    });
}

#[test]
fn halves_of_a_configuration_are_refused() {
    let conf = |text: &str| {
        let conf = serde_json::from_str(text).unwrap();
        Engine::new(&conf::Engine::Etcd(conf), &NetworkName::new("web").unwrap())
    };
    conf(r#"{"endpoints": ["http://h1"], "prefix": "/a/b/"}"#).unwrap();
    for (text, why) in [
        (r#"{"endpoints": []}"#, "no endpoints"),
        (r#"{"endpoints": ["h1"]}"#, "is not an endpoint"),
        (r#"{"endpoints": ["https://h1"]}"#, "CA"),
        (r#"{"endpoints": ["https://h1"], "ca": "/a", "cert": "/b"}"#, "belong together"),
        (r#"{"endpoints": ["https://h1"], "cert": "/b", "key": "/c"}"#, "needs the CA's"),
        (r#"{"endpoints": ["http://h1"], "user": "n1"}"#, "belong together"),
        (r#"{"endpoints": ["http://h1"], "prefix": "a"}"#, "is not like /cleat/v1"),
    ] {
        let error = conf(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

/// Makes a key and a certificate for a name and the server's address, signed by the CA; without one, the CA itself.
fn certificate(name: &str, is_signed: bool) {
    let file = |name: &str, end: &str| format!("/run/pki/{name}.{end}");
    let (subject, key, pem) = (format!("/CN={name}"), file(name, "key"), file(name, "pem"));
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", &key];
    if !is_signed {
        let make = ["req", "-x509", "-days", "2", "-subj", &subject, "-out", &pem];
        let _ = command("openssl", &[&make[..], &new].concat());
        return;
    }
    let (request, extensions) = (file(name, "csr"), file(name, "ext"));
    fs::write(
        &extensions,
        "subjectAltName=IP:127.0.0.11\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    let _ = command("openssl", &[&["req", "-new", "-subj", &subject, "-out", &request][..], &new].concat());
    let (ca, ca_key) = (file("ca", "pem"), file("ca", "key"));
    let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
    let out = ["-days", "2", "-extfile", &extensions, "-out", &pem];
    let _ = command("openssl", &[&sign[..], &out].concat());
}

#[test]
fn the_common_name_of_a_certificate_is_the_user() {
    run(async || {
        fs::create_dir("/run/pki").unwrap();
        certificate("ca", false);
        for name in ["server", "root", "n1"] {
            certificate(name, true);
        }
        let options = ["--cert-file", "/run/pki/server.pem", "--key-file", "/run/pki/server.key"];
        let client_options = ["--trusted-ca-file", "/run/pki/ca.pem", "--client-cert-auth=true"];
        let options = [&options[..], &client_options].concat();
        let mut server = Server::begin(0, &["127.0.0.11"], &options, "https");
        let root = ["--cert", "/run/pki/root.pem", "--key", "/run/pki/root.key"];
        server.etcdctl_with(&[&root[..], &["--cacert", "/run/pki/ca.pem"]].concat());
        server.await_health();
        let as_name = |name: &str| {
            with_conf(conf::Etcd {
                ca: Some("/run/pki/ca.pem".into()),
                cert: Some(format!("/run/pki/{name}.pem").into()),
                key: Some(format!("/run/pki/{name}.key").into()),
                ..conf(&server.url())
            })
        };
        as_name("root").create(&network()).await.unwrap();
        for args in [
            &["user", "add", "root:rootpw"][..],
            &["user", "add", "n1", "--no-password"],
            &["role", "add", "n1"],
            &["role", "grant-permission", "n1", "read", "--prefix", "/cleat/v1/web/"],
            &["role", "grant-permission", "n1", "readwrite", "/cleat/v1/web/nodes/n1"],
            &["user", "grant-role", "n1", "n1"],
            &["user", "grant-role", "root", "root"],
            &["auth", "enable"],
        ] {
            let _ = server.etcdctl(args);
        }
        let engine = as_name("n1");
        assert_eq!(engine.publish("n1", &record(1)).await.unwrap(), Published::Put);
        let error = engine.publish("n2", &record(2)).await.unwrap_err().to_string();
        assert!(error.contains("the common name of /run/pki/n1.pem"), "{error}");
        assert!(error.contains("readwrite /cleat/v1/web/nodes/n2"), "{error}");
    });
}
