//! `cleat conf check`, the schemas, the completions for shells and the manual pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sandbox::{Host, isolated};
use serde_json::Value;

use crate::shared::programs::{CLEAT, PLUGINS, folder};

/// Debian's reference plugins.
const REFERENCE: &str = "/usr/lib/cni";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check(args: &[&str], files: &[PathBuf]) -> (Option<i32>, String) {
    let output = Command::new(CLEAT)
        .args(["conf", "check"])
        .args(args)
        .args(files)
        .env("CNI_PATH", format!("{}:{REFERENCE}", folder().display()))
        .output()
        .unwrap();
    (output.status.code(), said(&output))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn files_of(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

/// Each file is checked alone: most of them have the same bridge and subnet, because a host has only one of them.
#[test]
fn the_networks_that_other_programs_install_are_accepted_as_they_stand() {
    isolated(|| {
        let _host = Host::new();
        let mut files = files_of(&root().join("tests/data/conflists"), "conflist");
        for ours in ["containerd", "crio", "podman"] {
            files.extend(files_of(&root().join("conf").join(ours), "conflist"));
        }
        assert!(files.len() >= 14, "{files:?}");
        for file in files {
            let (code, told) = check(&[], std::slice::from_ref(&file));
            assert_eq!((code, told.as_str()), (Some(0), "1 file: nothing is wrong\n"), "{}", file.display());
        }
    });
}

/// A reader copies them.
#[test]
fn the_networks_in_the_documentation_are_accepted() {
    let mut pages = files_of(&root().join("docs"), "md");
    pages.extend(files_of(&root().join("docs/runtimes"), "md"));
    let mut checked = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("\n```json\n").skip(1).filter_map(|rest| rest.split("\n```").next());
        for network in blocks.filter(|block| block.contains("\"plugins\"")) {
            let file = tempfile::Builder::new().suffix(".conflist").tempfile().unwrap();
            fs::write(&file, network).unwrap();
            let (code, told) = check(&["--files-only"], &[file.path().to_path_buf()]);
            assert_eq!((code, told.as_str()), (Some(0), "1 file: nothing is wrong\n"), "{}", page.display());
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked} networks in the documentation");
}

#[test]
fn our_own_networks_are_accepted_together() {
    isolated(|| {
        let _host = Host::new();
        let (code, told) = check(&[], &[root().join("conf")]);
        assert_eq!(code, Some(0), "{told}");
        // Without a file argument, the folder of networks is checked.
        let networks = Path::new("/run/networks");
        fs::create_dir(networks).unwrap();
        let text = fs::read_to_string(root().join("conf/10-cleat.conflist")).unwrap();
        fs::write(networks.join("a.conflist"), text.replace("\"isGateway\"", "\"isGatway\"")).unwrap();
        let mut command = Command::new(CLEAT);
        command.args(["conf", "check"]).env("NETCONFPATH", networks).env("CNI_PATH", folder());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let line =
            "/run/networks/a.conflist:8:7: key \"isGatway\" is unknown (did you mean \"isGateway\"?)\n";
        assert_eq!(said(&output), format!("{line}1 file: 1 mistake\n"));
    });
}

#[test]
fn plugins_and_routes_of_the_host_count_unless_they_are_left_out() {
    isolated(|| {
        let _host = Host::new();
        // 192.0.2.0/24 is the sandbox's uplink.
        let text = r#"{"cniVersion":"1.0.0","name":"n","plugins":[
{"type":"bridge","ipam":{"type":"host-local","subnet":"192.0.2.128/25"}},
{"type":"host-prt"}]}"#;
        let file = PathBuf::from("/run/n.conflist");
        fs::write(&file, text).unwrap();
        let (code, told) = check(&["--json"], std::slice::from_ref(&file));
        assert_eq!(code, Some(1), "{told}");
        let found: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&found[0]["line"], &found[0]["column"]), (&2.into(), &46.into()), "{told}");
        let text = |index: usize, key: &str| found[index][key].as_str().unwrap().to_owned();
        assert!(text(0, "message").contains("route to 192.0.2.0/24 by uplink"), "{told}");
        assert_eq!(text(1, "message"), "no plugin \"host-prt\" in CNI_PATH");
        assert!(text(1, "cure").starts_with("did you mean \"host-port\"?"), "{told}");
        assert_eq!(check(&["--files-only"], &[file]), (Some(0), "1 file: nothing is wrong\n".to_owned()));
    });
}

fn generate(kind: &str, folder: &Path) {
    let output = Command::new(CLEAT).args(["generate", kind]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// The schemas are generated from the plugins' types: those in conf/schema must be up to date.
#[test]
fn the_schemas_are_those_of_the_types() {
    let made = tempfile::tempdir().unwrap();
    generate("schemas", made.path());
    let made = made.path();
    let kept = root().join("conf/schema");
    let names = |folder: &Path| -> Vec<String> {
        let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
        files_of(folder, "json").iter().map(name).collect()
    };
    assert_eq!(names(&kept), names(made), "cargo run -- generate schemas conf/schema");
    for name in names(made) {
        let [made, kept] = [made, &kept].map(|folder| fs::read_to_string(folder.join(&name)).unwrap());
        assert!(made == kept, "{name} differs from the types: cargo run -- generate schemas conf/schema");
    }
    for (plugin, _) in PLUGINS {
        assert!(kept.join(format!("{plugin}.schema.json")).exists(), "{plugin} has no schema");
    }
}

fn run(program: &str, args: &[&str], file: &Path) {
    let output = Command::new(program).args(args).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}: install it"));
    assert!(output.status.success() && output.stderr.is_empty(), "{program}: {}", said(&output));
}

#[test]
fn completions_are_read_by_their_shells_and_complete() {
    let share = tempfile::tempdir().unwrap();
    let folder = share.path();
    generate("share", folder);
    let bash = folder.join("bash-completion/completions/cleat");
    for (shell, file) in [
        ("bash", "bash-completion/completions/cleat"),
        ("zsh", "zsh/site-functions/_cleat"),
        ("fish", "fish/vendor_completions.d/cleat.fish"),
    ] {
        run(shell, &["-n"], &folder.join(file));
    }
    let script = format!(
        ". {}; COMP_WORDS=(cleat conf check --j); COMP_CWORD=3; _cleat cleat --j check; echo ${{COMPREPLY[@]}}
         COMP_WORDS=(cleat ''); COMP_CWORD=1; _cleat cleat '' cleat; echo ${{COMPREPLY[@]}}",
        bash.display()
    );
    let told = said(&Command::new("bash").args(["-c", &script]).output().unwrap());
    let (options, verbs) = told.split_once('\n').unwrap();
    assert_eq!(options, "--json");
    assert!(verbs.contains("run") && verbs.contains("conf") && !verbs.contains("init"), "{verbs}");
}

#[test]
fn every_verb_has_a_manual_page() {
    let share = tempfile::tempdir().unwrap();
    generate("share", share.path());
    let pages = files_of(&share.path().join("man/man1"), "1");
    assert!(pages.iter().any(|page| page.ends_with("cleat-conf-check.1")), "{pages:?}");
    assert!(!pages.iter().any(|page| page.ends_with("cleat-init.1")), "{pages:?}");
    for page in pages {
        run("mandoc", &["-T", "lint", "-W", "error"], &page);
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains(".SH ENVIRONMENT\n.TP\n\\fBCNI_PATH\\fR"), "{}", page.display());
    }
}
