//! What is configured, and who said so; what differs from the defaults first.

use super::{
    super::look::{Admin, Channel, Picture},
    layout::page,
};
use axum::response::Html;
use maud::{Markup, html};

pub(in super::super) fn config(admin: &Admin, picture: &Picture) -> Html<String> {
    let main = html! { @for one in &picture.channels { (of_channel(one)) } };
    page(admin, "/config", "Configuration", false, &main)
}

fn of_channel(one: &Channel) -> Markup {
    let settings = one.observer.config().effective();
    let (defaults, said): (Vec<_>, Vec<_>) =
        settings.iter().partition(|setting| setting.location() == "default");
    let label = format!("settings of {}", one.now.name);
    html! {
        section {
            h2 { (one.now.name) }
            div.wide tabindex="0" role="region" aria-label=(label) {
                table {
                    thead { tr { th { "key" } th { "value" } th { "who said so" } } }
                    tbody {
                        @for setting in said.iter().chain(&defaults) {
                            tr {
                                th scope="row" { (setting.path().join(".")) }
                                td { code { (setting.value()) } }
                                td { (setting.location()) }
                            }
                        }
                    }
                }
            }
        }
    }
}
