//! Health and metrics, by curl.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sandbox::isolated;
use serde_json::{Value, json};

use crate::agent::{Agent, SOCKET, conf, curl, log, until, write};

const METRICS: &str = "127.0.0.1:9470";

#[test]
fn root_asks_by_the_socket() {
    isolated(|| {
        let agent = Agent::start();
        agent.tells("READY=1");
        for path in ["/healthz", "/readyz"] {
            assert_eq!(curl(&[], path), ("200".to_owned(), "ok\n".to_owned()), "{path}");
        }
        write("shop.json", &conf(&json!({})).to_string(), 0o600);
        until("it is there", || curl(&[], "/networks/shop").0 == "200");
        let health: Value = serde_json::from_str(&curl(&[], "/networks/shop").1).unwrap();
        for key in [
            "network", "id", "state", "reason", "since", "engine", "device", "mtu", "local", "blocks",
            "peers", "held", "repairs",
        ] {
            assert!(health.get(key).is_some(), "{key}: {health}");
        }
        for key in ["up", "staleSince", "revision", "error"] {
            assert!(health["engine"].get(key).is_some(), "{key}: {health}");
        }
        let (status, body) = curl(&[], "/readyz");
        assert!(
            status == "503" && body.starts_with("shop is not in step with the engine"),
            "{status} {body}"
        );
        let (status, body) = curl(&["--include"], "/metrics");
        assert!(status == "200" && body.contains("content-type: text/plain; version=0.0.4"), "{body}");
        assert!(body.contains("\ncleat_overlay_engine_up{network=\"shop\"} 0\n"), "{body}");

        for (args, path, status) in [
            (&["--request", "POST"][..], "/networks/shop/sync", "202"),
            (&["--request", "POST"], "/networks/shop/sync?force=true", "202"),
            (&["--request", "POST"], "/networks/shop/sync?force=maybe", "400"),
            (&["--request", "POST"], "/networks/none/sync", "404"),
            (&["--request", "POST"], "/networks/shop", "405"),
            (&["--request", "POST"], "/metrics", "405"),
            (&[], "/networks/shop/sync", "405"),
            (&[], "/networks/none", "404"),
            (&[], "/networks/a%20b", "404"),
            (&[], "/networks/..%2F..", "404"),
            (&[], "/", "404"),
            (&["--head"], "/healthz", "200"),
        ] {
            assert_eq!(curl(args, path).0, status, "{args:?} {path}");
        }
    });
}

#[test]
fn others_of_this_node_may_only_read() {
    isolated(|| {
        let taken = TcpListener::bind("127.0.0.1:9471").unwrap();
        for (name, address) in [("shop", METRICS), ("back", METRICS), ("wide", "127.0.0.1:9471")] {
            write(&format!("{name}.json"), &conf(&json!({"metrics": address})).to_string(), 0o600);
        }
        let agent = Agent::start();
        agent.tells("READY=1");
        let at = |path: &str| format!("http://{METRICS}{path}");
        until("it listens", || curl(&[], &at("/metrics")).0 == "200");
        assert!(curl(&[], &at("/metrics")).1.contains("network=\"wide\""));
        assert_eq!(curl(&[], &at("/networks/shop")).0, "200");
        assert_eq!(curl(&["--request", "POST"], &at("/networks/shop/sync")).0, "404");
        until("an address that is taken is told", || {
            log().contains("listen on 127.0.0.1:9471 (\"metrics\"): address already in use")
        });
        drop(taken);
        // One of the two networks that name it goes, and then the other.
        write("back.json", &conf(&json!({})).to_string(), 0o600);
        until("its file is read", || !curl(&[], "/networks/back").1.is_empty());
        assert_eq!(curl(&[], &at("/healthz")).0.len(), 3);
        write("shop.json", &conf(&json!({"metrics": "[::1]:9470"})).to_string(), 0o600);
        until("the address is another", || curl(&[], "http://[::1]:9470/metrics").0 == "200");
        assert_eq!(curl(&[], &at("/metrics")).0, "000");
    });
}

/// Who says nothing, or too much, holds up nobody.
#[test]
fn slow_and_odd_clients_are_left() {
    isolated(|| {
        let agent = Agent::start();
        agent.tells("READY=1");
        let silent: Vec<UnixStream> = (0..15).map(|_| UnixStream::connect(SOCKET).unwrap()).collect();
        assert_eq!(curl(&[], "/healthz").0, "200");
        let more: Vec<UnixStream> = (0..15).map(|_| UnixStream::connect(SOCKET).unwrap()).collect();
        let mut long = UnixStream::connect(SOCKET).unwrap();
        let begin = Instant::now();
        let mut answer = Vec::new();
        let _ = long.write_all(&vec![b'x'; 64 << 10]);
        let _ = long.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
        drop(more);
        until("its turn comes", || curl(&[], "/healthz").0 == "200");
        assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
        drop(silent);
    });
}
