//! A configuration file as a tree of values, each with its position.
//!
//! `serde_json` decides whether a file is JSON, as plugins read it with that; jsonc-parser gives the positions.

use std::collections::HashSet;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions};
use serde_json::{Map, Value};

/// A value with its position, as bytes from the start of the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it is named: its key, or the value itself where it has none.
    pub(super) at: usize,
    /// What it is.
    pub(super) content: Content,
}

/// The three kinds of values.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Keys in the order of the file; one may be there twice.
    Object(Vec<(String, Node)>),
    /// Values in order.
    List(Vec<Node>),
    /// Anything without parts.
    Scalar(Value),
}

/// Line and column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The line.
    pub(super) line: usize,
    /// The column.
    pub(super) column: usize,
}

impl Position {
    /// The beginning of a file.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// Reads a file's text.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn parse(text: &str) -> Result<Node, (String, Position)> {
    let fault = |error: serde_json::Error| {
        let position = Position { line: error.line().max(1), column: error.column().max(1) };
        // The finding has the position already.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        (format!("this is not JSON: {message}"), position)
    };
    cni::expect_bounded(text.as_bytes()).map_err(|error| (error.message().to_owned(), Position::START))?;
    drop(serde_json::from_str::<Value>(text).map_err(fault)?);
    let tree = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default());
    match tree.map(|tree| tree.value) {
        Ok(Some(value)) => Ok(node(value, None)),
        // What serde_json reads has a value.
        Ok(None) => Err(("the file is empty".to_owned(), Position::START)),
        Err(error) => Err((error.kind().to_string(), position(text, error.range().start))),
    }
}

fn node(value: ast::Value<'_>, key: Option<usize>) -> Node {
    let at = key.unwrap_or(value.range().start);
    let entry = |property: ast::ObjectProp<'_>| {
        (property.name.into_string(), node(property.value, Some(property.range.start)))
    };
    let content = match value {
        ast::Value::Object(object) => Content::Object(object.properties.into_iter().map(entry).collect()),
        ast::Value::Array(list) => {
            Content::List(list.elements.into_iter().map(|value| node(value, None)).collect())
        }
        ast::Value::StringLit(text) => Content::Scalar(Value::String(text.value.into_owned())),
        ast::Value::NumberLit(number) => {
            Content::Scalar(serde_json::from_str(number.value).unwrap_or(Value::Null))
        }
        ast::Value::BooleanLit(value) => Content::Scalar(Value::Bool(value.value)),
        ast::Value::NullKeyword(_) => Content::Scalar(Value::Null),
    };
    Node { at, content }
}

