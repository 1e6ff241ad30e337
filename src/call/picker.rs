//! Which link an attempt goes out on: the value that the supervisor gives the request actors
//! whenever the answer changes.
//!
//! Picking touches nothing but atomics of the link, so that request actors need not ask anybody.

use crate::transport::{Link, Permit};
use std::sync::Arc;

/// Picks the link for an attempt.
#[derive(Clone)]
pub(crate) enum Picker {
    /// There is no link.
    None(NoLink),
    /// There is one.
    One(Arc<Link>),
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
    /// A place for one more stream on a link that takes calls, if there is one. Without one, the
    /// link reports when there is.
    pub(crate) fn pick(&self) -> Option<Permit> {
        self.link().filter(|link| link.is_accepting())?.reserve()
    }

    /// The link in use. It may take no more calls: the news of its end are under way then.
    pub(crate) fn link(&self) -> Option<&Arc<Link>> {
        match self {
            Self::One(link) => Some(link),
            Self::None(_) => None,
        }
    }

    /// Why a fail-fast call fails now; none while it may still hope for a link.
    pub(crate) fn failing(&self) -> Option<&Arc<str>> {
        match self {
            Self::One(_) => None,
            Self::None(none) => none.failing.as_ref(),
        }
    }

    /// Whether streams are open.
    pub(crate) fn is_busy(&self) -> bool {
        self.link().is_some_and(|link| link.in_flight() > 0)
    }

    /// Why no link takes calls, for a call that waits for one.
    pub(crate) fn why_no_link(&self) -> String {
        let why = match self {
            Self::One(link) => link.ending().map(|end| end.to_string()),
            Self::None(none) => none.why.as_ref().map(|why| why.to_string()),
        };
        why.unwrap_or_else(|| "connecting, and no dial has failed yet".into())
    }
}
