//! A page in Markdown, as a forge renders it: its links, its anchors, and what would not render as it is meant.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// What a page has.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Links and images, in their order.
    pub(super) links: Vec<Link>,
    /// What follows a `#` in links to its headings.
    pub(super) anchors: BTreeSet<String>,
    /// What would not render as it is meant, by line.
    pub(super) faults: Vec<(usize, String)>,
}

/// A link or an image.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) url: String,
}

/// Where a link leads.
pub(super) enum Target<'a> {
    /// To another host.
    External,
    /// To a file of the repository, or to the page itself if `path` is empty.
    Internal { path: &'a str, anchor: Option<&'a str> },
}

impl Link {
    pub(super) fn target(&self) -> Target<'_> {
        if self.url.contains(':') || self.url.starts_with("//") {
            return Target::External;
        }
        let (path, anchor) =
            self.url.split_once('#').map_or((self.url.as_str(), None), |(path, anchor)| (path, Some(anchor)));
        Target::Internal { path, anchor }
    }
}

impl Page {
    pub(super) fn new(text: &str) -> Self {
        let mut page = Self::default();
        let mut times = BTreeMap::new();
        let mut heading: Option<String> = None;
        let mut columns = 0;
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            let line = text[..range.start].lines().count() + usize::from(text[..range.start].ends_with('\n'));
            let mut fault = |what: String| page.faults.push((line.max(1), what));
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(Link { line: line.max(1), url: dest_url.into_string() });
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors.insert(anchor(&heading.take().unwrap_or_default(), &mut times));
                }
                Event::Text(part) | Event::Code(part) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                    fault("an indented block of code: it has no language".to_owned());
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) if language.is_empty() => {
                    fault("a block of code without a language, such as sh or text".to_owned());
                }
                Event::Start(Tag::TableHead) => columns = bars(&text[range]),
                Event::Start(Tag::TableRow) if bars(&text[range.clone()]) != columns => {
                    fault(format!("{} columns instead of {}", bars(&text[range]) + 1, columns + 1));
                }
                Event::Html(html) | Event::InlineHtml(html)
                    if html.contains("src=") || html.contains("href=") =>
                {
                    fault("a link in HTML, which nothing checks".to_owned());
                }
                _ => {}
            }
        }
        page
    }
}

/// The anchor that GitHub gives a heading: in lower case, without punctuation, with dashes for blanks, and a number from the
/// second of one name on.
fn anchor(heading: &str, times: &mut BTreeMap<String, usize>) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    let name = kept.trim().replace(' ', "-");
    let times = times.entry(name.clone()).or_insert(0);
    *times += 1;
    if *times == 1 { name } else { format!("{name}-{}", *times - 1) }
}

/// The number of bars between the columns of a row.
fn bars(row: &str) -> usize {
    let row = row.trim().replace("\\|", "");
    row.strip_prefix('|').unwrap_or(&row).strip_suffix('|').map_or(0, |row| row.matches('|').count())
}
