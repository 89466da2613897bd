//! JSON Schemas (draft 7, which editors know best) of configurations, made from the very types that read them.
//!
//! A schema is strict where a plugin is tolerant: a plugin ignores keys that it does not know, as the specification
//! asks of it, but who writes a configuration wants to hear of them.
//!
//! Beside what JSON Schema has, the types say of a key, by `#[schemars(extend(…))]`:
//!
//! - `"x-reference" = false`: the reference's plugin of that type has no such key; every other one it has,
//! - `"x-since" = "0.3.0"`: the release that the key came with, if not the first one, 0.2.0,
//! - `"x-default"`: the default in words, where it is no value.
//!
//! docs/configuration.md is made from all of them; tests of the suite hold the first two against the reference's programs, and
//! against the keys of the first release.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::plugin::dispatch::Plugin;
use crate::plugin::request::{Request, Target};
use crate::spec::error::Error;
use crate::spec::version::Version;

/// A plugin whose configuration can be judged without a call of it, and without looking at the host.
pub trait Described: Plugin {
    /// The schema of its own keys, made by [`of`].
    fn schema() -> Value;

    /// Refuses what ADD would refuse of the configuration, and of what it is told about the attachment, alone. Without a
    /// target, the configuration is judged for any.
    ///
    /// # Errors
    /// As ADD; the message names the key.
    fn validate(request: &Request, target: Option<&Target>) -> Result<(), Error>;
}

/// Keys that are notes for people and other programs wherever they stand, and no plugin acts on. Debian's examples have
/// the first, nerdctl writes the second into ranges that its `--ip-range` made.
const NOTES: [&str; 4] = ["Documentation", "ipRange", "description", "comment"];
/// What other such keys begin with.
const NOTE_MARKS: [char; 4] = ['_', '$', '#', '/'];

/// Whether a key is a note, which a closed object may have as well.
#[must_use]
pub fn is_note(key: &str) -> bool {
    NOTES.contains(&key) || key.starts_with(NOTE_MARKS)
}

/// Keys that every plugin's configuration may have (specification, "Plugin configuration objects").
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "a description: Conf and libcni read these keys one by one")]
struct PluginKeys {
    /// Version of the specification. A list's own takes its place.
    #[schemars(default, extend("x-default" = "the network's"))]
    cni_version: String,
    /// Name of the network. A list's own takes its place.
    #[schemars(default, extend("x-default" = "the network's"))]
    name: String,
    /// File name of the plugin's program in `CNI_PATH`.
    r#type: String,
    /// What the runtime may hand to the plugin by `runtimeConfig`, such as `portMappings`, `aliases`, `ips`, `mac`: what is not
    /// `true` here, it does not get.
    #[schemars(default)]
    capabilities: BTreeMap<String, bool>,
    /// Values by capability, which the runtime fills in: see what runtimes hand over.
    #[schemars(default)]
    runtime_config: Map<String, Value>,
    /// Arguments by convention, under `cni`, as of who wrote the configuration for one container.
    #[schemars(default)]
    args: Map<String, Value>,
    /// Result of the plugins before this one, which the runtime fills in.
    #[schemars(default)]
    prev_result: Map<String, Value>,
}

/// Keys of a network (specification, "Network configuration format").
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "a description: NetworkList reads these keys one by one")]
struct NetworkKeys {
    /// Version of the specification in which the plugins are called: 0.1.0 to 1.1.0. Runtimes with libcni before
    /// 1.2.0 (containerd before 2.0, podman 4) take 1.0.0 at most.
    #[schemars(default, extend("default" = Version::V0_1_0.to_string()))]
    cni_version: String,
    /// Versions on offer, of which the newest that the runtime knows is taken.
    #[schemars(default)]
    cni_versions: Vec<String>,
    /// Name of the network, unique on the host: a letter or digit, then letters, digits, `_`, `.` and `-`. Leases and results are
    /// kept by it.
    name: String,
    /// The runtime is asked not to CHECK.
    #[schemars(default, extend("type" = ["boolean", "string"]))]
    disable_check: bool,
    /// The runtime is asked not to GC.
    #[schemars(default, rename = "disableGC", extend("type" = ["boolean", "string"]))]
    disable_gc: bool,
    /// The plugins that make an attachment, in order.
    #[schemars(length(min = 1))]
    plugins: Vec<Map<String, Value>>,
}

