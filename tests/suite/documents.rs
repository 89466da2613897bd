//! What people read: links lead somewhere, every page can be found, it renders as it is meant, README is short, and its
//! pictures and figures are those of today.

#[path = "../bench/chart.rs"]
#[allow(clippy::cast_precision_loss, reason = "lengths of bars")]
mod chart;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use page::{Page, Target};

/// The most bytes of README.md.
const README_MAX: usize = 12 << 10;
/// The most links to elsewhere: each one is to be looked after.
const EXTERNAL_MAX: usize = 30;
/// Pages that no other page leads to: a forge shows the first, the second describes data of a test.
const ALONE: [&str; 2] = [".github/", "tests/data/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// All files of the repository.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        // A folder of cargo's has this file.
        if folder.join("CACHEDIR.TAG").exists() || folder.ends_with(".git") {
            continue;
        }
        for entry in fs::read_dir(&folder).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files
}

/// All pages of the repository, by their path in it.
fn pages() -> BTreeMap<PathBuf, Page> {
    let page = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_path_buf();
        (name, Page::new(&fs::read_to_string(&path).unwrap()))
    };
    files().into_iter().filter(|path| is_page(path)).map(page).collect()
}

/// The path in the repository that a page means by `target`, or nothing if it is outside.
fn resolve(page: &Path, target: &str) -> Option<PathBuf> {
    let mut path = page.parent().unwrap().to_path_buf();
    for part in target.split('/').filter(|part| *part != ".") {
        if part == ".." {
            if !path.pop() {
                return None;
            }
        } else {
            path.push(part);
        }
    }
    Some(path)
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let pages = pages();
    let (mut broken, mut external) = (Vec::new(), BTreeSet::new());
    for (name, page) in &pages {
        for link in &page.links {
            let found = match link.target() {
                Target::External => external.insert(link.url.clone()) | link.url.starts_with("https://"),
                Target::Internal { path, anchor } => {
                    let target = if path.is_empty() { Some(name.clone()) } else { resolve(name, path) };
                    target.is_some_and(|target| {
                        let has_anchor = |anchor: &str| {
                            pages.get(&target).is_some_and(|page| page.anchors.contains(anchor))
                        };
                        root().join(&target).exists() && anchor.is_none_or(has_anchor)
                    })
                }
            };
            if !found {
                broken.push(format!("{}:{}: {}", name.display(), link.line, link.url));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(external.len() <= EXTERNAL_MAX, "{} links to elsewhere: {external:#?}", external.len());
}

#[test]
fn every_page_can_be_found_from_readme_and_is_in_the_index() {
    let pages = pages();
    let leads_to = |name: &Path| -> BTreeSet<PathBuf> {
        let links = pages[name].links.iter();
        links
            .filter_map(|link| match link.target() {
                Target::Internal { path, .. } if !path.is_empty() => resolve(name, path),
                _ => None,
            })
            .filter(|path| pages.contains_key(path))
            .collect()
    };
    let mut found = BTreeSet::from([PathBuf::from("README.md")]);
    let mut next: Vec<PathBuf> = found.iter().cloned().collect();
    while let Some(page) = next.pop() {
        next.extend(leads_to(&page).into_iter().filter(|page| found.insert(page.clone())));
    }
    let is_alone = |page: &Path| ALONE.iter().any(|folder| page.starts_with(folder));
    let lost: Vec<_> = pages.keys().filter(|page| !found.contains(*page) && !is_alone(page)).collect();
    assert!(lost.is_empty(), "no page that README leads to has a link to {lost:?}");

    let index = Path::new("docs/README.md");
    let listed = leads_to(index);
    let missing: Vec<_> = pages
        .keys()
        .filter(|page| page.starts_with("docs") && *page != index && !listed.contains(*page))
        .collect();
    assert!(missing.is_empty(), "{} has no link to {missing:?}", index.display());
}

#[test]
fn every_page_renders_as_it_is_meant() {
    let faults: Vec<String> = pages()
        .iter()
        .flat_map(|(name, page)| {
            page.faults.iter().map(move |(line, fault)| format!("{}:{line}: {fault}", name.display()))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_page_that_code_and_configurations_name_is_there() {
    let is_separator = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '.'));
    let (mut named, mut missing) = (0, BTreeSet::new());
    for path in files() {
        // Recorded files of other programs, and what is no text, name none of ours.
        let text = fs::read_to_string(&path).unwrap_or_default();
        if path.starts_with(root().join("tests/data")) || is_page(&path) {
            continue;
        }
        let words = text.split(is_separator).map(|word| word.trim_end_matches('.'));
        for page in words.filter(|word| word.starts_with("docs/") && is_page(Path::new(word))) {
            named += 1;
            if !root().join(page).exists() {
                missing.insert(format!("{}: {page}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(named > 5 && missing.is_empty(), "{missing:#?}");
}

#[test]
fn readme_is_short() {
    let size = fs::metadata(root().join("README.md")).unwrap().len();
    assert!(size <= README_MAX as u64, "README.md has {size} bytes, more than {README_MAX}");
}

/// What stands in a file between the lines of `make bench`.
fn measured(file: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let (_, rest) = text.split_once("<!-- bench -->\n").expect(file);
    rest.split_once("<!-- /bench -->\n").expect(file).0.to_owned()
}

#[test]
fn chart_and_figures_of_readme_are_those_of_the_measured_table() {
    let table = measured("docs/performance.md");
    let drawn = fs::read_to_string(root().join("tests/bench/chart.svg")).unwrap();
    assert!(
        chart::draw(&table) == drawn,
        "tests/bench/chart.svg does not show the figures of docs/performance.md"
    );

    let lines: BTreeSet<&str> = table.lines().collect();
    let headlines = measured("README.md");
    let foreign: Vec<&str> = headlines.lines().filter(|line| !lines.contains(line)).collect();
    assert!(
        headlines.lines().count() > 5 && foreign.is_empty(),
        "docs/performance.md does not have {foreign:?}"
    );

    // The sentence at the head of README, from the table's first row.
    let row = table.lines().find(|line| line.contains("one there")).unwrap();
    let mut figures = row.split('|').filter_map(|cell| cell.trim().split_once(" ms")?.0.parse::<f64>().ok());
    let (ours, reference) = (figures.next().unwrap(), figures.next().unwrap());
    let sentence =
        format!("{ours:.1} ms where the reference plugins take {:.0} ms", (reference / 10.0).round() * 10.0);
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(readme.contains(&sentence), "README.md does not say {sentence:?}");
}

#[test]
fn anchors_are_those_that_github_makes() {
    let page = Page::new(
        "# Who *knows* whom?\n## `cleat run`, and ports\n## a_b-c\n## a_b-c\n## 127.0.0.1 & `[::1]`\n",
    );
    let expected = ["who-knows-whom", "cleat-run-and-ports", "a_b-c", "a_b-c-1", "127001--1"];
    assert_eq!(page.anchors, expected.map(str::to_owned).into());
}

#[test]
fn what_would_not_render_is_found() {
    let faults = |text: &str| Page::new(text).faults;
    assert!(
        faults("```sh\nls\n```\n\n| a | b |\n|---|---|\n| `c\\|d` | e |\n\n<!-- a mark -->\n").is_empty()
    );
    assert_eq!(faults("a\n\n```\nls\n```\n")[0].0, 3);
    assert_eq!(faults("a\n\n    ls\n").len(), 1);
    assert_eq!(faults("| a | b |\n|---|---|\n| `c|d` | e |\n").len(), 1);
    assert_eq!(faults("<img src=\"a.svg\">\n").len(), 1);
}
