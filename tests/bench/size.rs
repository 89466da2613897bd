//! The size of the programs, and the peak memory of an ADD of each.

use std::fs;

use sandbox::Namespaced;
use sandbox::tracer::{Job, Outcome};

use crate::netavark::{NETAVARK, Netavark};
use crate::suites::{Container, Host, Suite};
use crate::summary::Summary;

/// Prints both for all suites.
pub(crate) fn measure(summary: &mut Summary) {
    println!("\nsize of the programs in MB, and peak memory of an ADD in MB");
    println!(
        "  {:12} {:>8} {:>8} {:>12} {:>8} {:>12} {:>8}",
        "", "cleat", "", "reference", "", "netavark", ""
    );
    let mut hosts = [Suite::cleat(), Suite::reference()].map(|suite| Host::new(suite, "size"));
    for host in &mut hosts {
        host.fill(1);
    }
    let mut podman = Netavark::new("size");
    podman.fill(1);
    let podman = of(NETAVARK, &by_netavark(&podman));
    for (number, plugin) in ["bridge", "host-local", "portmap", "loopback"].into_iter().enumerate() {
        let [ours, theirs] = hosts.each_ref().map(|host| {
            let program = host.suite.program(plugin).display().to_string();
            of(&program, &by_plugin(host, number + 1, plugin))
        });
        print!("  {plugin:12} {:8.2} {:8.1} {:12.2} {:8.1}", ours.0, ours.1, theirs.0, theirs.1);
        let text = |(size, memory): (f64, f64)| format!("{size:.1} MB, {memory:.1} MB");
        let what = format!("{plugin}: program, peak memory of an ADD");
        if plugin == "bridge" {
            println!(" {:12.2} {:8.1}", podman.0, podman.1);
            summary.texts(&what, [text(ours), text(theirs), text(podman)]);
        } else {
            println!();
            summary.texts(&what, [text(ours), text(theirs)]);
        }
    }
}

/// Megabytes of a program file, and megabytes of memory of its ADD, which must have succeeded.
fn of(program: &str, outcome: &Outcome) -> (f64, f64) {
    assert_eq!(outcome.code, Some(0), "{program}: {}", String::from_utf8_lossy(&outcome.stderr));
    assert!(outcome.peak_memory > 0, "{program}");
    (fs::metadata(program).unwrap().len() as f64 / 1e6, outcome.peak_memory as f64 * 1024.0 / 1e6)
}

fn by_plugin(host: &Host, number: usize, plugin: &str) -> Outcome {
    let netns = Namespaced::new(&format!("size-{plugin}-{}", host.suite.name));
    let container =
        Container { number, netns: &netns, ifname: if plugin == "loopback" { "lo" } else { "eth0" } };
    // portmap needs the result of bridge.
    let result = (plugin == "portmap")
        .then(|| host.enter(|| host.prepare("bridge", "ADD", container, None).run()).result());
    host.enter(|| host.prepare(plugin, "ADD", container, result.as_ref()).job().watch())
}

fn by_netavark(host: &Netavark) -> Outcome {
    let netns = Namespaced::new("size-netavark-c1");
    let (args, env) = host.command("setup", &netns);
    let input = host.options(1, 0).to_string().into_bytes();
    let job = Job { program: NETAVARK.to_owned(), args, env, input };
    host.enter(|| job.watch())
}
