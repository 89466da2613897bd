//! Volumes, variables and folders of containers of `cleat run`, and options that only runtimes have.

use std::fs;
use std::path::Path;

use sandbox::{Host, Snapshot, isolated};

use crate::shared::cleat::{NETWORK, call, cleat, install_networks, ok, succeed};
use crate::shared::shell::shell;

fn inside(args: &[&str], line: &str) -> String {
    ok(&[&["run", "--network", NETWORK], args, &["--", "sh", "-c", line]].concat())
}

#[test]
fn two_containers_share_web_pages_as_in_dockers_documents() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        shell(
            "mkdir -p /run/test/html /run/test/place; echo page >/run/test/html/index.html; echo host >/run/test/place/x",
        );
        let root = fs::read_dir("/").unwrap().count();
        // At a place that the host does not have, at one that it has, and below one of its folders.
        for target in
            ["/no/such/place", "/html", "/run/test/place", "/usr/local/no-such/htdocs", "/var/cleat-test"]
        {
            let volume = format!("/run/test/html:{target}");
            let said = inside(
                &["-v", &volume],
                &format!(
                    "cat {target}/index.html; echo new >{target}/new; ls /usr/bin/env /proc/self/status /run/net.d >/dev/null && grep -c localhost /etc/hosts"
                ),
            );
            assert!(said.starts_with("page\n"), "{target}: {said}");
            assert_eq!(fs::read_to_string("/run/test/html/new").unwrap(), "new\n", "{target}");
            fs::remove_file("/run/test/html/new").unwrap();
            let (code, said) = call(&[
                "run",
                "--network",
                NETWORK,
                "-v",
                &format!("{volume}:ro"),
                "--",
                "touch",
                &format!("{target}/new"),
            ]);
            assert!(code == Some(1) && said.contains("ead-only"), "{target}: {said}");
        }
        assert_eq!(fs::read_dir("/").unwrap().count(), root, "something was made on the host");
        assert!(!Path::new("/usr/local/no-such").exists() && !Path::new("/var/cleat-test").exists());
        // A file; a relative path; a folder that is made, as Docker does.
        let said = inside(&["-v", "/run/test/html/index.html:/etc/page:ro"], "cat /etc/page; ls /etc/passwd");
        assert_eq!(said, "page\n/etc/passwd\n");
        let mut relative =
            cleat(&["run", "--network", NETWORK, "-v", "./html:/w", "-w", "/w", "--", "cat", "index.html"]);
        assert_eq!(succeed(relative.current_dir("/run/test")), "page\n");
        inside(&["-v", "/run/test/made/here:/w"], "touch /w/x");
        assert!(Path::new("/run/test/made/here/x").exists());
        // One container has the volumes of another, also those without a name, which go with the container.
        ok(&[
            "run",
            "-d",
            "--network",
            NETWORK,
            "--name",
            "web",
            "-v",
            "/run/test/html:/www",
            "-v",
            "/data",
            "--",
            "sh",
            "-c",
            "echo kept >/data/x; sleep 100",
        ]);
        let said = inside(
            &["--volumes-from", "web"],
            "until test -s /data/x; do :; done; cat /data/x /www/index.html",
        );
        assert_eq!(said, "kept\npage\n");
        assert!(
            call(&["run", "--network", NETWORK, "--volumes-from", "web:ro", "--", "touch", "/data/y"])
                .1
                .contains("ead-only")
        );
        ok(&["restart", "-t", "0", "web"]);
        assert_eq!(ok(&["exec", "web", "cat", "/data/x"]), "kept\n");
        ok(&["rm", "-f", "web"]);
        // One with a name stays.
        inside(&["-v", "pages:/www"], "echo named >/www/x");
        assert_eq!(inside(&["-v", "pages:/other"], "cat /other/x"), "named\n");
        for (args, words) in [
            (["-v", "/run/test/html:x"], "no absolute path"),
            (["-v", "html/x:/x"], "./html/x"),
            (["--volumes-from", "nobody"], "nobody"),
            (["-w", "relative"], "absolute path"),
            (["-w", "/no/such/folder"], "/no/such/folder"),
        ] {
            let (code, said) = call(&[&["run", "--network", NETWORK], &args[..], &["--", "true"]].concat());
            assert!(code == Some(125) && said.contains(words), "{args:?}: {code:?} {said}");
        }
        shell("rm -rf /run/test /var/lib/cleat/volumes; rmdir /var/lib/cleat 2>/dev/null; true");
        before.assert_unchanged();
    });
}

#[test]
fn options_are_dockers_or_lead_to_what_does_their_work() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        shell("mkdir -p /run/test");
        fs::write("/run/test/env", "# a comment\nA=1\n\nB= two 'words'\nCOLOUR\nC=3\n").unwrap();
        let mut file =
            cleat(&["run", "--network", NETWORK, "--env-file", "/run/test/env", "-e", "C=4", "-it", "--"]);
        file.args(["sh", "-c", "echo $A$B $COLOUR $C; pwd"]).env("COLOUR", "green").current_dir("/tmp");
        assert_eq!(succeed(&mut file), "1 two 'words' green 4\n/tmp\n");
        fs::write("/run/test/env", "A=1\nB C=2\n").unwrap();
        let (code, said) = call(&["run", "--network", NETWORK, "--env-file", "/run/test/env", "--", "true"]);
        assert!(code == Some(125) && said.contains("line 2: a name has no spaces"), "{said}");
        for (option, words) in [
            ("--memory=1g", "limits no resources"),
            ("-m", "limits no resources"),
            ("--privileged", "no rights"),
            ("-u", "setpriv"),
            ("--entrypoint", "no images"),
            ("--mount", "-v"),
            ("--restart=always", "systemd"),
            ("--label", "podman"),
            ("--mac-address", "CNI_ARGS"),
        ] {
            let (code, said) = call(&["run", option, "x", "--", "true"]);
            assert!(code == Some(125) && said.contains(words), "{option}: {code:?} {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        let ports =
            ok(&["run", "-d", "--network", NETWORK, "--name", "web", "-p", "0:80", "--", "sleep", "9"]);
        assert!(ports.len() == 65 && ok(&["port", "web"]).starts_with("80/tcp -> 0.0.0.0:"));
        // Of several host ports the first one that neither a container nor a program of the host has.
        let program = std::net::TcpListener::bind("0.0.0.0:8001").unwrap();
        for (name, wanted) in [("one", "8000"), ("two", "8002")] {
            ok(&[
                "run",
                "-d",
                "--network",
                NETWORK,
                "--name",
                name,
                "-p",
                "8000-8002:80",
                "--",
                "sleep",
                "9",
            ]);
            assert!(ok(&["port", name]).starts_with(&format!("80/tcp -> 0.0.0.0:{wanted}\n")), "{name}");
        }
        let (code, said) = call(&["run", "--network", NETWORK, "-p", "8000-8002:80", "--", "true"]);
        assert!(code == Some(125) && said.contains("8000"), "{said}");
        drop(program);
        ok(&["rm", "-f", "web", "one", "two"]);
    });
}
