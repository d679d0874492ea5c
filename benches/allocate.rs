//! The cost of a decision in memory, by size and fill of the pool.

use divan::Bencher;
use workload::{BATCH, BookRack, CASES, Case, LISTED_CASES, Rack};

fn main() {
    divan::main();
}

/// Pools and what is free in, an address out and noted as held.
#[divan::bench(args = CASES, sample_size = BATCH)]
fn allocate(bencher: Bencher<'_, '_>, case: Case) {
    let rack = Rack::new(case);
    // divan drops the answers of a sample, which releases them, after it has stopped the clock.
    bencher.bench_local(|| rack.allocate());
}

/// A held address becomes free.
#[divan::bench(args = CASES, sample_size = BATCH)]
fn release(bencher: Bencher<'_, '_>, case: Case) {
    let rack = Rack::new(case);
    bencher.with_inputs(|| rack.allocate()).bench_local_values(drop);
}

/// The same with `Book`: a whole lease is written down, with all that a runtime tells.
#[divan::bench(args = LISTED_CASES, sample_size = BATCH)]
fn book_allocate(bencher: Bencher<'_, '_>, case: Case) {
    let rack = BookRack::new(case);
    let bencher = bencher.with_inputs(|| rack.request());
    bencher.bench_local_values(|request| rack.allocate(request));
}

/// A lease ends.
#[divan::bench(args = LISTED_CASES, sample_size = BATCH)]
fn book_release(bencher: Bencher<'_, '_>, case: Case) {
    let rack = BookRack::new(case);
    bencher.with_inputs(|| rack.allocate(rack.request())).bench_local_values(drop);
}
