//! Where a call's next attempt is to go: not to the endpoints where its attempts have failed, if it
//! can go elsewhere; and to the one that its sticky header chooses.

use crate::model::EndpointId;

/// As many are remembered of a call.
const KEPT: usize = 4;

/// What is known of a call when its endpoint is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Where its attempts have failed.
    pub(crate) avoid: Avoid,
    /// The key of its sticky header's value, if there is one.
    pub(crate) key: Option<u64>,
}

/// The endpoints to avoid; the longest avoided one is forgotten first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Avoid([EndpointId; KEPT]);

impl Avoid {
    /// An attempt failed there.
    pub(crate) fn add(&mut self, endpoint: EndpointId) {
        if !self.contains(endpoint) {
            self.0.rotate_right(1);
            self.0[0] = endpoint;
        }
    }

    /// Whether an attempt failed there.
    pub(crate) fn contains(&self, endpoint: EndpointId) -> bool {
        self.0.contains(&endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_four_endpoints_are_avoided() {
        let mut avoid = Avoid::default();
        for id in [1, 2, 1, 3, 4, 5] {
            avoid.add(EndpointId(id));
        }
        let avoided = [1, 2, 3, 4, 5, 6].map(|id| avoid.contains(EndpointId(id)));
        assert_eq!(avoided, [false, true, true, true, true, false]);
    }
}
