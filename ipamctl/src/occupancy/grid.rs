//! The cells of a map: rows that begin at round addresses, each cell one address or a block.

use std::net::IpAddr;

use ipam_core::{AddressRange, Family, from_bits, to_bits};

use super::{Occupancy, State};

/// A map has no more rows than this, unless the pool is smaller than a row of single addresses.
const MOST_ROWS: usize = 16;

/// The cells of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) rows: Vec<Row>,
    /// A cell is 2 to this power addresses.
    pub(crate) block_bits: u32,
}

/// So many cells side by side; rows without any address of the pool are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The address at which the first cell begins, whether the pool has it or not.
    pub(crate) first: IpAddr,
    pub(crate) cells: Vec<Cell>,
}

/// One address, or a block of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The addresses that the cell stands for, not all of which the pool may have.
    pub(crate) range: AddressRange,
    counts: [u128; State::ALL.len()],
}

impl Grid {
    /// The cells of a pool, `1 << column_bits` in a row.
    pub(crate) fn new(occupancy: &Occupancy, column_bits: u32) -> Self {
        let Some(first) = occupancy.runs.first() else {
            return Self { rows: Vec::new(), block_bits: 0 };
        };
        let family = first.range.family();
        let bits = u32::from(family.bits());
        let column_bits = column_bits.min(bits);
        let mut block_bits = 0;
        while block_bits + column_bits < bits
            && row_numbers(occupancy, block_bits + column_bits).len() > MOST_ROWS
        {
            block_bits += 1;
        }
        let numbers = row_numbers(occupancy, block_bits + column_bits);
        let mut rows: Vec<Row> = numbers
            .iter()
            .map(|number| {
                let start = shifted(*number, block_bits + column_bits);
                let cells = 0..1_u128 << column_bits;
                let cell = |at| Cell::new(family, start + shifted(at, block_bits), block_bits);
                Row { first: from_bits(family, start), cells: cells.map(cell).collect() }
            })
            .collect();
        let cells: Vec<&mut Cell> = rows.iter_mut().flat_map(|row| &mut row.cells).collect();
        fill(cells, occupancy);
        Self { rows, block_bits }
    }

    pub(crate) fn is_blocks(&self) -> bool {
        self.block_bits > 0
    }
}

impl Cell {
    fn new(family: Family, first: u128, block_bits: u32) -> Self {
        let last = first + (1_u128.checked_shl(block_bits).unwrap_or(0).wrapping_sub(1));
        let (first, last) = (from_bits(family, first), from_bits(family, last));
        let range = AddressRange::new(first, last).unwrap_or_else(|_| first.into());
        Self { range, counts: [0; State::ALL.len()] }
    }

    /// How many addresses of the pool are in this state here.
    pub(crate) fn count(&self, state: State) -> u128 {
        self.counts[state as usize]
    }

    /// The state that a person has to see first; `None` if the pool has nothing here.
    ///
    /// What is wrong comes before what is held, and what is held before the rest: of that, how
    /// much is free matters.
    pub(crate) fn mark(&self) -> Option<State> {
        let mut states: Vec<State> =
            State::ALL.into_iter().filter(|state| self.count(*state) > 0).collect();
        states.sort_unstable();
        states.pop()
    }

    /// How full it is, from 0, where nothing is held, to 4, where all is that may be.
    pub(crate) fn fill(&self) -> usize {
        let held = self.count(State::Held).saturating_add(self.count(State::HeldFenced));
        let sizes = State::ALL.into_iter().filter(|state| *state != State::Reserved);
        let size = sizes.map(|state| self.count(state)).fold(0, u128::saturating_add);
        match held {
            0 => 0,
            held if held >= size => 4,
            held if held <= size / 3 => 1,
            held if held <= size / 3 * 2 => 2,
            _ => 3,
        }
    }
}

/// Which rows of `1 << row_bits` addresses have some of the pool, in ascending order.
fn row_numbers(occupancy: &Occupancy, row_bits: u32) -> Vec<u128> {
    let row_of = |address| to_bits(address).checked_shr(row_bits).unwrap_or(0);
    let mut numbers: Vec<u128> = Vec::new();
    for run in &occupancy.runs {
        let (first, last) = (row_of(run.range.first()), row_of(run.range.last()));
        let next = numbers.last().map_or(first, |last| first.max(last + 1));
        // Too many rows are all alike to who asks.
        let room = (2 * MOST_ROWS).saturating_sub(numbers.len());
        numbers.extend((next..=last).take(room));
    }
    numbers
}

/// Counts the addresses of each state in each cell. Both are in ascending order, so that each run
/// and each cell is looked at once.
fn fill(mut cells: Vec<&mut Cell>, occupancy: &Occupancy) {
    let mut from = 0;
    for run in &occupancy.runs {
        while cells.get(from).is_some_and(|cell| cell.range.last() < run.range.first()) {
            from += 1;
        }
        for cell in cells[from..].iter_mut().take_while(|c| c.range.first() <= run.range.last()) {
            let first = to_bits(cell.range.first().max(run.range.first()));
            let last = to_bits(cell.range.last().min(run.range.last()));
            let count = &mut cell.counts[run.state as usize];
            *count = count.saturating_add((last - first).saturating_add(1));
        }
    }
}

fn shifted(number: u128, bits: u32) -> u128 {
    number.checked_shl(bits).unwrap_or(0)
}
