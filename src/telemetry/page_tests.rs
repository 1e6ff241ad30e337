//! `docs/events.md` is written from the table of facts and the comments of `Fact`. `UPDATE=1`
//! rewrites it.

use crate::model::{Fact, every_fact};
use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path};

const INTRO: &str = "\
# Events

`supervisor.events()` yields a snapshot first and then every event in order, numbered without gaps
(`Event::seq`), with the wall clock's time (`at`) and the time since spawn (`since_spawn`). A reader
that falls more than 512 events behind gets `EventItem::Lagged(n)` at the place of the gap; what
follows is complete again. The stream ends after `Closed`.

Events do not keep a supervisor alive, and reading them slowly slows nothing down. `Fact` and its
variants are `#[non_exhaustive]`: match with `..` and a `_` arm. `incarnation` numbers the links,
from 1; a redial is a new incarnation.

`{fact}` is a sentence, `Fact::name()` the variant's name as it stands below, `Fact::level()` its
level, and `Fact::fields()` its fields as names and values. `demo --json` and `agent --json` print
name, sentence and fields of every event; log lines have them, too, as fields of `tracing` (those
that are `none` are left out). A number's name ends in its unit. `testing::every_fact()` gives your
tests an example of each.

Not every event is worth a line to a person. `EventLines` chooses as the log does, and makes
sentences of them: feed it every item of the stream, and print what it gives back. An outage is one
line at its start, thinned repeats, and one line at its end with its length. `tonic-supervisor
agent` prints these lines, while `agent --json` prints every event. In the log each line has the
level of its fact; lines about an outage are warnings, and \"connected\" is INFO. Lines of an outage
have `failed_dials` and `outage_ms`, thinned repeats have `times`. Every other event is a DEBUG
line.

A typical outage: `LinkLost`, `StateChanged` (to TRANSIENT_FAILURE), `BackoffStarted`,
`StateChanged` (to CONNECTING), `DialStarted`, `DialFailed`, `StateChanged`, `BackoffStarted`, ...
`DialStarted`, `LinkEstablished`, `StateChanged` (to READY), and `BackoffReset` with the first
answer.

This page is written by a test (`UPDATE=1 cargo test --lib page_tests`).
";

/// The page's sections: heading, text, facts.
const SECTIONS: &[(&str, &str, &[&str])] = &[
    ("The channel", "", &["StateChanged", "DrainStarted", "Closed"]),
    (
        "Dials and links",
        "\
Who only wants to know that there is a new link, to subscribe streams again, has an easier way
than events: `supervisor.for_each_incarnation(..)`, and `watch_links()` below it
([guide](guide.md#streams-that-outlive-a-link)).",
        &[
            "SubchannelChanged",
            "EndpointAdded",
            "EndpointRemoved",
            "EndpointEjected",
            "EndpointReturned",
            "NameResolved",
            "ResolveFailed",
            "DialStarted",
            "DialFailed",
            "TlsMaterialRejected",
            "LinkEstablished",
            "BackoffReset",
            "BackoffStarted",
            "HealthChanged",
            "GoAwayReceived",
            "LinkSuspected",
            "LinkCleared",
            "KeepaliveLost",
            "KeepaliveBackedOff",
            "LinkLost",
        ],
    ),
    (
        "Calls",
        "Calls that go well announce nothing. Transparent retries are counted
(`Snapshot::transparent_retries`), not announced.",
        &["CallShed", "RetryScheduled", "RetryThrottled"],
    ),
    ("The supervisor itself", "", &["ChildFailed", "IntensityReached"]),
];

/// Where there is more about a fact, from this page.
const MORE: &[(&str, &str)] = &[
    (
        "StateChanged",
        "See [the edges](architecture.md#a-link-from-dial-to-end) between the states.",
    ),
    ("HealthChanged", "See [a server that does not serve](guide.md#servers-that-do-not-serve)."),
    (
        "DialFailed",
        "See [why a wrong peer ends calls](decisions/0052-a-wrong-peer-before-the-first-link.md).",
    ),
    ("EndpointEjected", "See [the breaker](decisions/0077-the-breaker-is-on-for-unavailable.md)."),
    (
        "RetryThrottled",
        "See [the retry throttle](decisions/0005-the-retry-throttle-deviates-from-the-seed.md).",
    ),
];

#[test]
fn the_page_of_events_is_what_the_table_of_facts_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md");
    let page = page();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(there == page, "docs/events.md is stale; UPDATE=1 writes it anew");
}

#[test]
fn the_page_of_events_has_a_place_for_every_fact() {
    let placed: Vec<_> = SECTIONS.iter().flat_map(|(_, _, facts)| facts.iter().copied()).collect();
    assert_eq!(placed.len(), Fact::NAMES.len());
    let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(set(&placed), set(Fact::NAMES));
}

fn page() -> String {
    let facts = every_fact();
    let mut page = INTRO.to_owned();
    for (heading, text, names) in SECTIONS {
        write!(page, "\n## {heading}\n").expect("a string");
        if !text.is_empty() {
            write!(page, "\n{text}\n").expect("a string");
        }
        for name in *names {
            let fact = facts.iter().find(|fact| fact.name() == *name).expect("an example");
            page += &section(fact);
        }
    }
    page
}

fn section(fact: &Fact) -> String {
    let name = fact.name();
    let (text, meanings) = comments(name);
    let mut section = format!("\n### {name}\n\n{}\n", wrapped(&text));
    if let Some((_, more)) = MORE.iter().find(|(of, _)| *of == name) {
        section += &format!("\n{more}\n");
    }
    section += &format!("\n{}: `{fact}`\n", fact.level());
    section += "\n| field | Rust field, if another | meaning |\n|---|---|---|\n";
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for field in fact.fields() {
        let name = format!("`{}`", field.name());
        match rows.iter_mut().find(|(of, _)| *of == field.of) {
            Some((_, names)) => names.push(name),
            None => rows.push((field.of, vec![name])),
        }
    }
    for (of, names) in rows {
        let meaning = meanings.iter().find(|(field, _)| field == of).expect("a comment");
        let same = names == [format!("`{of}`")];
        let of = if same { String::new() } else { format!("`{of}`") };
        section += &format!("| {} | {of} | {} |\n", names.join(", "), meaning.1);
    }
    section
}

/// The comment of a variant, and its fields with their comments, from the source.
fn comments(variant: &str) -> (String, Vec<(String, String)>) {
    let source = include_str!("../model/event.rs");
    let body = source.split("pub enum Fact {").nth(1).expect("the enum");
    let (mut comment, mut text, mut fields) = (String::new(), None, Vec::new());
    for line in body.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            comment = format!("{comment} {}", more.trim()).trim().to_owned();
        } else if text.is_some() && line == "}," {
            break;
        } else if let (Some((field, _)), true) = (line.split_once(": "), text.is_some()) {
            fields.push((field.to_owned(), std::mem::take(&mut comment)));
        } else if line == format!("{variant} {{") {
            text = Some(std::mem::take(&mut comment));
        } else if line != "#[non_exhaustive]" {
            comment.clear();
        }
    }
    (text.expect("the variant"), fields)
}

/// In lines of at most 100 columns.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.len() + 1 + word.len() > 100 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
