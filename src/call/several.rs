//! Picks among several links: an endpoint by the policy, and of its links the one with the fewest
//! streams.
//!
//! | order | which |
//! |---|---|
//! | 1 | an endpoint on probation, if none of its calls is under way; of calls with a key, its own |
//! | 2 | of the best links, what the policy chooses; then the others that it drew; then all in turn |
//! | 3 | of those, the endpoints that the call avoids |
//! | 4 | the same of links whose peer owes the answer to a PING |
//! | 5 | an endpoint on probation, whichever the call is |
//!
//! Links of ejected endpoints are here only where there are no others.
//!
//! No call may wait while one of the links has room. Looking at the links one after another is no
//! proof that all are full: room may be made on the first while the last is looked at. So where all
//! looked full, each is asked for room once more with `reserve`, which leaves word on the link that
//! room is wanted before it looks (`transport::window` has the argument for one link). Each link
//! has the word then, so room that is made on any of them from its look on is reported. The word
//! costs an atomic write on every link, and is left only where all are full. The place of a
//! probation is room, too: a call that gives it back reports that (`transport::stats`).

use super::avoid::Wish;
use crate::{
    clock,
    policy::{choose, rank},
    transport::{Link, Permit, Stats},
};
use rand::{RngExt as _, rngs::SmallRng};
use std::{
    cmp::Reverse,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// One after the other.
    Turn,
    /// The fewest streams of so many.
    Streams(usize),
    /// The least time to an answer, times the streams, of so many.
    Time(usize),
}

/// One endpoint, with those of its links that are equally good.
pub(crate) struct Member {
    /// At least one.
    pub(crate) links: Box<[Arc<Link>]>,
    /// Where its attempts are counted, if they are.
    pub(crate) stats: Option<Arc<Stats>>,
    /// What its ranks are made of.
    pub(crate) key: u64,
}

/// Several links, by their endpoints.
pub(crate) struct Several {
    by: By,
    /// The best first.
    tiers: Box<[Box<[Member]>]>,
    on_probation: Box<[Member]>,
    /// Whose turn it is. Several request actors count here together, so that calls spread evenly
    /// however they are divided; it orders nothing.
    turn: AtomicUsize,
}

impl Several {
    /// Members of equally good links, the best first, and those on probation. The first call goes
    /// to the endpoint number `first`, if they take turns.
    pub(crate) fn new(
        by: By,
        tiers: impl IntoIterator<Item = Vec<Member>>,
        on_probation: Vec<Member>,
        first: usize,
    ) -> Self {
        let tiers = tiers.into_iter().map(Vec::into_boxed_slice).collect();
        Self { by, tiers, on_probation: on_probation.into(), turn: AtomicUsize::new(first) }
    }

    /// All links, but for those of endpoints on probation.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.tiers.iter().flatten().flat_map(|member| &member.links)
    }

    /// Where the attempts at the endpoints are counted.
    pub(crate) fn stats(&self) -> impl Iterator<Item = &Arc<Stats>> {
        let all = self.tiers.iter().flatten().chain(&self.on_probation);
        all.filter_map(|member| member.stats.as_ref())
    }

    /// A place on a link that takes calls. `dice`: what is left to chance is left to them.
    pub(crate) fn pick(&self, dice: &mut SmallRng, wish: Wish) -> Option<Permit> {
        let mut on_probation = self.on_probation.iter().filter(|member| {
            !member.is_avoided(wish) && wish.key.is_none_or(|key| self.is_home(member, key))
        });
        if let Some(permit) = on_probation.find_map(|member| member.probe(Link::try_reserve)) {
            return Some(permit);
        }
        let of_tier = |tier: &[Member], dice: &mut SmallRng| {
            let chosen = match (wish.key, self.by) {
                (Some(key), _) => return by_rank(tier, key, wish),
                (None, By::Turn) => return self.in_turn(tier, wish),
                (None, By::Streams(choices)) => {
                    let streams = |place: usize| tier[place].streams() as f32;
                    choose(tier.len(), choices, |below| dice.random_range(0..below), streams)
                }
                (None, By::Time(choices)) => {
                    let now = clock::now();
                    let load = |place: usize| {
                        let member: &Member = &tier[place];
                        let seconds = member.stats.as_ref().map_or(0.0, |it| it.seconds(now));
                        seconds * (member.streams() + 1) as f32
                    };
                    choose(tier.len(), choices, |below| dice.random_range(0..below), load)
                }
            };
            let fresh = |member: &&Member| !member.is_avoided(wish);
            let mut drawn = chosen.places().iter().map(|place| &tier[*place]).filter(fresh);
            drawn.find_map(|member| member.place(Link::try_reserve)).or_else(|| {
                let (before, from) = tier.split_at(dice.random_range(0..tier.len().max(1)));
                let all = || from.iter().chain(before);
                let mut others = all().filter(fresh).chain(all().filter(|it| it.is_avoided(wish)));
                others.find_map(|member| member.place(Link::try_reserve))
            })
        };
        let found = self.tiers.iter().find_map(|tier| of_tier(tier, dice));
        found.or_else(|| {
            let all = self.tiers.iter().flatten();
            // Where there is room after all, it is there by chance.
            all.into_iter()
                .find_map(|member| member.place(Link::reserve))
                .or_else(|| self.on_probation.iter().find_map(|it| it.probe(Link::reserve)))
        })
    }

    /// Whether calls with this key would go to a member that is on probation, if it were in use.
    fn is_home(&self, member: &Member, key: u64) -> bool {
        let of_this = rank(key, member.key);
        self.tiers.first().into_iter().flatten().all(|other| rank(key, other.key) <= of_this)
    }

    /// Endpoints that are passed over, because they are avoided or have no room, have had their
    /// turn. Else it would always fall to the same one, the next in the list, which would have
    /// twice the calls of the others.
    fn in_turn(&self, tier: &[Member], wish: Wish) -> Option<Permit> {
        let turn = self.turn.fetch_add(1, Relaxed) % tier.len().max(1);
        let (before, from) = tier.split_at(turn);
        let of = |avoided: bool| {
            let in_turn = from.iter().chain(before).enumerate();
            let mut members = in_turn.filter(|(_, member)| member.is_avoided(wish) == avoided);
            members.find_map(|(passed, member)| Some((passed, member.place(Link::try_reserve)?)))
        };
        let (passed, permit) = of(false).or_else(|| of(true))?;
        if passed > 0 {
            self.turn.fetch_add(passed, Relaxed);
        }
        Some(permit)
    }
}

