//! What a link tells of itself, apart from its driver: to whoever decides about links and calls. So
//! it is heard whatever became of the driver and its owner.

use crate::model::Incarnation;

/// Who wants to know what happens to a link. Called from any task; must not block.
pub(crate) trait LinkWatcher: Send + Sync + 'static {
    /// A stream ended and someone had asked for room.
    fn has_room(&self);
    /// The peer answered a call for the first time: it ended a stream, or sent one whole message.
    fn proven(&self, incarnation: Incarnation);
    /// The link can take no new streams, although nobody said GOAWAY (its stream ids are used up).
    fn retired(&self, incarnation: Incarnation);
    /// The link takes no more streams, whatever the reason; told once.
    fn shut(&self) {}
    /// h2 will end the link soon, for what the peer does with all its calls: it is time for another
    /// one.
    fn worn_out(&self, _incarnation: Incarnation) {}
}
