//! What there is here, and how programs ask for it.

use super::{super::look::Admin, layout::page};
use axum::response::Html;
use maud::html;

pub(in super::super) fn help(admin: &Admin) -> Html<String> {
    let paths = [
        ("/", "every channel, the sick ones first: what is the matter, and what to do"),
        ("/channel/N", "one channel: servers, links, TLS, methods, what happened last"),
        ("/calls", "open calls with what they wait for, and the stories of those worth a look"),
        ("/events", "what happened, by time and kind; as it comes with text/event-stream"),
        ("/config", "what is configured, and who said so"),
        ("/snapshot", "all of it as JSON; so is each page with Accept: application/json"),
        ("/metrics", "Prometheus"),
        ("/live", "200 while the process is alive: never because of a peer"),
        ("/ready", "200 once each channel was connected; ?need=NAME asks for one channel now"),
    ];
    let words = [
        ("effective OK", "calls that ended well, whatever it took"),
        ("actual OK", "attempts that the server answered with OK"),
        ("link", "the wait for a connection"),
        ("room", "the wait for a place among the streams that may be open"),
        ("wire", "the time in which an attempt was under way"),
        ("retry allowance", "how many retries the throttle allows now"),
        ("proven", "a link that has answered a call"),
    ];
    let main = html! {
        h2 { "Paths" }
        dl { @for (path, what) in paths { dt { code { (path) } } dd { (what) } } }
        h2 { "Words" }
        dl { @for (word, what) in words { dt { (word) } dd { (what) } } }
        h2 { "Acting" }
        @if admin.rules.has_token {
            p {
                "Log in with the token, or send it: "
                code {
                    "curl -X POST -H 'Authorization: Bearer TOKEN' "
                    "http://HOST/channel/1/reconnect"
                }
                "; " code { "/channel/1/drain?grace=30" } " shuts a channel down."
            }
        } @else {
            p { "These pages only look: the program was started without a token file." }
        }
    };
    page(admin, "/help", "Help", false, &main)
}
