//! Which of many endpoints a call goes to, where it is not simply the next one: pure functions of
//! their loads and of dice.
//!
//! Of all endpoints a few are drawn, each at most once, and the least loaded of them is the choice
//! (gRPC A48 draws with repetition, so that the worst of five never gets less than 4 % of the
//! calls; see decision 76). The others that were drawn come next, in the order of their loads: the
//! first may have no room.
//!
//! For calls that are to stay with one endpoint, each endpoint has a rank for each key, and the
//! highest is the choice (rendezvous hashing): an endpoint that comes or goes moves only the calls
//! that it takes or had.

/// As many may be drawn.
pub const MOST_CHOICES: usize = 10;

/// The endpoints that were drawn, by their places, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    places: [usize; MOST_CHOICES],
    count: usize,
}

impl Choice {
    /// Their places.
    pub fn places(&self) -> &[usize] {
        &self.places[..self.count]
    }
}

/// Draws `choices` of so many endpoints, all if there are no more, and orders them by their loads;
/// equal loads stand in a random order. `dice` gives a random number below its argument.
pub fn choose(
    endpoints: usize,
    choices: usize,
    mut dice: impl FnMut(usize) -> usize,
    mut load: impl FnMut(usize) -> f32,
) -> Choice {
    let mut drawn = draw(endpoints, choices.min(MOST_CHOICES), &mut dice);
    let mut loads = [0.0; MOST_CHOICES];
    for n in 0..drawn.count {
        let (place, this) = (drawn.places[n], load(drawn.places[n]));
        let mut at = n;
        while at > 0 && this < loads[at - 1] {
            (loads[at], drawn.places[at]) = (loads[at - 1], drawn.places[at - 1]);
            at -= 1;
        }
        (loads[at], drawn.places[at]) = (this, place);
    }
    drawn
}

/// A random selection in a random order (Floyd's algorithm P: Bentley, Programming Pearls, 1987).
fn draw(endpoints: usize, choices: usize, dice: &mut impl FnMut(usize) -> usize) -> Choice {
    let mut drawn = Choice { places: [0; MOST_CHOICES], count: 0 };
    for last in endpoints.saturating_sub(choices)..endpoints {
        let place = dice(last + 1).min(last);
        match drawn.places().iter().position(|one| *one == place) {
            None => drawn.insert(0, place),
            Some(at) => drawn.insert(at + 1, last),
        }
    }
    drawn
}

impl Choice {
    fn insert(&mut self, at: usize, place: usize) {
        self.places.copy_within(at..self.count, at + 1);
        self.places[at] = place;
        self.count += 1;
    }
}

/// The key of a text: the same in every process.
pub fn key_of(text: &[u8]) -> u64 {
    // FNV-1a, whose low bits are mixed below.
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mixed(text.iter().fold(0xcbf2_9ce4_8422_2325, add))
}

/// The rank that an endpoint has for a key, both by their own keys.
pub fn rank(key: u64, endpoint: u64) -> u64 {
    mixed(key ^ endpoint.rotate_left(32))
}

/// Each bit of the result depends on each bit of the number (the end of splitmix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
    use std::collections::{BTreeMap, BTreeSet};

    fn dice(seed: u64) -> impl FnMut(usize) -> usize {
        let mut rng = SmallRng::seed_from_u64(seed);
        move |below| rng.random_range(0..below)
    }

    #[test]
    fn each_endpoint_is_drawn_at_most_once_and_all_where_there_are_few() {
        let mut dice = dice(1);
        for endpoints in 0..14 {
            for choices in 2..=MOST_CHOICES {
                let choice = choose(endpoints, choices, &mut dice, |_| 1.0);
                let distinct: BTreeSet<_> = choice.places().iter().collect();
                assert_eq!(distinct.len(), endpoints.min(choices), "{choice:?}");
                assert_eq!(distinct.len(), choice.places().len());
                assert!(distinct.iter().all(|place| **place < endpoints));
            }
        }
    }

    #[test]
    fn every_selection_in_every_order_is_as_likely_as_any_other() {
        let (mut dice, mut seen) = (dice(2), BTreeMap::new());
        for _ in 0..60_000 {
            let choice = choose(5, 3, &mut dice, |_| 1.0);
            *seen.entry(choice.places().to_vec()).or_insert(0) += 1;
        }
        // 5 * 4 * 3 of them, a thousand times each.
        assert_eq!(seen.len(), 60);
        assert!(seen.values().all(|times| (850..1_150).contains(times)), "{seen:?}");
    }

    #[test]
    fn the_drawn_ones_stand_in_the_order_of_their_loads() {
        let loads = [5.0, 1.0, 4.0, 0.0, 3.0, 1.0];
        let mut dice = dice(3);
        for _ in 0..1_000 {
            let choice = choose(6, 4, &mut dice, |place| loads[place]);
            assert!(choice.places().is_sorted_by(|a, b| loads[*a] <= loads[*b]), "{choice:?}");
        }
        let all = choose(6, 10, &mut dice, |place| loads[place]);
        assert_eq!(all.places()[0], 3);
    }

    #[test]
    fn the_worst_of_five_is_never_chosen_of_two_that_differ() {
        let mut dice = dice(4);
        let worst = |place| if place == 4 { 1.0 } else { 0.0 };
        assert!((0..10_000).all(|_| choose(5, 2, &mut dice, worst).places()[0] != 4));
    }

    #[test]
    fn dice_and_loads_without_sense_give_a_choice_all_the_same() {
        let choice = choose(5, 3, |_| usize::MAX, |_| f32::NAN);
        assert_eq!(choice.places().len(), 3);
        assert!(choose(0, 3, |_| 0, |_| 0.0).places().is_empty());
    }

    fn best(key: u64, endpoints: &[u64]) -> u64 {
        endpoints.iter().copied().max_by_key(|one| rank(key, *one)).expect("some")
    }

    #[test]
    fn keys_are_spread_evenly_and_only_those_of_an_endpoint_that_goes_move() {
        let endpoints: Vec<u64> =
            (0..10).map(|n| key_of(format!("10.0.0.{n}:50051").as_bytes())).collect();
        let keys: Vec<u64> = (0..10_000).map(|n| key_of(format!("user-{n}").as_bytes())).collect();
        let mut shares = BTreeMap::new();
        for key in &keys {
            *shares.entry(best(*key, &endpoints)).or_insert(0) += 1;
        }
        assert!(shares.values().all(|share| (850..1_150).contains(share)), "{shares:?}");
        for key in &keys {
            let (before, now) = (best(*key, &endpoints), best(*key, &endpoints[1..]));
            assert!(before == now || before == endpoints[0]);
        }
    }

    #[test]
    fn a_key_is_the_same_in_every_process() {
        assert_eq!(key_of(b""), 0xc381_7c01_6ba4_ff30);
        assert_eq!(key_of(b"user-7"), key_of(b"user-7"));
    }
}
