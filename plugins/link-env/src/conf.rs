//! The configuration: the plugin's keys, and the endpoint as each of the places describes it that may do so.
//!
//! Text is taken apart here and judged in `endpoint`. DEL and GC read no more than the state folder, so that a
//! configuration that went bad cannot keep them from cleaning up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use registry::{DEFAULT_STATE_DIR, Names};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::bounds::{self, ALIASES, Bound, LINKS, NAMESPACES, PORTS};
use crate::error::Error;
use crate::name;

/// What one place says of the endpoint; what is empty is left to weaker places.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Layer {
    /// Name by which others on the network find the container.
    pub(crate) name: String,
    /// Host name of the container; the first 12 digits of its ID unless set.
    pub(crate) hostname: String,
    /// Domain of the host name.
    pub(crate) domainname: String,
    /// Further names.
    pub(crate) aliases: Vec<String>,
    /// Ports that others are told of: `80`, `53/udp`, `8000-8010/tcp`.
    pub(crate) expose: Vec<String>,
    /// Containers that are made known to this one: `source` or `source:alias`.
    pub(crate) links: Vec<String>,
    /// Variables that are offered to those who link to the container.
    pub(crate) env: BTreeMap<String, String>,
    /// Other Kubernetes namespaces whose pods may link to the container by `name.namespace`; `*`: all.
    pub(crate) allow_from: Vec<String>,
    /// Further lines of the hosts file: `name:address`.
    pub(crate) extra_hosts: Vec<String>,
}

/// One published port as runtimes pass it (CNI conventions, `portMappings`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortMapping {
    /// Port of the host.
    #[serde(default)]
    pub(crate) host_port: u16,
    /// Port of the container.
    pub(crate) container_port: u16,
    /// Protocol; tcp unless set.
    #[serde(default)]
    pub(crate) protocol: String,
    /// Address of the host.
    #[serde(rename = "hostIP", default)]
    pub(crate) host_ip: String,
}

/// The configuration of an ADD.
#[derive(Debug)]
pub(crate) struct Conf {
    pub(crate) names: Names,
    pub(crate) wait_for_links: bool,
    /// What is said of the endpoint, strongest first.
    pub(crate) layers: [Layer; 4],
    pub(crate) port_mappings: Vec<PortMapping>,
    /// The weakest names: those that nobody gave to this plugin, but a runtime to its container.
    pub(crate) pod: Pod,
    /// Annotations of the pod that its network does not heed.
    pub(crate) ignored: Vec<Annotation>,
    /// Whether an agent may offer the environment of the pod's containers.
    pub(crate) may_share_env: bool,
}

/// The pod as a runtime names it in `CNI_ARGS`; podman puts a container's name there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    pub(crate) name: Option<String>,
    /// Its tenant; empty where the caller knows no namespaces.
    pub(crate) namespace: String,
}

/// What a pod may say by an annotation `link-env.cni/…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Annotation {
    /// Containers that are made known to it: `source:alias`, with commas between.
    Links,
    /// Ports that others are told of.
    Expose,
    /// Further names.
    Aliases,
    /// Its name.
    Name,
    /// Variables that are offered to those who link to it.
    Env,
    /// `true`: its containers' environment is offered as well, by cleat-nri.
    ShareEnv,
    /// Other namespaces that may link to it.
    AllowFrom,
}

