//! `-v` and `--volumes-from` of `cleat run`, as Docker reads them.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One `-v`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume {
    /// What is mounted.
    pub(crate) source: Source,
    /// Where, an absolute path.
    pub(crate) target: PathBuf,
    /// `ro`.
    pub(crate) read_only: bool,
}

/// What a volume has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Source {
    /// A file or folder of the host, an absolute path.
    Host(PathBuf),
    /// A folder that is kept under a name.
    Named(String),
    /// A folder of the container's own.
    Own,
}

/// Options that change nothing here: each file has its own label and owner already, and mounts stay within the container.
const WITHOUT_EFFECT: [&str; 9] =
    ["rw", "z", "Z", "nocopy", "cached", "delegated", "consistent", "rprivate", "private"];

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options] => (Some(source), target, options),
            _ => return Err("write it as [SOURCE:]FOLDER[:ro]".to_owned()),
        };
        let target = Path::new(target);
        if !target.is_absolute() || target.components().any(|part| part == Component::ParentDir) {
            return Err(format!("{} is no absolute path in the container", target.display()));
        }
        if target.components().count() < 2 {
            return Err("the container's root cannot be replaced; a runtime does that".to_owned());
        }
        let mut read_only = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => read_only = true,
                option if WITHOUT_EFFECT.contains(&option) => {}
                option => return Err(format!("{option:?} is no option of a volume here; ro and rw are")),
            }
        }
        let source = match source {
            None => Source::Own,
            Some(path) if path.starts_with(['/', '.']) => {
                Source::Host(std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?)
            }
            Some(name) if is_name(name) => Source::Named(name.to_owned()),
            Some(name) => {
                return Err(format!(
                    "{name:?} is no name of a volume: letters, digits, _, . and - are; for a folder of the host write \
                     ./{name} or its whole path"
                ));
            }
        };
        Ok(Self { source, target: target.components().collect(), read_only })
    }
}

/// As Docker's: two letters at least, the first one no sign.
fn is_name(name: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    name.len() > 1
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(is_part)
}

/// One `--volumes-from CONTAINER[:ro]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumesFrom {
    /// Name or ID of the container.
    pub(crate) container: String,
    /// `ro`.
    pub(crate) read_only: bool,
}

impl FromStr for VolumesFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (container, mode) = text.split_once(':').unwrap_or((text, "rw"));
        if container.is_empty() || !["ro", "rw", "z", "Z"].contains(&mode) {
            return Err("write it as CONTAINER or CONTAINER:ro");
        }
        Ok(Self { container: container.to_owned(), read_only: mode == "ro" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_docker_knows_is_read() {
        let read = |text: &str| text.parse::<Volume>().unwrap();
        let here = std::env::current_dir().unwrap();
        for (text, source, target, read_only) in [
            ("/a", Source::Own, "/a", false),
            ("/s:/a/", Source::Host("/s".into()), "/a", false),
            ("./s:/a:ro", Source::Host(here.join("s")), "/a", true),
            ("data:/var/lib/x:rw,z", Source::Named("data".into()), "/var/lib/x", false),
        ] {
            assert_eq!(read(text), Volume { source, target: target.into(), read_only }, "{text}");
        }
        for (text, words) in [
            ("", "no absolute path"),
            ("/s:a", "no absolute path"),
            ("/s:/", "root"),
            ("/s:/a/../b", "no absolute path"),
            ("html/x:/a", "./html/x"),
            ("x:/a", "no name"),
            ("/s:/a:rx", "\"rx\""),
            ("/s:/a:ro:z", "write it as"),
        ] {
            let error = text.parse::<Volume>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(
            "web:ro".parse::<VolumesFrom>().unwrap().read_only && "web:x".parse::<VolumesFrom>().is_err()
        );
    }
}
