//! All channels, the sick ones first: what is the matter, what to do, and how many calls it costs.

use super::{
    super::look::{Admin, Channel, Picture},
    layout::{button, page},
    words::{curve, rate, share, time},
};
use crate::model::readable;
use axum::response::Html;
use maud::{Markup, html};

/// How wide a curve is, in characters.
const WIDTH: usize = 30;

pub(in super::super) fn overview(admin: &Admin, picture: &Picture) -> Html<String> {
    let sick = picture.channels.iter().filter(|one| one.is_sick()).count();
    let main = html! {
        p {
            (picture.channels.len()) " channels, "
            @if sick == 0 { "all well" } @else { strong { (sick) " sick" } }
        }
        @for one in &picture.channels { (card(admin, one)) }
        @if picture.channels.is_empty() {
            p { "This process has no supervisor. One that is spawned appears here." }
        }
    };
    page(admin, "/", "Channels", true, &main)
}

fn card(admin: &Admin, one: &Channel) -> Markup {
    let now = &one.now;
    html! {
        section.channel.sick[one.is_sick()] aria-label=(now.name) {
            h2 {
                @if one.is_sick() { span.mark { "! " } }
                a href=(format!("/channel/{}", now.id)) { (now.name) }
                " " span.state { (now.state) } " " span.since { (readable(now.since)) }
            }
            p.target { code { (now.uri) } }
            (said(one))
            (numbers(one))
            (curves(one))
            @if one.is_sick() {
                (button(admin, &format!("/channel/{}/reconnect", now.id), "dial now"))
            }
        }
    }
}

/// The verdict, and what to do about it.
pub(super) fn said(one: &Channel) -> Markup {
    html! {
        p.verdict { (one.verdict.sentence) }
        @if one.is_sick() { p.action { "→ " (one.verdict.action()) } }
    }
}

/// Whether calls wait, fail or are refused; and how it went over the last minute.
pub(super) fn numbers(one: &Channel) -> Markup {
    let (now, lately) = (&one.now, one.recent.total());
    let ended = lately.ok() + lately.failed();
    let per_call = lately.attempts_ended() as f64 / ended.max(1) as f64;
    html! {
        p.numbers {
            (now.calls_open) " open · " (now.calls_waiting) " waiting"
            @if let Some(oldest) = one.oldest() { ", the oldest call " (readable(oldest)) }
            " · " (now.calls_shed) " refused · "
            (one.methods.iter().map(|method| method.failed()).sum::<u64>()) " failed in all"
        }
        @if ended > 0 {
            p.numbers {
                "last " (readable(one.recent.over)) ": "
                (rate(ended, one.recent.over)) " calls/s · effective OK "
                (share(lately.ok(), ended)) ", actual OK "
                (share(lately.attempts_ok, lately.attempts_ended())) ", "
                (format!("{per_call:.2}")) " attempts per call · p50 "
                (time(lately.quantile(0.5))) ", p99 " (time(lately.quantile(0.99)))
                @if let Some(allowed) = now.allowance {
                    " · retry allowance " (format!("{:.0} of {:.0}", allowed.left, allowed.of))
                }
            }
        }
    }
}

pub(super) fn curves(one: &Channel) -> Markup {
    let drawn = [
        ("calls/s", curve(&one.curves.calls, WIDTH)),
        ("failed/s", curve(&one.curves.failed, WIDTH)),
        ("waiting", curve(&one.curves.waiting, WIDTH)),
    ];
    html! {
        @if !one.curves.calls.is_empty() {
            p.curves {
                @for (name, (curve, highest)) in drawn {
                    span.curve { (name) " " span aria-hidden="true" { (curve) } " max " (highest) }
                    " "
                }
            }
        }
    }
}
