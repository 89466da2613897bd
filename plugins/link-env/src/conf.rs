//! The configuration: the plugin's keys, and the endpoint as all places together describe it.
//!
//! Text is split here and validated in `endpoint`. DEL and GC read no more than the folders, so that a configuration that has
//! become invalid does not keep them from removing anything.

mod annotation;
mod layer;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cni::PortMapping;
use registry::{DEFAULT_STATE_DIR, Names};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::bounds::{ALIASES, Bound, LINKS, PORTS};
use crate::error::Error;
use crate::name;

use annotation::{Annotation, PREFIX};
pub(crate) use layer::Layer;

/// The configuration of an ADD.
#[derive(Debug)]
pub(crate) struct Conf {
    pub(crate) names: Names,
    pub(crate) wait_for_links: bool,
    /// What all places together say of the endpoint.
    pub(crate) endpoint: Layer,
    /// The pod's annotation chose the name.
    pub(crate) is_name_annotated: bool,
    pub(crate) port_mappings: Vec<PortMapping>,
    /// What the runtime calls the container, in `CNI_ARGS`: the name where no other is given. podman passes a container's name
    /// as that of a pod.
    pub(crate) pod_name: Option<String>,
    /// The pod's namespace, which is its tenant; empty where the caller knows no namespaces.
    pub(crate) namespace: String,
    /// Annotations of the pod that its network does not list.
    pub(crate) ignored: Vec<String>,
    /// Whether an agent may offer the environment of the pod's containers.
    pub(crate) may_share_env: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Keys {
    /// The members whose names the container sees: `network`, all of the network, or `links`, those of its links alone.
    names: Names,
    /// ADD of a container succeeds before those that it links to are there: its links are completed when they come. Otherwise
    /// such a link is refused.
    wait_for_links: bool,
    /// Pods of a Kubernetes namespace know each other, and pods of others only where these allow it. false: the namespace in
    /// `CNI_ARGS` is ignored, such as that of podman 3, which is the container's name.
    namespaces: bool,
    /// Annotations of a pod that count, by the last word of their keys. The others are ignored, which `cleat check` reports.
    #[schemars(extend("x-default" = "all"))]
    annotations: Vec<Annotation>,
    /// Folder of the networks' members and of the containers' files. It should be empty after a reboot, as `/run` is.
    #[schemars(extend("default" = DEFAULT_STATE_DIR))]
    state_dir: String,
    /// Folder of the CDI specs that are written for the containers. Runtimes look into `/var/run/cdi`.
    cdi_dir: String,
    /// Folder of the hosts files that `ip netns exec` binds; none are made where it is empty.
    #[schemars(extend("default" = DEFAULT_NETNS_DIR))]
    netns_dir: String,
    /// Containers may write to their hosts files where CDI or cleat-nri mounts them. One that does so can fill /run.
    writable_hosts: bool,
    /// The container, where nothing stronger describes it (annotations, `CNI_ARGS`, `args.cni`).
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
    /// Further names of the container: a list, or an object of network names with such lists.
    // The conventions have a flat list, podman and CRI-O's library a map from networks to lists.
    #[schemars(extend("type" = ["array", "object"]))]
    aliases: Value,
    /// What is published, which links offer as well; host-port is who publishes it.
    port_mappings: Vec<PortMapping>,
    /// Annotations of the pod, of which those that begin with `link-env.cni/` are read; see below.
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
    /// The container, with the keys of `endpoint`.
    #[serde(rename = "link-env")]
    link_env: Layer,
}

impl Conf {
    /// Reads everything that an ADD needs.
    pub(crate) fn new(conf: &cni::Conf, args: &cni::Args) -> Result<Self, Error> {
        args.expect_pairs()?;
        let keys: Keys = conf.parse()?;
        let (mut strongest, ignored) = annotation::read(&keys.runtime_config.annotations, &keys.annotations)?;
        strongest.check_bounds(|field| format!("pod annotation {PREFIX}{field}"))?;
        let is_name_annotated = !strongest.name.is_empty();
        let aliases = aliases(&keys.runtime_config.aliases, conf.network.as_str())?;
        ALIASES.check("runtimeConfig.aliases", aliases.len())?;
        if !aliases.is_empty() {
            strongest.aliases = aliases;
        }
        // They are read again where they are used; an invalid one is refused before anything is done.
        for key in [STATE_DIR, CDI_DIR, NETNS_DIR] {
            folder(conf, key, None)?;
        }
        let arguments = from_args(args)?;
        arguments.check_bounds(|field| format!("CNI_ARGS LINK_{}", field.to_ascii_uppercase()))?;
        let of_plugin = keys.args.cni.link_env;
        of_plugin.check_bounds(|field| format!("args.cni.link-env.{field}"))?;
        keys.endpoint.check_bounds(|field| format!("endpoint.{field}"))?;
        Ok(Self {
            names: keys.names,
            wait_for_links: keys.wait_for_links,
            endpoint: strongest.or(arguments).or(of_plugin).or(keys.endpoint),
            is_name_annotated,
            port_mappings: keys.runtime_config.port_mappings,
            pod_name: args.get("K8S_POD_NAME").map(str::to_owned),
            namespace: if keys.namespaces { namespace(args)? } else { String::new() },
            ignored,
            may_share_env: keys.annotations.contains(&Annotation::ShareEnv),
        })
    }
}

/// Keys of folders.
pub(crate) const STATE_DIR: &str = "stateDir";
pub(crate) const CDI_DIR: &str = "cdiDir";
pub(crate) const NETNS_DIR: &str = "netnsDir";
/// Where ip(8) looks for the files that it binds.
pub(crate) const DEFAULT_NETNS_DIR: &str = "/etc/netns";

/// The state folder.
pub(crate) fn state_dir(conf: &cni::Conf) -> Result<PathBuf, Error> {
    Ok(folder(conf, STATE_DIR, None)?.unwrap_or_else(|| DEFAULT_STATE_DIR.into()))
}

/// The folder that a key names: `default` where there is no such key, `None` where the path is empty.
pub(crate) fn folder(conf: &cni::Conf, key: &str, default: Option<&str>) -> Result<Option<PathBuf>, Error> {
    match conf.value(&[key]) {
        None => Ok(default.map(PathBuf::from)),
        Some(Value::String(path)) if path.is_empty() => Ok(None),
        Some(Value::String(path)) if path.starts_with('/') => Ok(Some(path.into())),
        Some(path) => Err(Error::config(
            format!("{key} {path} is not an absolute path"),
            "write it from the root, such as /run/cleat",
        )),
    }
}

fn from_args(args: &cni::Args) -> Result<Layer, Error> {
    let items = |key: &str, bound: Bound| {
        layer::items(args.get(key).unwrap_or_default(), bound, || format!("CNI_ARGS {key}"))
    };
    Ok(Layer {
        name: args.get("LINK_NAME").unwrap_or_default().to_owned(),
        expose: items("LINK_EXPOSE", PORTS)?,
        links: items("LINK_LINKS", LINKS)?,
        ..Layer::default()
    })
}

/// The pod's namespace. An invalid one is refused: the pod must not become the node's own.
fn namespace(args: &cni::Args) -> Result<String, Error> {
    let namespace = args.get("K8S_POD_NAMESPACE").unwrap_or_default();
    if !namespace.is_empty() && !name::is_label(namespace) {
        return Err(Error::config(
            format!("K8S_POD_NAMESPACE {namespace:?} is no namespace of Kubernetes"),
            "it is one DNS label; \"namespaces\": false in the network's configuration has it ignored",
        ));
    }
    Ok(namespace.to_owned())
}

fn aliases(value: &Value, network: &str) -> Result<Vec<String>, Error> {
    let list = match value {
        Value::Object(networks) => networks.get(network).unwrap_or(&Value::Null),
        other => other,
    };
    let names = Option::<Vec<String>>::deserialize(list).map_err(|_| {
        Error::config(
            format!("runtimeConfig.aliases is {value}"),
            "it is a list of names, or an object of network names with such lists",
        )
    })?;
    Ok(names.unwrap_or_default())
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
            assert_eq!(conf.endpoint.aliases, ["a", "b"]);
        }
        let other = conf(&json!({"runtimeConfig": {"aliases": {"other": ["c"]}}})).unwrap();
        assert!(other.endpoint.aliases.is_empty());
        assert!(conf(&json!({"runtimeConfig": {"aliases": "a"}})).is_err());
    }

    #[test]
    fn annotations_and_arguments_are_lists_with_commas() {
        let conf = conf(&json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {
            "link-env.cni/name": " db ", "link-env.cni/expose": "80, 81-82/udp,", "other/env": "x",
            "link-env.cni/env": "A=1\n\n B=2=3\n",
        }}}))
        .unwrap();
        let endpoint = &conf.endpoint;
        assert_eq!(endpoint.name, "db");
        assert_eq!(endpoint.expose, ["80", "81-82/udp"]);
        assert_eq!((endpoint.env["A"].as_str(), endpoint.env["B"].as_str()), ("1", "2=3"));
        assert_eq!(endpoint.links, ["db:webdb", "cache"]);
        assert_eq!(conf.pod_name.as_deref(), Some("a"));
    }

    #[test]
    fn folders_are_absolute_or_none() {
        let cdi_dir = |path: &str| {
            let conf = json!({"cniVersion": "1.1.0", "name": "web", "type": "link-env", "cdiDir": path});
            folder(&cni::Conf::from_slice(conf.to_string().as_bytes()).unwrap(), CDI_DIR, None)
        };
        assert_eq!(cdi_dir("").unwrap(), None);
        assert_eq!(cdi_dir("/run/cdi").unwrap(), Some("/run/cdi".into()));
        assert!(cdi_dir("run").unwrap_err().to_string().contains("cdiDir \"run\""));
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
