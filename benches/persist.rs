//! The cost of a durable decision through the file, by the number of leases in it.

use divan::Bencher;
use workload::Durable;

const LEASES: [u32; 3] = [0, 250, 1000];

/// Cargo's directory for what benches write: on disk where the build is, as `/tmp` need not be.
const ON_DISK: &str = env!("CARGO_TARGET_TMPDIR");

fn main() {
    divan::main();
}

/// Lock, open, decide, commit, close: what an ADD does with the store.
#[divan::bench(args = LEASES, sample_size = 1)]
fn allocate(bencher: Bencher<'_, '_>, leases: u32) {
    let durable = Durable::with_leases(ON_DISK, leases);
    // divan drops the answer, which releases it, after it has stopped the clock.
    bencher.bench_local(|| durable.allocate());
}

/// The same for a DEL.
#[divan::bench(args = LEASES, sample_size = 1)]
fn release(bencher: Bencher<'_, '_>, leases: u32) {
    let durable = Durable::with_leases(ON_DISK, leases);
    bencher.with_inputs(|| durable.allocate()).bench_local_values(drop);
}
