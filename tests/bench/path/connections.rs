//! Through a published port, with no other port published and with five thousand others: how long a new flow takes until
//! its first answer, and how many connections a second are possible.

use std::time::Duration;

use crate::figures::{Bar, bar, median, middle, quantile};
use crate::path::load::Server;
use crate::path::node::{Layout, Node, WEB, address};
use crate::summary::Summary;

/// How many ports are published besides the measured one.
const MANY: usize = 5_000;
/// Flows of each kind in a round.
const FLOWS: usize = 20;
/// The kinds of flows that are timed.
const WAYS: [&str; 3] =
    ["TCP connection from outside", "UDP answer to outside", "TCP connection to itself (hairpin)"];

/// A host and what was measured there.
struct Measured {
    node: Node,
    server: Server,
    times: [Vec<Duration>; WAYS.len()],
    rates: Vec<f64>,
    /// The times of ADD and DEL of one more port.
    calls: [Vec<Duration>; 2],
}

/// Measures all hosts in turn, round by round.
pub(crate) fn measure(rounds: usize, summary: &mut Summary) {
    let mut hosts = Layout::ALL.map(|layout| [0, MANY].map(|many| Measured::new(layout, many)));
    for round in 0..rounds {
        // The order changes, so that none is always measured after the same one.
        let mut turn: Vec<&mut Measured> = hosts.iter_mut().flatten().collect();
        turn.rotate_left(round % (2 * Layout::ALL.len()));
        turn.into_iter().for_each(Measured::round);
    }
    println!("\nthrough a published port, {rounds} rounds of {FLOWS} flows each");
    for (way, name) in WAYS.iter().enumerate() {
        heading(&format!("{name}, ms"));
        for [one, all] in &hosts {
            line(one, [&one.times[way], &all.times[way]].map(|times| (median(times), quantile(times, 95))));
        }
    }
    heading("connections a second (and the fewest)");
    for [one, all] in &hosts {
        let fewest = |rates: &[f64]| rates.iter().copied().fold(f64::INFINITY, f64::min);
        line(one, [&one.rates, &all.rates].map(|rates| (middle(rates), fewest(rates))));
    }
    for (step, verb) in ["ADD", "DEL"].into_iter().enumerate() {
        heading(&format!("{verb} of a port more, ms"));
        let [one, all] = &hosts[0];
        line(one, [&one.calls[step], &all.calls[step]].map(|times| (median(times), quantile(times, 95))));
    }
    judge(&hosts);
    summarise(&hosts, summary);
}

fn heading(what: &str) {
    println!("  {what:38} {:>12} {:>9} {:>12} {:>9} {:>8}", "1 port", "p95", "5,001 ports", "p95", "ratio");
}

fn line(host: &Measured, [one, all]: [(f64, f64); 2]) {
    let digits = if one.0 > 100.0 { 0 } else { 3 };
    let name = host.node.layout.name();
    println!(
        "    {name:36} {:12.digits$} {:9.digits$} {:12.digits$} {:9.digits$} {:7.2}x",
        one.0,
        one.1,
        all.0,
        all.1,
        all.0 / one.0
    );
}

fn judge([cleat, theirs @ ..]: &[[Measured; 2]; 3]) {
    let [one, all] = cleat;
    for (way, name) in WAYS.iter().enumerate() {
        let ratio = median(&all.times[way]) / median(&one.times[way]);
        bar(&format!("{name}: 5,001 ports to one"), ratio, Bar::AtMost(1.2));
    }
    bar(
        "connections a second: 5,001 ports to one",
        middle(&all.rates) / middle(&one.rates),
        Bar::AtLeast(0.85),
    );
    for theirs in theirs {
        let name = theirs[0].node.layout.name();
        let ratio = middle(&one.rates) / middle(&theirs[0].rates);
        bar(&format!("connections a second against {name}, one port"), ratio, Bar::AtLeast(0.95));
    }
    for (step, verb) in ["ADD", "DEL"].into_iter().enumerate() {
        let ratio = median(&all.calls[step]) / median(&one.calls[step]);
        bar(&format!("host-port {verb}: beside 5,001 ports to beside one"), ratio, Bar::AtMost(1.5));
    }
}

fn summarise([cleat, iptables, nftables]: &[[Measured; 2]; 3], summary: &mut Summary) {
    for (of, ports) in ["1 port", "5,001 ports"].into_iter().enumerate() {
        let hosts = [&cleat[of], &iptables[of], &nftables[of]];
        let times = hosts.map(|host| format!("{:.3} ms", median(&host.times[0])));
        summary.texts(&format!("new connection through a published port, {ports}"), times);
        let rates = hosts.map(|host| format!("{:.0}", middle(&host.rates)));
        summary.texts(&format!("connections a second, {ports}"), rates);
    }
}

impl Measured {
    fn new(layout: Layout, many: usize) -> Self {
        let node = Node::new(layout, many);
        let server = Server::new(&node.web, WEB);
        Self { node, server, times: Default::default(), rates: Vec::new(), calls: Default::default() }
    }

    fn round(&mut self) {
        let Node { outside, web, .. } = &self.node;
        let to = address();
        self.times[0].extend(self.server.connects(outside, &to, FLOWS));
        self.times[1].extend(self.server.answers(outside, &to, FLOWS));
        self.times[2].extend(self.server.connects(web, &to, FLOWS));
        self.rates.push(self.server.rate(outside, &to));
        // The reference takes seconds for one more port. The part `crowd` shows its times.
        if self.node.layout == Layout::Cleat {
            for (times, took) in self.calls.iter_mut().zip(self.node.one_more()) {
                times.push(took);
            }
        }
    }
}
