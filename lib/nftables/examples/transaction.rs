//! Makes a table with a set and two rules, reads it back, and shows that a transaction is carried out as a whole or not at
//! all.
//!
//! ```sh
//! cargo run -p nftables --example transaction
//! ```
//!
//! It needs no root and changes nothing of this host: it works in a network namespace of its own, which ends with it.

#![allow(clippy::print_stdout, reason = "an example prints what it did")]

use std::error::Error;

use nftables::{
    Batch, Chain, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type, key,
    priority,
};
use nix::sched::{CloneFlags, unshare};

const TABLE: Table = Table::new(Family::Inet, "demo");
/// Ports that may be reached.
const OPEN: Set = Set::new(TABLE, "open", &[Type::InetService]);
const INPUT: Chain = Chain::base(TABLE, "input", Kind::Filter, HookPoint::Input, priority::FILTER);

fn main() -> Result<(), Box<dyn Error>> {
    // In a user namespace of its own a process may do all this without root.
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    let mut socket = Socket::open()?;

    let mut batch = Batch::new();
    batch
        .add_table(&TABLE)
        .add_set(&OPEN)
        .add_chain(&INPUT)
        // tcp dport @open accept
        .add_rule(
            &INPUT,
            &[
                Expr::eq(Selector::L4Proto, Field::TCP),
                Expr::in_set(&[Selector::ThDport], OPEN),
                Expr::accept(),
            ],
            Some("open ports"),
        )
        // meta l4proto tcp drop
        .add_rule(&INPUT, &[Expr::eq(Selector::L4Proto, Field::TCP), Expr::drop()], Some("all other ports"))
        .add_element(&OPEN, &port(80).comment("web"));
    batch.commit(&mut socket)?;
    println!("made {TABLE} by one transaction of {} operations", batch.len());
    show(&mut socket)?;

    // 443 is new, 80 is taken: the kernel refuses the second operation, and the first one is not carried out either.
    let refused =
        Batch::new().create_element(&OPEN, &port(443)).create_element(&OPEN, &port(80)).commit(&mut socket);
    if let Err(error) = refused {
        println!("refused: {error} (operation {:?}, is_exists: {})", error.index(), error.is_exists());
    }
    show(&mut socket)?;

    Batch::new().del_table(&TABLE).commit(&mut socket)?;
    println!("{TABLE} is there: {}", socket.has_table(&TABLE)?);
    Ok(())
}

fn port(number: u16) -> Element {
    Element::new(&[Field::Port(number)])
}

/// Prints the set's elements and the chain's rules, as the kernel has them.
fn show(socket: &mut Socket) -> nftables::Result<()> {
    for element in socket.elements(&OPEN)? {
        let port = key::decode(OPEN.key, &element.key)?;
        println!("  port {} ({})", port[0], element.comment.unwrap_or_default());
    }
    for rule in socket.rules(&INPUT)? {
        let verdict = rule.verdict().map(ToString::to_string).unwrap_or_default();
        println!("  rule {}: {verdict} ({})", rule.handle, rule.comment.unwrap_or_default());
    }
    Ok(())
}