impl Annotation {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Links, "links"),
        (Self::Expose, "expose"),
        (Self::Aliases, "aliases"),
        (Self::Name, "name"),
        (Self::Env, "env"),
        (Self::ShareEnv, "share-env"),
        (Self::AllowFrom, "allow-from"),
    ];

    fn read(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(annotation, _)| *annotation)
    }

    fn all() -> Vec<Self> {
        Self::ALL.iter().map(|(annotation, _)| *annotation).collect()
    }

    /// What stands behind `link-env.cni/`.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Keys {
    /// Whose names the container sees: those of the whole network, or of its links alone.
    names: Names,
    /// ADD of a container succeeds before those that it links to are there.
    wait_for_links: bool,
    /// Pods of each Kubernetes namespace know each other alone, and others where these allow it. false: the namespace that
    /// the runtime tells is not looked at, as that of podman 3, where it is the container's name.
    namespaces: bool,
    /// Which annotations of a pod count; all unless set. The others are ignored, and `cleat check` tells of them.
    annotations: Vec<Annotation>,
    /// Folder of the networks' members and of the containers' files; /run/cleat unless set.
    state_dir: String,
    /// Folder of the CDI specs that are written for the containers; none are unless set. Runtimes look into /var/run/cdi.
    cdi_dir: String,
    /// Folder of the hosts files that `ip netns exec` binds; /etc/netns unless set, none where it is empty.
    netns_dir: String,
    /// Containers may write to their hosts files where CDI or cleat-nri mounts them. One that does so can fill /run.
    writable_hosts: bool,
    /// The container, where nothing stronger describes it.
    endpoint: Layer,
    runtime_config: RuntimeConfig,
    args: CniArgs,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            names: Names::Network,
            wait_for_links: false,
            namespaces: true,
            annotations: Annotation::all(),
            state_dir: String::new(),
            cdi_dir: String::new(),
            netns_dir: String::new(),
            writable_hosts: false,
            endpoint: Layer::default(),
            runtime_config: RuntimeConfig::default(),
            args: CniArgs::default(),
        }
    }
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    /// Further names.
    // The conventions have a flat list, podman and CRI-O's library a map from networks to lists.
    aliases: Value,
    /// What is published.
    port_mappings: Vec<PortMapping>,
    /// Annotations of the pod, of which those that begin with `link-env.cni/` are read.
    #[serde(rename = "io.kubernetes.cri.pod-annotations")]
    annotations: BTreeMap<String, Option<String>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct CniArgs {
    cni: CniArgsOfPlugins,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct CniArgsOfPlugins {
    /// The container, as arguments describe it.
    #[serde(rename = "link-env")]
    link_env: Layer,
}

impl Conf {
    /// Reads everything that an ADD needs.
    pub(crate) fn new(conf: &cni::Conf, args: &cni::Args) -> Result<Self, Error> {
        args.expect_pairs()?;
        let keys: Keys = conf.parse()?;
        let (mut strongest, ignored) = from_annotations(&keys.runtime_config.annotations, &keys.annotations)?;
        bounds::check(&strongest, |field| format!("pod annotation {PREFIX}{field}"))?;
        let aliases = aliases(&keys.runtime_config.aliases, conf.network.as_str())?;
        ALIASES.check("runtimeConfig.aliases", aliases.len())?;
        if !aliases.is_empty() {
            strongest.aliases = aliases;
        }
        // Where they are used each is read alone; what is wrong with them is told before anything is done.
        folder("stateDir", keys.state_dir)?;
        folder("cdiDir", keys.cdi_dir)?;
        folder("netnsDir", keys.netns_dir)?;
        let arguments = from_args(args)?;
        bounds::check(&arguments, |field| format!("CNI_ARGS LINK_{}", field.to_ascii_uppercase()))?;
        bounds::check(&keys.args.cni.link_env, |field| format!("args.cni.link-env.{field}"))?;
        bounds::check(&keys.endpoint, |field| format!("endpoint.{field}"))?;
        Ok(Self {
            names: keys.names,
            wait_for_links: keys.wait_for_links,
            layers: [strongest, arguments, keys.args.cni.link_env, keys.endpoint],
            port_mappings: keys.runtime_config.port_mappings,
            pod: Pod {
                name: args.get("K8S_POD_NAME").map(str::to_owned),
                namespace: if keys.namespaces { namespace(args)? } else { String::new() },
            },
            ignored,
            may_share_env: keys.annotations.contains(&Annotation::ShareEnv),
        })
    }
}

/// The state folder alone.
pub(crate) fn state_dir(conf: &cni::Conf) -> Result<PathBuf, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Key {
        #[serde(default)]
        state_dir: String,
    }
    let Key { state_dir } = conf.parse()?;
    Ok(folder("stateDir", state_dir)?.unwrap_or_else(|| DEFAULT_STATE_DIR.into()))
}

