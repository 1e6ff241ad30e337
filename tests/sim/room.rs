//! Where there was room for calls, and when; and the laws about it: no call waits while a link has
//! room, and a call that failed at one endpoint goes to another that has room.

use crate::{
    events::GRAIN,
    script::{Script, secs},
    shared::{Shared, now},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tonic_supervisor::{ConnectivityState, EndpointId, Incarnation, LinkSnapshot, Snapshot};

/// So many looks in a row something may be seen that news, which are under way, will change.
const LOOKS: u32 = 5;

/// So long a link that takes no more calls, and has none, may try to write what is left, before it
/// is told lost. With calls, keepalive finds that it is dead.
const LAST_WORDS: Duration = secs(2);

/// What was seen of the links at each look.
pub(crate) struct Rooms {
    shared: Shared,
    script: Arc<Script>,
    /// The links that would have room for every open call.
    open: BTreeMap<Incarnation, Room>,
    past: Vec<Room>,
    looked_at: Duration,
    /// For how many looks in a row a link had room while calls waited.
    in_vain: BTreeMap<Incarnation, u32>,
    /// Since when an endpoint has had fewer links than it shall have.
    few: BTreeMap<EndpointId, Duration>,
    /// When calls were sent again for free.
    resends: BTreeMap<u64, Duration>,
}

/// A time when a link had room for every call that was open.
#[derive(Clone, Copy, Debug)]
struct Room {
    endpoint: EndpointId,
    from: Duration,
    until: Duration,
}

impl Rooms {
    pub(crate) fn new(shared: Shared, script: Arc<Script>) -> Self {
        Self {
            shared,
            script,
            open: BTreeMap::new(),
            past: Vec::new(),
            looked_at: Duration::ZERO,
            in_vain: BTreeMap::new(),
            few: BTreeMap::new(),
            resends: BTreeMap::new(),
        }
    }

    /// Looks at the links.
    pub(crate) fn look(&mut self, snapshot: &Snapshot) {
        let now = now();
        if now > self.looked_at + self.script.tick * 2 + GRAIN {
            // Nobody looked for a while: what was seen before says nothing of that time.
            self.past.extend(std::mem::take(&mut self.open).into_values());
            self.in_vain.clear();
            self.few.clear();
        }
        self.looked_at = now;
        self.resends.entry(snapshot.transparent_retries).or_insert(now);
        let most = self.script.config.max_in_flight();
        let limit = |link: &LinkSnapshot| {
            let peers = link.max_concurrent_streams.map_or(usize::MAX, |limit| limit as usize);
            most.min(peers)
        };
        let (mut roomy, mut vain, mut few) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for endpoint in &snapshot.endpoints {
            let (id, links) = (endpoint.endpoint, &endpoint.links);
            self.count_links(id, links.len());
            let ready = endpoint.state == ConnectivityState::Ready;
            if ready && links.len() < self.script.config.connections() {
                few.insert(id, *self.few.get(&id).unwrap_or(&now));
            }
            for link in links {
                self.shared.require(link.streams <= most, || {
                    format!("{} has {} streams, {most} are allowed", link.incarnation, link.streams)
                });
                // Suspect links come after all others, where the call has failed, too.
                let good = ready && !link.suspect;
                if good && link.streams + snapshot.calls_open <= limit(link) {
                    let former = self.open.remove(&link.incarnation);
                    let from = former.map_or(now, |room| room.from);
                    roomy.insert(link.incarnation, Room { endpoint: id, from, until: now });
                }
                if snapshot.calls_waiting > 0 && link.streams < limit(link) {
                    let looks = 1 + self.in_vain.get(&link.incarnation).unwrap_or(&0);
                    self.shared.require(looks < LOOKS, || {
                        format!("{} calls wait, and {link:?} has room", snapshot.calls_waiting)
                    });
                    vain.insert(link.incarnation, looks);
                }
            }
        }
        self.past.extend(std::mem::replace(&mut self.open, roomy).into_values());
        (self.in_vain, self.few) = (vain, few);
    }

    fn count_links(&self, endpoint: EndpointId, links: usize) {
        // One more while one takes the place of another.
        let most = self.script.config.connections() + 1;
        self.shared.require(links <= most, || format!("endpoint {endpoint} uses {links} links"));
    }

    /// Whether an endpoint has had too few links for longer than news take.
    pub(crate) fn few_for_long(&self, endpoint: EndpointId) -> bool {
        let config = &self.script.config;
        let silence =
            config.effective_keepalive_time().unwrap_or_default() + config.keepalive().timeout();
        self.few.get(&endpoint).is_some_and(|since| now() > *since + silence + LAST_WORDS)
    }

    /// An endpoint, none of `but`, that had room all the time.
    pub(crate) fn elsewhere(
        &self,
        but: &BTreeSet<EndpointId>,
        from: Duration,
        until: Duration,
    ) -> Option<EndpointId> {
        let rooms = self.past.iter().chain(self.open.values());
        // Much may happen in one moment: it was seen before and after.
        let mut all_the_time = rooms.filter(|room| room.from < from && until < room.until);
        let found = all_the_time.find(|room| !but.contains(&room.endpoint));
        found.map(|room| room.endpoint)
    }

    /// Whether a call may have been sent again for free in this time.
    pub(crate) fn resent(&self, from: Duration, until: Duration) -> bool {
        let mut later = self.resends.values().skip(1);
        later.any(|at| from <= *at && *at <= until + 4 * self.script.tick)
    }
}
