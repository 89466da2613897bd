//! The chart of the README: how long lives, ADD and DEL take with each suite. It is drawn of the table in Markdown, so that a
//! test can tell whether the two agree.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const BAR: f64 = 12.0;
const GAP: f64 = 3.0;
const TOP: f64 = 62.0;
/// The chart has colours for light and for dark pages.
const STYLE: &str = "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2328}\
    .title{font-size:15px;font-weight:600}.page{fill:#fff}.s0{fill:#1a7f64}.s1{fill:#b08a4a}.s2{fill:#a4506b}\
    .s3{fill:#6672ad}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.s0{fill:#3fb994}.s1{fill:#c9a15c}\
    .s2{fill:#d98aa2}.s3{fill:#9aa4d6}}";

/// A line of the chart: its label, and the milliseconds of each suite.
type Line<'a> = (&'a str, Vec<Option<f64>>);

/// Draws lives, ADD and DEL of the table as SVG. A row of cleat alone has nothing to be compared with, and is left out.
pub(crate) fn draw(table: &str) -> String {
    let mut rows = table.lines().map(cells).filter(|row| row.len() > 1);
    let titles = rows.next().unwrap_or_default();
    let rows: Vec<Line<'_>> = rows
        .filter_map(|row| {
            Some((label(row[0])?, row[1..].iter().map(|cell| milliseconds(cell)).collect::<Vec<_>>()))
        })
        .filter(|(_, figures)| figures.iter().flatten().count() > 1)
        .collect();
    let longest = rows.iter().flat_map(|(_, figures)| figures.iter().flatten()).copied().fold(1.0, f64::max);
    let height = |figures: &[Option<f64>]| figures.iter().flatten().count() as f64 * (BAR + GAP) + 14.0;
    let total = TOP + rows.iter().map(|(_, figures)| height(figures)).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {total}\" width=\"{WIDTH}\" height=\"{total}\" \
         role=\"img\" aria-label=\"milliseconds of whole lives, ADD and DEL by suite\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n<text class=\"title\" x=\"16\" y=\"24\">bridge, address, one \
         published port: milliseconds of a whole life and of a call</text>\n"
    );
    let mut x = 16.0;
    for (suite, title) in titles.iter().skip(1).enumerate() {
        let _ = writeln!(
            svg,
            "<rect class=\"s{suite}\" x=\"{x}\" y=\"38\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"49\">{title}</text>",
            x + 18.0
        );
        x += 44.0 + 7.2 * title.len() as f64;
    }
    let mut y = TOP;
    for (label, figures) in &rows {
        let _ = writeln!(svg, "<text x=\"16\" y=\"{}\">{label}</text>", y + 11.0);
        for (bar, (suite, figure)) in
            figures.iter().enumerate().filter_map(|(suite, figure)| Some((suite, (*figure)?))).enumerate()
        {
            let y = y + (BAR + GAP) * bar as f64;
            let width = (figure / longest * (WIDTH - LEFT - 60.0)).max(1.0);
            let _ = writeln!(
                svg,
                "<rect class=\"s{suite}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\"/><text x=\"{:.1}\" \
                 y=\"{}\">{figure:.1}</text>",
                LEFT + width + 6.0,
                y + 11.0
            );
        }
        y += height(figures);
    }
    svg + "</svg>\n"
}

/// The cells of a row of a table in Markdown.
fn cells(row: &str) -> Vec<&str> {
    let row = row.strip_prefix('|').and_then(|row| row.strip_suffix('|')).unwrap_or_default();
    row.split('|').map(str::trim).collect()
}

/// The label of a row of the table, if it is in the chart.
fn label(row: &str) -> Option<&str> {
    if row.starts_with("whole life, back to back, one there") {
        return Some("whole life, 1 there");
    }
    if row.starts_with("whole life, back to back, none there") {
        return Some("whole life, 0 there");
    }
    let number = row.strip_prefix("ADD, ").or_else(|| row.strip_prefix("DEL, "))?.strip_suffix(" there")?;
    number.parse::<usize>().is_ok().then_some(row)
}

/// The milliseconds of a cell such as `46.7 ms (15.5×)`.
fn milliseconds(cell: &str) -> Option<f64> {
    cell.split_once(" ms")?.0.parse().ok()
}