/// By the ranks that the endpoints have for a key, the highest first.
fn by_rank(tier: &[Member], key: u64, wish: Wish) -> Option<Permit> {
    let order = |member: &&Member| (!member.is_avoided(wish), rank(key, member.key));
    let best = tier.iter().max_by_key(order)?;
    best.place(Link::try_reserve).or_else(|| {
        let mut all: Vec<&Member> = tier.iter().collect();
        all.sort_by_key(|member| Reverse(order(member)));
        all.into_iter().skip(1).find_map(|member| member.place(Link::try_reserve))
    })
}

impl Member {
    /// Groups links, those of one endpoint one after another, by their endpoints.
    pub(crate) fn group(
        links: &[Arc<Link>],
        about: impl Fn(&Link) -> (Option<Arc<Stats>>, u64),
    ) -> Vec<Self> {
        let endpoints = links.chunk_by(|one, next| one.endpoint() == next.endpoint());
        let member = |links: &[Arc<Link>]| {
            let (stats, key) = about(&links[0]);
            Self { links: links.into(), stats, key }
        };
        endpoints.map(member).collect()
    }

    fn is_avoided(&self, wish: Wish) -> bool {
        wish.avoid.contains(self.links[0].endpoint())
    }

    fn streams(&self) -> usize {
        match &*self.links {
            [link] => link.in_flight(),
            links => links.iter().map(|link| link.in_flight()).sum(),
        }
    }

    /// A place for the one call of a probation. First the room: whoever else finds the probation's
    /// place taken shall find it taken by a call, whose end is reported.
    fn probe(&self, reserve: impl Fn(&Arc<Link>) -> Option<Permit>) -> Option<Permit> {
        let stats = self.stats.as_ref().filter(|stats| stats.may_be_probed())?;
        let mut permit = self.find(reserve)?;
        permit.sample = Some(stats.probe()?.on(permit.link()));
        Some(permit)
    }

    /// A place on one of its links.
    fn place(&self, reserve: impl Fn(&Arc<Link>) -> Option<Permit>) -> Option<Permit> {
        let mut permit = self.find(reserve)?;
        permit.sample = self.stats.as_ref().map(Stats::sample);
        Some(permit)
    }

    /// On that with the fewest streams, else any other.
    fn find(&self, reserve: impl Fn(&Arc<Link>) -> Option<Permit>) -> Option<Permit> {
        let mut open = self.links.iter().filter(|link| link.is_accepting());
        if let [_] = &*self.links {
            return open.next().and_then(reserve);
        }
        let fewest = open.clone().min_by_key(|link| link.in_flight())?;
        reserve(fewest).or_else(|| {
            open.find_map(|link| if Arc::ptr_eq(link, fewest) { None } else { reserve(link) })
        })
    }
}
