//! Containers' lives as a runtime leads them, on a network that nobody else uses and on one with another container: each call
//! alone, and whole lives back to back.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netlink::{Bridge, Socket};
use sandbox::Namespaced;

use crate::Scale;
use crate::background::{rest, settle, wait_for_namespaces};
use crate::figures::{Bar, bar};
use crate::host::Host;
use crate::level::{ADD, CHECK, DEL, Level, WHOLE_DEL};
use crate::suites::Suite;
use crate::summary::{Figures, Summary};

/// How many lives cleat leads.
const LIVES: usize = 100;
/// How many lives go on at the same time.
pub(crate) const IN_FLIGHT: [usize; 3] = [1, 10, LIVES];

/// Measures both networks.
pub(crate) fn measure(scale: &Scale, summary: &mut Summary) {
    let mut hosts = Suite::ALL.map(|suite| Host::new(suite, "lives"));
    let none = Level::measure(&hosts.each_ref(), 0, scale.rounds);
    none.report();
    let [none_lives] = back_to_back(&hosts, [(1, scale.others[0])]);
    for host in &mut hosts {
        host.fill(1);
    }
    rest();
    let one = Level::measure(&hosts.each_ref(), 1, scale.rounds);
    one.report();
    let one_lives = back_to_back(&hosts, [0, 1, 2].map(|place| (IN_FLIGHT[place], scale.others[place])));
    let namespaces = IN_FLIGHT.map(namespaces);
    println!(
        "  {:52} {}",
        "a namespace alone (1, 10 and 100 in flight)",
        namespaces.map(|each| format!("{each:8.2}")).concat()
    );
    println!("  {:52} {:8.2}", "a bridge alone, made and removed by bare requests", bridges());
    judge(&none, &none_lives, &one, &one_lives);
    summarise(&none, &none_lives, &one, &one_lives, summary);
}

/// Lives that follow each other, of all suites.
struct Lives {
    /// The milliseconds of each life.
    each: Figures,
    /// What went wrong, such as `; reference: 3 of 100 failed`.
    failures: String,
}

/// Measures lives, in turn, and prints them: for each number of those at the same time, with how many the other suites lead.
fn back_to_back<const N: usize>(hosts: &[Host; 4], numbers: [(usize, usize); N]) -> [Lives; N] {
    println!("  whole lives back to back, until the last process has ended, milliseconds each");
    let names = Suite::ALL.map(|suite| format!("{:>12} {:>8}", suite.name(), ""));
    println!("  {:32}{}", "", names.concat());
    let mut first = hosts[0].count + 1;
    numbers.map(|(in_flight, others)| {
        let mut lives = Lives { each: Figures::default(), failures: String::new() };
        print!("  {:32}", format!("{in_flight} in flight, {} there", hosts[0].count));
        for (suite, host) in hosts.iter().enumerate() {
            let count = if host.suite == Suite::Cleat { LIVES } else { others };
            if count == 0 {
                continue;
            }
            let (milliseconds, failed) = lead(host, first, count, in_flight);
            assert!(host.suite != Suite::Cleat || failed.is_empty(), "{failed:?}");
            lives.each[suite] = Some(milliseconds);
            if let Some(error) = failed.first() {
                let failed = failed.len();
                let _ = write!(lives.failures, "; {}: {failed} of {count} failed", host.suite.title());
                println!("\n  {}: {failed} of {count} failed, the first with: {error}", host.suite.name());
            }
            let ratio = format!("{:.1}x", milliseconds / lives.ours());
            print!("{milliseconds:12.2} {:>8}", if host.suite == Suite::Cleat { "" } else { &ratio });
        }
        println!();
        first += LIVES;
        lives
    })
}

impl Lives {
    /// cleat's milliseconds, once they are measured.
    fn ours(&self) -> f64 {
        self.each[0].unwrap()
    }
}

/// Leads lives, and returns the milliseconds of each, and the errors of those that failed.
fn lead(host: &Host, first: usize, count: usize, in_flight: usize) -> (f64, Vec<String>) {
    let failed = Mutex::new(Vec::new());
    // What the kernel has still to clear away of the suite before is not this one's.
    wait_for_namespaces();
    let life = |number: usize| {
        if let Err(error) = host.life(first + number) {
            failed.lock().unwrap().push(error);
        }
    };
    let each = host.enter(|| each(count, in_flight, life));
    (each, failed.into_inner().unwrap())
}

