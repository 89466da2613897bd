//! What one more lease costs in a /16 that is nearly used up, and how long an ADD takes that fails because the range is full.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandbox::{Call, Namespaced};
use serde_json::{Value, json};

use crate::figures::{Bar, bar, median};
use crate::suites::Suite;
use crate::summary::Summary;

const MANY: u32 = 65_000;
/// All addresses of a /16 but the network, gateway and broadcast addresses.
const ALL: u32 = 65_533;

/// The reference reads every lease for each call: it has one round in as many as this.
const SLOWER: usize = 6;

const STEPS: [&str; 3] = ["ADD", "DEL", "DEL of an unknown container, without a result"];

/// Prints the times of all suites' programs with no lease and with 65,000. For cleat it compares the two with a limit.
pub(crate) fn measure(rounds: usize, summary: &mut Summary) {
    let netns = Namespaced::new("leases");
    let suites = Suite::PLUGINS.map(|suite| {
        [0, MANY].map(|count| {
            let network = Network::new(suite, &netns, count);
            if count > 0 && suite == Suite::Cleat {
                println!(
                    "\nthe first look at {count} leases of the reference: {:.1} ms",
                    network.first_look()
                );
            }
            network
        })
    });
    let medians = suites.each_ref().map(|networks| {
        let [_, many] = networks;
        let few = if many.suite == Suite::Cleat { rounds } else { rounds.div_ceil(SLOWER) };
        [networks[0].lives(rounds), many.lives(few)]
    });
    println!("\nhost-local, whole processes, {rounds} rounds, milliseconds (median)");
    let names = Suite::PLUGINS.map(|suite| format!(" {:>15} {MANY:>9}", format!("{}, none", suite.name())));
    println!("  {:46}{}", "", names.concat());
    for (step, name) in STEPS.iter().enumerate() {
        let figures = medians.map(|[none, many]| format!(" {:15.2} {:9.2}", none[step], many[step]));
        println!("  {name:46}{}", figures.concat());
    }
    for step in [0, 1] {
        let what = format!("host-local {}, 65,000 leases there", STEPS[step]);
        let [ours, reference, newest] = medians.map(|[_, many]| Some(many[step]));
        summary.times(&what, [ours, reference, newest, None]);
    }
    let ([ours, ..], [[none, many], ..]) = (&suites, medians);
    ours[1].fill(MANY..ALL);
    let _ = ours[1].refused();
    let refused: Vec<Duration> = (0..rounds).map(|_| ours[1].refused()).collect();
    println!("  {:46} {:>15} {:9.2}", "ADD to a full range, which is refused", "", median(&refused));
    for (step, name) in STEPS.iter().enumerate() {
        bar(&format!("{name}: {MANY} leases to none"), many[step] / none[step], Bar::AtMost(2.0));
    }
    bar("ADD to a full range against ADD to an empty one", median(&refused) / none[0], Bar::AtMost(2.0));
}

/// A network with a folder of leases.
struct Network<'a> {
    suite: Suite,
    netns: &'a Namespaced,
    data: PathBuf,
}

impl<'a> Network<'a> {
    fn new(suite: Suite, netns: &'a Namespaced, count: u32) -> Self {
        let data = Path::new("/var/lib/bench").join(format!("{}-{count}", suite.name()));
        fs::create_dir_all(data.join("net")).unwrap();
        let network = Self { suite, netns, data };
        fs::write(network.data.join("net/lock"), "").unwrap();
        network.fill(0..count);
        network
    }

    /// Writes leases in the reference's format; number 0 is 10.1.0.2.
    fn fill(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let address = Ipv4Addr::from_bits(0x0a01_0002 + number).to_string();
            fs::write(self.data.join("net").join(&address), format!("{number:064x}\r\neth0")).unwrap();
            if number % 1000 == 999 {
                fs::write(self.data.join("net/last_reserved_ip.0"), address).unwrap();
            }
        }
    }

    fn call(&self, command: &str, id: &str, result: Option<&Value>) -> (sandbox::Answer, Duration) {
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bridge",
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/16"}]], "dataDir": self.data}
        });
        if let Some(result) = result {
            conf["prevResult"] = result.clone();
        }
        let call = Call::new(&self.suite.program("host-local").display().to_string(), command, &conf)
            .of(id, self.netns, "eth0");
        let start = Instant::now();
        let answer = call.run();
        (answer, start.elapsed())
    }

    /// The time of the first DEL in milliseconds. It makes the link from attachment to address for each lease.
    fn first_look(&self) -> f64 {
        let (answer, took) = self.call("DEL", "nobody", None);
        answer.silent();
        median(&[took])
    }

    /// The medians of each of [`STEPS`], in milliseconds.
    fn lives(&self, rounds: usize) -> [f64; 3] {
        let mut times: [Vec<Duration>; 3] = Default::default();
        for round in 0..rounds {
            let id = format!("c{round}");
            let (answer, took) = self.call("ADD", &id, None);
            let result = answer.result();
            times[0].push(took);
            for (step, id, result) in [(1, id.as_str(), Some(&result)), (2, "nobody", None)] {
                let (answer, took) = self.call("DEL", id, result);
                answer.silent();
                times[step].push(took);
            }
        }
        times.map(|times| median(&times))
    }

    fn refused(&self) -> Duration {
        let (answer, took) = self.call("ADD", "more", None);
        assert_eq!(answer.error().0, 50);
        took
    }
}