/// A folder that a key names; `None` where it is empty.
pub(crate) fn folder(key: &str, path: String) -> Result<Option<PathBuf>, Error> {
    if path.is_empty() || path.starts_with('/') {
        return Ok((!path.is_empty()).then(|| path.into()));
    }
    Err(Error::Config {
        problem: format!("{key} {path:?} is not an absolute path"),
        cure: "write it from the root, such as /run/cleat",
    })
}

fn from_args(args: &cni::Args) -> Result<Layer, Error> {
    let items = |key: &str, bound: Bound| {
        items(args.get(key).unwrap_or_default(), bound, || format!("CNI_ARGS {key}"))
    };
    Ok(Layer {
        name: args.get("LINK_NAME").unwrap_or_default().to_owned(),
        expose: items("LINK_EXPOSE", PORTS)?,
        links: items("LINK_LINKS", LINKS)?,
        ..Layer::default()
    })
}

/// How annotations begin that are for this plugin.
const PREFIX: &str = "link-env.cni/";

/// The pod's namespace, which is its tenant: what cannot be one is not taken for root's.
fn namespace(args: &cni::Args) -> Result<String, Error> {
    let namespace = args.get("K8S_POD_NAMESPACE").unwrap_or_default();
    if !namespace.is_empty() && !name::is_label(namespace) {
        return Err(Error::Config {
            problem: format!("K8S_POD_NAMESPACE {namespace:?} is no namespace of Kubernetes"),
            cure: "it is one DNS label; \"namespaces\": false in the network's configuration has it ignored",
        });
    }
    Ok(namespace.to_owned())
}

/// What the annotations that count say, and those that do not. The pod's author chooses them: names are single labels.
fn from_annotations(
    annotations: &BTreeMap<String, Option<String>>,
    counting: &[Annotation],
) -> Result<(Layer, Vec<Annotation>), Error> {
    let mut layer = Layer::default();
    let mut ignored = Vec::new();
    for (key, text) in annotations {
        let (Some(field), Some(text)) = (key.strip_prefix(PREFIX), text) else {
            continue;
        };
        let Some(annotation) = Annotation::read(field) else {
            return Err(Error::Config {
                problem: format!("unknown pod annotation {key:?}"),
                cure: "link-env.cni/ is followed by name, aliases, expose, links, env, share-env or allow-from",
            });
        };
        if !counting.contains(&annotation) {
            ignored.push(annotation);
            continue;
        }
        let items = |bound: Bound| items(text, bound, || format!("pod annotation {key}"));
        match annotation {
            Annotation::Name => text.trim().clone_into(&mut layer.name),
            Annotation::Aliases => layer.aliases = items(ALIASES)?,
            Annotation::Expose => layer.expose = items(PORTS)?,
            Annotation::Links => layer.links = items(LINKS)?,
            Annotation::Env => layer.env = environment(text)?,
            Annotation::AllowFrom => layer.allow_from = items(NAMESPACES)?,
            // For the NRI plugin, which knows the environment of the pod's containers.
            Annotation::ShareEnv => {}
        }
    }
    let names = layer.aliases.iter().chain(Some(&layer.name).filter(|name| !name.is_empty()));
    for name in names {
        name::check_label("name of a pod annotation", name)?;
    }
    for (_, alias) in layer.links.iter().filter_map(|link| link.rsplit_once([':', '/'])) {
        name::check_label("link alias of a pod annotation", alias)?;
    }
    Ok((layer, ignored))
}

/// The items of comma-separated text, counted before they are made.
fn items(text: &str, bound: Bound, whose: impl Fn() -> String) -> Result<Vec<String>, Error> {
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    bound.check(&whose(), items().count())?;
    Ok(items().map(str::to_owned).collect())
}

