//! Picks among several links: the endpoints in turn, and of an endpoint's links the one with the
//! fewest streams.
//!
//! No call may wait while one of the links has room. Looking at the links one after another is no
//! proof that all are full: room may be made on the first while the last is looked at. So where all
//! looked full, each is asked for room once more with `reserve`, which leaves word on the link that
//! room is wanted before it looks (`transport::window` has the argument for one link). Each link
//! has the word then, so room that is made on any of them from its look on is reported. The word
//! costs an atomic write on every link, and is left only where all are full.

use super::avoid::Avoid;
use crate::transport::{Link, Permit};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Several links, by their endpoints.
pub(crate) struct RoundRobin {
    /// Each has at least one link.
    endpoints: Box<[Box<[Arc<Link>]>]>,
    /// Whose turn it is. Several request actors count here together, so that calls spread evenly
    /// however they are divided; it orders nothing.
    turn: AtomicUsize,
}

impl RoundRobin {
    /// `links`, those of one endpoint one after another; the first call goes to the endpoint number
    /// `first`.
    pub(crate) fn new(links: Vec<Arc<Link>>, first: usize) -> Self {
        let endpoints = links.chunk_by(|one, next| one.endpoint() == next.endpoint());
        let endpoints = endpoints.map(|links| links.iter().cloned().collect()).collect();
        Self { endpoints, turn: AtomicUsize::new(first) }
    }

    /// All links.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.endpoints.iter().flatten()
    }

    /// A place on a link that takes calls.
    ///
    /// Endpoints that are passed over, because they are avoided or have no room, have had their
    /// turn. Else it would always fall to the same one, the next in the list, which would have
    /// twice the calls of the others.
    pub(crate) fn pick(&self, avoid: Avoid) -> Option<Permit> {
        let turn = self.turn.fetch_add(1, Relaxed) % self.endpoints.len().max(1);
        let (before, from) = self.endpoints.split_at(turn);
        let in_turn = || from.iter().chain(before).enumerate();
        let of = |avoided: bool| {
            let mut endpoints =
                in_turn().filter(move |(_, links)| avoid.contains(links[0].endpoint()) == avoided);
            endpoints.find_map(|(passed, links)| Some((passed, place(links, Link::try_reserve)?)))
        };
        let wanted =
            || in_turn().find_map(|(passed, links)| Some((passed, place(links, Link::reserve)?)));
        let (passed, place) = of(false).or_else(|| of(true)).or_else(wanted)?;
        if passed > 0 {
            self.turn.fetch_add(passed, Relaxed);
        }
        Some(place)
    }
}

/// A place on one of an endpoint's links: that with the fewest streams, else any other.
fn place(links: &[Arc<Link>], reserve: impl Fn(&Arc<Link>) -> Option<Permit>) -> Option<Permit> {
    let mut open = links.iter().filter(|link| link.is_accepting());
    if let [_] = links {
        return open.next().and_then(reserve);
    }
    let fewest = open.clone().min_by_key(|link| link.in_flight())?;
    reserve(fewest).or_else(|| {
        open.find_map(|link| if Arc::ptr_eq(link, fewest) { None } else { reserve(link) })
    })
}
