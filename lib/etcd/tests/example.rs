//! The example, as its first lines say.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::server::{Server, run};

/// cargo builds it together with the tests, in the folder beside theirs.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/watch");
    assert!(program.exists(), "{} is missing: cargo build -p etcd --examples", program.display());
    program
}

#[test]
fn the_example_shows_changes() {
    run(async || {
        let server = Server::start(&[]);
        server.etcdctl(&["put", "/a/1", "one"]);
        let endpoints = format!("http://127.0.0.99:2379,{}", server.url());
        let mut child =
            Command::new(program()).args([&endpoints, "/a/"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        assert_eq!(next(), "put /a/1 one");
        assert_eq!(next(), "listed at revision 2");
        server.etcdctl(&["put", "/a/2", "two\nlines"]);
        assert_eq!(next(), "put /a/2 two\\nlines");
        server.etcdctl(&["del", "/a/1"]);
        assert_eq!(next(), "deleted /a/1");
        child.kill().unwrap();
        child.wait().unwrap();

        let output = Command::new(program()).arg("http://h1").output().unwrap();
        assert!(!output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stderr).starts_with("watch: usage: watch ENDPOINT"),
            "{output:?}"
        );
    });
}
