//! Clean-up removes nothing of a running container, whatever files say, and nothing that other programs made. What containers
//! write has a bound, and controls no terminal.

mod logs;

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sandbox::traffic::ask_tcp;
use sandbox::{Call, Host, Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{NETWORK, call, cleat, install_networks, json_of, ok, states};
use crate::shared::containers::{add, inner};
use crate::shared::programs::folder;
use crate::shared::shell::{said, shell};

const RESULTS: &str = "/var/lib/cni/results";
const ELSEWHERE: &str = "/var/lib/elsewhere";

/// Moves the result cache to a folder where cleat does not look.
fn hide_cache() {
    fs::create_dir_all(ELSEWHERE).unwrap();
    fs::rename(RESULTS, format!("{ELSEWHERE}/results")).unwrap();
}

/// A process in a container's namespace.
fn sleeper(netns: &Namespaced) -> Child {
    let enter = format!("--net={}", netns.path().display());
    let mut command = Command::new("nsenter");
    command.args([&enter, "sh", "-c", "echo; exec sleep 600"]).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // It is in the namespace once it has written a byte.
    process.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    process
}

fn end(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// Runs every command that removes attachments whose containers seem gone.
fn collect() -> String {
    [&["gc", "--force"][..], &["gc", NETWORK]].map(ok).concat()
}

#[test]
fn a_container_of_a_runtime_whose_cache_is_elsewhere_keeps_all_that_it_has() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        // Without link-env, so that the container is not in the registry either.
        fs::write(
            "/run/net.d/05-plain.conflist",
            json!({"cniVersion": "1.0.0", "name": "plain", "plugins": [
                {"type": "bridge", "bridge": "plain0", "isDefaultGateway": true, "ipMasq": true, "ingress": "published",
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.91.0.0/16"}]]}},
                {"type": "host-port", "capabilities": {"portMappings": true}}]})
            .to_string(),
        )
        .unwrap();
        let before = Snapshot::take();
        let (web, plain) = (add("web", NETWORK, 8080), add("plain-web", "plain", 8081));
        hide_cache();
        let (during, inside) = (Snapshot::take(), inner(&plain));
        let preview = ok(&["gc"]);
        for words in ["KEPT", "interface eth0", "plain-web", "leads to eth0 in a namespace that lives"] {
            assert!(preview.contains(words), "no {words} in {preview}");
        }
        assert_eq!(json_of(&["gc"]), json!([]));
        let told = collect() + &ok(&["gc", "plain"]);
        assert!(told.contains("kept container plain-web interface eth0 on network plain"), "{told}");
        let (code, text) = call(&["network", "rm", "plain"]);
        assert!(code == Some(1) && text.contains("container plain-web is on it"), "{text}");
        during.assert_unchanged();
        assert_eq!(inner(&plain), inside);
        for port in [8080, 8081] {
            assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:{port}")).is_ok(), "{port}");
        }
        // Each container's own runtime deletes it.
        for (network, netns, id) in [(NETWORK, &web, "web"), ("plain", &plain, "plain-web")] {
            ok(&["del", network, netns.path().to_str().unwrap(), "--id", id, "--cache-dir", ELSEWHERE]);
        }
        drop((web, plain));
        assert_eq!(json_of(&["gc"]), json!([]));
        fs::remove_dir_all(ELSEWHERE).unwrap();
        before.assert_unchanged();
    });
}

#[test]
fn who_runs_on_where_its_path_leads_nowhere_is_alive() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let netns = Namespaced::new("moved");
        ok(&["add", NETWORK, netns.path().to_str().unwrap(), "--id", "moved"]);
        let process = sleeper(&netns);
        drop(netns);
        let during = Snapshot::take();
        assert_eq!(states(&["check"]), ["unknown"]);
        let told = collect();
        assert!(told.contains("nothing is at /run/netns/moved any more, but link veth"), "{told}");
        ok(&["repair", "--force"]);
        during.assert_unchanged();
        end(process);
        assert_eq!(states(&["check"]), ["gone"]);
        collect();
        before.assert_unchanged();
    });
}

