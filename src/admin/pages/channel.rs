//! One channel: its endpoints and links, its methods, and what happened last.

use super::{
    super::{
        look::{Admin, Channel},
        wire::timestamp,
    },
    layout::{button, page},
    overview::{curves, numbers, said},
    words::{share, time},
};
use crate::model::{EndpointSnapshot, LinkSnapshot, MethodCounts, Verdict, readable, shortened};
use axum::response::Html;
use maud::{Markup, html};

/// How many of the last events are shown.
const EVENTS: usize = 20;
/// How many endpoints are, those that are sick first.
const ENDPOINTS: usize = 100;

pub(in super::super) fn channel(admin: &Admin, one: &Channel) -> Html<String> {
    let now = &one.now;
    let main = html! {
        p { code { (now.uri) } " · " strong { (now.state) } " for " (readable(now.since)) }
        (said(one))
        (numbers(one))
        (curves(one))
        div.actions {
            (button(admin, &format!("/channel/{}/reconnect", now.id), "dial now"))
            (button(admin, &format!("/channel/{}/drain", now.id), "shut down, 30 s for open calls"))
        }
        (endpoints(one))
        (methods(one))
        (timeline(one))
        (more(one))
    };
    page(admin, "", &format!("Channel {}", now.name), true, &main)
}

fn endpoints(one: &Channel) -> Markup {
    let mut rows: Vec<(&EndpointSnapshot, &Verdict)> =
        one.now.endpoints.iter().zip(&one.endpoints).collect();
    rows.sort_by_key(|(_, verdict)| verdict.kind.is_well());
    let more = rows.len().saturating_sub(ENDPOINTS);
    html! {
        h2 { "Servers" }
        div.wide tabindex="0" role="region" aria-label="servers" {
            table {
                thead { tr {
                    th { "endpoint" } th { "state" } th { "what is the matter" } th { "link" }
                    th { "streams" } th { "TLS" } th { "certificate until" }
                } }
                tbody {
                    @for (endpoint, verdict) in rows.iter().take(ENDPOINTS) {
                        (endpoint_rows(endpoint, verdict))
                    }
                }
            }
        }
        @if more > 0 { p { "and " (more) " more, all of them in /snapshot" } }
        @if let Some(trip) = one.now.round_trip {
            p {
                "last round trip of a keepalive ping: "
                (format!("{:.1} ms", trip.as_secs_f64() * 1e3))
            }
        }
    }
}

fn endpoint_rows(endpoint: &EndpointSnapshot, verdict: &Verdict) -> Markup {
    let first = endpoint.links.first();
    html! {
        tr.sick[!verdict.kind.is_well()] {
            th scope="row" { "#" (endpoint.endpoint) " " (endpoint.addresses) }
            td { (endpoint.state) } td { (verdict.sentence) }
            (link_cells(first))
        }
        @for link in endpoint.links.iter().skip(1) {
            tr { td colspan="3" {} (link_cells(Some(link))) }
        }
    }
}

fn link_cells(link: Option<&LinkSnapshot>) -> Markup {
    let Some(link) = link else { return html! { td { "-" } td {} td {} td {} } };
    let name = |address: &Option<crate::model::Address>| {
        address.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string)
    };
    let most = link.max_concurrent_streams.map_or("no limit".to_owned(), |most| most.to_string());
    html! {
        td {
            "#" (link.incarnation.0) " " (name(&link.local)) " → " (name(&link.peer)) ", "
            (readable(link.age))
            @if link.suspect { ", suspect" }
            @if !link.proven { ", not proven yet" }
        }
        td { (link.streams) " of " (most) }
        @match &link.tls {
            Some(tls) => {
                td { (tls.to_string()) }
                td { @match tls.certificate_until {
                    Some(until) => (timestamp(until)[..10]),
                    None => "unknown",
                } }
            }
            None => { td { "plaintext" } td { "-" } }
        }
    }
}

fn methods(one: &Channel) -> Markup {
    html! {
        h2 { "Methods" }
        @if one.methods.is_empty() {
            p { "No call was made yet." }
        } @else {
            div.wide tabindex="0" role="region" aria-label="methods" {
                table {
                    thead { tr {
                        th { "method" } th { "calls" } th { "effective OK" } th { "actual OK" }
                        th { "attempts per call" } th { "p50" } th { "p99" }
                        th { "waited: link" } th { "room" } th { "credentials" } th { "retry" }
                        th { "last failure" }
                    } }
                    tbody { @for method in &one.methods { (method_row(method)) } }
                }
            }
            p.note { "since the supervisor was spawned; waits are added up over all calls" }
        }
    }
}

fn method_row(method: &MethodCounts) -> Markup {
    let ended = method.ok() + method.failed();
    let per_call = match ended {
        0 => "-".to_owned(),
        ended => format!("{:.2}", method.attempts_ended() as f64 / ended as f64),
    };
    html! {
        tr {
            th scope="row" { (method.method) }
            td { (method.started) }
            td { (share(method.ok(), ended)) }
            td { (share(method.attempts_ok, method.attempts_ended())) }
            td { (per_call) }
            td { (time(method.quantile(0.5))) } td { (time(method.quantile(0.99))) }
            @for (_, waited) in method.waits.by_reason() { td { (time(Some(waited))) } }
            td { @match &method.last_failure {
                Some(last) => { (timestamp(last.at)[11..19]) " " (last.to_string()) }
                None => "-",
            } }
        }
    }
}

fn timeline(one: &Channel) -> Markup {
    let history = one.observer.history();
    let first = history.len().saturating_sub(EVENTS);
    html! {
        h2 { "What happened last" }
        ol.events {
            @for event in &history[first..] {
                li {
                    time { (timestamp(event.at)[11..23]) } " "
                    strong { (event.fact.name()) } " " (shortened(&event.fact.to_string()))
                }
            }
        }
        @if history.is_empty() { p { "Nothing since these pages were opened for the first time." } }
        p { a href=(format!("/events?channel={}", one.now.id)) { "all that is kept" } }
    }
}

fn more(one: &Channel) -> Markup {
    let now = &one.now;
    html! {
        h2 { "Since it was spawned" }
        p {
            (now.dials) " dials · " (now.links) " links · " (now.retries) " retries · "
            (now.transparent_retries) " transparent retries · " (now.retries_throttled)
            " retries throttled · " (now.child_failures) " actor failures · keepalive "
            (time(now.keepalive_time))
        }
    }
}
