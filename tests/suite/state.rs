//! Only its owner can read what the suite keeps on the host, whatever umask the runtime has: environments hold secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::Value;

use crate::shared::cleat::{NETWORKS, cleat, install_networks, succeed};

const SECRET: &str = "hush-hush";
const PLACES: [&str; 4] = ["/run/cleat", "/run/cdi", "/etc/netns", "/var/lib/cni"];

/// A file, and whether anybody but its owner can get at it by its path.
struct Found {
    path: PathBuf,
    mode: u32,
    is_open: bool,
}

/// All files and folders below a folder.
fn walk(folder: &Path, is_reached: bool, found: &mut Vec<Found>) {
    let mode = fs::metadata(folder).unwrap().permissions().mode() & 0o7777;
    let is_reached = is_reached && mode & 0o011 != 0;
    found.push(Found { path: folder.to_owned(), mode, is_open: false });
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), is_reached, found);
        } else if !kind.is_symlink() {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            found.push(Found { path: entry.path(), mode, is_open: is_reached && mode & 0o044 != 0 });
        }
    }
}

fn with_umask(umask: &str, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
    let known = cleat(args);
    command.arg(known.get_program()).args(known.get_args());
    command.envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// The shipped network, with specifications for CDI.
fn with_cdi() {
    let file = Path::new(NETWORKS).join("10-cleat.conflist");
    let mut list: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let plugins = list["plugins"].as_array_mut().unwrap();
    plugins.iter_mut().find(|plugin| plugin["type"] == "link-env").unwrap()["cdiDir"] = "/run/cdi".into();
    fs::write(file, list.to_string()).unwrap();
}

fn kept_from_others(umask: &str) {
    let _host = Host::new();
    install_networks();
    with_cdi();
    let netns = Namespaced::new("c");
    let before = Snapshot::take();
    let run = |args: &[&str]| succeed(&mut with_umask(umask, args));
    let background = ["run", "-d", "--network", "cleat"];
    let secret = format!("SECRET={SECRET}");
    run(&[&background[..], &["--name", "db", "--expose", "5432", "-e", &secret, "--", "sleep", "60"]]
        .concat());
    run(&[&background[..], &["--name", "web", "--link", "db:db", "--", "sleep", "60"]].concat());
    let path = netns.path().to_str().unwrap();
    succeed(with_umask(umask, &["add", "cleat", path]).env("CNI_ARGS", "LINK_NAME=other;LINK_LINKS=db:db"));
    let inside = ["run", "--network", "cleat", "--", "stat", "-c", "%a", "/etc/hosts"];
    assert_eq!(run(&inside), "644\n", "every user of a container reads its hosts file");

    let mut found = Vec::new();
    for place in PLACES {
        walk(Path::new(place), true, &mut found);
    }
    for file in &found {
        let path = file.path.display();
        assert!(!file.is_open, "others can read {path} ({:o})", file.mode);
        assert_eq!(file.mode & 0o022, 0, "others can write {path} ({:o})", file.mode);
    }
    // The secret is kept for DEL and repair, recipients of links, and CDI. The files of runs and cached results hold it encoded.
    let has_secret = |file: &&Found| fs::read(&file.path).is_ok_and(|text| contains(&text, SECRET));
    let told: Vec<&PathBuf> = found.iter().filter(has_secret).map(|file| &file.path).collect();
    for place in ["/run/cleat/registry", "/run/cleat/containers", "/run/cdi"] {
        assert!(told.iter().any(|path| path.starts_with(place)), "{place}: {told:?}");
    }
    for name in ["web", "db"] {
        run(&["stop", name]);
        run(&["rm", name]);
    }
    run(&["del", "cleat", path]);
    before.assert_unchanged();
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

#[test]
fn state_is_kept_from_others_with_a_umask_that_gives_everything() {
    isolated(|| kept_from_others("000"));
}

#[test]
fn state_is_kept_from_others_with_a_umask_that_gives_nothing() {
    isolated(|| kept_from_others("077"));
}
