//! `make demo`: shows what the suite is for, in a sandbox that needs no root, with the suite's own programs.
//!
//! Each step prints the command that a person would type, runs exactly that, and prints its output. If the output is not as
//! expected, the demo fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a demo that cannot go on ends")]
#![allow(clippy::print_stdout, reason = "a demo prints")]
#![allow(clippy::disallowed_methods, reason = "it starts programs, as a person would")]

mod http;
mod stage;

use std::path::Path;
use std::process::ExitCode;

use sandbox::{Host, OUTSIDE_V4, UPLINK_V4};
use stage::{Place, Stage};

/// The picture of the README, as it was kept.
const PICTURE: &str = include_str!("graph.svg");

fn main() -> ExitCode {
    // Called by one of these names, this program is the server or the client of a container.
    let args: Vec<String> = std::env::args().collect();
    match Path::new(&args[0]).file_name().and_then(|name| name.to_str()) {
        Some("serve") => return http::serve(&args[1], &args[2]),
        Some("fetch") => return http::fetch(&args[1]),
        _ => {}
    }
    match sandbox::isolated_program() {
        // The argument is a file to which the picture is copied: `cargo run --example demo -- tests/demo/graph.svg` makes the
        // picture of the README.
        None => show(args.into_iter().nth(1)),
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

fn show(keep: Option<String>) -> ExitCode {
    let host = Host::new();
    let mut stage = Stage::new(&host);
    println!(
        "A sandbox: this host is {UPLINK_V4}, and an outside host is {OUTSIDE_V4}. Nothing of it is the real network."
    );
    println!(
        "The network is the one of conf/10-cleat.conflist. serve and fetch are a small HTTP server and client."
    );

    stage.title("From outside to a container: published ports");
    let web = stage.start("cleat run --name web -p 80:80 -p 8080:80 -- serve 80 'hello from web'", "80");
    for (place, url) in [
        (Place::Outside, format!("http://{UPLINK_V4}/")),
        (Place::Outside, format!("http://{UPLINK_V4}:8080/")),
        (Place::Host, format!("http://{UPLINK_V4}:8080/")),
        (Place::Host, "http://localhost:8080/".to_owned()),
    ] {
        stage.run(place, &format!("fetch {url}"), &["hello from web"]);
    }

    stage.title("From a container to the outside: masqueraded as the host");
    stage.serve_outside("hello from outside");
    stage.run(
        Place::Host,
        &format!("cleat run -- fetch http://{OUTSIDE_V4}/"),
        &["hello from outside", &format!("you are {UPLINK_V4}")],
    );

    stage.title("From container to container: a link");
    let db =
        stage.start("cleat run --name db --expose 5432 -e PG_VERSION=9.3 -- serve 5432 'hello from db'", "");
    stage.run(
        Place::Host,
        "cleat run --name app --link db:webdb -- sh -c 'set | grep ^WEBDB_; grep webdb /etc/hosts; fetch http://webdb:5432/; \
         fetch http://$WEBDB_PORT_5432_TCP_ADDR:$WEBDB_PORT_5432_TCP_PORT/'",
        &["WEBDB_PORT_5432_TCP_ADDR=", "WEBDB_PORT='tcp://|WEBDB_PORT=tcp://", "WEBDB_NAME=", "WEBDB_ENV_PG_VERSION=", "\twebdb", "hello from db"],
    );
    stage.run(Place::Host, "cleat run --link nobody -- true || echo refused", &["nobody", "refused"]);

    stage.title("All of it as a picture");
    let app =
        stage.start("cleat run --name app -p 8081:80 --link db:webdb -- serve 80 'hello from app'", "8081");
    stage.run(Place::Host, "cleat graph --format mermaid", &["web<br>10.90.0."]);
    stage.run(Place::Host, "cleat graph > /run/demo/graph.svg && wc -c < /run/demo/graph.svg", &[]);
    let picture = std::fs::read_to_string("/run/demo/graph.svg").expect("read the picture");
    if let Some(keep) = keep {
        std::fs::write(&keep, picture).expect("keep the picture");
        println!("    kept as {keep}");
    } else {
        let hint = "tests/demo/graph.svg is not what cleat draws any more; \
                     `cargo run --example demo -- tests/demo/graph.svg` makes it anew";
        assert!(without_ids(&picture) == without_ids(PICTURE), "{hint}");
    }

    stage.title("All taken down");
    std::fs::remove_file("/run/demo/graph.svg").expect("remove the picture");
    stage.stop(app);
    stage.stop(web);
    stage.stop(db);
    stage.assert_nothing_left();
    println!("\nEverything worked, and nothing is left behind.");
    ExitCode::SUCCESS
}

/// A picture without the IDs of containers, which differ each time.
fn without_ids(picture: &str) -> String {
    let is_id = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    picture.split(['<', '>']).filter(|part| !is_id(part)).collect()
}
