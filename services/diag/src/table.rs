//! Columns of text.

use alloc::{format, string::String, vec::Vec};

/// Widest cell; what is longer is cut. Names are shorter, and texts of other programs must not push the rest off the screen.
const MAXIMUM_CELL: usize = 60;

/// Which way a column's cells are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// Rows below a header.
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a header. A name that begins with `>` is that of a column of numbers.
    pub fn new(header: &[&str]) -> Self {
        let aligned = |name: &&str| if name.starts_with('>') { Align::Right } else { Align::Left };
        let names = header.iter().map(|name| String::from(name.trim_start_matches('>'))).collect();
        Self { columns: header.iter().map(aligned).collect(), rows: alloc::vec![names] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell, MAXIMUM_CELL)).collect());
    }

    /// The lines, each column as wide as its widest cell.
    pub fn lines(&self) -> Vec<String> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for ((cell, width), align) in row.iter().zip(&widths).zip(&self.columns) {
                let width = *width;
                line += &match align {
                    Align::Left => format!("{cell:<width$}  "),
                    Align::Right => format!("{cell:>width$}  "),
                };
            }
            line.truncate(line.trim_end().len());
            line
        };
        self.rows.iter().map(line).collect()
    }
}

/// Text of at most so many characters without control characters, which would be orders to the terminal.
pub fn printable(text: &str, maximum: usize) -> String {
    text.chars().take(maximum).map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(&["name", ">count", "what"]);
        table.row(["a".into(), "12345".into(), "x".into()]);
        table.row(["long-name".into(), "1".into(), String::new()]);
        assert_eq!(table.lines(), ["name       count  what", "a          12345  x", "long-name      1"]);
    }

    #[test]
    fn cells_are_short_and_printable() {
        let mut table = Table::new(&["a"]);
        table.row([format!("\x1b[2J{}", "ü".repeat(100))]);
        let line = &table.lines()[1];
        assert!(line.starts_with("?[2Jü") && line.chars().count() == MAXIMUM_CELL, "{line}");
    }
}
