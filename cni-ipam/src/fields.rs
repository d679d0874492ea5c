//! The fields of `ipam` that this crate reads.

use std::collections::BTreeSet;

use cni_proto::field_names;

use crate::{config, exhaustion, place, ranges};

/// What `ipam` may say where its addresses are of applied pools, but for what it says about logs.
/// Keys match in any ASCII case.
pub fn pool_fields() -> BTreeSet<&'static str> {
    let mut fields = place_fields();
    fields.extend(field_names::<config::Ipam>());
    fields.extend(field_names::<exhaustion::Ipam>());
    fields
}

/// What `ipam` may say where it has ranges of its own, but for what it says about logs. Keys match
/// in any ASCII case.
pub fn range_fields() -> BTreeSet<&'static str> {
    let mut fields = place_fields();
    fields.extend(field_names::<ranges::Ipam>());
    fields.retain(|field| !field_names::<config::Ipam>().contains(field));
    fields
}

fn place_fields() -> BTreeSet<&'static str> {
    let types = field_names::<config::Kind>().iter();
    types.chain(field_names::<place::Fields>()).copied().collect()
}

#[cfg(test)]
mod tests {
    use crate::{cluster, range};

    use super::*;
    use crate::documentation::documented;

    fn set<'a>(fields: impl IntoIterator<Item = &'a &'static str>) -> BTreeSet<String> {
        fields.into_iter().map(|&field| field.to_owned()).collect()
    }

    #[test]
    fn the_documentation_has_every_field_and_no_other() {
        let document = |column| documented("cni-ipam", column);
        assert_eq!(document("field of `ipam`, for both"), set(field_names::<place::Fields>()));
        assert_eq!(document("field of a range"), set(field_names::<range::RangeText>()));
        let places = place_fields();
        let of_ranges = range_fields();
        assert_eq!(document("field of `ipam`, for ranges"), set(of_ranges.difference(&places)));
    }

    /// Those of a pod are constants of `ipam-core`, and in the same tables.
    #[test]
    fn the_documentation_has_the_annotations() {
        let mut expected = set(field_names::<cluster::Annotations>());
        expected
            .extend([ipam_core::ANNOTATION_POOLS, ipam_core::ANNOTATION_POOL].map(str::to_owned));
        let text = include_str!("../../docs/config.md");
        for annotation in expected {
            assert!(text.contains(&format!("`{annotation}`")), "{annotation}");
        }
        let further = documented("Pod annotations", "annotation");
        let mut known = vec![ipam_core::ANNOTATION_ROUTES, "ipam.spidernet.io/default-route-nic"];
        known.extend(crate::wish::ANNOTATIONS_OF_SUBNETS);
        assert_eq!(further, set(&known));
    }

    #[test]
    fn pools_and_ranges_share_what_a_place_is() {
        let both: BTreeSet<_> = pool_fields().intersection(&range_fields()).copied().collect();
        assert_eq!(both, place_fields());
    }
}
