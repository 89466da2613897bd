//! Every key is known and has the right type: compares a configuration with the schema made from the plugin's own types.
//!
//! Keys are matched in any case and `null` counts as absent, as the plugins themselves read them. Of JSON Schema this
//! knows the keywords of the suite's schemas; a test looks for others.

use std::collections::HashSet;

use cni::schema::is_note;
use cni::shorten;
use serde_json::Value;

use super::document::{Content, Node};
use crate::suggestion::nearest;

/// How many faults suggest the key that was meant. Finding it takes time.
const SUGGESTED: usize = 1000;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Bytes from the start of the file.
    pub(super) at: usize,
    /// What is wrong, naming the key.
    pub(super) problem: String,
    /// What to do about it; may be empty.
    pub(super) cure: String,
}

impl Fault {
    pub(super) fn new(at: usize, problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { at, problem: shorten(problem.into()), cure: shorten(cure.into()) }
    }
}

/// Judges a value by a schema; `path` names it in messages, and is empty at the top.
pub(super) fn judge(node: &Node, schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    let kind = match &node.content {
        Content::Object(_) => "object",
        Content::List(_) => "array",
        Content::Scalar(Value::Null) => return,
        Content::Scalar(Value::Bool(_)) => "boolean",
        Content::Scalar(Value::Number(number)) if number.is_f64() => "number",
        Content::Scalar(Value::Number(_)) => "integer",
        Content::Scalar(_) => "string",
    };
    if !is_of_type(schema, kind, node, path, faults) {
        return;
    }
    match &node.content {
        Content::Object(entries) => judge_object(node, entries, schema, path, faults),
        Content::List(items) => {
            if items.is_empty() && schema["minItems"].as_u64().is_some_and(|least| least > 0) {
                faults.push(Fault::new(node.at, format!("{path} is empty"), ""));
            }
            for (index, item) in items.iter().enumerate() {
                judge(item, &schema["items"], &format!("{path}[{index}]"), faults);
            }
        }
        Content::Scalar(value) => judge_scalar(node, value, schema, path, faults),
    }
}

fn judge_scalar(node: &Node, found: &Value, schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    let limit = |key: &str| schema[key].as_f64();
    if let Some(number) = found.as_f64() {
        let (least, most) = (limit("minimum"), limit("maximum"));
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) => format!("use {least} to {most}"),
                (Some(least), None) => format!("use {least} or more"),
                (None, most) => format!("use at most {}", most.unwrap_or_default()),
            };
            faults.push(Fault::new(node.at, format!("{path} {found} is out of range"), range));
        }
    }
    let known: Vec<&Value> = match (&schema["enum"], &schema["oneOf"]) {
        (Value::Array(values), _) => values.iter().collect(),
        (_, Value::Array(values)) => values.iter().map(|value| &value["const"]).collect(),
        _ => return,
    };
    // Go programs write an empty text for one that is absent.
    if !known.contains(&found) && found != "" {
        let shown: Vec<String> = known.iter().map(ToString::to_string).collect();
        let shown = shown.join(" or ");
        faults.push(Fault::new(node.at, format!("{path} {found} is unknown"), format!("use {shown}")));
    }
}

/// Whether the schema allows values of a kind; adds a fault where it does not.
fn is_of_type(schema: &Value, kind: &str, node: &Node, path: &str, faults: &mut Vec<Fault>) -> bool {
    let allowed: Vec<&str> = match &schema["type"] {
        Value::Null => return true,
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        single => single.as_str().into_iter().collect(),
    };
    if allowed.iter().any(|allowed| *allowed == kind || (*allowed == "number" && kind == "integer")) {
        return true;
    }
    let words: Vec<&str> = allowed.into_iter().filter(|kind| *kind != "null").map(in_words).collect();
    let name = if path.is_empty() { "this" } else { path };
    let shown = match &node.content {
        Content::Scalar(value) => value.to_string(),
        _ => in_words(kind).to_owned(),
    };
    faults.push(Fault::new(node.at, format!("{name} must be {}, not {shown}", words.join(" or ")), ""));
    false
}

fn in_words(kind: &str) -> &str {
    match kind {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        _ => "an object",
    }
}