/// The schema of a type: complete in itself, each of its objects closed to keys that it does not have.
#[must_use]
pub fn of<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
        // The type's own description is for readers of the code.
        object.remove("description");
    }
    close(&mut schema);
    schema
}

/// The schema of a plugin's whole configuration: the common keys, and its own in front of them.
#[must_use]
pub fn plugin(keys: &Value) -> Value {
    let mut schema = of::<PluginKeys>();
    if let (Some(all), Some(own)) = (schema["properties"].as_object_mut(), keys["properties"].as_object()) {
        for (key, value) in own {
            // What the type says of a common key is about the values within; what the key is, is said above.
            let mut value = value.clone();
            if let (Some(common), Some(value)) = (all.get(key), value.as_object_mut()) {
                value.insert("description".to_owned(), common["description"].clone());
                // Other plugins of the network have values there too.
                value.remove("additionalProperties");
                if let Some(Value::Object(cni)) =
                    value.get_mut("properties").and_then(|keys| keys.get_mut("cni"))
                {
                    cni.remove("additionalProperties");
                }
            }
            all.insert(key.clone(), value);
        }
    }
    schema
}

/// The schema of a network's configuration without its plugins' own. Runtimes keep keys of their own in it.
#[must_use]
pub fn network() -> Value {
    let mut schema = of::<NetworkKeys>();
    schema["additionalProperties"] = json!(true);
    schema
}

/// Closes objects that have keys, joins the lines of descriptions, and drops what says nothing: formats that are Rust's, and
/// defaults of "nothing".
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".to_owned(), Value::Bool(false));
                let notes = format!("^[{}]|^({})$", String::from_iter(NOTE_MARKS), NOTES.join("|"));
                object.insert("patternProperties".to_owned(), json!({ notes: true }));
            }
            object.remove("format");
            if object.get("default").is_some_and(is_nothing) {
                object.remove("default");
            }
            if let Some(Value::String(description)) = object.get_mut("description") {
                *description = description.replace('\n', " ");
            }
            object.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

/// Whether a default is what a key that is not there means anyway.
fn is_nothing(default: &Value) -> bool {
    match default {
        Value::Null => true,
        Value::Bool(_) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty() || keys.values().all(is_nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Default, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", default)]
    struct Keys {
        /// How much.
        much_of_it: u16,
        is_on: bool,
        runtime_config: Runtime,
    }

    #[derive(Default, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Runtime {
        mac: String,
    }

    #[test]
    fn keys_come_from_the_type_that_reads_them() {
        let own = of::<Keys>();
        assert_eq!(own["properties"]["muchOfIt"]["description"], "How much.");
        assert_eq!(own["properties"]["muchOfIt"]["maximum"], 65535);
        assert_eq!(own["properties"]["isOn"], json!({"type": "boolean", "default": false}));
        let whole = plugin(&own);
        assert_eq!(whole["additionalProperties"], false);
        assert_eq!(whole["required"], json!(["type"]));
        assert_eq!(whole["properties"]["capabilities"]["additionalProperties"], json!({"type": "boolean"}));
        let runtime = &whole["properties"]["runtimeConfig"];
        assert_eq!(runtime["properties"]["mac"]["type"], "string");
        assert!(runtime["description"].is_string() && runtime["additionalProperties"].is_null(), "{runtime}");
    }

    #[test]
    fn a_network_is_open_to_keys_of_runtimes() {
        let schema = network();
        assert_eq!(schema["additionalProperties"], true);
        assert_eq!(schema["required"], json!(["name", "plugins"]));
        assert_eq!(schema["properties"]["disableGC"]["type"], json!(["boolean", "string"]));
    }
}
