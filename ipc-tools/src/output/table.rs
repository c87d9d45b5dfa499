//! Columns for people: headings, then cells, at least two spaces apart. Programs should ask for JSON.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::human::printable;
use crate::exit::Outcome;

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

/// Text and what it means to the reader.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Something that is wrong.
    pub(crate) fn bad(text: impl ToString) -> Self {
        Self {
            style: AnsiColor::Red.on_default(),
            ..Self::from(text)
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: printable(&text.to_string()),
            style: Style::new(),
        }
    }
}

impl Table {
    pub(crate) fn new(headings: &'static [&'static str]) -> Self {
        Self {
            headings,
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints headings and rows; without rows, only headings.
    pub(crate) fn print(&self) -> Outcome {
        super::print_styled(&self.render())
    }

    fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|c| c.text.chars().count());
            cells
                .chain([self.headings[column].len()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        let bold = Style::new().bold();
        line(&mut text, &widths, self.headings.iter().map(|h| (*h, bold)));
        for row in &self.rows {
            line(
                &mut text,
                &widths,
                row.iter().map(|c| (c.text.as_str(), c.style)),
            );
        }
        text
    }
}

/// Aligned but for the last cell, so that no line ends in spaces.
fn line<'a>(
    text: &mut String,
    widths: &[usize],
    cells: impl ExactSizeIterator<Item = (&'a str, Style)>,
) {
    let last = cells.len().saturating_sub(1);
    for (column, (cell, style)) in cells.enumerate() {
        let _ = write!(text, "{style}{cell}{style:#}"); // a String takes everything
        if column < last {
            let gap = widths[column].saturating_sub(cell.chars().count()) + 2;
            text.extend(std::iter::repeat_n(' ', gap));
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_in_spaces() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(["a".into(), 12345.into()]);
        table.row(["longer".into(), Cell::bad(1)]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "NAME    N\na       12345\nlonger  1\n");
    }
}
