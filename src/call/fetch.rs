//! Asks the credentials hook, before an attempt is sent.
//!
//! The hook runs in a task of its own, with the place on the link already taken; what comes of it
//! is put into the call and then reported to its queue, so that no panic of an actor loses it. Its
//! failures count as failed attempts and are retried by policy, never transparently.

use super::{
    credentials::{Credentials, CredentialsRequest},
    head::{belongs_to_grpc, leave_out_connection_fields, too_many_fields},
    shared::Calls,
    spans::pick_complete,
    state::{Call, Granted, Stage},
    task,
};
use crate::{
    clock,
    model::{Cause, Failure, Phase},
    policy::{after, earliest},
    transport::{AttemptFailure, Permit},
};
use http::HeaderMap;
use std::sync::Arc;
use tonic::{Code, Status, metadata::MetadataMap};

/// Begins to ask for the credentials of the next attempt. Nothing happens if the call is over.
pub(crate) fn fetch(calls: &Arc<Calls>, call: Arc<Call>, permit: Permit) {
    // Held until the task is known: it ends by taking this lock.
    let mut state = call.state.lock();
    if state.is_answered() {
        return;
    }
    let attempt = state.attempts;
    let asking = {
        let (calls, call) = (calls.clone(), call.clone());
        // The place on the link is given back before a failure is told.
        async move { ask(&calls, &call, attempt).await.map(|headers| Granted { headers, permit }) }
    };
    let told = {
        let (calls, call) = (calls.clone(), call.clone());
        move |asked: Result<_, String>| match asked.unwrap_or_else(|words| Err(panicked(&words))) {
            Ok(granted) => grant(&calls, &call, granted),
            Err(failure) => refuse(&calls, &call, failure),
        }
    };
    let task = task::spawn(calls, "Credentials", asking, told);
    let now = clock::now();
    let delayed = state.unpark(now, || calls.without_link(now));
    let span = state.spans.as_ref().filter(|_| delayed).map(|spans| spans.of_call());
    state.credentials = None;
    state.stage = Stage::Fetching { task, since: now };
    drop(state);
    span.iter().for_each(|span| pick_complete(span));
}

async fn ask(calls: &Calls, call: &Call, attempt: u32) -> Result<HeaderMap, AttemptFailure> {
    let Some(Credentials { hook, allow_plaintext }) = &calls.credentials else {
        return Ok(HeaderMap::new());
    };
    if calls.config.tls().is_none() && !allow_plaintext {
        let text = "they are not sent over plaintext: configure TLS, or allow it with \
                    SupervisorBuilder::allow_plaintext(true)";
        return Err(Failure::credentials(Code::Unauthenticated, text).into());
    }
    let timeout = calls.config.credentials_timeout();
    let patience = after(clock::now(), timeout);
    let limit = call.waits_until(&call.state.lock());
    let deadline = earliest(limit, Some(patience)).unwrap_or(patience);
    let uri = &call.method.uri;
    let service = uri.path().rsplit_once('/').map_or("", |(service, _)| service);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = CredentialsRequest {
        method: call.method.name.clone(),
        service_url: format!("{}://{authority}{service}", uri.scheme_str().unwrap_or("http")),
        attempt,
        deadline,
    };
    let hook = hook.clone();
    match tokio::time::timeout_at(deadline.into(), hook.metadata(request)).await {
        Ok(Ok(metadata)) => accept(metadata),
        Ok(Err(status)) => Err(said(status)),
        Err(_) if limit.is_some_and(|limit| limit < patience) => {
            let what = calls.waits_for(call, &call.state.lock());
            Err(Failure::deadline(Phase::Unsent, what).into())
        }
        Err(_) => {
            let text =
                format!("they took longer than credentials_timeout ({} s)", timeout.as_secs_f64());
            Err(Failure::credentials(Code::Unavailable, &text).into())
        }
    }
}

/// Tokens shall neither be logged nor kept in HPACK's tables.
fn accept(metadata: MetadataMap) -> Result<HeaderMap, AttemptFailure> {
    let mut headers = metadata.into_headers();
    leave_out_connection_fields(&mut headers);
    if let Some(failure) = too_many_fields(&headers) {
        return Err(Failure::credentials(Code::Internal, &failure.to_string()).into());
    }
    if let Some(name) = headers.keys().find(|name| belongs_to_grpc(name.as_str())) {
        let text = format!("the hook may not set {name}, which belongs to gRPC");
        return Err(Failure::credentials(Code::Internal, &text).into());
    }
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    Ok(headers)
}

/// gRPC A54: what only servers may say becomes INTERNAL, with the words kept, before anyone decides
/// about a retry.
fn said(status: Status) -> AttemptFailure {
    let code = status.code();
    let servers_only = matches!(
        code,
        Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss
    );
    if servers_only {
        let text = format!(
            "the hook failed with {code:?}, which only servers may send: {}",
            status.message()
        );
        return Failure::credentials(Code::Internal, &text).into();
    }
    AttemptFailure { status: status.clone(), ..Failure::credentials(code, status.message()).into() }
}

fn panicked(words: &str) -> AttemptFailure {
    Failure::credentials(Code::Internal, &format!("the hook panicked: {words}")).into()
}

fn grant(calls: &Calls, call: &Arc<Call>, granted: Granted) {
    let mut state = call.state.lock();
    let Stage::Fetching { since, .. } = state.stage else { return };
    state.fetched(since, clock::now());
    state.stage = Stage::Waiting { until: None };
    state.credentials = Some(Box::new(granted));
    drop(state);
    calls.queue.credentials_fetched(call.clone());
}

fn refuse(calls: &Calls, call: &Arc<Call>, failure: AttemptFailure) {
    let mut state = call.state.lock();
    let Stage::Fetching { since, .. } = state.stage else { return };
    if matches!(failure.failure.cause, Cause::Deadline(_)) {
        // No attempt failed: the call's time is over.
        drop(state);
        return calls.conclude(call, failure);
    }
    state.fetched(since, clock::now());
    state.attempts += 1;
    // Nothing was sent: there is nothing to measure.
    state.measured = state.attempts;
    drop(state);
    calls.attempt_failed(call, Box::new(failure));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_only_servers_may_send_become_internal_with_the_original_text() {
        for code in (0..17).map(Code::from_i32) {
            let ended = said(Status::new(code, "no token"));
            let kept = !matches!(ended.failure.code, Code::Internal) || code == Code::Internal;
            let client = [1, 2, 4, 7, 8, 12, 13, 14, 16].contains(&(code as i32));
            assert_eq!(kept, client, "{code:?}");
            assert!(ended.status.message().contains("no token"), "{code:?}");
            assert_eq!(ended.status.code(), ended.failure.code);
        }
    }

    #[test]
    fn metadata_of_grpc_itself_is_refused_and_tokens_are_marked_as_secret() {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", "Bearer x".parse().expect("a value"));
        let headers = accept(metadata.clone()).expect("accepted");
        assert!(headers["authorization"].is_sensitive());
        metadata.insert("te", "trailers".parse().expect("a value"));
        assert_eq!(accept(metadata).expect_err("refused").failure.code, Code::Internal);
    }
}
