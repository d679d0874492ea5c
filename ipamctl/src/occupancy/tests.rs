use std::collections::BTreeMap;

use ipam_core::{Attachment, Labels, Moment, PoolSpec, ReservedSpec, Rest, Stamp};
use proptest::prelude::*;

use super::grid::Grid;
use super::*;

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn pool(ips: &[(u8, u8)], excluded: &[(u8, u8)], gateway: Option<u8>) -> Pool {
    let texts = |ranges: &[(u8, u8)]| {
        let text = |(first, last): &(u8, u8)| format!("{}-{}", address(*first), address(*last));
        ranges.iter().map(text).collect()
    };
    Pool::new(
        "p",
        &PoolSpec {
            subnet: "10.0.0.0/24".into(),
            ips: texts(ips),
            exclude_ips: texts(excluded),
            gateway: gateway.map(|last| address(last).to_string()),
            ..PoolSpec::default()
        },
    )
    .unwrap()
}

fn reserved(name: &str, last: &[u8], is_fence: bool) -> Reserved {
    let ips = last.iter().map(|last| address(*last).to_string()).collect();
    let labels: Labels = if is_fence {
        let pairs = [
            ("app.kubernetes.io/managed-by", "ipamctl-sync"),
            ("node-ipam/gone-since", "1795300000"),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    } else {
        Labels::new()
    };
    let spec = ReservedSpec { ip_version: None, ips };
    Reserved::new(name, &spec).unwrap().with_labels(labels).unwrap()
}

fn lease(last: u8) -> Lease {
    Lease {
        address: address(last),
        pool: "p".parse().unwrap(),
        attachment: Attachment {
            network: "n".parse().unwrap(),
            container: format!("c{last}").parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        },
        pod: None,
        netns: None,
        since: Stamp::default(),
    }
}

fn resting(last: u8, kind: RestKind) -> Resting {
    let (since, until) = (Moment(1), Moment(2));
    let key = ipam_core::StickyKey {
        namespace: "ns".into(),
        name: "web-0".into(),
        network: "n".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let rest = match kind {
        RestKind::Cooldown => Rest::cooling(since, until),
        RestKind::Quarantine => Rest::quarantine("a MAC".into(), since, until),
        RestKind::Sticky => Rest::sticky(key, since, until),
    };
    Resting { address: address(last), pool: "p".parse().unwrap(), rest }
}

fn ranges() -> impl Strategy<Value = Vec<(u8, u8)>> {
    let range =
        (any::<u8>(), 0_u8..40).prop_map(|(first, more)| (first, first.saturating_add(more)));
    prop::collection::vec(range, 1..5)
}

fn some() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..30)
}

proptest! {
    /// What a person would do: look at each address by itself.
    #[test]
    fn each_address_is_in_one_run_and_in_the_state_that_a_look_at_it_alone_finds(
        ips in ranges(),
        excluded in ranges(),
        gateway in prop::option::of(1_u8..255),
        (fenced, others) in (some(), some()),
        (held, cooling, sticky, quarantined) in (some(), some(), some(), some()),
        column_bits in 0_u32..8,
    ) {
        let pool = pool(&ips, &excluded, gateway);
        let reservations = [reserved("fence", &fenced, true), reserved("other", &others, false)];
        let leases: Vec<Lease> = held.iter().copied().map(lease).collect();
        // An address rests for one reason.
        let rests: BTreeMap<u8, RestKind> = [
            (&cooling, RestKind::Cooldown),
            (&sticky, RestKind::Sticky),
            (&quarantined, RestKind::Quarantine),
        ]
        .into_iter()
        .flat_map(|(some, kind)| some.iter().map(move |last| (*last, kind)))
        .collect();
        let resting: Vec<Resting> =
            rests.iter().map(|(last, kind)| resting(*last, *kind)).collect();
        let occupancy = Occupancy::new(&pool, &reservations, &leases, &resting);

        let is_in = |ranges: &[(u8, u8)], last: u8| {
            ranges.iter().any(|(first, end)| (*first..=*end).contains(&last))
        };
        let oracle = |last: u8| -> Option<State> {
            if held.contains(&last) {
                let is_fenced = fenced.contains(&last);
                return Some(if is_fenced { State::HeldFenced } else { State::Held });
            }
            if !is_in(&ips, last) {
                return None;
            }
            if fenced.contains(&last) {
                return Some(State::Fenced);
            }
            let is_nobodys = is_in(&excluded, last)
                || gateway == Some(last)
                || matches!(last, 0 | 255)
                || others.contains(&last);
            if is_nobodys {
                return Some(State::Reserved);
            }
            Some(rests.get(&last).map_or(State::Free, |kind| State::of_rest(*kind)))
        };
        for last in 0..=255_u8 {
            let runs = occupancy.runs.iter().filter(|run| run.range.contains(address(last)));
            let states: Vec<State> = runs.map(|run| run.state).collect();
            prop_assert_eq!(states, oracle(last).into_iter().collect::<Vec<_>>(), "{}", last);
        }
        let ends: Vec<IpAddr> =
            occupancy.runs.iter().flat_map(|run| [run.range.first(), run.range.last()]).collect();
        prop_assert!(ends.is_sorted());

        let grid = Grid::new(&occupancy, column_bits);
        for state in State::ALL {
            let expected = (0..=255).filter(|last| oracle(*last) == Some(state)).count() as u128;
            prop_assert_eq!(occupancy.count(state), expected);
            let cells = grid.rows.iter().flat_map(|row| &row.cells);
            prop_assert_eq!(cells.map(|cell| cell.count(state)).sum::<u128>(), expected);
        }
        prop_assert!(grid.rows.len() <= 16);
    }
}

#[test]
fn a_pool_of_all_addresses_costs_no_more_than_its_leases() {
    for subnet in ["::/0", "0.0.0.0/0", "2001:db8::/64"] {
        let spec =
            PoolSpec { subnet: subnet.into(), ips: vec![subnet.into()], ..PoolSpec::default() };
        let pool = Pool::new("p", &spec).unwrap();
        let occupancy = Occupancy::new(&pool, &[], &[], &[]);
        for column_bits in [0, 3, 6] {
            let grid = Grid::new(&occupancy, column_bits);
            assert!((1..=16).contains(&grid.rows.len()), "{subnet}: {}", grid.rows.len());
            let cells = grid.rows.iter().flat_map(|row| &row.cells);
            let free = cells.fold(0_u128, |sum, cell| sum.saturating_add(cell.count(State::Free)));
            assert_eq!(free, occupancy.count(State::Free), "{subnet}");
        }
    }
}
