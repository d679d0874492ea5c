//! Ranges and pool documents as text, and what reads them.

use std::net::Ipv4Addr;

use ipam_core::{AddressRange, Pool, PoolDocument, PoolSpec, RangeSet, Violations};

use crate::random::{Random, SEED};
use crate::spec;

/// The text of this many ranges of ten addresses as `spec.ips` has them, in random order; no two
/// touch.
pub fn range_texts(count: u32) -> Vec<String> {
    in_random_order(count, |index| {
        let first = Ipv4Addr::from_bits(0x0a00_0000 + index * 16);
        let last = Ipv4Addr::from_bits(first.to_bits() + 9);
        format!("{first}-{last}")
    })
}

/// This many single addresses in random order with commas between them; no two touch.
pub fn range_list(count: u32) -> String {
    in_random_order(count, |index| Ipv4Addr::from_bits(0x0a00_0000 + index * 16).to_string())
        .join(",")
}

fn in_random_order(count: u32, text: impl Fn(u32) -> String) -> Vec<String> {
    let mut random = Random(SEED);
    let mut texts: Vec<(u64, String)> = (0..count).map(|at| (random.next(), text(at))).collect();
    texts.sort_unstable();
    texts.into_iter().map(|(_, text)| text).collect()
}

/// Reads ranges and unites them.
///
/// # Panics
///
/// If one of the texts is no range.
pub fn parse_ranges(texts: &[String]) -> RangeSet {
    let ranges = texts.iter().map(|text| text.parse::<AddressRange>());
    ranges.collect::<Result<_, _>>().expect("the texts are ranges")
}

/// Reads a list with commas.
///
/// # Panics
///
/// If the text is no such list.
pub fn parse_list(text: &str) -> RangeSet {
    text.parse().expect("the text is a list of ranges")
}

/// The JSON text of a pool document with this many ranges.
///
/// # Panics
///
/// Never: every such document has a text.
pub fn pool_document(ranges: u32) -> String {
    let spec = PoolSpec {
        ips: range_texts(ranges),
        gateway: Some("10.255.255.253".into()),
        ..spec("10.0.0.0/8", "master", "kube-system/ipvlan-eth0")
    };
    serde_json::to_string(&PoolDocument::new("measured".into(), spec))
        .expect("text has a JSON form")
}

/// Reads a document and does not judge it.
///
/// # Panics
///
/// If the text is no pool document.
pub fn read_document(json: &str) -> PoolDocument {
    serde_json::from_str(json).expect("the text is a document")
}

/// Reads a document and validates the pool.
///
/// # Panics
///
/// If the text is no valid pool document.
pub fn parse_pool(json: &str) -> Pool {
    let document = read_document(json);
    Pool::new(&document.metadata.name, &document.spec).expect("the document is valid")
}

/// What is wrong with a document.
///
/// # Panics
///
/// If nothing is.
pub fn refusal(document: &PoolDocument) -> Violations {
    Pool::new(&document.metadata.name, &document.spec).expect_err("the document is not valid")
}

#[cfg(test)]
mod tests {
    use ipam_core::MOST_RANGES;

    use super::*;

    #[test]
    fn the_documents_have_as_many_ranges_as_they_say() {
        assert_eq!(parse_ranges(&range_texts(100)).ranges().len(), 100);
        assert_eq!(parse_list(&range_list(100)).size(), 100);
        let pool = parse_pool(&pool_document(100));
        assert_eq!(pool.assignable().size(), 999, "10.0.0.0 is the network's");
    }

    #[test]
    fn a_document_with_too_many_ranges_is_refused_for_that() {
        let most = u32::try_from(MOST_RANGES).unwrap();
        parse_pool(&pool_document(most));
        let refused = refusal(&read_document(&pool_document(most + 1)));
        assert_eq!(refused.as_slice().len(), 1);
        assert!(refused.to_string().contains("65537 entries"), "{refused}");
    }
}
