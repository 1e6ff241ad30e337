//! What is done as an attempt begins so that it can be traced: its span, and the headers that carry
//! the span to the server.

use super::{
    propagation::AttemptInfo,
    shared::Calls,
    spans::{NextAttempt, end_attempt},
    state::Call,
};
use crate::transport::Link;
use http::HeaderMap;
use tonic::Code;

impl Calls {
    /// Begins an attempt's span, and puts what carries it into the attempt's headers. Whether those
    /// have changed.
    pub(crate) fn trace_attempt(
        &self,
        call: &Call,
        next: &NextAttempt,
        link: &Link,
        headers: &mut HeaderMap,
    ) -> bool {
        let ask = self.propagation.as_ref().map(|hook| {
            || {
                let info = AttemptInfo {
                    method: call.method.name.clone(),
                    attempt: next.number,
                    previous_attempts: next.before,
                    is_transparent: next.transparent,
                    endpoint: link.endpoint(),
                    incarnation: link.incarnation(),
                };
                hook.headers(&info)
            }
        });
        let (span, added) = next.begin(&call.method, link, ask);
        let mut state = call.state.lock();
        match &mut state.spans {
            Some(spans) => spans.attempt_began(span),
            // The call ended meanwhile, on another thread.
            None => {
                drop(state);
                end_attempt(span, Code::Cancelled, Some("the call ended as the attempt began"));
            }
        }
        let Some(added) = added.filter(|added| !added.is_empty()) else { return false };
        headers.extend(added);
        true
    }
}
