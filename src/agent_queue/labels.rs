//! The names of queues as labels of metrics.
//!
//! Clients choose them, and a recorder never forgets a label: so the first 1,000 names of a process
//! are told apart, and all others are `other` together.

use metrics::SharedString;
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

/// How many names are told apart.
const MOST: usize = 1000;

/// The names that are told apart.
#[derive(Debug, Default)]
struct Labels(Mutex<HashSet<SharedString>>);

/// The label of a queue, the same for as long as the process lives.
pub(super) fn label(agent_id: &str) -> SharedString {
    static LABELS: LazyLock<Labels> = LazyLock::new(Labels::default);
    LABELS.of(agent_id)
}

impl Labels {
    fn of(&self, agent_id: &str) -> SharedString {
        let mut known = self.0.lock();
        if let Some(label) = known.get(agent_id) {
            return label.clone();
        }
        if known.len() == MOST {
            return SharedString::const_str("other");
        }
        let label = SharedString::from(Arc::<str>::from(agent_id));
        known.insert(label.clone());
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_queues_have_labels_of_their_own_and_the_rest_is_other() {
        let labels = Labels::default();
        for number in 0..MOST {
            assert_eq!(*labels.of(&number.to_string()), number.to_string());
        }
        assert_eq!(&*labels.of("one more"), "other");
        assert_eq!(&*labels.of("7"), "7", "whoever has one keeps it");
    }
}
