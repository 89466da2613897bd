//! Lists links, addresses and routes of a network namespace: the one it is started in, or another one by its path.
//!
//! ```sh
//! cargo run -p netlink --example list
//! sudo target/*/debug/examples/list /run/netns/NAME
//! ```
//!
//! It only reads. To enter another namespace takes `CAP_SYS_ADMIN`.

#![allow(clippy::print_stdout, reason = "an example prints what it read")]

use std::error::Error;
use std::path::Path;

use netlink::{Link, Namespace, Socket};

fn main() -> Result<(), Box<dyn Error>> {
    let mut socket = match std::env::args_os().nth(1) {
        Some(path) => Namespace::open(Path::new(&path))?.socket()?,
        None => Socket::open()?,
    };
    let links = socket.links()?;
    for link in &links {
        println!("{}: {}", link.name, words(link, &links));
        for address in socket.addresses(link.index)? {
            println!("    {}", address.network);
        }
        for route in socket.routes(link.index)? {
            match route.gateway {
                Some(gateway) => println!("    route to {} by {gateway}", route.dst),
                None => println!("    route to {}", route.dst),
            }
        }
    }
    Ok(())
}

/// Kind, state, MTU, hardware address, and the bridge that a link is a port of.
fn words(link: &Link, links: &[Link]) -> String {
    let mut words = vec![
        link.kind.clone().unwrap_or_else(|| "device".to_owned()),
        if link.up { "up" } else { "down" }.to_owned(),
        format!("mtu {}", link.mtu),
    ];
    words.extend(link.mac.map(|mac| format!("address {mac}")));
    let master = links.iter().find(|other| Some(other.index) == link.master);
    words.extend(master.map(|master| format!("port of {}", master.name)));
    words.join(", ")
}
