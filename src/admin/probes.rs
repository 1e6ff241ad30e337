//! Answers for the kubelet and for Prometheus: whether the process is alive, whether it may get
//! work, and its metrics.
//!
//! Whether it is alive never depends on a peer, or an outage would restart every client of the
//! server that has one. Nor does an outage make it unready: calls wait. Whoever wants that asks for
//! it (`?need=orders`).

use super::recorder;
use crate::{
    client::{Observer, record_levels, supervisors},
    model::{ConnectivityState, Recent, Snapshot, Verdict, VerdictKind, verdict},
};
use axum::{
    Router,
    extract::{Query, RawQuery},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};

/// What may be asked of `/ready`.
#[derive(serde::Deserialize)]
pub(super) struct Need {
    #[serde(default)]
    need: Option<String>,
}

/// The poor listener: three paths, and no words.
pub(super) fn poor() -> Router {
    let silent = |(code, _): (StatusCode, String)| code;
    Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(move || async move { silent(live()) }))
        .route("/ready", get(move |query: RawQuery| async move { silent(ready(need(&query))) }))
}

pub(super) async fn live_page() -> impl IntoResponse {
    live()
}

pub(super) async fn ready_page(Query(said): Query<Need>) -> impl IntoResponse {
    ready(said.need.as_deref())
}

/// What a query asks for, word for word: who asks the poor listener gets no words back.
fn need(RawQuery(query): &RawQuery) -> Option<&str> {
    query.as_deref()?.split('&').find_map(|pair| pair.strip_prefix("need="))
}

/// Every channel as far as probes go: without what happened lately.
fn channels() -> Vec<(Snapshot, Verdict)> {
    let look = |one: Observer| {
        let now = one.snapshot();
        let verdict = verdict(&now, &Recent::default());
        (now, verdict)
    };
    supervisors().into_iter().map(look).collect()
}

/// Alive while it answers, and no supervisor's actors keep failing.
fn live() -> (StatusCode, String) {
    let failing = |(_, verdict): &&(_, Verdict)| verdict.kind == VerdictKind::ActorsFailing;
    match channels().iter().find(failing) {
        Some((now, verdict)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}: {verdict}\n", now.name))
        }
        None => (StatusCode::OK, "alive\n".into()),
    }
}

/// Ready once each channel has been connected, and while none drains or has ended by itself; one
/// that was shut down on purpose does not count any more. With a `need` that channel must take
/// calls now.
fn ready(need: Option<&str>) -> (StatusCode, String) {
    let unready = |words: String| (StatusCode::SERVICE_UNAVAILABLE, words);
    let said = |(now, verdict): &(Snapshot, Verdict)| format!("{}: {verdict}\n", now.name);
    let channels = channels();
    if let Some(name) = need {
        return match channels.iter().find(|(now, _)| &*now.name == name) {
            None => unready("there is no channel of that name\n".into()),
            Some(one) if one.0.state == ConnectivityState::Ready => (StatusCode::OK, said(one)),
            Some(one) => unready(said(one)),
        };
    }
    let not_yet = |(now, _): &&(Snapshot, Verdict)| {
        let ended = now.state == ConnectivityState::Shutdown && now.draining.is_none();
        match ended {
            true => now.closed_by.is_some(),
            false => !now.was_connected || now.draining.is_some(),
        }
    };
    match channels.iter().find(not_yet) {
        Some(one) => unready(said(one)),
        None => (StatusCode::OK, "ready\n".into()),
    }
}

/// Prometheus's text, if the recorder is ours.
pub(super) async fn metrics() -> Response {
    match recorder::installed() {
        Some(metrics) => {
            record_levels();
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], metrics.render()).into_response()
        }
        None => {
            let words = "there are no metrics here: the program installed another recorder, or \
                         none; admin::install_recorder() does, before the first supervisor\n";
            (StatusCode::NOT_FOUND, words).into_response()
        }
    }
}