/// The milliseconds that making and removing a namespace takes, with nothing in it.
fn namespaces(in_flight: usize) -> f64 {
    wait_for_namespaces();
    each(LIVES, in_flight, |number| drop(Namespaced::new(&format!("alone-{number}"))))
}

/// The milliseconds that making a bridge and taking it off the kernel's lists takes, one behind the other, by bare requests: a
/// life with none there cannot take less. As in a DEL nobody waits until the kernel has freed the bridge.
fn bridges() -> f64 {
    const PAUSE: Duration = Duration::from_micros(50);
    wait_for_namespaces();
    let host = Namespaced::new("bridges");
    host.enter(|| {
        each(LIVES / 4, 1, |_| {
            let mut socket = Socket::open().unwrap();
            let bridge = socket.add_bridge(&Bridge { name: "br0", ..Bridge::default() }).unwrap().index;
            let mut remover = Socket::open().unwrap();
            thread::spawn(move || remover.del_link(bridge).unwrap());
            while socket.is_listed(bridge).unwrap() {
                thread::sleep(PAUSE);
            }
        })
    })
}

/// Does something again and again, at the same time on as many threads as asked for. Returns the milliseconds for each time,
/// until the last process has ended.
fn each(count: usize, in_flight: usize, act: impl Fn(usize) + Sync) -> f64 {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..in_flight {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    act(number);
                }
            });
        }
    });
    settle();
    start.elapsed().as_secs_f64() * 1000.0 / count as f64
}

fn judge(none: &Level, none_lives: &Lives, one: &Level, one_lives: &[Lives; 3]) {
    println!();
    let [single, ten, all] = one_lives;
    for (what, figures, least) in [
        ("life back to back, one there", single.each, 20.0),
        ("life back to back, none there", none_lives.each, 12.0),
        ("life, 10 in flight, one there", ten.each, 20.0),
        ("first ADD", none.medians(ADD), 13.0),
        ("last DEL", none.medians(DEL), 20.0),
        ("ADD, 1 there", one.medians(ADD), 15.0),
        ("DEL, 1 there", one.medians(DEL), 40.0),
    ] {
        let [ours, reference, ..] = figures.map(Option::unwrap);
        bar(&format!("{what}, against the reference"), reference / ours, Bar::AtLeast(least));
    }
    let netavark = single.each[3].unwrap() / single.ours();
    bar("life back to back, one there, against netavark", netavark, Bar::AtLeast(6.0));
    for (what, level, lives) in [("one there", one, single), ("none there", none, none_lives)] {
        let sum = level.ours(ADD) + level.ours(DEL);
        bar(
            &format!("life against the sum of ADD and DEL alone, {what}"),
            lives.ours() / sum,
            Bar::AtMost(1.4),
        );
        println!("  that sum is {sum:.2} ms");
    }
    bar("life with a hundred in flight against one in flight", all.ours() / single.ours(), Bar::AtMost(1.5));
}

fn summarise(none: &Level, none_lives: &Lives, one: &Level, one_lives: &[Lives; 3], summary: &mut Summary) {
    let [single, ten, all] = one_lives;
    let what = |lives: &Lives, there: &str| format!("whole life, {there}{}", lives.failures);
    summary.headline(&what(single, "back to back, one there"), single.each);
    summary.headline(
        &what(none_lives, "back to back, none there (the reference's bridge stays)"),
        none_lives.each,
    );
    summary.headline(&what(ten, "10 in flight, one there"), ten.each);
    summary.times(&what(all, "100 in flight, one there"), all.each);
    summary.times("first ADD", none.medians(ADD));
    summary.times("last DEL", none.medians(DEL));
    summary.times("last DEL and what it leaves running", none.medians(WHOLE_DEL));
    for verb in [ADD, DEL] {
        summary.headline(&format!("{}, 1 there", verb.0), one.medians(verb));
    }
    for verb in [WHOLE_DEL, CHECK] {
        summary.times(&format!("{}, 1 there", verb.0), one.medians(verb));
    }
}
