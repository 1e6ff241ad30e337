//! Answers for the kubelet and for Prometheus: whether the process is alive, whether it may get
//! work, and its metrics.
//!
//! Whether it is alive never depends on a peer, or an outage would restart every client of the
//! server that has one. Nor does an outage make it unready: calls wait. Whoever wants that asks for
//! it (`?need=orders`).

use super::look::Admin;
use crate::model::{ConnectivityState, VerdictKind};
use axum::{
    Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use std::sync::Arc;

/// What may be asked of `/ready`.
#[derive(serde::Deserialize)]
pub(super) struct Need {
    #[serde(default)]
    need: Option<String>,
}

/// The poor listener: three paths, and no words.
pub(super) fn poor(admin: Arc<Admin>) -> Router {
    let silent = |(code, _): (StatusCode, String)| code;
    Router::new()
        .route("/metrics", get(metrics))
        .route(
            "/live",
            get(move |State(admin): State<Arc<Admin>>| async move { silent(live(&admin)) }),
        )
        .route(
            "/ready",
            get(move |State(admin): State<Arc<Admin>>, need: Query<Need>| async move {
                silent(ready(&admin, need.0.need.as_deref()))
            }),
        )
        .with_state(admin)
}

pub(super) async fn live_page(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    live(&admin)
}

pub(super) async fn ready_page(
    State(admin): State<Arc<Admin>>,
    need: Query<Need>,
) -> impl IntoResponse {
    ready(&admin, need.0.need.as_deref())
}

/// Alive while it answers, and no supervisor's actors keep failing.
fn live(admin: &Admin) -> (StatusCode, String) {
    let picture = admin.look();
    let failing = |kind| kind == VerdictKind::ActorsFailing;
    match picture.channels.iter().find(|one| failing(one.verdict.kind)) {
        Some(one) => {
            let words = format!("{}: {}\n", one.now.name, one.verdict);
            (StatusCode::SERVICE_UNAVAILABLE, words)
        }
        None => (StatusCode::OK, "alive\n".into()),
    }
}

/// Ready once each channel has been connected, and while none drains. With a `need` that channel
/// must take calls now.
fn ready(admin: &Admin, need: Option<&str>) -> (StatusCode, String) {
    let picture = admin.look();
    let unready = |words: String| (StatusCode::SERVICE_UNAVAILABLE, words);
    if let Some(name) = need {
        return match picture.channels.iter().find(|one| &*one.now.name == name) {
            None => unready("there is no channel of that name\n".into()),
            Some(one) if one.now.state == ConnectivityState::Ready => {
                (StatusCode::OK, format!("{}\n", one.verdict))
            }
            Some(one) => unready(format!("{}: {}\n", one.now.name, one.verdict)),
        };
    }
    let not_yet =
        |one: &&super::look::Channel| !one.now.was_connected || one.now.draining.is_some();
    match picture.channels.iter().find(not_yet) {
        Some(one) => unready(format!("{}: {}\n", one.now.name, one.verdict)),
        None => (StatusCode::OK, "ready\n".into()),
    }
}

/// Prometheus's text, if the recorder is ours.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    match &admin.metrics {
        Some(metrics) => {
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
