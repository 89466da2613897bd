//! docs/configuration.md: what people write around the tables is in `configuration.md.in` beside this file, the tables are made from
//! the schemas.

use std::fmt::Write;

use cni::schema;
use serde_json::Value;

use super::schemas::{Known, PLUGINS};

const TEXT: &str = include_str!("configuration.md.in");
/// The network that the page shows as a complete one.
const NETWORK: &str = include_str!("../../../conf/10-cleat.conflist");
/// The plugin that the reference has nothing like.
const OWN: &str = "link-env";

/// The page.
pub(crate) fn page() -> String {
    let mut page = String::new();
    for line in TEXT.lines() {
        if let Some(name) = insertion(line) {
            page += &inserted(name).unwrap_or_default();
        } else {
            page += line;
            page.push('\n');
        }
    }
    page
}

/// The name of what a line stands for, if it stands for something: `<!-- bridge -->`.
fn insertion(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")
}

fn inserted(name: &str) -> Option<String> {
    match name {
        "made" => Some(
            "<!-- Made by `cargo run -- generate configuration docs/configuration.md`: change the comments of the keys, or \
             cli/src/conf/configuration.md.in, and run that. -->\n"
                .to_owned(),
        ),
        "network" => Some(format!("```json\n{NETWORK}```\n")),
        "keys of a network" => Some(table(&of_specification(&schema::network()), false)),
        "keys of every plugin" => Some(table(&of_specification(&schema::plugin(&Value::Null)), false)),
        "runtimeConfig" => Some(table(&handed_over("/properties/runtimeConfig"), true)),
        "args.cni" => Some(table(&handed_over("/properties/args/properties/cni"), true)),
        "annotations" => Some(annotations()),
        plugin => {
            let plugin = PLUGINS.into_iter().find(|known| known.name == plugin)?;
            Some(table(&own(plugin), plugin.name != OWN))
        }
    }
}

/// A line of a table.
struct Row {
    key: String,
    /// The plugin whose key it is, where a table has those of several.
    plugin: Option<&'static str>,
    schema: Value,
    is_required: bool,
    is_of_reference: bool,
}

/// The keys of the specification itself.
fn of_specification(schema: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    walk(schema, "", true, &mut |key, schema, is_required| {
        rows.push(Row { key, plugin: None, schema: schema.clone(), is_required, is_of_reference: true });
    });
    rows
}

/// The keys that a plugin adds to those of every plugin.
fn own(plugin: Known) -> Vec<Row> {
    let common = schema::plugin(&Value::Null);
    let mut rows = Vec::new();
    walk(&plugin.schema(), "", true, &mut |key, schema, is_required| {
        let first = key.split(['.', '[']).next().unwrap_or_default();
        if common["properties"].get(first).is_none() {
            rows.push(row(key, None, schema, is_required, plugin));
        }
    });
    rows
}

/// What plugins take from one place of their whole configuration. Of an object there only the name: its keys are those of a
/// table elsewhere.
fn handed_over(place: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for plugin in PLUGINS {
        let whole = plugin.whole();
        if let Some(keys) = whole.pointer(place) {
            walk(keys, "", false, &mut |key, schema, is_required| {
                rows.push(row(key, Some(plugin.name), schema, is_required, plugin));
            });
        }
    }
    rows
}

/// The annotations of a pod that link-env reads: the values of its key `annotations`.
fn annotations() -> String {
    let schema = PLUGINS.into_iter().find(|plugin| plugin.name == OWN).map(Known::whole).unwrap_or_default();
    let known = schema["properties"]["annotations"]["items"]["oneOf"].as_array().cloned().unwrap_or_default();
    let mut text =
        line(&["Annotation", "Meaning"].map(str::to_owned)) + &line(&["---", "---"].map(str::to_owned));
    for annotation in known {
        let name = annotation["const"].as_str().unwrap_or_default();
        text += &line(&[format!("`link-env.cni/{name}`"), meaning(&annotation)]);
    }
    text
}

fn row(key: String, column: Option<&'static str>, schema: &Value, is_required: bool, plugin: Known) -> Row {
    let is_of_reference = plugin.name != OWN && schema["x-reference"] != false;
    Row { key, plugin: column, schema: schema.clone(), is_required, is_of_reference }
}

