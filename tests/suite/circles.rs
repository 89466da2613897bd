//! The imports between the files of a crate form no circle.
//!
//! An import is any path in a file's code that leads to another file of its crate: from `crate`, `self`, `super`, or one of its
//! own `mod` lines. A name that a file only re-exports (`pub use`) leads to the file that defines it. A file in a module's folder
//! (`store/owners.rs` of `store.rs`) may extend what that module defines, so its imports from that module do not count; imports
//! from `lib.rs` do. Unit tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module from the root of its crate; empty for the root.
type Module = Vec<String>;

/// One file of a crate.
#[derive(Debug, Default)]
struct File {
    /// The modules and items that its paths lead to, from the root of the crate.
    paths: BTreeSet<Module>,
    /// Those that `use` imports, by their name in this file.
    imports: BTreeMap<String, Module>,
    has_tests: bool,
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("src").is_dir())
            .collect::<Vec<_>>()
    };
    let mut crates = vec![root.join("cli")];
    crates.extend(["lib", "plugins", "ipam"].into_iter().flat_map(below));
    assert!(crates.len() > 10, "{crates:?}");
    let mut circles = Vec::new();
    for folder in crates {
        let files = read(&folder.join("src"));
        let arrows = arrows(&files);
        assert!(folder.ends_with("loopback") || !arrows.is_empty(), "{}", folder.display());
        let name = folder.strip_prefix(root).unwrap().display().to_string();
        circles.extend(circle(&arrows).map(|circle| format!("{name}: {circle}")));
    }
    assert!(circles.is_empty(), "files import each other in a circle:\n{}", circles.join("\n"));
}

/// In this suite, what several modules use is in `shared`, and what the files of one folder use is in a file without tests.
#[test]
fn no_file_of_tests_imports_another() {
    let files = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite"));
    let arrows = arrows(&files);
    let all = arrows.iter().flat_map(|(from, targets)| targets.iter().map(move |to| (*from, *to)));
    let is_allowed =
        |(from, to): &(&Module, &Module)| !files[*to].has_tests && (to[0] == from[0] || to[0] == "shared");
    let wrong =
        all.filter(|arrow| !is_allowed(arrow)).map(|(from, to)| [from.join("/"), to.join("/")].join(" -> "));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "tests import what is not shared:\n{}", wrong.join("\n"));
    assert_eq!(circle(&arrows), None);
}

#[test]
fn a_circle_is_found_behind_a_name_that_is_passed_on() {
    let mut files = BTreeMap::new();
    for (module, text) in [
        (vec![], "mod a; mod b; pub use a::Thing;"),
        (vec!["a"], "use crate::b::{self, other};\npub struct Thing;"),
        (vec!["b"], "/// See crate::a.\npub(crate) fn other(_: super::Thing) {}"),
        (vec!["b", "below"], "use super::other;"),
    ] {
        let module: Module = module.into_iter().map(str::to_owned).collect();
        files.insert(module.clone(), parse(&module, text));
    }
    assert_eq!(circle(&arrows(&files)).as_deref(), Some("a -> b -> a"));
    files.remove(&vec!["a".to_owned()]);
    assert_eq!(circle(&arrows(&files)), None);
}

fn read(src: &Path) -> BTreeMap<Module, File> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<(PathBuf, Module)> = vec![(src.to_owned(), Module::new())];
    while let Some((folder, module)) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut module = module.clone();
            if name == "tests" || name == "main" {
                continue;
            }
            if !(name == "mod" || name == "lib" && module.is_empty()) {
                module.push(name);
            }
            if path.is_dir() {
                folders.push((path, module));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = parse(&module, &fs::read_to_string(path).unwrap());
                files.insert(module, file);
            }
        }
    }
    files
}

