//! When each server was listed, as events told.

use crate::{events::GRAIN, shared::now};
use std::time::Duration;

/// All times when a server was listed.
#[derive(Default)]
pub(crate) struct Listings(Vec<Listing>);

struct Listing {
    server: usize,
    from: Duration,
    until: Option<Duration>,
}

impl Listings {
    /// From now on these are listed.
    pub(crate) fn add(&mut self, servers: Vec<usize>) {
        let (from, until) = (now(), None);
        self.0.extend(servers.into_iter().map(|server| Listing { server, from, until }));
    }

    /// From now on these are not.
    pub(crate) fn remove(&mut self, servers: Vec<usize>) {
        for server in servers {
            let mut open = self.0.iter_mut().filter(|one| one.until.is_none());
            let listing = open.find(|listing| listing.server == server);
            listing.into_iter().for_each(|listing| listing.until = Some(now()));
        }
    }

    /// Whether a server was listed at any moment of this time.
    pub(crate) fn had(&self, server: usize, from: Duration, until: Duration) -> bool {
        self.0.iter().filter(|listing| listing.server == server).any(|listing| {
            let ended = listing.until.is_some_and(|ended| ended + GRAIN < from);
            listing.from <= until && !ended
        })
    }
}
