//! What a call has to do with picking: what it wishes, and what its attempts say of the endpoints
//! that were picked for them.

use super::{
    avoid::Wish,
    state::{Call, CallState},
};
use crate::{model::Failure, policy::key_of};
use http::HeaderName;
use std::{sync::atomic::Ordering::Relaxed, time::Instant};

impl Call {
    /// Where its next attempt is to go. `sticky`: the header whose value chooses the endpoint.
    pub(crate) fn wish(&self, sticky: Option<&HeaderName>) -> Wish {
        let state = self.state.lock();
        let value = sticky.and_then(|name| state.headers.metadata()?.get(name));
        let key = value.map(|value| key_of(value.as_bytes()));
        Wish { avoid: state.avoid, key }
    }

    /// A message of its answer has come, which is passed on as it comes for as long as it lasts.
    pub(crate) fn answer_began(&self) {
        // With one link nothing is, and there is no lock to be taken.
        if self.is_counted.load(Relaxed)
            && let Some(sample) = &mut self.state.lock().sample
        {
            sample.answer_began(&self.method.name);
        }
    }
}

impl CallState {
    /// The attempt under way ended, if there is one, with this failure or well.
    pub(crate) fn count(&mut self, call: &Call, failure: Option<&Failure>, now: Instant) {
        let Some(sample) = self.sample.take() else { return };
        let since = |end: Instant| end.saturating_duration_since(self.attempt_started);
        // Of an answer that is handed on as it comes the rest is as slow as who reads it.
        let took = since(self.head_came.unwrap_or(now));
        let took = Some(took).filter(|_| call.is_timed && !call.streams.load(Relaxed));
        sample.ended(failure, since(now), took, now, &call.method.name);
    }
}
