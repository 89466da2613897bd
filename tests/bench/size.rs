//! The size of the programs, and the peak memory of an ADD of each.

use std::fs;

use sandbox::tracer::{Job, Outcome};

use crate::host::{Container, Host};
use crate::suites::Suite;
use crate::summary::Summary;

/// Prints both for all suites.
pub(crate) fn measure(summary: &mut Summary) {
    println!("\nsize of the programs in MB, and peak memory of an ADD in MB");
    println!("  {:12}{}", "", Suite::ALL.map(|suite| format!(" {:>10} {:>8}", suite.name(), "")).concat());
    let mut hosts = Suite::ALL.map(|suite| Host::new(suite, "size"));
    for host in &mut hosts {
        host.fill(1);
    }
    for (number, plugin) in ["bridge", "host-local", "portmap", "loopback"].into_iter().enumerate() {
        // netavark is compared with bridge: it has no other program.
        let measured = if plugin == "bridge" { &hosts[..] } else { &hosts[..3] };
        print!("  {plugin:12}");
        let mut cells: [String; Suite::ALL.len()] = Default::default();
        for (host, cell) in measured.iter().zip(&mut cells) {
            let (size, memory) = of(host, number + 1, plugin);
            print!(" {size:10.2} {memory:8.1}");
            *cell = format!("{size:.1} MB, {memory:.1} MB");
        }
        println!();
        summary.texts(&format!("{plugin}: program, peak memory of an ADD"), cells);
    }
}

/// Megabytes of a program file, and megabytes of memory of its ADD.
fn of(host: &Host, number: usize, plugin: &str) -> (f64, f64) {
    let program = host.suite.program(plugin);
    let Outcome { code, peak_memory, stderr, .. } = host.enter(|| watch(host, number, plugin));
    assert_eq!(code, Some(0), "{}: {}", program.display(), String::from_utf8_lossy(&stderr));
    assert!(peak_memory > 0, "{}", program.display());
    (fs::metadata(program).unwrap().len() as f64 / 1e6, peak_memory as f64 * 1024.0 / 1e6)
}

fn watch(host: &Host, number: usize, plugin: &str) -> Outcome {
    let netns = host.new_namespace(number);
    let ifname = if plugin == "loopback" { "lo" } else { "eth0" };
    let container = Container { number, netns: &netns, ifname };
    let job: Job = if host.suite == Suite::Netavark {
        host.netavark("setup", container)
    } else {
        // portmap needs the result of bridge.
        let result =
            (plugin == "portmap").then(|| host.prepare("bridge", "ADD", container, None).run().result());
        host.prepare(plugin, "ADD", container, result.as_ref()).job()
    };
    job.watch()
}
