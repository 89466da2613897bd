//! What scripts read: `-q`, `--filter` and `--format` of `cleat ps` and `cleat inspect`; and answers that they give.

use std::io::Write;
use std::process::{Output, Stdio};

use sandbox::{Host, Snapshot, isolated};

use crate::shared::cleat::{NETWORK, NETWORKS, call, cleat, install_networks, ok};
use crate::shared::shell::said;

#[test]
fn scripts_get_ids_fields_and_the_containers_that_they_ask_for() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let run = [
            "run",
            "-d",
            "--network",
            "cleat:cleat-dual-stack",
            "--expose",
            "5432",
            "--name",
            "db",
            "--",
            "sleep",
            "100",
        ];
        let db = ok(&run);
        let web = ok(&[
            "run",
            "-d",
            "--network",
            NETWORK,
            "--link",
            "db:webdb",
            "-p",
            "8080:80",
            "--name",
            "web",
            "--",
            "sleep",
            "100",
        ]);
        let old = ok(&["run", "-d", "--network", "none", "--name", "old", "--", "sh", "-c", "exit 3"]);
        while !ok(&["ps", "-a"]).contains("exited (3)") {}
        let short = |id: &str| format!("{}\n", &id[..12]);
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
            lines.sort();
            lines
        };
        let both = sorted(&(short(&db) + &short(&web)));
        assert_eq!(sorted(&ok(&["ps", "-q"])), both);
        assert_eq!(sorted(&ok(&["ps", "-aq"])).len(), 3);
        for (filters, wanted) in [
            (&["--filter", "name=we"][..], short(&web)),
            (&["-f", &format!("id={}", &db[..20])], short(&db)),
            (&["-f", "network=cleat-dual-stack"], short(&db)),
            (&["-f", "network=cleat", "-f", "name=web"], short(&web)),
            (&["-f", "status=exited"], short(&old)),
            (&["-f", "exited=3"], short(&old)),
            (&["-f", "exited=4"], String::new()),
            (&["-f", "runtime=podman"], String::new()),
        ] {
            assert_eq!(ok(&[&["ps", "-q"], filters].concat()), wanted, "{filters:?}");
        }
        assert!(!ok(&["ps", "-f", "name=web"]).contains("db"));
        let line =
            ok(&["ps", "--format", "{{.Names}}|{{.Networks}}|{{.Ports}}|{{.Addresses}}", "-f", "name=web"]);
        assert!(
            line.starts_with("web|cleat|") && line.contains("8080") && line.ends_with("|10.90.0.3/16\n"),
            "{line}"
        );
        let table = ok(&["ps", "-a", "--format", "table {{.Names}}\\t{{.Status}}", "-f", "name=old"]);
        assert_eq!(table, "NAMES   STATUS\nold     Exited (3)\n");
        let object: serde_json::Value =
            serde_json::from_str(&ok(&["ps", "--format", "json", "-f", "name=db"])).unwrap();
        assert_eq!(object["Networks"], "cleat,cleat-dual-stack");
        assert_eq!(ok(&["inspect", "-f", "{{.HostConfig.Links}}", "web"]), "[/db:/web/webdb]\n");
        let addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        assert_eq!(
            ok(&["inspect", "--format", addresses, "db", "web"]),
            "10.90.0.2 10.91.0.2 \n10.90.0.3 \n"
        );
        assert_eq!(
            ok(&["inspect", "--format={{json .Config.Hostname}}", "web"]),
            format!("\"{}\"\n", &web[..12])
        );
        for (args, words) in [
            (&["inspect", "-f", "{{.State}}", "web"][..], "no field .State"),
            (&["inspect", "-f", "{{if .Name}}", "web"], "is not understood"),
            (&["ps", "--format", "{{.Image}}"], "no field .Image"),
            (&["ps", "-f", "label=a"], "no labels"),
            (&["ps", "-f", "colour=red"], "colour is unknown"),
        ] {
            let (code, text) = call(args);
            assert!(code == Some(1) && text.contains(words), "{args:?}: {text}");
        }
        ok(&["rm", "-f", "web", "db", "old"]);
        before.assert_unchanged();
    });
}

#[test]
fn prune_takes_its_answer_from_a_pipe() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let prune = |answer: &str| -> Output {
            let mut command = cleat(&["network", "prune"]);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        ok(&["network", "create", "spare"]);
        let file = std::path::Path::new(NETWORKS).join("zz-spare.conflist");
        for (answer, code) in [("n\n", 0), ("\n", 0), ("", 1)] {
            let output = prune(answer);
            assert!(output.status.code() == Some(code) && file.exists(), "{answer:?}: {}", said(&output));
        }
        let output = prune("y\n");
        assert!(
            output.status.success() && output.stdout == b"spare\n" && !file.exists(),
            "{}",
            said(&output)
        );
    });
}
