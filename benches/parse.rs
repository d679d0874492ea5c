//! The cost of reading what a user wrote, by the number of ranges in it.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use workload::{
    parse_list, parse_pool, parse_ranges, pool_document, range_list, range_texts, read_document,
    refusal,
};

/// Up to as many as a pool may list ([`ipam_core::MOST_RANGES`]).
const RANGES: [u32; 4] = [1, 100, 10_000, 65_536];

/// More than 10 MB of text as a list, and more than a pool may list.
const TOO_MANY: u32 = 750_000;

fn main() {
    assert!(range_list(TOO_MANY).len() > 10_000_000);
    divan::main();
}

/// Texts in random order, a canonical set of ranges out.
#[divan::bench(args = RANGES, max_time = 2)]
fn ranges(bencher: Bencher<'_, '_>, count: u32) {
    let texts = range_texts(count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| parse_ranges(&texts));
}

/// One text of addresses with commas between them.
#[divan::bench(args = [TOO_MANY], max_time = 5)]
fn list(bencher: Bencher<'_, '_>, count: u32) {
    let text = range_list(count);
    bencher.counter(BytesCount::of_str(&text)).bench_local(|| parse_list(&text));
}

/// A JSON document in, a valid pool out.
#[divan::bench(args = RANGES, max_time = 2)]
fn pool(bencher: Bencher<'_, '_>, ranges: u32) {
    let json = pool_document(ranges);
    bencher.counter(BytesCount::of_str(&json)).bench_local(|| parse_pool(&json));
}

/// A JSON document with too many ranges in, the refusal out.
#[divan::bench(args = [TOO_MANY], max_time = 5)]
fn refused_pool(bencher: Bencher<'_, '_>, ranges: u32) {
    let json = pool_document(ranges);
    bencher.counter(BytesCount::of_str(&json)).bench_local(|| refusal(&read_document(&json)));
}

/// The part of it that is ours: the document is read already.
#[divan::bench(args = [TOO_MANY])]
fn refused_document(bencher: Bencher<'_, '_>, ranges: u32) {
    let document = read_document(&pool_document(ranges));
    bencher.bench_local(|| refusal(&document));
}
