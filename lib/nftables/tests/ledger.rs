//! Entries of one transaction: `is_blocked` is set only for the entry whose operation failed, and a removal of several entries
//! continues after one that is refused.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod inside;

use nftables::ledger::{self, Change, Contended, Entry};
use nftables::{Batch, Element, Error, Family, Field, Set, Socket, Table, Type};

const TABLE: Table = Table::new(Family::Inet, "cleat");
const PORTS: Set = Set::map(TABLE, "ports", &[Type::InetService], &[Type::InetService]);

type Failure = Box<dyn std::error::Error>;

fn port(number: u16, to: u16) -> Element {
    Element::new(&[Field::Port(number)]).data(&[Field::Port(to)])
}

/// Creates an element. Where `is_blocked` says that its key is taken, it removes the old element first.
struct Creation {
    number: u16,
    to: u16,
    is_exact: bool,
    /// The attempt and `is_blocked`, of each call of `prepare`.
    told: Vec<(usize, bool)>,
}

impl Creation {
    fn new(number: u16, to: u16) -> Self {
        Self { number, to, is_exact: false, told: Vec::new() }
    }
}

impl Entry<Failure> for Creation {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<(), Failure> {
        self.told.push((change.attempt, change.is_blocked));
        if self.is_exact {
            change.needs_ruleset_as_read();
        }
        let key = [Field::Port(self.number)];
        if change.is_blocked && socket.get_element(&PORTS, &key)?.is_some() {
            change.batch.del_element(&PORTS, &key);
        }
        change.batch.create_element(&PORTS, &port(self.number, self.to));
        Ok(())
    }
}

/// The removal of an element, or an operation that is refused because its comment is too long.
struct Removal {
    number: u16,
    is_refused: bool,
}

impl Entry<Failure> for Removal {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<(), Failure> {
        let key = [Field::Port(self.number)];
        if self.is_refused {
            change.batch.add_element(&PORTS, &port(self.number, 1).comment("x".repeat(300)));
        } else if socket.get_element(&PORTS, &key)?.is_some() {
            change.batch.del_element(&PORTS, &key);
        }
        Ok(())
    }

    fn refused(&self, error: Error) -> Failure {
        format!("entry {}: {error}", self.number).into()
    }
}

/// A socket on a namespace with the table, its map, and a port that leads elsewhere.
fn prepared() -> Socket {
    let mut socket = Socket::open().unwrap();
    let mut batch = Batch::new();
    batch.add_table(&TABLE).add_set(&PORTS).add_element(&PORTS, &port(2, 9));
    batch.commit(&mut socket).unwrap();
    socket
}

#[test]
fn the_entry_that_something_is_in_the_way_of_is_told_and_no_other() {
    inside::run(|| {
        let mut socket = prepared();
        let (mut first, mut second) = (Creation::new(1, 1), Creation::new(2, 2));
        ledger::put(&mut socket, &mut [&mut first, &mut second]).unwrap();
        assert_eq!(first.told, [(0, false), (1, false)]);
        assert_eq!(second.told, [(0, false), (1, true)]);
        let mut found = socket.elements(&PORTS).unwrap();
        found.sort_by_key(|element| element.key.clone());
        assert_eq!(found, [port(1, 1), port(2, 2)]);
    });
}

#[test]
fn an_entry_that_depends_on_the_ruleset_is_asked_again_once_its_generation_is_known() {
    inside::run(|| {
        let mut socket = prepared();
        let mut entry = Creation { is_exact: true, ..Creation::new(1, 1) };
        ledger::put(&mut socket, &mut [&mut entry]).unwrap();
        assert_eq!(entry.told, [(0, false), (0, false)]);
        assert!(socket.get_element(&PORTS, &[Field::Port(1)]).unwrap().is_some());
    });
}

#[test]
fn what_is_refused_keeps_nothing_else_from_going() {
    inside::run(|| {
        let mut socket = prepared();
        let (mut bad, mut good) =
            (Removal { number: 7, is_refused: true }, Removal { number: 2, is_refused: false });
        let error = ledger::put(&mut socket, &mut [&mut good, &mut bad]).unwrap_err();
        assert!(error.to_string().starts_with("entry 7: add element 7 to inet cleat ports: "), "{error}");
        assert_eq!(socket.elements(&PORTS).unwrap(), [port(2, 9)], "all or nothing");
        let error = ledger::take(&mut socket, &mut [&mut bad, &mut good]).unwrap_err();
        assert!(error.to_string().starts_with("entry 7: "), "{error}");
        assert!(error.downcast_ref::<Contended>().is_none());
        assert_eq!(socket.elements(&PORTS).unwrap(), []);
    });
}
