//! What the open calls are doing, for whoever looks.

use super::{
    shared::Calls,
    state::{Call, Stage},
};
use crate::{
    clock,
    model::{CallStage, OpenCall, shortened},
};
use std::time::Instant;

/// No more are told of, whatever is asked for.
const MOST: usize = 1_000;

impl Calls {
    /// The oldest open calls, at most so many.
    pub(crate) fn open_calls(&self, most: usize) -> Vec<OpenCall> {
        let (now, oldest) = (clock::now(), self.ledger.oldest(most.min(MOST)));
        oldest.iter().filter_map(|call| self.tell_open(call, now)).collect()
    }

    fn tell_open(&self, call: &Call, now: Instant) -> Option<OpenCall> {
        let state = call.state.lock();
        let since = |began: Instant| now.saturating_duration_since(began);
        let stage = match &state.stage {
            Stage::Answered => return None,
            Stage::Waiting { until: Some(at) } if *at > now => {
                CallStage::Retry { due: at.saturating_duration_since(now) }
            }
            Stage::Beginning | Stage::Waiting { .. } if self.shows_links() => CallStage::Room,
            Stage::Beginning | Stage::Waiting { .. } => CallStage::Link,
            Stage::Fetching { since: asked, .. } => CallStage::Credentials { asked: since(*asked) },
            Stage::Running => CallStage::OnWire { since: since(state.attempt_started) },
            Stage::Failed(_) => CallStage::Deciding,
        };
        let limit = call.limit_now(&state);
        Some(OpenCall {
            number: call.id.0,
            method: call.method.name.clone(),
            stage,
            waiting: self.waits_for(call, &state).map(|words| shortened(&words)),
            age: since(call.submitted),
            left: limit.map(|limit| limit.saturating_duration_since(now)),
            attempts: state.attempts,
            retries: state.machine.retries(),
            endpoint: state.endpoint,
        })
    }
}
