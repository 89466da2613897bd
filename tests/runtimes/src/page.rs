//! The command blocks of a page of documentation.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// A block of commands, with what the page says that they print.
#[derive(Clone, Debug)]
pub struct Block {
    /// The heading (`##`) that it stands under.
    pub section: String,
    /// Its first line in the page.
    pub line: usize,
    /// The commands.
    pub commands: String,
    /// The text of the block that follows, if it is one of `text`.
    pub prints: Option<String>,
}

/// A page below the root of the workspace.
#[must_use]
pub fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page)
}

/// The blocks of a page in their order: each block of `sh`, and the block of `text` that follows it.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block> {
    let path = path(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&text)
}

fn parse(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut section = String::new();
    let mut content = String::new();
    let mut language = String::new();
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. } | Tag::CodeBlock(_)) => {
                content.clear();
                language.clear();
                if let Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) = event {
                    language.push_str(&info);
                }
            }
            Event::Text(part) | Event::Code(part) => content.push_str(&part),
            Event::End(TagEnd::Heading(level)) if level as usize <= 2 => section.clone_from(&content),
            Event::End(TagEnd::CodeBlock) if language == "sh" => blocks.push(Block {
                section: section.clone(),
                line: text[..range.start].matches('\n').count() + 1,
                commands: content.clone(),
                prints: None,
            }),
            Event::End(TagEnd::CodeBlock) if language == "text" => {
                let block =
                    blocks.last_mut().filter(|block| block.section == section && block.prints.is_none());
                block.expect("a block of text belongs to the commands before it").prints =
                    Some(content.clone());
            }
            _ => (),
        }
    }
    blocks
}

/// Whether a program printed what a page says. `…` in the page stands for anything within a line, and a line of `…` alone for
/// any number of lines. Columns may be wider or narrower, and lines come in any order, as rows of a table follow random IDs.
#[must_use]
pub fn is_as_said(said: &str, printed: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let (mut said, mut printed) = (lines(said), lines(printed));
    let said_lines = said.len();
    said.retain(|line| line != "…");
    let may_have_more = said.len() < said_lines;
    // What leaves least open chooses first.
    said.sort_by_key(|line| std::cmp::Reverse(line.len()));
    let all = said.iter().all(|line| {
        let found = printed.iter().position(|other| line_matches(line, other));
        found.map(|at| printed.remove(at)).is_some()
    });
    all && (may_have_more || printed.is_empty())
}

fn line_matches(said: &str, printed: &str) -> bool {
    match said.split_once('…') {
        None => said == printed,
        Some((head, tail)) => printed.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .skip(1)
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| line_matches(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_sections_and_what_they_print() {
        let text = "# Page\n\n## One\n\n```sh\na\nb\n```\nprints:\n\n```text\nc\n```\n\n### Part\n\n1. In a list:\n\n   ```sh\n   d\n   ```\n\n```toml\nx = 1\n```\n\n## `Two`\n\n```sh\ne\n```\n";
        let blocks = parse(text);
        let told =
            |block: &Block| (block.section.clone(), block.line, block.commands.clone(), block.prints.clone());
        let expected = [
            ("One".to_owned(), 5, "a\nb\n".to_owned(), Some("c\n".to_owned())),
            ("One".to_owned(), 19, "d\n".to_owned(), None),
            ("Two".to_owned(), 29, "e\n".to_owned(), None),
        ];
        assert_eq!(blocks.iter().map(told).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_differs_from_host_to_host_is_left_open() {
        assert!(is_as_said("a b\n", "a   b"));
        assert!(is_as_said("id … up\n", "id 4f3a up"));
        assert!(is_as_said("…\nend\n", "one\ntwo\nend\n"));
        assert!(is_as_said("…/…:80", "tcp/10.1.0.2:80"));
        assert!(is_as_said("… db\n… web\n", "2 web\n1 db\n"));
        assert!(!is_as_said("id … up\n", "id 4f3a down"));
        assert!(!is_as_said("a\n", "a\nb\n"));
        assert!(!is_as_said("a\nb\n", "a\n"));
    }
}
