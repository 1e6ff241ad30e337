//! `status`: what is the matter with the channels of a program that runs, in a line each, from its
//! admin pages.

mod pages;

use crate::{CliError, address::Address, stdout::Stdout};
use http::Method;
use pages::Pages;
use serde_json::Value;
use std::{path::PathBuf, time::Duration};
use tokio::runtime;
use tonic_supervisor::printable;

pub(crate) const HELP: &str = "\
Asks a program that was started with --admin (or that serves the library's admin pages), and \
prints a line for each channel: name, state and for how long, calls that wait, and what is the \
matter.

Pages that others can reach are served over TLS, and need the token also to look: give --ca and \
--token-file. The token is not sent over a network without TLS.

Exit codes: 0 each channel is READY, 1 there are no admin pages at that address, 2 wrong usage, 4 \
a channel is not READY, or there is none.";

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArguments {
    /// Only this channel, by its name.
    name: Option<String>,
    /// Where the program's pages are.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9911")]
    admin: Address,
    /// Only this channel must be READY; all are shown.
    #[arg(long, value_name = "NAME")]
    need: Option<String>,
    /// Have this channel dial now, first. Needs the token.
    #[arg(long, value_name = "NAME")]
    reconnect: Option<String>,
    /// The file with the program's token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Ask over TLS: the pages' certificate must be of an authority in this file, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The name that the certificate has, where it is not the address's.
    #[arg(long, value_name = "NAME", requires = "ca")]
    server_name: Option<String>,
}

/// Succeeds if every channel that is asked for is READY.
pub(crate) fn run(arguments: &StatusArguments, json: bool) -> Result<(), CliError> {
    let mut pages = Pages::new(&arguments.admin, arguments.token_file.as_deref())?;
    if let Some(ca) = &arguments.ca {
        pages = pages.over_tls(ca, arguments.server_name.as_deref())?;
    }
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::failed("cannot start the runtime"))?
        .block_on(ask(arguments, &pages, json))
}

async fn ask(arguments: &StatusArguments, pages: &Pages, json: bool) -> Result<(), CliError> {
    let mut picture = read(&pages.fetch(Method::GET, "/snapshot").await?)?;
    if let Some(name) = &arguments.reconnect {
        let channels = picture["channels"].as_array().cloned().unwrap_or_default();
        let one = channels.iter().find(|one| one["name"] == **name);
        let id = one.and_then(|one| one["id"].as_u64()).ok_or_else(|| no_channel(name))?;
        pages.fetch(Method::POST, &format!("/channel/{id}/reconnect")).await?;
        picture = read(&pages.fetch(Method::GET, "/snapshot").await?)?;
    }
    let channels = picture["channels"].as_array().cloned().unwrap_or_default();
    let shown: Vec<&Value> = match &arguments.name {
        None => channels.iter().collect(),
        Some(name) => channels.iter().filter(|one| one["name"] == **name).collect(),
    };
    if let Some(name) = arguments.name.as_ref().filter(|_| shown.is_empty()) {
        return Err(no_channel(name));
    }
    let stdout = Stdout::new();
    if json {
        shown.iter().for_each(|one| stdout.line(&one.to_string()));
    } else {
        lines(&shown).iter().for_each(|line| stdout.line(line));
    }
    let needed: Vec<&Value> = match &arguments.need {
        None => shown,
        Some(name) => {
            let of = channels.iter().filter(|one| one["name"] == **name).collect::<Vec<_>>();
            if of.is_empty() {
                return Err(no_channel(name));
            }
            of
        }
    };
    if needed.is_empty() {
        return Err(CliError::NotReady("that program has no channels".into()));
    }
    match needed.iter().filter(|one| one["state"] != "READY").count() {
        0 => Ok(()),
        1 => Err(CliError::NotReady("1 channel is not READY".into())),
        many => Err(CliError::NotReady(format!("{many} channels are not READY"))),
    }
}

fn no_channel(name: &str) -> CliError {
    CliError::Failed(format!("there is no channel {name:?} there"))
}

fn read(answer: &[u8]) -> Result<Value, CliError> {
    let none = "what answers there are no admin pages of a version that this command knows";
    let picture: Value = serde_json::from_slice(answer).map_err(CliError::failed(none))?;
    match picture["schema"] == 1 && picture["channels"].is_array() {
        true => Ok(picture),
        false => Err(CliError::Failed(none.into())),
    }
}

/// A line for each channel, in columns. What the program says is text, whatever it is.
fn lines(channels: &[&Value]) -> Vec<String> {
    let text = |value: &Value| printable(value.as_str().unwrap_or("?")).into_owned();
    let rows: Vec<[String; 4]> = channels
        .iter()
        .map(|one| {
            let since = Duration::from_millis(one["since_ms"].as_u64().unwrap_or(0));
            let waiting = one["calls"]["waiting"].as_u64().unwrap_or(0);
            [
                text(&one["name"]),
                format!("{} {}", text(&one["state"]), lasted(since)),
                format!("{waiting} waiting"),
                text(&one["verdict"]["sentence"]),
            ]
        })
        .collect();
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [wide(0), wide(1), wide(2)].map(Option::unwrap_or_default);
    let line = |[name, state, waiting, said]: &[String; 4]| {
        let [name_width, state_width, waiting_width] = widths;
        format!("{name:name_width$}  {state:state_width$}  {waiting:>waiting_width$}  {said}")
    };
    rows.iter().map(line).collect()
}

/// `31 s`, `2 h 11 min`.
fn lasted(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_stand_in_columns_and_hostile_words_are_shown_as_text() {
        let sick = json!({
            "name": "orders", "state": "TRANSIENT_FAILURE", "since_ms": 31_200,
            "calls": { "waiting": 41 }, "verdict": { "sentence": "refused \u{1b}[2J" },
        });
        let well = json!({
            "name": "users", "state": "READY", "since_ms": 7_860_000,
            "calls": { "waiting": 0 }, "verdict": { "sentence": "healthy" },
        });
        assert_eq!(
            lines(&[&sick, &well]),
            [
                "orders  TRANSIENT_FAILURE 31 s  41 waiting  refused \\u{1b}[2J",
                "users   READY 2 h 11 min         0 waiting  healthy",
            ]
        );
    }
}
