//! Paths to answers. Every request is checked first, and every answer carries the headers that keep
//! a browser from doing more with it than show it.

use super::{
    actions, guard, live,
    look::{Admin, Channel},
    pages, probes, wire,
};
use crate::clock;
use axum::{
    Router,
    extract::{Path, Query, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
/// Headers of every answer.
const ALWAYS: [(header::HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];
/// How many open calls a page shows of each channel.
const OPEN_SHOWN: usize = 100;
/// No request says more.
const LARGEST: usize = 16 << 10;

/// Everything.
pub(super) fn all(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/channel/{id}", get(channel))
        .route("/channel/{id}/reconnect", post(actions::reconnect))
        .route("/channel/{id}/drain", post(actions::drain))
        .route("/calls", get(calls))
        .route("/events", get(live::events))
        .route("/config", get(config))
        .route("/help", get(help))
        .route("/login", get(login).post(actions::login))
        .route("/snapshot", get(snapshot))
        .route("/metrics", get(probes::metrics))
        .route("/live", get(probes::live_page))
        .route("/livez", get(probes::live_page))
        .route("/healthz", get(probes::live_page))
        .route("/ready", get(probes::ready_page))
        .route("/readyz", get(probes::ready_page))
        .route("/style.css", get(style))
        .route("/live.js", get(script))
        .fallback(nothing)
        .layer(axum::extract::DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(admin.clone(), checked))
        .with_state(admin)
}

/// Checks a request, and then answers it.
async fn checked(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let shown = admin.sessions.shown(headers, clock::now());
    let checked = guard::check(&admin.rules, request.method(), request.uri(), headers, shown);
    let mut answer = match checked {
        Ok(()) => next.run(request).await,
        Err((code, words)) => (code, format!("{words}\n")).into_response(),
    };
    for (name, value) in ALWAYS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Whether somebody asks for JSON rather than for a page.
fn wants_json(headers: &HeaderMap) -> bool {
    accepts(headers, "application/json")
}

/// Whether this kind is what is asked for first.
pub(super) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let first = accept.and_then(|accept| accept.split([',', ';']).next());
    first.is_some_and(|first| first.trim().eq_ignore_ascii_case(kind))
}

/// JSON that a person can read, too.
pub(super) fn json_answer(value: &Value) -> Response {
    let kind = "application/json; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], format!("{value:#}\n")).into_response()
}

async fn overview(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let picture = admin.look();
    match wants_json(&headers) {
        true => json_answer(&wire::picture(&picture)),
        false => pages::overview(&admin, &picture).into_response(),
    }
}

async fn snapshot(State(admin): State<Arc<Admin>>) -> Response {
    json_answer(&wire::picture(&admin.look()))
}

async fn channel(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    match admin.look_at(id) {
        None => no_channel(),
        Some(one) if wants_json(&headers) => json_answer(&wire::channel(&one)),
        Some(one) => pages::channel(&admin, &one).into_response(),
    }
}

/// There is none of that number any more.
pub(super) fn no_channel() -> Response {
    (StatusCode::NOT_FOUND, "there is no channel of that number: it may have ended\n")
        .into_response()
}

async fn calls(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let picture = admin.look();
    let open = |one: &Channel| one.observer.open_calls(OPEN_SHOWN);
    if !wants_json(&headers) {
        return pages::calls(&admin, &picture, open).into_response();
    }
    let each = || picture.channels.iter().map(|one| (&*one.now.name, one));
    let open_calls = each().flat_map(|(name, one)| {
        open(one).iter().map(|call| wire::open_call(name, call)).collect::<Vec<_>>()
    });
    let stories = each().flat_map(|(name, one)| {
        one.observer.stories().iter().map(|story| wire::story(name, story)).collect::<Vec<_>>()
    });
    json_answer(&json!({
        "open": open_calls.collect::<Vec<_>>(),
        "stories": stories.collect::<Vec<_>>(),
    }))
}

async fn config(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let picture = admin.look();
    if !wants_json(&headers) {
        return pages::config(&admin, &picture).into_response();
    }
    let channels = picture.channels.iter().map(|one| {
        let settings = one.observer.config().effective();
        let settings = settings.iter().map(|one| {
            json!({ "key": one.path().join("."), "value": one.value(), "from": one.location() })
        });
        json!({ "channel": &*one.now.name, "settings": settings.collect::<Vec<_>>() })
    });
    json_answer(&json!({ "channels": channels.collect::<Vec<_>>() }))
}

async fn help(State(admin): State<Arc<Admin>>) -> Response {
    pages::help(&admin).into_response()
}

/// What a login may have led to.
#[derive(serde::Deserialize)]
struct LoggedIn {
    #[serde(default)]
    wrong: Option<String>,
}

async fn login(State(admin): State<Arc<Admin>>, query: Query<LoggedIn>) -> Response {
    pages::login(&admin, query.0.wrong.is_some()).into_response()
}

async fn style() -> Response {
    let kind = "text/css; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], include_str!("pages/style.css")).into_response()
}

async fn script() -> Response {
    let kind = "text/javascript; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], include_str!("pages/live.js")).into_response()
}

async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here: / has the pages, /help says what they are\n")
        .into_response()
}