fn judge_object(
    node: &Node,
    entries: &[(String, Node)],
    schema: &Value,
    path: &str,
    faults: &mut Vec<Fault>,
) {
    let properties = schema["properties"].as_object();
    let names: Vec<&str> =
        properties.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
    let mut seen = HashSet::with_capacity(entries.len());
    for (key, value) in entries {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if !seen.insert(key) {
            faults.push(Fault::new(value.at, format!("key {inner:?} is there twice"), "remove one of them"));
        }
        let known = names.iter().find(|name| name.eq_ignore_ascii_case(key));
        if let (Some(name), Some(properties)) = (known, properties) {
            judge(value, &properties[*name], &inner, faults);
            continue;
        }
        match &schema["additionalProperties"] {
            Value::Bool(false) if !is_note(key) => {
                let is_read = faults.len() < SUGGESTED;
                let meant = is_read.then(|| nearest(key, names.iter().copied())).flatten();
                faults.push(unknown(value.at, &inner, meant, &names));
            }
            // Other programs may have keys of their own here, but hardly any that look like a known one.
            Value::Bool(true) if !is_note(key) => {
                if let Some(meant) = nearest(key, names.iter().copied()).filter(|name| is_misspelt(key, name))
                {
                    faults.push(unknown(value.at, &inner, Some(meant), &names));
                }
            }
            values @ Value::Object(_) => judge(value, values, &inner, faults),
            _ => {}
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let absent = node.get(name).is_none_or(|node| matches!(&node.content, Content::Scalar(Value::Null)));
        if absent {
            let place = if path.is_empty() { String::new() } else { format!(" in {path}") };
            faults.push(Fault::new(node.at, format!("key {name:?} is missing{place}"), ""));
        }
    }
}

/// Whether two words differ by a letter or two.
fn is_misspelt(word: &str, name: &str) -> bool {
    strsim::damerau_levenshtein(&word.to_ascii_lowercase(), &name.to_ascii_lowercase()) <= 2
}

fn unknown(at: usize, key: &str, meant: Option<&str>, names: &[&str]) -> Fault {
    let cure = match meant {
        Some(name) => format!("did you mean {name:?}?"),
        None if names.is_empty() => String::new(),
        None => format!("known here: {}", names.join(", ")),
    };
    Fault::new(at, format!("key {key:?} is unknown"), cure)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{document, schemas};
    use super::*;

    fn faults(text: &str, schema: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        judge(&document::parse(text).unwrap(), schema, "", &mut faults);
        let told = |fault: Fault| format!("{}: {} ({})", fault.at, fault.problem, fault.cure);
        faults.into_iter().map(told).collect()
    }

    #[test]
    fn keys_that_are_unknown_or_of_the_wrong_kind_are_told_all_at_once() {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["type"], "properties": {
            "type": {"type": "string"}, "isGateway": {"type": "boolean"}, "mtu": {"type": "integer", "minimum": 0},
            "names": {"oneOf": [{"const": "network"}, {"const": "links"}]},
            "sets": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        }});
        let text = r#"{"isGatway": true, "MTU": "x", "mtu": -1, "names": "all", "sets": [["a"], 7], "Documentation": 1}"#;
        assert_eq!(
            faults(text, &schema),
            [
                r#"1: key "isGatway" is unknown (did you mean "isGateway"?)"#,
                r#"19: MTU must be a whole number, not "x" ()"#,
                "31: mtu -1 is out of range (use 0 or more)",
                r#"42: names "all" is unknown (use "network" or "links")"#,
                "74: sets[1] must be a list, not 7 ()",
                r#"0: key "type" is missing ()"#,
            ]
        );
        assert_eq!(faults(r#"{"TYPE": "x", "sets": null, "names": ""}"#, &schema), [""; 0]);
        assert!(faults(r#"{"type": "x", "type": "y"}"#, &schema)[0].contains("is there twice"));
        assert!(faults(r#"{"type": "x", "zzz": 1}"#, &schema)[0].contains("known here: isGateway, mtu"));
    }

    #[test]
    fn where_others_have_keys_only_misspelt_ones_are_told() {
        let schema = json!({"type": "object", "additionalProperties": true, "properties": {"plugins": {}}});
        assert_eq!(faults(r#"{"nerdctlID": "x", "args": {}}"#, &schema), [""; 0]);
        assert!(faults(r#"{"plugin": []}"#, &schema)[0].contains("did you mean \"plugins\""));
    }

    /// A keyword that is not looked at here would be a check that is not made.
    #[test]
    fn the_suites_schemas_use_nothing_else() {
        const KNOWN: [&str; 18] = [
            "$schema",
            "additionalProperties",
            "const",
            "default",
            "description",
            "enum",
            "items",
            "maximum",
            "minItems",
            "minimum",
            "oneOf",
            "patternProperties",
            "properties",
            "required",
            "type",
            // For docs/configuration.md.
            "x-default",
            "x-reference",
            "x-since",
        ];
        fn walk(schema: &Value, at: &str) {
            for (key, value) in schema.as_object().unwrap() {
                assert!(KNOWN.contains(&key.as_str()), "{at} has {key}");
                match (key.as_str(), value) {
                    ("properties", Value::Object(keys)) => {
                        for (key, schema) in keys {
                            walk(schema, &format!("{at}.{key}"));
                        }
                    }
                    ("items" | "additionalProperties", Value::Object(_)) => walk(value, at),
                    ("oneOf", Value::Array(values)) => {
                        assert!(values.iter().all(|value| value["const"].is_string()), "{at}");
                    }
                    _ => {}
                }
            }
        }
        walk(&cni::schema::network(), "network");
        for plugin in schemas::PLUGINS {
            walk(&plugin.schema(), plugin.name);
        }
    }
}
