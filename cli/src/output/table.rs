//! Tables: a heading and rows, in columns as wide as their longest cell.

use std::fmt;

use anstyle::{AnsiColor, Style};
use cni::printable_line;

/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();

const HEADING: Style = Style::new().bold();
const GAP: usize = 3;

/// One cell: text, on terminals in its colour.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in a colour: one line, without control characters.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: printable_line(&text.into()).into_owned(), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// A table. Without rows its heading alone is shown, as `docker ps` does.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with a heading and no rows yet.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|text| Cell::styled(*text, HEADING)).collect()] }
    }

    /// Names and values, one a line, without a heading.
    pub(crate) fn of_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let row = |(name, value): (String, String)| vec![Cell::styled(name, HEADING), value.into()];
        Self { rows: pairs.into_iter().map(row).collect() }
    }

    /// Adds a row, with as many cells as the heading has.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column| {
            self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            // No spaces follow the last cell with text.
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or_default();
            for (column, cell) in row.iter().enumerate().take(last + 1) {
                write!(f, "{}{}{:#}", cell.style, cell.text, cell.style)?;
                if column < last {
                    write!(f, "{:1$}", "", widths[column] - cell.width() + GAP)?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(table: &Table) -> String {
        anstream::adapter::strip_str(&table.to_string()).to_string()
    }

    #[test]
    fn columns_are_as_wide_as_their_longest_cell_and_lines_end_with_their_text() {
        let mut table = Table::new(&["NAME", "PORTS"]);
        table.row(["bücher".into(), "80/tcp".into()]);
        table.row([Cell::styled("a", BAD), "".into()]);
        assert_eq!(plain(&table), "NAME     PORTS\nbücher   80/tcp\na\n");
        assert_eq!(plain(&Table::of_pairs([("Name".into(), "x".into())])), "Name   x\n");
    }

    #[test]
    fn cells_are_one_line_and_have_no_orders() {
        let mut table = Table::new(&["NAME", "X"]);
        table.row(["a\u{1b}]0;x\u{7}\nb\u{202e}".into(), "y".into()]);
        assert_eq!(table.to_string().lines().last(), Some(r"a\u{1b}]0;x\u{7}\nb\u{202e}   y"));
    }

    #[test]
    fn colours_are_closed_where_they_end() {
        let mut table = Table::new(&["A"]);
        table.row([Cell::styled("x", GOOD)]);
        assert_eq!(table.to_string(), "\u{1b}[1mA\u{1b}[0m\n\u{1b}[32mx\u{1b}[0m\n");
    }
}
