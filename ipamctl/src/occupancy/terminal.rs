//! The map in a terminal: a character a cell, which says the state without its colour.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::Result;

use super::grid::{Cell, Grid, Row};
use super::{Occupancy, State};
use crate::screen::Screen;

/// The most and the fewest cells in a row, as powers of two.
const COLUMN_BITS: std::ops::RangeInclusive<u32> = 3..=6;

/// A space after so many cells makes them easy to count.
const GROUPS: [usize; 2] = [8, 16];

pub(crate) fn draw(occupancy: &Occupancy, screen: Screen, out: &mut dyn Write) -> Result<()> {
    let (grid, group) = layout(occupancy, screen.columns);
    let label = label_width(&grid);
    for row in &grid.rows {
        let cells = cells(row, &grid, group, screen);
        writeln!(out, "{:<label$} {cells}", row.first.to_string())?;
    }
    legend(occupancy, &grid, screen, out)
}

/// The widest rows that fit, and after how many cells a space stands.
fn layout(occupancy: &Occupancy, columns: usize) -> (Grid, usize) {
    let mut grid = Grid::new(occupancy, *COLUMN_BITS.start());
    for column_bits in COLUMN_BITS.rev() {
        grid = Grid::new(occupancy, column_bits);
        if label_width(&grid) + 1 + (1 << column_bits) <= columns {
            let cells = 1 << column_bits;
            let fits = |group: &&usize| label_width(&grid) + cells + cells / **group <= columns;
            let group = GROUPS.iter().find(fits).copied().unwrap_or(usize::MAX);
            return (grid, group);
        }
    }
    (grid, usize::MAX)
}

fn label_width(grid: &Grid) -> usize {
    grid.rows.iter().map(|row| row.first.to_string().len()).max().unwrap_or_default()
}

fn cells(row: &Row, grid: &Grid, group: usize, screen: Screen) -> String {
    let drawn = row.cells.iter().rposition(|cell| cell.mark().is_some()).map_or(0, |last| last + 1);
    let mut line = String::new();
    let mut open = (String::new(), "");
    for (index, cell) in row.cells[..drawn].iter().enumerate() {
        if index > 0 && index % group == 0 {
            open.0.push(' ');
        }
        let sgr = cell.mark().map_or("", colour);
        // A blank is of any colour: one sequence paints all up to the next one.
        if sgr != open.1 {
            line.push_str(&screen.paint(open.1, &open.0));
            open = (String::new(), sgr);
        }
        open.0.push(character(cell, grid, screen.has_unicode));
    }
    line + &screen.paint(open.1, &open.0)
}

fn character(cell: &Cell, grid: &Grid, has_unicode: bool) -> char {
    match cell.mark() {
        None => ' ',
        Some(State::Held) if grid.is_blocks() => fills(has_unicode)[cell.fill() - 1],
        Some(state) => sign(state, has_unicode),
    }
}

/// How a block looks of which up to a third, up to two thirds, more, and all are held.
fn fills(has_unicode: bool) -> [char; 4] {
    if has_unicode { ['░', '▒', '▓', '█'] } else { [':', 'o', 'O', '#'] }
}

/// The character of a state.
pub(super) fn sign(state: State, has_unicode: bool) -> char {
    match state {
        State::Held if has_unicode => '■',
        State::Held => '#',
        State::HeldFenced => 'X',
        State::Free if has_unicode => '·',
        State::Free => '.',
        State::Cooling => '~',
        State::Sticky => 's',
        State::Pinned => 'p',
        State::Quarantined => '!',
        State::Fenced => 'x',
        State::Reserved => '-',
    }
}

/// Bright colours for what somebody should look at.
fn colour(state: State) -> &'static str {
    match state {
        State::Held => "34",
        State::HeldFenced => "1;31",
        State::Free => "32",
        State::Cooling => "36",
        State::Sticky => "35",
        State::Pinned => "95",
        State::Quarantined => "1;33",
        State::Fenced => "31",
        State::Reserved => "90",
    }
}

/// What the characters mean, with how many addresses each stands for.
fn legend(occupancy: &Occupancy, grid: &Grid, screen: Screen, out: &mut dyn Write) -> Result<()> {
    let always = [State::Held, State::Free];
    let shown = |state: &State| always.contains(state) || occupancy.count(*state) > 0;
    let mut line = String::new();
    let mut width = 0;
    writeln!(out)?;
    for state in State::ALL.into_iter().filter(shown) {
        let sign = match state {
            State::Held if grid.is_blocks() => fills(screen.has_unicode)[3],
            other => sign(other, screen.has_unicode),
        };
        let text = format!("{sign} {} {}", state.word(), occupancy.count(state));
        if width > 0 && width + 3 + text.chars().count() > screen.columns {
            writeln!(out, "{line}")?;
            (line, width) = (String::new(), 0);
        } else if width > 0 {
            line.push_str("   ");
            width += 3;
        }
        width += text.chars().count();
        write!(line, "{}", screen.paint(colour(state), &text))?;
    }
    writeln!(out, "{line}")?;
    if grid.is_blocks() {
        let [third, two, more, all] = fills(screen.has_unicode);
        writeln!(out, "one cell: {} addresses", block_size(grid.block_bits))?;
        writeln!(out, "held: {third} up to 1/3, {two} up to 2/3, {more} more, {all} all")?;
    }
    Ok(())
}

pub(crate) fn block_size(bits: u32) -> String {
    if bits < 32 { (1_u64 << bits).to_string() } else { format!("2^{bits}") }
}
