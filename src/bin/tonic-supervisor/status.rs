//! `status`: what is the matter with the channels of a program that runs, in a line each, from its
//! admin pages.

use crate::{CliError, address::Address, stdout::Stdout};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{fs, future::poll_fn, path::PathBuf, pin::Pin, time::Duration};
use tokio::{net::TcpStream, runtime, time};
use tonic_supervisor::printable;

pub(crate) const HELP: &str = "\
Asks a program that was started with --admin (or that serves the library's admin pages), and \
prints a line for each channel: name, state and for how long, calls that wait, and what is the \
matter.

TLS is not spoken: of pages that others can reach, ask on their own machine, or use curl.

Exit codes: 0 each channel is READY, 1 there are no admin pages at that address, 2 wrong usage, 4 \
a channel is not READY, or there is none.";

/// How long the program has to answer.
const WITHIN: Duration = Duration::from_secs(10);
/// No answer is larger.
const LARGEST: usize = 64 << 20;

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
}

/// Succeeds if every channel that is asked for is READY.
pub(crate) fn run(arguments: &StatusArguments, json: bool) -> Result<(), CliError> {
    let token = arguments.token_file.as_ref().map(|path| {
        let error = format!("cannot read {}", path.display());
        fs::read_to_string(path).map_err(CliError::failed(&error))
    });
    let token = token.transpose()?;
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::failed("cannot start the runtime"))?
        .block_on(ask(arguments, token.as_deref().map(str::trim), json))
}

async fn ask(arguments: &StatusArguments, token: Option<&str>, json: bool) -> Result<(), CliError> {
    let admin = &arguments.admin;
    let mut picture = read(&fetch(admin, Method::GET, "/snapshot", token).await?)?;
    if let Some(name) = &arguments.reconnect {
        let channels = picture["channels"].as_array().cloned().unwrap_or_default();
        let one = channels.iter().find(|one| one["name"] == **name);
        let id = one.and_then(|one| one["id"].as_u64()).ok_or_else(|| no_channel(name))?;
        fetch(admin, Method::POST, &format!("/channel/{id}/reconnect"), token).await?;
        picture = read(&fetch(admin, Method::GET, "/snapshot", token).await?)?;
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

/// One request to the admin pages, and its whole answer.
async fn fetch(
    admin: &Address,
    method: Method,
    path: &str,
    token: Option<&str>,
) -> Result<Bytes, CliError> {
    let none = format!("there are no admin pages at {admin}");
    let asking = async {
        let addresses = admin.lookup().await.map_err(CliError::failed(&none))?;
        let local = addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
        if token.is_some() && !local {
            let rule = "the token is not sent over a network in plaintext: ask on that machine";
            return Err(CliError::Usage(rule.into()));
        }
        let stream = TcpStream::connect(&*addresses).await.map_err(CliError::failed(&none))?;
        let (mut sender, connection) = http1::handshake::<_, String>(TokioIo::new(stream))
            .await
            .map_err(CliError::failed(&none))?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request =
            request.body(String::new()).map_err(CliError::failed("the token cannot be sent"))?;
        let answer = sender.send_request(request).await.map_err(CliError::failed(&none))?;
        let (head, mut body) = answer.into_parts();
        let mut whole = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(CliError::failed("the answer broke off"))?;
            whole.extend_from_slice(&frame.into_data().unwrap_or_default());
            if whole.len() > LARGEST {
                return Err(CliError::Failed("the answer is larger than 64 MiB".into()));
            }
        }
        connection.abort();
        if head.status != StatusCode::OK {
            let words = String::from_utf8_lossy(&whole);
            let words = words.trim();
            return Err(CliError::Failed(format!("{admin} answered {}: {words}", head.status)));
        }
        Ok(whole.freeze())
    };
    let late = |_| CliError::Failed(format!("{admin} has not answered within 10 s"));
    time::timeout(WITHIN, asking).await.map_err(late)?
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