fn parse(module: &[String], text: &str) -> File {
    let code = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join(" ");
    let declares = |name: &str| code.contains(&format!("mod {name};"));
    let absolute = |path: &[&str]| -> Option<Module> {
        let ups = path.iter().take_while(|part| **part == "super").count();
        let base = match path.first()? {
            &"crate" => &[],
            &"super" => &module[..module.len().checked_sub(ups)?],
            &"self" => module,
            first if declares(first) => return Some(joined(module, path)),
            _ => return None,
        };
        Some(joined(base, &path[ups.max(1)..]))
    };
    let mut file = File { has_tests: code.contains("#[test]"), ..File::default() };
    let mut rest = code.as_str();
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].trim_end();
        let is_statement =
            before.is_empty() || before.ends_with([';', '{', '}', ')', ']']) || before.ends_with("pub");
        let after = &rest[at + 4..];
        file.paths.extend(inline(before).filter_map(|path| absolute(&path)));
        let end = if is_statement { after.find(';').unwrap_or(0) } else { 0 };
        for path in expand(&after[..end]) {
            let parts: Vec<&str> =
                path.split("::").filter(|part| *part != "self" || path.starts_with("self")).collect();
            let name = parts.last().copied().unwrap_or_default().to_owned();
            if let Some(path) = absolute(&parts) {
                file.imports.insert(name, path.clone());
                file.paths.insert(path);
            }
        }
        rest = &after[end..];
    }
    file.paths.extend(inline(rest).filter_map(|path| absolute(&path)));
    file
}

/// The paths in code that has no `use`. The one in `pub(in super::super)` does not count.
fn inline(code: &str) -> impl Iterator<Item = Vec<&str>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut end = 0;
    let words = code.split(move |c: char| !is_part(c)).map(move |word| {
        let start = end;
        end += word.len() + code[start + word.len()..].chars().next().map_or(0, char::len_utf8);
        (start, word)
    });
    let words = words.filter(|(start, word)| word.contains("::") && !code[..*start].ends_with("pub(in "));
    words.map(|(_, word)| word.split("::").filter(|part| !part.is_empty()).collect())
}

/// The paths of `a::{b, c::{d, e as f}}`, without the names after `as`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        return if path.is_empty() { Vec::new() } else { vec![path.to_owned()] };
    };
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[start..]);
    parts.into_iter().flat_map(expand).map(|part| format!("{before}{part}")).collect()
}

fn joined(base: &[String], path: &[&str]) -> Module {
    base.iter().cloned().chain(path.iter().map(|part| (*part).to_owned())).collect()
}

/// The file that a path leads to.
fn file_of<'a>(files: &'a BTreeMap<Module, File>, path: &[String], depth: usize) -> Option<&'a Module> {
    let length = (0..=path.len()).rev().find(|length| files.contains_key(&path[..*length]))?;
    let (module, file) = files.get_key_value(&path[..length])?;
    let passed_on = path.get(length).and_then(|item| file.imports.get(item));
    match passed_on.filter(|passed_on| depth < 8 && passed_on.as_slice() != path) {
        Some(passed_on) => {
            let rest: Vec<&str> = path[length + 1..].iter().map(String::as_str).collect();
            file_of(files, &joined(passed_on, &rest), depth + 1)
        }
        None => Some(module),
    }
}

/// Which file imports which.
fn arrows(files: &BTreeMap<Module, File>) -> BTreeMap<&Module, BTreeSet<&Module>> {
    let mut arrows: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (module, file) in files {
        let targets = file.paths.iter().filter_map(|path| file_of(files, path, 0));
        let is_own_folders = |target: &&Module| !target.is_empty() && module.starts_with(target);
        let targets: BTreeSet<&Module> =
            targets.filter(|target| !is_own_folders(target) && *target != module).collect();
        if !targets.is_empty() {
            arrows.insert(module, targets);
        }
    }
    arrows
}

/// The shortest circle.
fn circle(arrows: &BTreeMap<&Module, BTreeSet<&Module>>) -> Option<String> {
    let way = arrows.keys().filter_map(|start| way_back(arrows, start)).min_by_key(Vec::len)?;
    let name = |module: &&Module| if module.is_empty() { "lib".to_owned() } else { module.join("/") };
    Some(way.iter().map(name).collect::<Vec<_>>().join(" -> "))
}

/// The shortest way from a file back to itself.
fn way_back<'a>(
    arrows: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
    start: &'a Module,
) -> Option<Vec<&'a Module>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in arrows.get(way.last()?).into_iter().flatten() {
                let way: Vec<&Module> = way.iter().copied().chain([*next]).collect();
                if *next == start {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
