//! The suite's own plugins as the check and editors know them: schemas made from the plugins' types, and the plugins' own
//! validation.

use bridge::Bridge;
use cni::schema::{self, Described};
use cni::{Request, Target};
use host_local::HostLocal;
use host_port::HostPort;
use link_env::LinkEnv;
use loopback::Loopback;
use macvlan::{Ipvlan, Macvlan};
use serde_json::{Value, json};

/// A plugin of the suite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Its `type`.
    pub(super) name: &'static str,
    schema: fn() -> Value,
    /// Refuses what its ADD would refuse.
    pub(super) validate: fn(&Request, Option<&Target>) -> Result<(), cni::Error>,
    /// Whether it is what `ipam` configures, rather than a plugin of a list.
    pub(super) is_ipam: bool,
}

/// All of them. `portmap` is not here: under that name the reference's plugin is meant as well, which has other keys.
pub(super) const PLUGINS: [Known; 7] = [
    known::<Bridge>(false),
    known::<HostPort>(false),
    known::<LinkEnv>(false),
    known::<Loopback>(false),
    known::<Macvlan>(false),
    known::<Ipvlan>(false),
    known::<HostLocal>(true),
];

const fn known<P: Described>(is_ipam: bool) -> Known {
    Known { name: P::NAME, schema: P::schema, validate: P::validate, is_ipam }
}

impl Known {
    /// The plugin of a `type`, and that of its `ipam`, where they are of the suite.
    pub(super) fn of(kind: &str, ipam: &str) -> impl Iterator<Item = Self> {
        PLUGINS.into_iter().filter(move |plugin| plugin.name == if plugin.is_ipam { ipam } else { kind })
    }

    /// The schema of all that it reads: its own keys, and what runtimes hand over.
    pub(super) fn whole(self) -> Value {
        (self.schema)()
    }

    /// The schema of what is written for it: an object of `plugins`, or that of `ipam`.
    pub(super) fn schema(self) -> Value {
        if self.is_ipam {
            return (self.schema)()["properties"]["ipam"].clone();
        }
        let mut schema = schema::plugin(&(self.schema)());
        if let Some(ipam) = schema["properties"].get_mut("ipam") {
            // Its keys are the IPAM plugin's.
            ipam["additionalProperties"] = json!(true);
        }
        schema
    }
}

/// The schema files for editors, by name: one for each plugin, and that of a whole list, which refers to them.
pub(crate) fn files() -> Vec<(String, Value)> {
    let mut files: Vec<(String, Value)> =
        PLUGINS.iter().map(|plugin| (file(plugin.name), document(*plugin))).collect();
    files.push((file("conflist"), conflist()));
    files
}

fn file(name: &str) -> String {
    format!("{name}.schema.json")
}

fn document(plugin: Known) -> Value {
    let mut schema = plugin.schema();
    let what = if plugin.is_ipam { "\"ipam\" of type" } else { "a plugin of type" };
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!(format!("{what} {}", plugin.name));
    schema["properties"]["type"]["const"] = json!(plugin.name);
    if let Some(ipam) = schema["properties"].get_mut("ipam") {
        ipam["allOf"] = by_type(true).into();
    }
    schema
}

/// `"allOf"` that gives an object the schema of its `type`.
fn by_type(is_ipam: bool) -> Vec<Value> {
    let rule = |plugin: &Known| {
        json!({
            "if": { "required": ["type"], "properties": { "type": { "const": plugin.name } } },
            "then": { "$ref": file(plugin.name) },
        })
    };
    PLUGINS.iter().filter(|plugin| plugin.is_ipam == is_ipam).map(rule).collect()
}

fn conflist() -> Value {
    let mut schema = schema::network();
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!("a CNI network (*.conflist)");
    // What editors offer; any other type is valid as well.
    let types: Vec<&str> =
        PLUGINS.iter().filter(|plugin| !plugin.is_ipam).map(|plugin| plugin.name).collect();
    let mut rules = by_type(false);
    // The schemas of the suite's plugins have their ipam.
    rules.push(json!({
        "if": { "properties": { "type": { "enum": types } } },
        "else": { "properties": { "ipam": { "type": "object", "allOf": by_type(true) } } },
    }));
    schema["properties"]["plugins"]["items"] = json!({
        "type": "object",
        "required": ["type"],
        "properties": { "type": { "type": "string", "examples": types } },
        "allOf": rules,
    });
    schema
}

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

#[cfg(test)]
mod tests {
    use super::*;

    /// A key without words is one that neither an editor nor a reader of the schema can make sense of.
    #[test]
    fn every_key_is_described() {
        fn walk(schema: &Value, at: &str) {
            for (key, value) in schema["properties"].as_object().into_iter().flatten() {
                let at = format!("{at}.{key}");
                // The conventional place of arguments, which has no meaning of its own.
                let is_described = value["description"].is_string() || key == "cni";
                assert!(is_described, "{at} has no doc comment");
                walk(value, &at);
                walk(&value["items"], &at);
                walk(&value["items"]["items"], &at);
            }
        }
        for plugin in PLUGINS {
            walk(&plugin.schema(), plugin.name);
        }
        walk(&schema::network(), "network");
    }
}
