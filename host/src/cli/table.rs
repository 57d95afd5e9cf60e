//! Columns as Docker prints them: left-aligned, at least ten wide, three blanks between.

use std::io::{self, Write};

use super::human::harmless;

/// As wide as Docker's columns are at least.
const NARROWEST: usize = 10;

/// Prints a head and its rows.
pub(crate) fn print<const N: usize>(out: &mut impl Write, head: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    line(out, NARROWEST, &widths, head.iter().copied())?;
    rows.iter().try_for_each(|row| line(out, NARROWEST, &widths, row.iter().map(String::as_str)))
}

/// Prints lines whose cells stand between tabs; the first is the head.
pub(crate) fn align(out: &mut impl Write, lines: &[String]) -> io::Result<()> {
    align_at_least(out, NARROWEST, lines)
}

/// The same with columns at least `narrowest` wide.
pub(crate) fn align_at_least(out: &mut impl Write, narrowest: usize, lines: &[String]) -> io::Result<()> {
    let mut widths = Vec::new();
    for line in lines {
        for (column, cell) in line.split('\t').enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    lines.iter().try_for_each(|text| line(out, narrowest, &widths, text.split('\t')))
}

fn line<'a>(
    out: &mut impl Write,
    narrowest: usize,
    widths: &[usize],
    cells: impl Iterator<Item = &'a str>,
) -> io::Result<()> {
    let mut text = String::new();
    for (column, (width, cell)) in widths.iter().zip(cells).enumerate() {
        let last = column + 1 == widths.len();
        let room = if last { 0 } else { (width + 3).max(narrowest) };
        let cell = harmless(cell);
        text.push_str(&format!("{cell:room$}"));
    }
    writeln!(out, "{text}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_ten_wide_or_three_more_than_their_longest_cell() {
        let mut out = Vec::new();
        let rows = [["a".to_owned(), "a longer cell".to_owned(), "x".to_owned()]];
        super::print(&mut out, ["ONE", "TWO", "THREE"], &rows).expect("memory");
        let expected = "ONE       TWO             THREE\na         a longer cell   x\n";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }
}
