//! What people may do: dial now, drain, log in. Each goes through the supervisor's public handle,
//! and is logged.

use super::{
    look::{Admin, find},
    routes,
};
use crate::clock;
use axum::{
    extract::{Form, Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// How long a drain lasts at most, in seconds, if nobody says.
const GRACE: f64 = 30.0;
/// And if somebody does.
const LONGEST_GRACE: f64 = 86_400.0;

pub(super) async fn reconnect(
    State(_): State<Arc<Admin>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    let Some(one) = find(id) else {
        return routes::no_channel();
    };
    log_line!(info, channel = one.name(), "asked on the admin pages to dial now");
    one.reconnect_now();
    done(id, &headers)
}

/// What is said with a drain.
#[derive(serde::Deserialize)]
pub(super) struct Drain {
    /// In seconds.
    #[serde(default)]
    grace: Option<f64>,
}

pub(super) async fn drain(
    State(_): State<Arc<Admin>>,
    Path(id): Path<u64>,
    Query(said): Query<Drain>,
    headers: HeaderMap,
) -> Response {
    let Some(one) = find(id) else {
        return routes::no_channel();
    };
    let grace = said.grace.unwrap_or(GRACE);
    if !(0.0..=LONGEST_GRACE).contains(&grace) {
        let words = "grace must be 0 to 86400 seconds\n";
        return (StatusCode::BAD_REQUEST, words).into_response();
    }
    log_line!(info, channel = one.name(), grace, "asked on the admin pages to shut down");
    one.begin_shutdown(Duration::from_secs_f64(grace));
    done(id, &headers)
}

/// Back to the page, or a word for a program.
fn done(id: u64, headers: &HeaderMap) -> Response {
    if routes::accepts(headers, "text/html") {
        return see(&format!("/channel/{id}"));
    }
    routes::json_answer(&json!({ "done": true }))
}

fn see(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path.to_owned())]).into_response()
}

/// What is sent to log in.
#[derive(serde::Deserialize)]
pub(super) struct Login {
    token: String,
}

pub(super) async fn login(State(admin): State<Arc<Admin>>, Form(login): Form<Login>) -> Response {
    match admin.sessions.log_in(login.token.trim(), clock::now()) {
        None => {
            let words = "a wrong token was shown a moment ago: try again in a second\n";
            return (StatusCode::TOO_MANY_REQUESTS, words).into_response();
        }
        Some(false) => {
            log_line!(warn, "a login on the admin pages failed: the token was wrong");
            return see("/login?wrong=1");
        }
        Some(true) => {}
    }
    log_line!(info, "somebody logged in on the admin pages");
    let cookie = admin.sessions.begin(clock::now(), admin.secure);
    let mut answer = see("/");
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    answer
}
