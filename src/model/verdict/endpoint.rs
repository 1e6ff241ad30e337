//! What is the matter with one endpoint.

use super::{Verdict, VerdictKind};
use crate::model::{
    ConnectivityState, DialStep, EndpointSnapshot, Health, LinkEnd,
    text::{readable, shortened},
};

/// Its verdict: `Healthy` where it takes calls.
pub(super) fn of_endpoint(one: &EndpointSnapshot) -> Verdict {
    let (kind, sentence) = ejected(one)
        .or_else(|| unhealthy(one))
        .or_else(|| hangs_up(one))
        .or_else(|| cannot_be_dialled(one))
        .or_else(|| lost(one))
        .unwrap_or_else(|| well(one));
    Verdict { kind, sentence, endpoint: one.endpoint }
}

fn is_ready(one: &EndpointSnapshot) -> bool {
    one.state == ConnectivityState::Ready
}

fn ejected(one: &EndpointSnapshot) -> Option<(VerdictKind, String)> {
    let left = one.ejected_for?;
    let until = match left.is_zero() {
        true => "one call at a time goes there".to_owned(),
        false => format!("for {} more", readable(left)),
    };
    Some((VerdictKind::Ejected, format!("ejected, its calls kept failing: {until}")))
}

fn unhealthy(one: &EndpointSnapshot) -> Option<(VerdictKind, String)> {
    let says = match one.health? {
        Health::NotServing => "the server says that it does not serve",
        Health::WatchBroken => "the watch of the server's health is broken",
        Health::Unanswered => "the server does not answer probes",
        _ => return None,
    };
    let why = one.last_error.as_ref();
    let why = why.map_or_else(String::new, |why| format!(": {}", shortened(why)));
    Some((VerdictKind::Unhealthy, format!("{says}{why}")))
}

/// Its links ended one after the other before they had answered anything.
fn hangs_up(one: &EndpointSnapshot) -> Option<(VerdictKind, String)> {
    let end = one.last_end.as_ref().filter(|_| one.short_links >= 2 && one.failed_dials == 0)?;
    let kind = match end {
        LinkEnd::KeepaliveTimeout => VerdictKind::KeepaliveLost,
        _ => VerdictKind::HangsUp,
    };
    let (links, end, next) = (one.short_links, shortened(&end.to_string()), next(one));
    Some((kind, format!("{links} links in a row ended unused, the last because {end}{next}")))
}

fn cannot_be_dialled(one: &EndpointSnapshot) -> Option<(VerdictKind, String)> {
    let failure = one.dial_failure.as_ref().filter(|_| !is_ready(one))?;
    let kind = match failure.step {
        DialStep::Resolve => VerdictKind::Resolve,
        DialStep::Connect => VerdictKind::Connect,
        DialStep::Tls => VerdictKind::Tls,
        DialStep::Handshake => VerdictKind::Handshake,
    };
    let dials = if one.failed_dials == 1 { "dial" } else { "dials" };
    let out = readable(one.out_for.unwrap_or(one.since));
    let (reason, failed, next) = (shortened(&failure.to_string()), one.failed_dials, next(one));
    Some((kind, format!("{reason}; out for {out}, {failed} {dials} failed{next}")))
}

fn lost(one: &EndpointSnapshot) -> Option<(VerdictKind, String)> {
    let end = one.last_end.as_ref().filter(|_| !is_ready(one))?;
    let kind = match end {
        LinkEnd::KeepaliveTimeout => VerdictKind::KeepaliveLost,
        _ => VerdictKind::LinkLost,
    };
    let (end, next) = (shortened(&end.to_string()), next(one));
    Some((kind, format!("the link was lost: {end}{next}")))
}

fn next(one: &EndpointSnapshot) -> String {
    one.next_dial.map_or_else(String::new, |next| format!("; next dial in {}", readable(next)))
}

fn well(one: &EndpointSnapshot) -> (VerdictKind, String) {
    let since = readable(one.since);
    match one.state {
        ConnectivityState::Ready => (VerdictKind::Healthy, format!("healthy for {since}")),
        ConnectivityState::Idle => (VerdictKind::Idle, format!("idle since {since}")),
        ConnectivityState::Shutdown => (VerdictKind::Closed, "closed".to_owned()),
        _ => (VerdictKind::Connecting, format!("connecting since {since}")),
    }
}
