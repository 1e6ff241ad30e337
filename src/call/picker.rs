//! Which link an attempt goes out on: the value that the supervisor gives the request actors, and
//! shows to callers, whenever the answer changes.
//!
//! Picking touches nothing but atomics of the links, so that nobody has to be asked.

use super::{avoid::Wish, several::Several};
use crate::{
    model::EndpointId,
    transport::{Link, Permit, Stats},
};
use rand::rngs::SmallRng;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Picks the link for an attempt.
#[derive(Clone)]
pub(crate) enum Picker {
    /// There is no link.
    None(NoLink),
    /// There is one.
    One(Arc<Link>),
    /// There are several: to several endpoints, or to one.
    Many(Arc<Several>),
}

/// Why there is no link.
#[derive(Clone, Default)]
pub(crate) struct NoLink {
    /// The last connect error, while no link has been Ready since: fail-fast calls fail with it.
    pub(crate) failing: Option<Arc<str>>,
    /// What ended the last dial or link, if one has ended: what calls are told that wait.
    pub(crate) why: Option<Arc<str>>,
}

impl Default for Picker {
    fn default() -> Self {
        Self::None(NoLink::default())
    }
}

impl Picker {
    /// A place for one more stream on a link that takes calls, if there is one; where the call
    /// wishes, if there is room. Without any, the links report when there is.
    pub(crate) fn pick(&self, dice: &mut SmallRng, wish: impl FnOnce() -> Wish) -> Option<Permit> {
        match self {
            Self::None(_) => None,
            Self::One(link) if link.is_accepting() => link.reserve(),
            Self::One(_) => None,
            Self::Many(many) => many.pick(dice, wish()),
        }
    }

    /// The links in use. They may take no more calls: the news of their ends are under way then.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        let (one, many) = match self {
            Self::None(_) => (None, None),
            Self::One(link) => (Some(link), None),
            Self::Many(many) => (None, Some(many.links())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// How long the endpoints take to answer, where that is known.
    pub(crate) fn latencies(&self, now: Instant) -> BTreeMap<EndpointId, Duration> {
        let Self::Many(many) = self else { return BTreeMap::new() };
        let of = |stats: &Arc<Stats>| {
            Some((stats.endpoint(), Duration::try_from_secs_f32(stats.seconds(now)).ok()?))
        };
        many.stats().filter_map(of).collect()
    }

    /// Why a fail-fast call fails now; none while it may still hope for a link.
    pub(crate) fn failing(&self) -> Option<&Arc<str>> {
        match self {
            Self::One(_) | Self::Many(_) => None,
            Self::None(none) => none.failing.as_ref(),
        }
    }

    /// Whether streams are open.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::One(link) => link.in_flight() > 0,
            _ => self.links().any(|link| link.in_flight() > 0),
        }
    }

    /// Why no link takes calls, for a call that waits for one.
    pub(crate) fn why_no_link(&self) -> String {
        let why = match self {
            Self::None(none) => none.why.as_ref().map(|why| why.to_string()),
            _ => self.links().find_map(|link| link.ending()).map(|end| end.to_string()),
        };
        why.unwrap_or_else(|| "connecting, and no dial has failed yet".into())
    }
}