/// GC of each plugin of the network, as called by a runtime that has no container there.
fn collect_as_another_runtime() {
    let files = fs::read_dir("/run/net.d").unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let mut lists = files.filter_map(|text| serde_json::from_slice::<Value>(&text).ok());
    let list = lists.find(|list| list["name"] == NETWORK).unwrap();
    for plugin in list["plugins"].as_array().unwrap() {
        let mut conf = plugin.clone();
        conf["cniVersion"] = json!("1.1.0");
        conf["name"] = json!(NETWORK);
        conf["cni.dev/valid-attachments"] = json!([]);
        let program = folder().join(plugin["type"].as_str().unwrap());
        Call::new(program.to_str().unwrap(), "GC", &conf).run().silent();
    }
}

#[test]
fn a_runtime_that_collects_takes_nothing_from_another_ones_container() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let (web, left) = (add("web", NETWORK, 8080), add("left", NETWORK, 8081));
        let process = sleeper(&web);
        let inside = inner(&web);
        collect_as_another_runtime();
        assert_eq!(inner(&web), inside);
        assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).is_ok());
        assert!(fs::exists("/var/lib/cni/networks/cleat/10.90.0.2").unwrap());
        // The other container has no process: GC removes it, as the specification says, since the list does not have it.
        assert!(!fs::exists("/var/lib/cni/networks/cleat/10.90.0.3").unwrap());
        assert_eq!(states(&["check"]), ["broken", "ok"]);
        end(process);
        collect_as_another_runtime();
        drop((web, left));
        collect();
        before.assert_unchanged();
    });
}

/// Damages a file.
type Damage = fn(&Path);

/// Damage that a person or a failing disk may do to a file of the cache.
fn damages() -> [(&'static str, Damage); 6] {
    [
        ("not JSON", |file| fs::write(file, "\u{1b}[2J{").unwrap()),
        ("cut", |file| {
            let text = fs::read(file).unwrap();
            fs::write(file, &text[..text.len() / 2]).unwrap();
        }),
        ("of another kind", |file| fs::write(file, "{}").unwrap()),
        ("a folder", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        ("without end", |file| fs::File::create(file).unwrap().set_len(1 << 40).unwrap()),
        ("in a circle", |file| {
            fs::remove_file(file).unwrap();
            symlink(file, file).unwrap();
        }),
    ]
}

#[test]
fn a_damaged_cache_is_told_and_what_it_may_be_of_is_kept() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        for (damage, break_it) in damages() {
            let (alive, gone, well) =
                (add("a-live", NETWORK, 8080), add("gone", NETWORK, 8081), add("well", NETWORK, 8082));
            for id in ["a-live", "gone"] {
                break_it(&Path::new(RESULTS).join(format!("{NETWORK}-{id}-eth0")));
            }
            drop(gone);
            let during = Snapshot::take();
            let check = ok(&["check"]);
            assert_eq!(states(&["check"]), ["unknown", "unknown", "ok"], "{damage}: {check}");
            assert!(!check.contains('\u{1b}') && check.contains("cleat-a-live-eth0"), "{damage}: {check}");
            ok(&["ps"]);
            let told = collect();
            assert!(told.contains("kept container gone interface eth0 on network cleat"), "{damage}: {told}");
            during.assert_unchanged();
            // DEL uses the configuration on disk instead of the cache. It does not remove a folder in place of the cache's file.
            fs::remove_dir(Path::new(RESULTS).join("cleat-a-live-eth0")).unwrap_or_default();
            for (id, netns) in [("a-live", &alive), ("well", &well)] {
                ok(&["del", NETWORK, netns.path().to_str().unwrap(), "--id", id]);
            }
            drop((alive, well));
            let file = Path::new(RESULTS).join("cleat-gone-eth0");
            fs::remove_file(&file).or_else(|_| fs::remove_dir(&file)).unwrap();
            collect();
            before.assert_unchanged();
        }
    });
}

