//! What every page has: head, navigation, foot.

use super::super::{look::Admin, wire::timestamp};
use crate::model::readable;
use axum::response::Html;
use maud::{DOCTYPE, Markup, html};
use std::time::SystemTime;

/// The pages, in the order in which they are linked.
const LINKS: [(&str, &str); 6] = [
    ("/", "channels"),
    ("/calls", "calls"),
    ("/events", "events"),
    ("/config", "config"),
    ("/metrics", "metrics"),
    ("/help", "help"),
];

/// A whole page. `is_live`: it is shown anew when something happens, where scripts are on.
pub(super) fn page(
    admin: &Admin,
    path: &str,
    title: &str,
    is_live: bool,
    main: &Markup,
) -> Html<String> {
    let process = admin.process();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - " (process.name) }
                link rel="stylesheet" href="/style.css";
                @if is_live { script src="/live.js" defer {} }
            }
            body {
                header {
                    p.process {
                        strong { "tonic-supervisor " (env!("CARGO_PKG_VERSION")) }
                        " · " (process.name) " · pid " (process.pid)
                        " · up " (readable(process.up))
                    }
                    nav aria-label="pages" {
                        ul {
                            @for (link, name) in LINKS {
                                li {
                                    @if link == path {
                                        a href=(link) aria-current="page" { (name) }
                                    } @else {
                                        a href=(link) { (name) }
                                    }
                                }
                            }
                            @if admin.rules.has_token { li { a href="/login" { "log in" } } }
                        }
                    }
                }
                main id="main" {
                    h1 { (title) }
                    (main)
                }
                footer {
                    p { "as of " time { (timestamp(SystemTime::now())) } }
                }
            }
        }
    };
    Html(page.into_string())
}

/// A button that does something; there is none where nothing may be done.
pub(super) fn button(admin: &Admin, action: &str, words: &str) -> Markup {
    html! {
        @if admin.rules.has_token {
            form method="post" action=(action) { button type="submit" { (words) } }
        }
    }
}
