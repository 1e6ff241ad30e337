//! The open calls, oldest first, and the stories of those that were worth a look.

use super::{
    super::{
        look::{Admin, Channel, Picture},
        wire::timestamp,
    },
    layout::page,
};
use crate::model::{CallStage, OpenCall, Story, code_name, readable, shortened};
use axum::response::Html;
use maud::{Markup, html};
use std::sync::Arc;

/// How many open calls are shown.
const OPEN: usize = 200;
/// How many stories are.
const STORIES: usize = 128;
/// How wide a story's bar is, in characters.
const WIDTH: usize = 24;

pub(in super::super) fn calls(
    admin: &Admin,
    picture: &Picture,
    open_of: impl Fn(&Channel) -> Vec<OpenCall>,
) -> Html<String> {
    let with_name = |one: &Channel| {
        let name = one.now.name.clone();
        open_of(one).into_iter().map(move |call| (name.clone(), call)).collect::<Vec<_>>()
    };
    let mut open: Vec<(Arc<str>, OpenCall)> = picture.channels.iter().flat_map(with_name).collect();
    open.sort_by_key(|(_, call)| std::cmp::Reverse(call.age));
    let all: usize = picture.channels.iter().map(|one| one.now.calls_open).sum();
    let mut stories: Vec<(Arc<str>, Arc<Story>)> = picture
        .channels
        .iter()
        .flat_map(|one| {
            let name = one.now.name.clone();
            one.observer.stories().into_iter().map(move |story| (name.clone(), story))
        })
        .collect();
    stories.sort_by_key(|(_, story)| std::cmp::Reverse(story.at));
    let main = html! {
        h2 { "Open: " (all) }
        @if open.is_empty() { p { "No call is open." } }
        ol.calls { @for (name, call) in open.iter().take(OPEN) { (open_call(name, call)) } }
        @if all > open.len().min(OPEN) { p { "the oldest are shown" } }
        h2 { "Worth a look" }
        p.note {
            "calls that failed, were sent more than once, waited longer than 100 ms or took longer "
            "than 1 s; the last 128 of each channel, since these pages are there"
        }
        @if stories.is_empty() { p { "There was none." } }
        ol.stories {
            @for (name, story) in stories.iter().take(STORIES) { (story_of(name, story)) }
        }
    };
    page(admin, "/calls", "Calls", true, &main)
}

fn open_call(name: &str, call: &OpenCall) -> Markup {
    html! {
        li {
            strong { (readable(call.age)) } " " (name) " " code { (call.method) } " "
            @match (&call.waiting, call.stage) {
                // What it waits for says more than that it waits.
                (Some(waiting), CallStage::Link | CallStage::Room) => { "waits " (waiting) }
                (_, stage) => (stage.to_string()),
            }
            @if call.endpoint.0 > 0 { ", endpoint #" (call.endpoint) }
            " · attempt " (call.attempts)
            @if call.retries > 0 { ", " (call.retries) " retries" }
            @if let Some(left) = call.left { " · " (readable(left)) " left" }
            @match (&call.waiting, call.stage) {
                (Some(waiting), CallStage::Retry { .. } | CallStage::Credentials { .. }) => {
                    br;
                    span.why { "waits " (waiting) }
                }
                _ => {}
            }
        }
    }
}

fn story_of(name: &str, story: &Story) -> Markup {
    html! {
        li {
            time { (timestamp(story.at)[11..23]) } " " (name) " " code { (story.method) } " "
            strong { (code_name(story.code)) } " after " (readable(story.elapsed))
            " " span.bar aria-hidden="true" { (bar(story)) }
            " " (story.waits.to_string())
            @if !story.waits.total().is_zero() { ", " }
            "wire " (readable(story.on_wire))
            @if let Some(head) = story.head { ", its answer began after " (readable(head)) }
            @if let Some(words) = &story.words { br; "“" (words) "”" }
            @if !story.attempts.is_empty() {
                ul {
                    @for attempt in &story.attempts {
                        li {
                            "attempt " (attempt.attempt + 1)
                            " until " (readable(attempt.elapsed)) ": "
                            (code_name(attempt.code())) " "
                            @match &attempt.said {
                                Some(said) => { "“" (said) "” (the server)" }
                                None => (shortened(&attempt.failure.to_string())),
                            }
                            @if attempt.transparent { ", sent again at once" }
                        }
                    }
                }
            }
            @if let Some(reason) = story.not_retried {
                p.why { "not retried: " (reason.to_string()) }
            }
            @if story.maybe_processed { p.why { "the server may have processed it" } }
        }
    }
}

/// The time of a call as a bar: full while it was on the wire, shaded while it waited.
fn bar(story: &Story) -> String {
    let whole = story.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let wide = |time: std::time::Duration| {
        (time.as_secs_f64() / whole * WIDTH as f64).round().min(WIDTH as f64) as usize
    };
    let waits = story.waits.by_reason().map(|(_, time)| wide(time));
    let marks = ['░', '▒', '▓', '·'];
    let mut bar: String =
        marks.iter().zip(waits).flat_map(|(mark, wide)| std::iter::repeat_n(*mark, wide)).collect();
    bar.extend(std::iter::repeat_n('█', wide(story.on_wire)));
    bar
}
