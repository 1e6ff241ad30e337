//! Which links take new calls, as one value that can be watched and compared.

use super::ids::Incarnation;
use std::sync::Arc;

/// The links that take new calls at one moment; see
/// [`Supervisor::watch_links`](crate::Supervisor::watch_links). Cheap to clone.
///
/// It differs from a former one exactly when a link came or went in between. A link that drains
/// after a GOAWAY takes no new calls, and is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinksInUse(Arc<[Incarnation]>);

impl LinksInUse {
    pub(crate) fn of(links: impl Iterator<Item = Incarnation>) -> Self {
        Self(links.collect())
    }

    /// The link that was established last; none while there is no link.
    pub fn newest(&self) -> Option<Incarnation> {
        self.0.iter().max().copied()
    }

    /// Whether new calls may go out on this link.
    pub fn contains(&self, link: Incarnation) -> bool {
        self.0.contains(&link)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Incarnation> {
        self.0.iter().copied()
    }

    /// Whether there is no link that takes calls.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
