//! Where the token is shown once, for a session.

use super::{super::look::Admin, layout::page};
use axum::response::Html;
use maud::html;

pub(in super::super) fn login(admin: &Admin, was_wrong: bool) -> Html<String> {
    let main = html! {
        @if was_wrong { p role="alert" { strong { "That is not the token." } } }
        form method="post" action="/login" {
            label { "Token " input type="password" name="token" autocomplete="off" required; }
            button type="submit" { "log in" }
        }
        p.note { "It is the line in the token file. The session lasts eight hours." }
    };
    page(admin, "/login", "Log in", false, &main)
}