/// The line and column of a byte.
pub(super) fn position(text: &str, at: usize) -> Position {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    Position { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
}

impl Node {
    /// The value of a key: exactly as spelled first, then in any other case, as plugins read it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Object(entries) = &self.content else { return None };
        let by = |same: &dyn Fn(&str) -> bool| entries.iter().rfind(|(name, _)| same(name));
        by(&|name| name == key).or_else(|| by(&|name| name.eq_ignore_ascii_case(key))).map(|(_, value)| value)
    }

    /// The values of a list; none of anything else.
    pub(super) fn items(&self) -> &[Self] {
        if let Content::List(items) = &self.content { items } else { &[] }
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        if let Content::Scalar(value) = &self.content { value.as_str() } else { None }
    }

    /// The plain object without the parts at some places. The last of several equal keys counts, as for `serde_json`;
    /// empty for anything else than an object.
    pub(super) fn object(&self, without: &HashSet<usize>) -> Map<String, Value> {
        let Content::Object(entries) = &self.content else { return Map::new() };
        let kept = entries.iter().filter(|(_, value)| !without.contains(&value.at));
        kept.map(|(key, value)| (key.clone(), value.value(without))).collect()
    }

    fn value(&self, without: &HashSet<usize>) -> Value {
        match &self.content {
            Content::Object(_) => Value::Object(self.object(without)),
            Content::List(items) => {
                let kept = items.iter().filter(|item| !without.contains(&item.at));
                kept.map(|item| item.value(without)).collect()
            }
            Content::Scalar(value) => value.clone(),
        }
    }

    /// What a path of keys such as `ipam.ranges[0][1].subnet` leads to.
    fn follow(&self, path: &str) -> Option<&Self> {
        let mut current = self;
        for step in path.split('.') {
            let (key, mut indices) = step.split_at(step.find('[').unwrap_or(step.len()));
            if !key.is_empty() {
                current = current.get(key)?;
            }
            while let Some((index, rest)) = indices.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                current = current.items().get(index.parse::<usize>().ok()?)?;
                indices = rest;
            }
        }
        Some(current)
    }

    fn find(&self, found: &dyn Fn(&Self) -> bool) -> Option<&Self> {
        if found(self) {
            return Some(self);
        }
        match &self.content {
            Content::Object(entries) => entries.iter().find_map(|(_, value)| value.find(found)),
            Content::List(items) => items.iter().find_map(|value| value.find(found)),
            Content::Scalar(_) => None,
        }
    }

    /// What a message is about. Messages of the suite name keys by their path, or quote the value: the first of either
    /// that this value has is the place, and this value itself where it has none.
    pub(super) fn meant_by(&self, message: &str) -> &Self {
        let words = || {
            message
                .split(|c: char| c.is_whitespace() || "\"();,".contains(c))
                .map(|word| word.trim_end_matches([':', '.']))
                .filter(|word| !word.is_empty())
        };
        let mut paths = words().filter(|word| word.contains(['.', '[']));
        if let Some(found) = paths.find_map(|path| self.follow(path)) {
            // `ipam.ranges[0][0]: subnet …`: the word after it may say more.
            return words().find_map(|word| found.get(word)).unwrap_or(found);
        }
        let quoted = message.split('"').skip(1).step_by(2);
        let equal = |text: &str| self.find(&|node| node.text() == Some(text));
        let keys = || words().find_map(|word| self.get(word));
        quoted.filter(|text| !text.is_empty()).find_map(equal).or_else(keys).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
  "type": "bridge", "mtu": 7,
  "ä": null, "ipam": { "ranges": [[
    { "subnet": "10.1.0.0/24" },
    { "Subnet": "10.1.2.3/24", "rangeStart": "x y" }
  ]] }
}"#;

    fn at(message: &str) -> (usize, usize) {
        let position = position(TEXT, parse(TEXT).unwrap().meant_by(message).at);
        (position.line, position.column)
    }

    #[test]
    fn a_message_leads_to_the_key_or_value_that_it_names() {
        assert_eq!(at("mtu 7 is out of range"), (2, 21));
        assert_eq!(at("read ipam.ranges[0][1]: subnet 10.1.2.3/24 has host bits"), (5, 7));
        assert_eq!(at("ipam.ranges[0][1].subnet: \"10.1.2.3/24\" has no length"), (5, 7));
        assert_eq!(at("invalid name \"x y\""), (5, 32));
        assert_eq!(at("key \"mtu\" is not supported yet"), (2, 21));
        assert_eq!(at("read ipam: it has no ranges"), (3, 14));
        assert_eq!(at("something else"), (1, 1));
    }

    #[test]
    fn what_is_not_json_is_told_with_its_position() {
        let (message, position) = parse("{\n  \"a\": ]\n}").unwrap_err();
        assert_eq!(
            (message.as_str(), position),
            ("this is not JSON: expected value", Position { line: 2, column: 8 })
        );
        for comment in ["{} // a", "{\"a\": 1,}", "{'a': 1}", ""] {
            assert!(parse(comment).is_err(), "{comment}");
        }
    }

    #[test]
    fn the_tree_holds_what_the_plugins_read() {
        assert_eq!(parse(TEXT).unwrap().value(&HashSet::new()), serde_json::from_str::<Value>(TEXT).unwrap());
    }
}
