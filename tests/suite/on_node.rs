//! `conf/kubernetes/install-on-node` on a node made of folders: where it puts plugins, and what is there after it was killed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/kubernetes/install-on-node");
/// The configuration in Debian's package of containerd, which names Debian's folder of plugins.
const PACKAGED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/containerd/config-debian-12.toml"));
/// The commands by which the script changes files. It is killed at each call of one of them.
const TOOLS: [&str; 7] = ["cp", "ln", "mkdir", "mv", "rm", "rmdir", "sync"];

struct Node {
    folder: TempDir,
}

impl Node {
    /// A node with the reference's plugins in a folder, and an image with ours.
    fn new(plugins: &str) -> Self {
        let node = Self { folder: tempfile::tempdir().unwrap() };
        node.write(&format!("host{plugins}/bridge"), "the reference's bridge");
        node.write(&format!("host{plugins}/firewall"), "the reference's firewall");
        for name in ["bridge", "host-port", "link-env"] {
            node.write(&format!("image/plugins/{name}"), &format!("our {name}"));
        }
        symlink("host-port", node.path("image/plugins/portmap")).unwrap();
        node.write("image/bin/cleat-nri", "our cleat-nri");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn install(&self, env: &[(&str, &str)]) -> Output {
        let mut command = Command::new("sh");
        command.arg(SCRIPT).env("HOST_ROOT", self.path("host")).env("CLEAT_ROOT", self.path("image"));
        command.envs(env.iter().copied()).output().unwrap()
    }

    fn must_install(&self, env: &[(&str, &str)]) -> String {
        let output = self.install(env);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The entries of a folder of the node: files with their content, links with their target.
    fn files(&self, folder: &str) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(self.path(&format!("host{folder}"))) else {
            return BTreeMap::new();
        };
        let read = |path: &Path| match fs::read_link(path) {
            Ok(target) => target.display().to_string(),
            Err(_) if path.is_dir() => "a folder".to_owned(),
            Err(_) => fs::read_to_string(path).unwrap(),
        };
        let entries = entries.map(|entry| entry.unwrap());
        entries.map(|entry| (entry.file_name().into_string().unwrap(), read(&entry.path()))).collect()
    }
}

fn installed() -> BTreeMap<String, String> {
    [
        (".cleat", ""),
        ("bridge", "our bridge"),
        ("bridge.before-cleat", "the reference's bridge"),
        ("firewall", "the reference's firewall"),
        ("host-port", "our host-port"),
        ("link-env", "our link-env"),
        ("portmap", "host-port"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

#[test]
fn plugins_go_where_the_runtimes_configuration_says() {
    const V3: &str = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n  bin_dirs = [ # first\n    \
                      '/srv/a # b', \"/opt/cni/bin\",\n  ]\n[plugins.'io.containerd.nri.v1.nri']\nplugin_path = '/srv/nri'\n";
    let says = |folder: &str, files: &[(&str, &str)], env: &[(&str, &str)]| {
        let node = Node::new(folder);
        for (file, text) in files {
            node.write(&format!("host{file}"), text);
        }
        let said = node.must_install(env);
        assert_eq!(node.files(folder), installed(), "{said}");
        let nri = if said.contains("/srv/nri") { "/srv/nri" } else { "/opt/nri/plugins" };
        assert_eq!(
            node.files(nri),
            BTreeMap::from([("10-cleat-nri".to_owned(), "our cleat-nri".to_owned())])
        );
        said
    };
    let main = "/etc/containerd/config.toml";
    let said = says("/usr/lib/cni", &[(main, PACKAGED)], &[]);
    assert!(
        said.contains("config.toml has the runtime look for plugins of CNI in /usr/lib/cni first"),
        "{said}"
    );
    says("/srv/a # b", &[(main, V3)], &[]);
    // Imported files take precedence, whether by name or by pattern, and so do those that they import.
    let main_of = |imports: &str| format!("imports = [{imports}]\n{PACKAGED}");
    let (one, two) = ("imports = ['two.toml', '../config.toml']\n", V3);
    for imports in
        ["\"/etc/containerd/conf.d/one.toml\"", "'conf.d/*.toml'", "\n 'nothing/*',\n 'conf.d/one.toml'\n"]
    {
        let main_text = main_of(imports);
        let files = [(main, main_text.as_str()), ("/etc/containerd/conf.d/one.toml", one)];
        let said =
            says("/srv/a # b", &[&files[..], &[("/etc/containerd/conf.d/two.toml", two)]].concat(), &[]);
        assert!(said.contains("/etc/containerd/conf.d/two.toml has the runtime look for"), "{said}");
    }
    // Other spellings in TOML.
    for text in [
        "[plugins]\n[plugins.cri.cni]\nbin_dir='/srv/b'\r\n",
        "[plugins.\"io.containerd.grpc.v1.cri\"]\n  cni.bin_dir = \"/srv/b\" # no [list]\n",
        "plugins.\"io.containerd.cri.v1.runtime\".cni = { conf_dir = '/etc/cni', bin_dirs = ['/srv/b', '/x'] }\n",
    ] {
        says("/srv/b", &[(main, text)], &[]);
    }
    // Files without the key, and keys of the same name in other places.
    let said = says("/opt/cni/bin", &[(main, "# bin_dir = '/x'\n[other.cni]\nbin_dir = '/x'\n")], &[]);
    assert!(said.contains("no configuration of a runtime names a folder"), "{said}");
    let said = says("/opt/cni/bin", &[("/usr/lib/cni/bridge", "Debian's")], &[]);
    assert!(said.contains("there is a bridge in /usr/lib/cni as well"), "{said}");
    // CRI-O's files: the last one takes precedence.
    let crio =
        "[crio.network]\nplugin_dirs = [\n\t\"/srv/c\",\n]\n[crio.nri]\nnri_plugin_dir = \"/srv/nri\"\n";
    let files =
        [("/etc/crio/crio.conf", "[crio.network]\nplugin_dir = '/x'\n"), ("/etc/crio/crio.conf.d/10", crio)];
    says("/srv/c", &files, &[]);
    // The environment takes precedence over all files.
    says("/srv/d", &[(main, V3)], &[("CNI_BIN_DIR", "/srv/d"), ("NRI_PLUGIN_DIR", "/opt/nri/plugins")]);
    says(
        "/srv/b",
        &[("/k3s.toml", "[plugins.cri.cni]\nbin_dir='/srv/b'")],
        &[("CONTAINERD_CONFIG", "/k3s.toml")],
    );
}

#[test]
fn links_on_the_way_lead_from_the_nodes_root() {
    let node = Node::new("/var/opt/cni/bin");
    symlink("/var/opt", node.path("host/opt")).unwrap();
    node.must_install(&[]);
    assert_eq!(node.files("/var/opt/cni/bin"), installed());
    // A second run replaces an older version of ours.
    node.write("host/var/opt/cni/bin/link-env", "an older one of ours");
    node.must_install(&[]);
    assert_eq!(node.files("/var/opt/cni/bin"), installed());
    symlink("circle", node.path("host/circle")).unwrap();
    let output = node.install(&[("CNI_BIN_DIR", "/circle")]);
    assert!(!output.status.success() && !node.path("circle").exists(), "{output:?}");
}

/// It is killed before each command, and in the middle of each copy.
#[test]
fn whatever_it_is_killed_at_programs_are_whole_and_the_next_time_finishes() {
    let tools = tempfile::tempdir().unwrap();
    for tool in TOOLS {
        let real = String::from_utf8(Command::new("which").arg(tool).output().unwrap().stdout).unwrap();
        let wrapper = format!(
            "#!/bin/sh\nread count <\"$COUNT\" || count=0\necho $((count + 1)) >\"$COUNT\"\nif [ $count = \"$KILL_AT\" ]; then\n    \
             [ {tool} != cp ] || for to; do :; done\n    [ {tool} != cp ] || printf half >\"$to\"\n    kill -KILL $PPID\n    exit 1\nfi\n\
             exec {} \"$@\"\n",
            real.trim()
        );
        let file = tools.path().join(tool);
        fs::write(&file, wrapper).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", tools.path().display(), std::env::var("PATH").unwrap());
    let whole = |node: &Node, step: usize| {
        for (name, text) in node.files("/usr/lib/cni") {
            let is_whole = match name.as_str() {
                ".cleat" => text.is_empty(),
                ".cleat-new" => text == "a folder",
                "portmap" => text == "host-port",
                "bridge.before-cleat" | "firewall" => text.starts_with("the reference's"),
                "bridge" => text == "the reference's bridge" || text == "our bridge",
                _ => text == format!("our {name}"),
            };
            assert!(is_whole, "at {step}: {name}: {text}");
        }
        assert!(node.files("/usr/lib/cni").contains_key("bridge"), "at {step}");
        for (name, text) in node.files("/opt/nri/plugins") {
            assert!(
                (name == "10-cleat-nri" && text == "our cleat-nri") || text == "a folder",
                "at {step}: {name}: {text}"
            );
        }
    };
    let mut steps = 0;
    loop {
        let node = Node::new("/usr/lib/cni");
        node.write("host/etc/containerd/config.toml", PACKAGED);
        let (count, at) = (node.path("count"), steps.to_string());
        fs::write(&count, "0\n").unwrap();
        let env = [("PATH", path.as_str()), ("COUNT", count.to_str().unwrap()), ("KILL_AT", &at)];
        let is_done = node.install(&env).status.success();
        whole(&node, steps);
        node.must_install(&[]);
        assert_eq!(node.files("/usr/lib/cni"), installed(), "at {steps}");
        assert_eq!(node.files("/opt/nri/plugins").len(), 1, "at {steps}");
        if is_done {
            break;
        }
        steps += 1;
    }
    assert!(steps > 25, "{steps}");
}
