//! A small subset of Go's templates, as `docker inspect --format` has them: text, `{{.Field.Field}}`, `{{json .Field}}`,
//! `{{len .Field}}`, `{{index .Field "key"}}` and `{{range .Field}}…{{end}}`. Everything else is refused by name.

use std::collections::VecDeque;

use serde_json::Value;

/// A template that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Show(Function, Lookup),
    Range(Lookup, Vec<Part>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Plain,
    Json,
    Length,
}

/// The keys, or numbers in a list, that lead to a value.
type Lookup = Vec<String>;

impl std::str::FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut tokens = tokens(text)?;
        let parts = parts(&mut tokens, false)?;
        Ok(Self(parts))
    }
}

/// Text outside braces, and actions within.
enum Token {
    Text(String),
    Action(String),
}

fn tokens(mut text: &str) -> Result<VecDeque<Token>, String> {
    let mut tokens = VecDeque::new();
    while let Some((before, rest)) = text.split_once("{{") {
        let (action, after) = rest.split_once("}}").ok_or("a {{ has no }}")?;
        // As the command line cannot have these, Docker reads them so.
        tokens.push_back(Token::Text(before.replace("\\t", "\t").replace("\\n", "\n")));
        tokens.push_back(Token::Action(action.trim().trim_matches('-').trim().to_owned()));
        text = after;
    }
    tokens.push_back(Token::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    Ok(tokens)
}

fn parts(tokens: &mut VecDeque<Token>, is_within: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some(token) = tokens.pop_front() {
        let action = match token {
            Token::Text(text) => {
                parts.push(Part::Text(text));
                continue;
            }
            Token::Action(action) => action,
        };
        let words: Vec<&str> = action.split_whitespace().collect();
        parts.push(match words[..] {
            ["end"] if is_within => return Ok(parts),
            ["range", path] => Part::Range(path_of(path)?, self::parts(tokens, true)?),
            ["json", path] => Part::Show(Function::Json, path_of(path)?),
            ["len", path] => Part::Show(Function::Length, path_of(path)?),
            ["index", path, ref keys @ ..] if !keys.is_empty() => {
                let keys = keys.iter().map(|key| key.trim_matches('"').to_owned());
                Part::Show(Function::Plain, path_of(path)?.into_iter().chain(keys).collect())
            }
            [path] if path.starts_with('.') => Part::Show(Function::Plain, path_of(path)?),
            _ => {
                return Err(format!(
                    "{{{{{action}}}}} is not understood: fields, json, len, index and range are; --json prints all"
                ));
            }
        });
    }
    if is_within { Err("a {{range}} has no {{end}}".to_owned()) } else { Ok(parts) }
}

fn path_of(text: &str) -> Result<Lookup, String> {
    let path =
        text.strip_prefix('.').ok_or_else(|| format!("{text} is no field: fields begin with a dot"))?;
    Ok(path.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect())
}

impl Template {
    /// The text for a value.
    ///
    /// # Errors
    /// It has no such field.
    pub(crate) fn fill(&self, value: &Value) -> Result<String, String> {
        let mut text = String::new();
        fill(&self.0, value, &mut text)?;
        Ok(text)
    }
}

fn fill(parts: &[Part], value: &Value, text: &mut String) -> Result<(), String> {
    for part in parts {
        match part {
            Part::Text(part) => text.push_str(part),
            Part::Show(function, path) => {
                let found = find(value, path)?;
                text.push_str(&match function {
                    Function::Plain => plain(found),
                    Function::Json => found.to_string(),
                    Function::Length => length(found).to_string(),
                });
            }
            Part::Range(path, within) => match find(value, path)? {
                Value::Array(all) => all.iter().try_for_each(|value| fill(within, value, text))?,
                Value::Object(all) => all.values().try_for_each(|value| fill(within, value, text))?,
                Value::Null => {}
                _ => return Err(format!(".{} is no list", path.join("."))),
            },
        }
    }
    Ok(())
}

fn find<'a>(value: &'a Value, path: &[String]) -> Result<&'a Value, String> {
    path.iter().try_fold(value, |value, key| {
        let found = match value {
            Value::Array(all) => key.parse::<usize>().ok().and_then(|place| all.get(place)),
            value => value.get(key),
        };
        found.ok_or_else(|| format!("there is no field .{}", path.join(".")))
    })
}

fn length(value: &Value) -> usize {
    match value {
        Value::Array(all) => all.len(),
        Value::Object(all) => all.len(),
        Value::String(text) => text.len(),
        _ => 0,
    }
}

/// As Go prints it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(all) => format!("[{}]", all.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(all) => {
            let pairs: Vec<String> =
                all.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_dockers_documents_use_is_understood() {
        let value = json!({"Name": "/web", "HostConfig": {"Links": ["/db:/web/webdb"]}, "Pid": 7, "None": null,
            "NetworkSettings": {"Networks": {"a": {"IPAddress": "10.1.0.2"}, "b": {"IPAddress": "10.2.0.2"}},
                "Ports": {"80/tcp": [{"HostPort": "8080"}]}}});
        for (template, wanted) in [
            ("{{.HostConfig.Links}}", "[/db:/web/webdb]"),
            ("{{ .Name }}\\t{{.Pid}} {{.None}}", "/web\t7 <nil>"),
            ("{{json .HostConfig}}", r#"{"Links":["/db:/web/webdb"]}"#),
            ("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}|", "10.1.0.2 10.2.0.2 |"),
            ("{{.NetworkSettings.Networks.a.IPAddress}}", "10.1.0.2"),
            ("{{index .NetworkSettings.Ports \"80/tcp\" 0}}", "map[HostPort:8080]"),
            ("{{len .HostConfig.Links}}", "1"),
            ("none", "none"),
        ] {
            assert_eq!(template.parse::<Template>().unwrap().fill(&value).unwrap(), wanted, "{template}");
        }
        for (template, words) in [
            ("{{.Name", "no }}"),
            ("{{if .Name}}x{{end}}", "{{if .Name}} is not understood"),
            ("{{range .Name}}", "no {{end}}"),
            ("{{end}}", "is not understood"),
            ("{{json Name}}", "begin with a dot"),
        ] {
            let error = template.parse::<Template>().unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
        let error = "{{.State.Pid}}".parse::<Template>().unwrap().fill(&value).unwrap_err();
        assert_eq!(error, "there is no field .State.Pid");
    }
}