#[test]
fn gc_that_cannot_read_a_file_of_the_cache_fails_and_the_next_one_removes_the_rest() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        drop(add("gone", NETWORK, 8080));
        let during = Snapshot::take();
        let file = Path::new(RESULTS).join("cleat-gone-eth0");
        let aside = Path::new("/var/lib/aside");
        fs::rename(&file, aside).unwrap();
        // Reading its beginning is an I/O error (proc_pid_mem(5)).
        symlink("/proc/self/mem", &file).unwrap();
        let (code, text) = call(&["gc", "--force"]);
        let is_told = text.contains("Input/output error") && text.contains("what it has was kept; try again");
        assert!(code == Some(1) && is_told, "{text}");
        fs::rename(aside, &file).unwrap();
        during.assert_unchanged();
        collect();
        before.assert_unchanged();
    });
}

#[test]
fn where_the_cache_cannot_be_read_nothing_is_removed_and_the_rest_is_shown() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let (web, gone) = (add("web", NETWORK, 8080), add("gone", NETWORK, 8081));
        drop(gone);
        fs::rename(RESULTS, "/var/lib/kept").unwrap();
        fs::write(RESULTS, "").unwrap();
        let during = Snapshot::take();
        for args in [&["gc", "--force"][..], &["gc", NETWORK], &["repair", "--force"]] {
            let (code, text) = call(args);
            // Commands that lock the cache fail at the lock; those that only read it report that it is incomplete.
            let is_told = text.contains(&format!("{RESULTS}: not a directory"))
                || text.contains("is not known in full");
            assert!(code == Some(1) && is_told, "{args:?}: {text}");
        }
        assert!(ok(&["ps"]).contains("web"));
        during.assert_unchanged();
        fs::remove_file(RESULTS).unwrap();
        fs::rename("/var/lib/kept", RESULTS).unwrap();
        assert_eq!(states(&["check"]), ["gone", "ok"]);
        drop(web);
    });
}

fn conf() -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/16"}]]},
        "cni.dev/valid-attachments": []})
}

/// DEL and GC of an attachment that does not exist.
fn remove_nothing(netns: &Namespaced) {
    let bridge = folder().join("bridge");
    let bridge = bridge.to_str().unwrap();
    Call::new(bridge, "DEL", &conf()).of("web", netns, "eth0").run().silent();
    Call::new(bridge, "GC", &conf()).run().silent();
}

#[test]
fn a_link_of_somebody_else_that_is_called_like_ours_stays() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("web");
        let attachment = |id: &str| cni_token(&["net", id, "eth0"]);
        let name = format!("veth{}", &attachment("web")[..11]);
        shell("ip link add br0 type bridge; ip link add br1 type bridge");
        for foreign in [
            format!("ip link add {name} type bridge"),
            format!("ip link add {name} type veth peer name mine"),
            format!("ip link add {name} master br0 type veth peer name mine"),
            format!("ip link add {name} master br1 type veth peer name mine netns web"),
            format!("ip link add {name} type veth peer name mine netns web"),
            format!(
                "ip link add {name} master br0 type veth peer name mine netns web; ip link set {name} alias mine"
            ),
        ] {
            shell(&foreign);
            let before = Snapshot::take();
            remove_nothing(&netns);
            before.assert_unchanged();
            shell(&format!("ip link del {name}"));
        }
        // A link of our own, whose ADD was killed before it could set the alias, which names the owner.
        shell(&format!("ip link add {name} master br0 type veth peer name eth0 netns web"));
        remove_nothing(&netns);
        let links = said(&Command::new("ip").args(["link"]).output().unwrap());
        assert!(!links.contains(&name), "{links}");
    });
}

fn cni_token(parts: &[&str]) -> String {
    use std::fmt::Write;
    let text: String = parts.iter().flat_map(|part| [*part, "\0"]).collect();
    let sum = Command::new("sh")
        .args(["-c", "printf '%b' \"$1\" | sha256sum", "-", &text.replace('\0', "\\0")])
        .output()
        .unwrap();
    let mut token = String::new();
    let _ = write!(token, "{}", &String::from_utf8(sum.stdout).unwrap()[..16]);
    token
}

