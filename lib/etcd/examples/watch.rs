//! Shows what a mirror tells of a prefix, one line a change, until it is killed:
//!
//! ```text
//! cargo run -p etcd --example watch -- http://127.0.0.1:2379,http://127.0.0.1:22379 /a/
//! cargo run -p etcd --example watch -- https://h1:2379 /a/ ca.pem client.pem client.key
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for a terminal")]

use std::error::Error;
use std::process::ExitCode;

use etcd::{Change, Client, Config, Identity, Mirror, Span, Tls};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match watch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn watch(args: &[String]) -> Result<(), Box<dyn Error>> {
    let (endpoints, prefix, tls) = match args {
        [endpoints, prefix] => (endpoints, prefix, None),
        [endpoints, prefix, ca, certificate, key] => {
            let client = Some(Identity { certificate: certificate.into(), key: key.into() });
            (endpoints, prefix, Some(Tls { ca: ca.into(), client }))
        }
        _ => return Err("usage: watch ENDPOINT,... PREFIX [CA CERTIFICATE KEY]".into()),
    };
    let endpoints = endpoints.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let client = Client::new(Config { tls, ..Config::new(endpoints) })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut mirror = Mirror::new(client, Span::prefix(prefix.as_str()));
    runtime.block_on(async {
        loop {
            println!("{}", line(&mirror.next().await));
        }
    })
}

fn line(change: &Change) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match change {
        Change::Put(kv) => format!("put {} {}", text(&kv.key), text(&kv.value)),
        Change::Deleted { key, .. } => format!("deleted {}", text(key)),
        Change::Missing { key } => format!("missing {}", text(key)),
        Change::Listed(header) => format!("listed at revision {}", header.revision),
        Change::Resumed => "resumed".to_owned(),
        Change::Lost(error) => format!("lost: {error}"),
        Change::Reset(reset) => format!("reset: {reset:?}"),
    }
}
