//! Which of many endpoints a channel uses, where it is not to use them all (gRPC A68).
//!
//! Each endpoint gets a number from the channel's seed and its own addresses, and the least win. So
//! channels choose differently, each keeps its choice, and an endpoint that comes or goes changes
//! at most one of them.

use crate::model::{Address, Endpoint};
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// At most `size` of the endpoints, in their order.
pub fn subset(list: Vec<Endpoint>, size: usize, seed: u64) -> Vec<Endpoint> {
    let mut seen = BTreeSet::new();
    let list: Vec<_> = list.into_iter().filter(|one| seen.insert(one.key())).collect();
    if list.len() <= size {
        return list;
    }
    let mut ranked: Vec<_> = list.iter().map(|one| (rank(&one.key(), seed), one)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let last = ranked[size.max(1) - 1].0;
    list.iter().filter(|one| rank(&one.key(), seed) <= last).take(size).cloned().collect()
}

fn rank(key: &[Address], seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, key).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(of: impl Iterator<Item = u32>) -> Vec<Endpoint> {
        of.map(|n| Address::new(format!("10.0.{}.{}", n / 256, n % 256), 1).into()).collect()
    }

    #[test]
    fn an_endpoint_that_goes_changes_one_of_the_subset_and_one_outside_of_it_none() {
        let all = list(0..1_000);
        let chosen = subset(all.clone(), 20, 7);
        assert_eq!(chosen.len(), 20);
        let without = |gone: &Endpoint| -> Vec<Endpoint> {
            all.iter().filter(|one| *one != gone).cloned().collect()
        };
        let fewer = subset(without(&chosen[3]), 20, 7);
        let kept = chosen.iter().filter(|one| fewer.contains(one)).count();
        assert_eq!((fewer.len(), kept), (20, 19));
        let outside = all.iter().find(|one| !chosen.contains(one)).expect("980 of them");
        assert_eq!(subset(without(outside), 20, 7), chosen);
    }

    #[test]
    fn channels_choose_differently_and_each_endpoint_is_chosen_by_its_share_of_them() {
        let all = list(0..100);
        let mut chosen = vec![0; 100];
        for seed in 0..1_000 {
            for one in subset(all.clone(), 10, seed) {
                chosen[all.iter().position(|listed| *listed == one).expect("listed")] += 1;
            }
        }
        assert!(chosen.iter().all(|times| (50..=160).contains(times)), "{chosen:?}");
    }

    #[test]
    fn a_list_that_is_not_longer_is_used_whole() {
        assert_eq!(subset(list(0..3), 3, 1).len(), 3);
    }
}
