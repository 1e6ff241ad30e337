//! Which link an attempt goes out on: the value that the supervisor gives the request actors
//! whenever the answer changes.
//!
//! Picking touches nothing but atomics of the links, so that request actors need not ask anybody.

use super::{avoid::Avoid, round_robin::RoundRobin};
use crate::transport::{Link, Permit};
use std::sync::Arc;

/// Picks the link for an attempt.
#[derive(Clone)]
pub(crate) enum Picker {
    /// There is no link.
    None(NoLink),
    /// There is one.
    One(Arc<Link>),
    /// There are several: to several endpoints, or to one.
    Many(Arc<RoundRobin>),
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
    /// A place for one more stream on a link that takes calls, if there is one; at an endpoint that
    /// `avoid` does not name, if one has room. Without any, the links report when there is.
    pub(crate) fn pick(&self, avoid: impl FnOnce() -> Avoid) -> Option<Permit> {
        match self {
            Self::None(_) => None,
            Self::One(link) if link.is_accepting() => link.reserve(),
            Self::One(_) => None,
            Self::Many(many) => many.pick(avoid()),
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
