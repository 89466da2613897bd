//! A table that several programs share, none of which knows when the others come and go: the first one makes it, each adds
//! and removes what is its own, and the last one removes the table. Here they are eight threads at the same time.
//!
//! ```sh
//! cargo run -p nftables --example shared
//! ```
//!
//! It needs no root and changes nothing of this host: it works in a network namespace of its own, which ends with it.

#![allow(clippy::print_stdout, reason = "an example prints what it did")]

use std::error::Error;
use std::thread;

use nftables::ledger::{self, Change, Entry, Skeleton};
use nftables::{
    Chain, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type, priority,
};
use nix::sched::{CloneFlags, unshare};

const TABLE: Table = Table::new(Family::Inet, "demo");
/// The port of each member, with its name.
const OPEN: Set = Set::new(TABLE, "open", &[Type::InetService]);
const INPUT: Chain = Chain::base(TABLE, "input", Kind::Filter, HookPoint::Input, priority::FILTER);

type Failure = Box<dyn Error + Send + Sync>;

/// A member of the table: a port that it wants to be open.
struct Member {
    port: u16,
    /// It comes, or it goes.
    comes: bool,
}

impl Entry<Failure> for Member {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    /// Reads what is there, and says what has to be changed. Where another member is faster, the kernel refuses the
    /// transaction, and this is called again.
    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<(), Failure> {
        let key = [Field::Port(self.port)];
        if self.comes {
            skeleton().ensure(socket, &mut change.batch)?;
            let element = Element::new(&key).comment(format!("member {}", self.port));
            change.batch.add_element(&OPEN, &element);
            return Ok(());
        }
        let members = socket.elements(&OPEN)?;
        let own = members.iter().any(|element| element.key == Element::new(&key).key);
        if own && members.len() == 1 {
            change.batch.del_table(&TABLE);
        } else if own {
            change.batch.del_element(&OPEN, &key);
        }
        // Whether it is the last one must still hold when the kernel carries this out.
        change.needs_ruleset_as_read();
        Ok(())
    }

    fn is_exact(&self) -> bool {
        !self.comes
    }
}

/// What all members share.
fn skeleton() -> Skeleton<'static> {
    const ACCEPT_OPEN: [Expr; 3] =
        [Expr::eq(Selector::L4Proto, Field::TCP), Expr::in_set(&[Selector::ThDport], OPEN), Expr::accept()];
    Skeleton { table: TABLE, sets: vec![OPEN], chains: vec![(INPUT, vec![ACCEPT_OPEN.to_vec()])] }
}

fn main() -> Result<(), Failure> {
    // In a user namespace of its own a process may do all this without root.
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    let mut socket = Socket::open()?;
    all(true)?;
    println!(
        "all have come: {} members, {} rule, made by whoever was first",
        socket.elements(&OPEN)?.len(),
        socket.rules(&INPUT)?.len()
    );
    all(false)?;
    println!("all have gone: {TABLE} is there: {}", socket.has_table(&TABLE)?);
    Ok(())
}

/// Eight members come, or go, at the same time.
fn all(comes: bool) -> Result<(), Failure> {
    let change = |port| {
        let mut member = Member { port, comes };
        ledger::put::<Failure>(&mut Socket::open()?, &mut [&mut member])
    };
    thread::scope(|scope| {
        let members: Vec<_> = (8001..=8008).map(|port| scope.spawn(move || change(port))).collect();
        members.into_iter().try_for_each(|member| member.join().map_err(|_| "a member panicked")?)
    })
}
