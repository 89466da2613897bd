//! Annotations of a pod that begin with `link-env.cni/`, which a runtime passes as a capability argument.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::layer::{Layer, items};
use crate::bounds::{ALIASES, Bound, LINKS, NAMESPACES, PORTS};
use crate::error::Error;
use crate::name;

/// The prefix of the annotations that are for this plugin.
pub(super) const PREFIX: &str = "link-env.cni/";

/// What a pod may say by an annotation `link-env.cni/…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Annotation {
    /// Containers that the pod is linked to, as `source:alias`, separated by commas.
    Links,
    /// Ports that it offers to others, as `5432` or `8000-8010/udp`, separated by commas.
    Expose,
    /// Further names, separated by commas, each one DNS label.
    Aliases,
    /// Its name on the network, one DNS label, instead of the pod's own.
    Name,
    /// Variables that links to it give to their recipients: lines of `KEY=value`, or a JSON object of strings.
    Env,
    /// `true`: links to it give the environment of its containers as well, which cleat-nri reads.
    ShareEnv,
    /// Other namespaces that may link to it, separated by commas; `*`: all.
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

    pub(super) fn all() -> Vec<Self> {
        Self::ALL.iter().map(|(annotation, _)| *annotation).collect()
    }
}

/// What the listed annotations say, and the keys of those that the network does not list. The pod's author writes them, and so
/// may choose single labels only as names.
pub(super) fn read(
    annotations: &BTreeMap<String, Option<String>>,
    listed: &[Annotation],
) -> Result<(Layer, Vec<String>), Error> {
    let mut layer = Layer::default();
    let mut ignored = Vec::new();
    for (key, text) in annotations {
        let (Some(field), Some(text)) = (key.strip_prefix(PREFIX), text) else {
            continue;
        };
        let Some((annotation, _)) = Annotation::ALL.iter().find(|(_, name)| *name == field) else {
            return Err(Error::config(
                format!("unknown pod annotation {key:?}"),
                "link-env.cni/ is followed by name, aliases, expose, links, env, share-env or allow-from",
            ));
        };
        if !listed.contains(annotation) {
            ignored.push(key.clone());
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
            // For cleat-nri, which knows the environment of the pod's containers.
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

/// Reads an environment from a JSON object or from lines of `KEY=value`.
fn environment(text: &str) -> Result<BTreeMap<String, String>, Error> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| {
            Error::config(
                format!("pod annotation link-env.cni/env is no object of strings: {error}"),
                "write {\"KEY\": \"value\"}, or lines of KEY=value",
            )
        });
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(|line| match line.split_once('=') {
        Some((key, value)) => Ok((key.trim_start().to_owned(), value.to_owned())),
        None => Err(Error::config(
            format!("line {line:?} of pod annotation link-env.cni/env has no '='"),
            "write lines of KEY=value, or a JSON object",
        )),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_comes_as_an_object_as_well() {
        assert_eq!(environment(r#"{"A":"x\ny"}"#).unwrap()["A"], "x\ny");
        assert!(environment("{").unwrap_err().to_string().contains("link-env.cni/env"));
        assert!(environment("A").unwrap_err().to_string().contains("\"A\""));
    }
}
