//! The map as a picture that stands alone: no script, nothing from elsewhere, light or dark as the
//! reader has it.

use std::fmt::{self, Write as _};

use ipam_core::Pool;

use super::grid::{Cell, Grid};
use super::terminal::{block_size, sign};
use super::{Occupancy, State};

/// All in the picture's own units.
const CELL: usize = 14;
const GAP: usize = 2;
const MARGIN: usize = 24;
/// Of a character of the labels, which are of one width.
const CHARACTER: usize = 8;
const COLUMN_BITS: u32 = 6;
const LEGEND_COLUMN: usize = 240;
const LEGEND_COLUMNS: usize = 4;
const LEGEND_ROW: usize = 22;

const STYLE: &str = "\
:root { color-scheme: light dark }
svg { max-width: 100%; height: auto; background: #ffffff; font: 13px ui-monospace, monospace }
text { fill: #1f2328 } .quiet { fill: #59636e }
.title { font-size: 18px; font-weight: bold }
.mark { font-size: 11px; text-anchor: middle; fill: #ffffff }
.free { fill: #d8e6da } .held { fill: #0969da } .heldFenced { fill: #a40e26 }
.cooling { fill: #1b7c83 } .sticky { fill: #8250df } .pinned { fill: #bf3989 }
.quarantined { fill: #9a6700 } .fenced { fill: #cf222e } .reserved { fill: #818b98 }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 } text { fill: #f0f6fc } .quiet { fill: #9198a1 }
.free { fill: #1c3324 } .held { fill: #1f6feb } .reserved { fill: #484f58 }
}
";

/// The report of one pool. `when` is the time in words.
pub(crate) fn report(pool: &Pool, occupancy: &Occupancy, when: &str) -> String {
    let mut picture = String::new();
    // A string takes whatever is written.
    let _ = write(&mut picture, pool, occupancy, when);
    picture
}

fn write(
    to: &mut String,
    pool: &Pool,
    occupancy: &Occupancy,
    when: &str,
) -> Result<(), fmt::Error> {
    let grid = Grid::new(occupancy, COLUMN_BITS);
    let label = grid.rows.iter().map(|row| row.first.to_string().len()).max().unwrap_or_default();
    let left = MARGIN + (label + 1) * CHARACTER;
    let cells = grid.rows.iter().map(|row| row.cells.len()).max().unwrap_or_default();
    let width =
        (left + cells * (CELL + GAP) + MARGIN).max(2 * MARGIN + LEGEND_COLUMNS * LEGEND_COLUMN);
    let top = MARGIN + 56;
    let legend = top + grid.rows.len() * (CELL + GAP) + 28;
    let legend_height = State::ALL.len().div_ceil(LEGEND_COLUMNS) * LEGEND_ROW;
    let height = legend + legend_height + 30 + MARGIN;
    let name = Escaped(pool.name().as_str());
    writeln!(
        to,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title\">"
    )?;
    writeln!(to, "<title id=\"title\">Addresses of pool {name}</title>")?;
    writeln!(to, "<style>{STYLE}</style>")?;
    writeln!(to, "<text class=\"title\" x=\"{MARGIN}\" y=\"{}\">{name}</text>", MARGIN + 12)?;
    writeln!(
        to,
        "<text class=\"quiet\" x=\"{MARGIN}\" y=\"{}\">{}: {} of {} addresses held, {when}</text>",
        MARGIN + 34,
        pool.subnet(),
        occupancy.held(),
        occupancy.total(),
        when = Escaped(when)
    )?;
    for (row_number, row) in grid.rows.iter().enumerate() {
        let y = top + row_number * (CELL + GAP);
        writeln!(to, "<text x=\"{MARGIN}\" y=\"{}\">{}</text>", y + CELL - 3, row.first)?;
        for (column, cell) in row.cells.iter().enumerate() {
            if let Some(state) = cell.mark() {
                self::cell(to, cell, state, left + column * (CELL + GAP), y)?;
            }
        }
    }
    for (index, state) in State::ALL.into_iter().enumerate() {
        let (row, column) = (index / LEGEND_COLUMNS, index % LEGEND_COLUMNS);
        let (x, y) = (MARGIN + column * LEGEND_COLUMN, legend + row * LEGEND_ROW);
        swatch(to, state, 100, x, y)?;
        let count = occupancy.count(state);
        let word = state.word();
        writeln!(to, "<text x=\"{}\" y=\"{}\">{word} {count}</text>", x + CELL + 6, y + CELL - 3)?;
    }
    let size = match grid.block_bits {
        0 => "one cell: one address".to_owned(),
        bits => {
            let size = block_size(bits);
            format!("one cell: {size} addresses; the fuller the colour of held, the more are held")
        }
    };
    let y = legend + legend_height + 20;
    writeln!(to, "<text class=\"quiet\" x=\"{MARGIN}\" y=\"{y}\">{size}</text>")?;
    writeln!(to, "</svg>")
}

fn cell(to: &mut String, cell: &Cell, state: State, x: usize, y: usize) -> fmt::Result {
    let opacity = if state == State::Held { [0, 35, 60, 80, 100][cell.fill()] } else { 100 };
    write!(to, "<g><title>{}: ", cell.range)?;
    if cell.range.size() == 1 {
        write!(to, "{}", state.word())?;
    } else {
        let there = State::ALL.into_iter().filter(|state| cell.count(*state) > 0);
        let counts = there.map(|state| format!("{} {}", cell.count(state), state.word()));
        write!(to, "{}", counts.collect::<Vec<_>>().join("; "))?;
    }
    write!(to, "</title>")?;
    swatch(to, state, opacity, x, y)?;
    writeln!(to, "</g>")
}

/// One square, with the sign by which it is known without its colour.
fn swatch(to: &mut String, state: State, opacity: usize, x: usize, y: usize) -> fmt::Result {
    write!(
        to,
        "<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\" rx=\"2\"",
        state.key()
    )?;
    if opacity < 100 {
        write!(to, " fill-opacity=\"{}.{:02}\"", opacity / 100, opacity % 100)?;
    }
    write!(to, "/>")?;
    if matches!(state, State::Held | State::Free) {
        return Ok(());
    }
    let sign = sign(state, false);
    write!(to, "<text class=\"mark\" x=\"{}\" y=\"{}\">{sign}</text>", x + CELL / 2, y + CELL - 3)
}

/// A text as XML has it (XML 1.0, section 2.4), without the characters that XML has not.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&apos;")?,
                character if character.is_control() => f.write_str("\u{fffd}")?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}
