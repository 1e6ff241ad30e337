//! What happened: the events that are kept, with filters.

use super::{
    super::{live::Wanted, look::Admin, wire::timestamp},
    layout::page,
};
use crate::model::shortened;
use axum::response::Html;
use maud::html;

pub(in super::super) fn events(admin: &Admin, wanted: &Wanted) -> Html<String> {
    let kept = wanted.kept();
    let value = |text: &Option<String>| text.clone().unwrap_or_default();
    let fields = [
        ("channel", "channel, by name or number", value(&wanted.channel)),
        ("name", "event", value(&wanted.name)),
        ("from", "from, in UTC: 02:40", value(&wanted.from)),
        ("to", "to: 02:50", value(&wanted.to)),
    ];
    let main = html! {
        form.filter method="get" action="/events" {
            @for (name, label, value) in fields {
                label { (label) " " input type="text" name=(name) value=(value); }
            }
            button type="submit" { "show" }
        }
        p { (kept.len()) " events of those that are kept, the newest last" }
        ol.events {
            @for (channel, event) in &kept {
                li {
                    time { (timestamp(event.at)) } " " (channel) " " (event.seq) " "
                    strong { (event.fact.name()) } " " (shortened(&event.fact.to_string()))
                }
            }
        }
        p.note {
            "As they come: "
            code { "curl -N -H 'Accept: text/event-stream' http://HOST/events" }
            ", or " code { "application/x-ndjson" } " for lines of JSON."
        }
    };
    page(admin, "/events", "Events", true, &main)
}
