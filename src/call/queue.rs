//! Who decides about calls: queues them, starts their attempts and retries them.
//!
//! A call's life below knows no actor. What it has to say to whoever runs the queue are four
//! messages, and it may look whether there is anything to wait behind. None of these waits, and
//! each message may be lost: whoever takes over a queue finds its calls in the ledger, with what
//! happened to them.

use super::state::Call;
use std::sync::Arc;

/// The queue of a supervisor's calls.
pub(crate) trait CallQueue: Send + Sync {
    /// Whether nobody waits or is being decided about where this call would: then it may begin
    /// without being asked for, and overtakes nobody that came before it.
    fn is_at_rest(&self, call: &Call) -> bool;
    /// A new call is in the ledger: start it as soon as possible.
    fn submitted(&self, call: Arc<Call>);
    /// A call ended while it waited: forget it.
    fn cancelled(&self, call: &Call);
    /// An attempt failed; the failure is in the call. Decide what follows.
    fn attempt_failed(&self, call: Arc<Call>);
    /// The credentials of the next attempt are in the call: begin it.
    fn credentials_fetched(&self, call: Arc<Call>);
}