/// Visits every key of a schema with its path: `ranges[][].subnet`, and, where objects are walked too, `dns.search`.
fn walk(schema: &Value, path: &str, into_objects: bool, visit: &mut dyn FnMut(String, &Value, bool)) {
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let required = schema["required"].as_array();
        let is_required = required.is_some_and(|required| required.contains(&Value::from(key.as_str())));
        let key = format!("{path}{key}");
        visit(key.clone(), value, is_required);
        if into_objects {
            walk(value, &format!("{key}."), into_objects, visit);
        }
        walk(&value["items"], &format!("{key}[]."), into_objects, visit);
        walk(&value["items"]["items"], &format!("{key}[][]."), into_objects, visit);
    }
}

/// A table of Markdown. `has_reference`: with a column on whether the reference's plugin has the key.
fn table(rows: &[Row], has_reference: bool) -> String {
    let has_plugin = rows.iter().any(|row| row.plugin.is_some());
    let mut heads = vec!["Key"];
    heads.extend(has_plugin.then_some("Plugin"));
    heads.extend(["Type", "Default", "Meaning"]);
    heads.extend(has_reference.then_some("Reference"));
    let mut text = line(&heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>());
    text += &line(&vec!["---".to_owned(); heads.len()]);
    for row in rows {
        let mut cells = vec![name(row)];
        cells.extend(row.plugin.map(str::to_owned));
        cells.extend([kind(&row.schema), default(row), meaning(&row.schema)]);
        cells.extend(has_reference.then(|| if row.is_of_reference { "yes" } else { "no" }.to_owned()));
        text += &line(&cells);
    }
    text
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn name(row: &Row) -> String {
    let mut name = format!("`{}`", row.key);
    if let Some(since) = row.schema["x-since"].as_str() {
        // Writing to a string cannot fail.
        let _ = write!(name, " (since {since})");
    }
    name
}

fn meaning(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

fn default(row: &Row) -> String {
    match (&row.schema["x-default"], &row.schema["default"]) {
        _ if row.is_required => "required".to_owned(),
        (Value::String(words), _) => words.clone(),
        (_, Value::Null) => "none".to_owned(),
        (_, Value::String(text)) => format!("`{text}`"),
        (_, value) => format!("`{value}`"),
    }
}

/// The type in words, or the words that a key may have.
fn kind(schema: &Value) -> String {
    let words = match (&schema["enum"], &schema["oneOf"]) {
        (Value::Array(words), _) => words.iter().collect(),
        (_, Value::Array(words)) => words.iter().map(|word| &word["const"]).collect(),
        _ => Vec::new(),
    };
    if !words.is_empty() {
        let words: Vec<String> =
            words.into_iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(" or ");
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect::<Vec<_>>(),
    };
    let in_words = |name: &str| match (name, &schema["items"], &schema["additionalProperties"]) {
        ("array", items @ Value::Object(_), _) => format!("list of {}", kinds_of(items)),
        ("array", ..) => "list".to_owned(),
        ("object", _, values @ Value::Object(_)) => format!("object of {}", kinds_of(values)),
        (name, ..) => name.to_owned(),
    };
    kinds.into_iter().filter(|name| *name != "null").map(in_words).collect::<Vec<_>>().join(" or ")
}

/// The type of many values.
fn kinds_of(schema: &Value) -> String {
    if schema["oneOf"].is_array() {
        return "strings".to_owned();
    }
    let kind = kind(schema);
    match kind.split_once(' ') {
        Some(("list", rest)) => format!("lists {rest}"),
        _ => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_insertion_is_known() {
        for name in TEXT.lines().filter_map(insertion) {
            assert!(inserted(name).is_some_and(|text| text.lines().count() > 0), "{name}");
        }
    }

    /// No table may be forgotten in the text, and no cell be empty.
    #[test]
    fn every_key_of_every_plugin_is_in_a_table() {
        let page = page();
        for plugin in PLUGINS {
            for row in own(plugin) {
                assert!(page.contains(&format!("| {}", name(&row))), "{} of {}", row.key, plugin.name);
            }
        }
        for place in ["runtimeConfig", "args.cni"] {
            assert!(inserted(place).is_some_and(|table| page.contains(&table)), "{place}");
        }
        for line in page.lines().filter(|line| line.starts_with('|')) {
            assert!(!line.contains("|  |"), "an empty cell: {line}");
        }
    }
}