#[test]
fn a_table_of_somebody_else_that_is_called_like_ours_stays_and_fails_nobody() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("web");
        let chain = |name: &str| {
            format!("chain {name} {{\n type filter hook forward priority 0; policy accept;\n accept\n}}")
        };
        for table in [
            "inet cleat_bridge",
            "inet cleat_gate",
            "bridge cleat_gate",
            "inet cleat_forward",
            "bridge cleat_bridge",
        ] {
            for content in [
                "chain mine {\n counter\n}".to_owned(),
                format!(
                    "set masq4 {{\n type ifname\n}}\nset owners {{\n type ipv4_addr\n}}\n{}",
                    chain("members")
                ),
                "set ports {\n type ipv4_addr\n}\nmap gated {\n type ipv4_addr : verdict\n}".to_owned(),
                "map owners {\n type ifname : verdict\n elements = { \"eth9\" : accept }\n}".to_owned(),
            ] {
                fs::write("/run/foreign.nft", format!("table {table} {{\n{content}\n}}\n")).unwrap();
                shell("nft -f /run/foreign.nft");
                let before = Snapshot::take();
                remove_nothing(&netns);
                before.assert_unchanged();
                shell("nft flush ruleset");
            }
        }
        // A foreign chain in our table stays after the DEL of the last container.
        fs::write("/run/foreign.nft", "table inet cleat_bridge {\nchain mine {\n counter\n}\n}\n").unwrap();
        shell("nft -f /run/foreign.nft");
        let result = crate::shared::bridge::add(&conf(), "web", &netns);
        let mut del = conf();
        del["prevResult"] = result;
        let bridge = folder().join("bridge");
        Call::new(bridge.to_str().unwrap(), "DEL", &del).of("web", &netns, "eth0").run().silent();
        shell("nft list chain inet cleat_bridge mine | grep -q counter");
    });
}

/// The recipe for a runtime that takes an environment file, copied from docs/names-and-links.md as it is.
fn recipe() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/names-and-links.md");
    let page = fs::read_to_string(page).unwrap();
    let start = page.find("jq -r").expect("the recipe");
    let end = page[start..].find(">web.env").expect("its end");
    page[start..start + end].to_owned() + ">web.env"
}

#[test]
fn no_value_that_a_source_offers_becomes_a_variable_of_its_own() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let hostile = "x\nLD_PRELOAD=/evil.so\nPATH=/evil";
        let line = "while :; do sleep 1; done";
        let run = |args: &[&str]| {
            let mut command = cleat(&["run", "-d", "--network", NETWORK]);
            let output = command.args(args).args(["--", "sh", "-c", line]).output().unwrap();
            assert!(output.status.success(), "{}", said(&output));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let value = format!("V={hostile}");
        let quoted = "Q=it's \"quoted\"\nLD_PRELOAD=y";
        run(&["--name", "db", "-e", &value, "-e", quoted, "-e", "PLAIN=one two", "--expose", "80"]);
        let id = run(&["--name", "web", "--link", "db:db"]);
        let folder = format!("/run/cleat/containers/{id}");
        let recipe = format!("cd /run; folder={folder}\n{}", recipe());
        let output = Command::new("sh").args(["-ec", &recipe]).output().unwrap();
        assert!(output.status.success() && said(&output).contains("left out: DB_ENV_V"), "{}", said(&output));
        let file = fs::read_to_string("/run/web.env").unwrap();
        assert!(file.contains("DB_ENV_PLAIN=one two\n") && file.contains("DB_PORT="), "{file}");
        assert!(file.lines().all(|line| line.starts_with("DB_")), "{file}");
        // As a program reads the file that takes every line for a variable, and as a shell does.
        let env = fs::read_to_string(format!("{folder}/env")).unwrap();
        assert!(env.lines().all(|line| line.starts_with("DB_") || line.starts_with('\'')), "{env}");
        let script = format!(". {folder}/env; printf %s \"$DB_ENV_V|$DB_ENV_Q|$LD_PRELOAD\"");
        let output = Command::new("env").args(["-i", "sh", "-ec", &script]).output().unwrap();
        assert_eq!(said(&output), format!("{hostile}|{}|", &quoted[2..]));
        ok(&["rm", "-f", "-t", "0", "web", "db"]);
    });
}