/// Reads an environment from a JSON object or from lines of `KEY=value`.
fn environment(text: &str) -> Result<BTreeMap<String, String>, Error> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| Error::Config {
            problem: format!("pod annotation link-env.cni/env is no object of strings: {error}"),
            cure: "write {\"KEY\": \"value\"}, or lines of KEY=value",
        });
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        let (key, value) = line.split_once('=').ok_or_else(|| Error::Config {
            problem: format!("line {line:?} of pod annotation link-env.cni/env has no '='"),
            cure: "write lines of KEY=value, or a JSON object",
        })?;
        Ok((key.trim_start().to_owned(), value.to_owned()))
    });
    lines.collect()
}

fn aliases(value: &Value, network: &str) -> Result<Vec<String>, Error> {
    let list = match value {
        Value::Object(networks) => networks.get(network).unwrap_or(&Value::Null),
        other => other,
    };
    match list {
        Value::Null => Some(Vec::new()),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
    .ok_or_else(|| Error::Config {
        problem: format!("runtimeConfig.aliases is {value}"),
        cure: "it is a list of names, or an object of network names with such lists",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conf(value: &Value) -> Result<Conf, Error> {
        let mut whole = json!({"cniVersion": "1.1.0", "name": "web", "type": "link-env"});
        whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        let args = cni::Args::parse("IgnoreUnknown=1;LINK_LINKS=db:webdb, cache;K8S_POD_NAME=a").unwrap();
        Conf::new(&cni::Conf::from_slice(whole.to_string().as_bytes())?, &args)
    }

    #[test]
    fn aliases_come_as_a_list_or_as_a_map_of_networks() {
        for aliases in [json!(["a", "b"]), json!({"web": ["a", "b"], "other": ["c"]})] {
            let conf = conf(&json!({"runtimeConfig": {"aliases": aliases}})).unwrap();
            assert_eq!(conf.layers[0].aliases, ["a", "b"]);
        }
        let other = conf(&json!({"runtimeConfig": {"aliases": {"other": ["c"]}}})).unwrap();
        assert!(other.layers[0].aliases.is_empty());
        assert!(conf(&json!({"runtimeConfig": {"aliases": "a"}})).is_err());
    }

    #[test]
    fn annotations_and_arguments_are_lists_with_commas() {
        let conf = conf(&json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {
            "link-env.cni/name": " db ", "link-env.cni/expose": "80, 81-82/udp,", "other/env": "x",
            "link-env.cni/env": "A=1\n\n B=2=3\n",
        }}}))
        .unwrap();
        let [annotations, args, ..] = &conf.layers;
        assert_eq!(annotations.name, "db");
        assert_eq!(annotations.expose, ["80", "81-82/udp"]);
        assert_eq!((annotations.env["A"].as_str(), annotations.env["B"].as_str()), ("1", "2=3"));
        assert_eq!(args.links, ["db:webdb", "cache"]);
        assert_eq!(conf.pod.name.as_deref(), Some("a"));
    }

    #[test]
    fn an_environment_comes_as_an_object_as_well() {
        assert_eq!(environment(r#"{"A":"x\ny"}"#).unwrap()["A"], "x\ny");
        assert!(environment("{").unwrap_err().to_string().contains("link-env.cni/env"));
        assert!(environment("A").unwrap_err().to_string().contains("\"A\""));
    }

    #[test]
    fn folders_are_absolute_or_none() {
        assert_eq!(folder("cdiDir", String::new()).unwrap(), None);
        assert_eq!(folder("cdiDir", "/run/cdi".into()).unwrap(), Some("/run/cdi".into()));
        assert!(folder("cdiDir", "run".into()).unwrap_err().to_string().contains("cdiDir \"run\""));
    }

    #[test]
    fn mistakes_are_named_with_their_path() {
        for (value, words) in [
            (json!({"endpoint": {"link": ["db"]}}), "endpoint"),
            (json!({"args": {"cni": {"link-env": {"name": 1}}}}), "args.cni.link-env.name"),
            (json!({"names": "all"}), "names"),
            (json!({"runtimeConfig": {"PortMappings": [{"ContainerPort": 70000}]}}), "containerPort"),
            (
                json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"link-env.cni/link": "x"}}}),
                "link-env.cni/link",
            ),
        ] {
            let error = conf(&value).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
