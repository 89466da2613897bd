//! A hundred ADDs in parallel on all cores of the machine, compared with a hundred ADDs in sequence.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use sandbox::Namespaced;

use crate::figures::{Bar, bar};
use crate::suites::{Container, Host, Suite, Times};

const COUNT: usize = 100;

/// Measures both, and prints the time of an ADD in each case.
pub(crate) fn measure() {
    let mut host = Host::new(Suite::cleat(), "crowd");
    host.fill(1);
    let places: Vec<Namespaced> =
        (0..2 * COUNT).map(|number| Namespaced::new(&format!("crowd-{number}"))).collect();
    let attach = |number: usize| {
        let container = Container { number: number + 1, netns: &places[number], ifname: "eth0" };
        host.attach(container, &mut Times::default());
    };
    let start = Instant::now();
    (0..COUNT).for_each(attach);
    let serial = start.elapsed();
    let barrier = Barrier::new(COUNT + 1);
    let at_once: Duration = thread::scope(|scope| {
        for number in COUNT..2 * COUNT {
            let (barrier, attach) = (&barrier, &attach);
            scope.spawn(move || {
                barrier.wait();
                attach(number);
            });
        }
        barrier.wait();
        Instant::now()
    })
    .elapsed();
    let each = |all: Duration| all.as_secs_f64() * 1000.0 / f64::from(u32::try_from(COUNT).unwrap());
    println!(
        "\n{COUNT} ADDs of bridge and portmap, milliseconds each: {:.2} one after the other, {:.2} at once",
        each(serial),
        each(at_once)
    );
    bar("wall time of an ADD among a hundred at once", each(at_once) / each(serial), Bar::AtMost(1.5));
}
