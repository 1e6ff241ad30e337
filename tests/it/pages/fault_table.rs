//! `docs/faults.md` is the fault matrix, rendered. `UPDATE=1` rewrites it.

use crate::faults::{Fate, Link, Row, Then, rows};
use std::{env, fmt::Write, fs, path::Path};
use tonic_supervisor::{ConnectivityState, Origin, Phase, policy::code_name};

const INTRO: &str = "\
# Faults

What a supervised call makes of a peer that misbehaves. This page is written by a test
(`UPDATE=1 cargo test --features test-util`) from the table that the suite plays row by row, in
memory and over TCP, for idempotent calls and others; `.ci/run` plays it once more without tonic's
`server` feature. `testing::Misbehaviour` plays each row against your own agent.

- **Sent**: *never*, it did not leave this process; *unprocessed*, the server certainly did not act
  on it; *maybe*, it may have; *answered*, it did.
- **Then**, under the default list of codes: *ends*, the call fails with it; *retried*, a retry that
  counts, and none where the call is `idempotent(false)`; *sent again*, free of charge, idempotent
  or not.
- **Kinds**: descriptors, configuration or the call say *unary* or *streaming*; *auto* is a unary
  call of a generated client whose method nobody described: once its answer has begun, with the
  headers, the answer is the caller's, and nothing is retried.
- **Link**: *kept*, only the call's stream is concerned; *lost*, everything on it is, and it is
  dialled again; *replaced*, what runs on it finishes while a successor is dialled; *never up*, no
  call leaves: one that waits for a link ends at its deadline with DEADLINE_EXCEEDED and the dial's
  error, one that does not ends as the row says.
- **Headers**: a head or trailers above `max_response_header_bytes` (16 KiB) end their call alone.
  The link survives headers of 15 MiB in frames of 128 KiB, the largest that are taken, and of 2.5
  MiB in frames of 16 KiB: h2 ends the link at a block of more than 160 frames without END_HEADERS,
  and at one above 64 MiB. Between 16 MiB and that the call ends with INTERNAL. The heads of a
  link's open calls hold at most 16 MiB together; above that the newest call fails.
- **DATA frames without a byte** that do not end their stream: h2 takes 100 in a connection's life.
  After 80 the link is replaced as by `reconnect_now()`: a successor is dialled while it goes on,
  and what runs on it finishes.
- **Answers in tiny pieces** are copied together while they wait to be read, and padding is not
  kept. Of DATA frames below 256 bytes that nobody has read, a link holds what h2 counts as 66 MB:
  260,000 of one byte, for which it takes some 140 MB. One more ends the link. Frames of 19 bytes or
  more never come that far: the windows (2 MiB a stream, 5 MiB a link) are full before.
- **Links that only finish their calls**: at most `max_draining_links` (16). The oldest above that
  is ended, and its calls fail with LinkLost, which says so.
- **Keepalive**: any byte is life. A peer that acknowledges no PING but says something is asked
  again, `keepalive_time` after its last byte; one that is silent is dead after `keepalive_time` +
  `keepalive_timeout`, and the link is read once more before.
- A *local* fault is this side's or the path's, a *peer* fault is the peer's own word.

";

const HEAD: &str = "\
| the peer | unary call | sent, then | call of kind `auto` | sent, then | known server-streaming \
call | sent, then | link | state events |
|---|---|---|---|---|---|---|---|---|
";

#[test]
fn the_page_of_faults_is_the_table() {
    let mut page = format!("{INTRO}{HEAD}");
    for row in rows() {
        writeln!(page, "{}", line(&row)).expect("a string takes all");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).expect("written");
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/faults.md is stale; run with UPDATE=1"
    );
}

fn line(row: &Row) -> String {
    let (mut code, then) = cells(row.unary);
    if row.generated != row.unary {
        write!(code, "; a generated client: {}", cells(row.generated).0)
            .expect("a string takes all");
    }
    let (auto_code, auto_then) = cells(row.auto);
    let (streaming_code, streaming_then) = cells(row.streaming);
    let link = match row.link {
        Link::NeverUp => "never up",
        Link::Kept => "kept",
        Link::Lost => "lost",
        Link::Replaced => "replaced",
    };
    let states: Vec<_> = row.link.states().iter().map(ConnectivityState::to_string).collect();
    let states = if states.is_empty() { "none".to_owned() } else { states.join(", ") };
    format!(
        "| {} | {code} | {then} | {auto_code} | {auto_then} | {streaming_code} | {streaming_then} \
         | {link} | {states} |",
        row.name
    )
}

/// The code and whose it is; how far it came and what follows.
fn cells(fate: Fate) -> (String, String) {
    let Fate::Fails { code, origin, phase, then } = fate else {
        return ("OK".into(), "answered".into());
    };
    let origin = match origin {
        Origin::Local => "local",
        Origin::Peer => "peer",
    };
    let sent = match phase {
        Phase::Unsent => "never",
        Phase::Unprocessed => "unprocessed",
        Phase::MaybeProcessed => "maybe",
        Phase::Processed => "answered",
    };
    let then = match then {
        Then::Ends => "ends",
        Then::Retried => "retried",
        Then::Resent => "sent again",
    };
    (format!("{} ({origin})", code_name(code)), format!("{sent}, {then}"))
}
