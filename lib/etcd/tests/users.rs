//! Users, roles and tokens.

use std::fs;
use std::time::Duration;

use etcd::{Client, Condition, Config, Kind, Operation, Put, Span, Txn, User};

use crate::server::{Server, changes, config, mirror, run, short};

const FILE: &str = "/run/password";

/// Turns authentication on: root, and `n1`, who may read `/n/` and write `/n/1`.
pub(crate) fn enable(server: &mut Server) {
    for args in [
        &["user", "add", "root:rootpw"][..],
        &["user", "add", "n1:geheim"],
        &["role", "add", "node"],
        &["role", "grant-permission", "node", "read", "--prefix", "/n/"],
        &["role", "grant-permission", "node", "readwrite", "/n/1"],
        &["user", "grant-role", "n1", "node"],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        server.etcdctl(args);
    }
    server.etcdctl_with(&["--user", "root:rootpw"]);
}

pub(crate) fn user(name: &str, password: &str) -> User {
    fs::write(FILE, format!("{password}\n")).unwrap();
    User { name: name.to_owned(), password_file: FILE.into() }
}

fn client(server: &Server, name: &str, password: &str) -> Client {
    Client::new(Config { user: Some(user(name, password)), ..config([server]) }).unwrap()
}

#[test]
fn a_role_that_is_too_small_is_named_with_the_cure() {
    run(async || {
        let mut server = Server::start(&[]);
        enable(&mut server);
        let client = client(&server, "n1", "geheim");
        client.put(Put::new("/n/1", "mine")).await.unwrap();
        client.list(&Span::prefix("/n/")).await.unwrap();
        let denied = |text: &str| format!("{}: permission denied for user n1; as root: {text}", server.url());
        let grant = "etcdctl role grant-permission ROLE";

        let error = client.put(Put::new("/n/2", "other")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("etcd: put /n/2: {}", denied(&format!("{grant} readwrite /n/2")))
        );
        assert!(matches!(error.kind, Kind::Denied { .. }));
        let error = client.list(&Span::prefix("/m/")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("etcd: range /m/*: {}", denied(&format!("{grant} read --prefix /m/")))
        );
        let error = client.watch(&Span::prefix("/m/"), None).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("etcd: watch /m/*: {}", denied(&format!("{grant} read --prefix /m/")))
        );
        let txn = Txn::new().when(Condition::absent("/b/1")).then(Operation::Put(Put::new("/b/1", "")));
        let error = client.txn(txn).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("etcd: txn of /b/1: {}", denied(&format!("{grant} readwrite /b/1")))
        );

        // The cure helps.
        server.etcdctl(&["role", "grant-permission", "node", "readwrite", "/n/2"]);
        client.put(Put::new("/n/2", "mine now")).await.unwrap();
    });
}

#[test]
fn a_wrong_password_and_a_missing_user_are_told_apart() {
    run(async || {
        let mut server = Server::start(&[]);
        enable(&mut server);
        let error = client(&server, "n1", "falsch").get("/n/1").await.unwrap_err();
        assert!(matches!(error.kind, Kind::Credentials { .. }), "{error}");
        let wanted = format!("user n1 or the password in {FILE} is wrong");
        assert!(error.to_string().contains(&wanted), "{error}");
        assert!(!format!("{error} {error:?}").contains("falsch"), "{error}");

        let nobody = Client::new(config([&server])).unwrap();
        let error = nobody.get("/n/1").await.unwrap_err();
        assert!(error.to_string().contains("this cluster has users"), "{error}");

        fs::remove_file(FILE).unwrap();
        let name = User { name: "n1".to_owned(), password_file: FILE.into() };
        let client = Client::new(Config { user: Some(name), ..config([&server]) }).unwrap();
        let error = client.get("/n/1").await.unwrap_err();
        assert!(error.to_string().contains("read /run/password: No such file"), "{error}");
    });
}

#[test]
fn a_token_that_expired_is_renewed() {
    run(async || {
        let mut server = Server::start(&["--auth-token-ttl", "1"]);
        enable(&mut server);
        let client = client(&server, "n1", "geheim");
        let watcher = self::client(&server, "n1", "geheim");
        for client in [&client, &watcher] {
            client.put(Put::new("/n/1", "1")).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2500)).await;
        // etcd 3.4 tells this as a missing permission.
        let mut watch = watcher.watch(&Span::prefix("/n/"), None).await.unwrap();
        client.put(Put::new("/n/1", "2")).await.unwrap();
        assert!(watch.next().await.is_ok());
        let shown = format!("{client:?}");
        assert!(shown.contains("n1") && !shown.contains("geheim") && !shown.contains("token"), "{shown}");
    });
}

/// The tokens are in the server's memory.
#[test]
fn a_mirror_survives_a_restart_and_a_new_password() {
    run(async || {
        let mut server = Server::start(&[]);
        // The mirror's helper writes a key of its own.
        enable(&mut server);
        server.etcdctl(&["role", "grant-permission", "node", "readwrite", "/n/~"]);
        let client = client(&server, "n1", "geheim");
        let mut mirror = mirror(&client).await;
        for args in [&["delete", "n1"][..], &["add", "n1:neu"], &["grant-role", "n1", "node"]] {
            server.etcdctl(&[&["user"], args].concat());
        }
        fs::write(FILE, "neu").unwrap();
        server.kill();
        server.restart();
        server.await_health();
        // A read finds that the old connection has ended.
        client.get("/n/1").await.unwrap();
        client.put(Put::new("/n/1", "after")).await.unwrap();
        let told = changes(&mut mirror, |change| short(change) == "put /n/1=after").await;
        assert!(told.iter().any(|change| short(change) == "resumed"), "{told:?}");
    });
}

#[test]
fn a_user_of_a_cluster_without_users_is_no_error() {
    run(async || {
        let mut server = Server::start(&[]);
        let client = client(&server, "n1", "geheim");
        client.put(Put::new("/n/1", "1")).await.unwrap();
        // Authentication is turned on meanwhile.
        enable(&mut server);
        client.put(Put::new("/n/1", "2")).await.unwrap();
        let error = client.put(Put::new("/n/2", "2")).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Denied { .. }), "{error}");
    });
}
