//! What a call remembers of its attempts: how each failed, what the peer said, and where the next
//! one had better not go.

use super::state::CallState;
use crate::model::{
    AttemptReport, CallReport, Cause, EndpointId, Failure, LinkEnd, Origin, Phase, shortened,
};
use std::{sync::Arc, time::Instant};
use tonic::Status;

impl CallState {
    /// The attempt under way failed: the next one shall go elsewhere. After a GOAWAY there is
    /// nothing to avoid: the link is gone, and another server may be behind the next. Where it
    /// failed; 0 if it never got a link.
    pub(crate) fn leave_endpoint(&mut self, failure: &Failure) -> EndpointId {
        let endpoint = std::mem::take(&mut self.endpoint);
        let goaway =
            matches!(&failure.cause, Cause::LinkLost(end) if matches!(**end, LinkEnd::GoAway(_)));
        if !goaway && endpoint != EndpointId::default() {
            self.avoid.add(endpoint);
        }
        endpoint
    }

    /// Where the last attempt went; 0 if none got a link.
    pub(super) fn last_endpoint(&self) -> EndpointId {
        match self.endpoint {
            EndpointId(0) => self.history.last().map_or(EndpointId(0), |last| last.endpoint),
            endpoint => endpoint,
        }
    }

    /// Notes how an attempt ended.
    pub(crate) fn record(
        &mut self,
        failure: &Failure,
        status: Option<&Status>,
        submitted: Instant,
        now: Instant,
    ) {
        if self.history.len() == CallReport::KEPT {
            self.history.remove(CallReport::KEPT / 2);
        }
        if came_somewhere(failure) {
            self.retried_after = None;
        }
        self.history.push(AttemptReport {
            attempt: self.attempts.saturating_sub(1),
            endpoint: self.endpoint,
            failure: failure.clone(),
            said: said_by_peer(failure, status),
            elapsed: now.saturating_duration_since(submitted),
            transparent: false,
        });
    }
}

/// The peer's own words, where it answered with some. A status that this side made of the failure
/// has none.
fn said_by_peer(failure: &Failure, status: Option<&Status>) -> Option<Arc<str>> {
    let message = status?.message();
    let spoke = failure.origin == Origin::Peer && !message.is_empty();
    (spoke && message != failure.to_string()).then(|| shortened(message))
}

/// Whether an attempt that failed so says more than that its link was gone when it began.
pub(crate) fn came_somewhere(failure: &Failure) -> bool {
    failure.phase > Phase::Unsent || !matches!(failure.cause, Cause::LinkLost(_))
}
