//! `docs/faults.md` is the fault matrix, rendered, and below it what befalls a fleet of endpoints.
//! `UPDATE=1` rewrites it.

use crate::faults::{
    Fate, Link, Row, Then,
    fleet::FleetFault,
    play_fleet::{self as fleet, PLAYED, Played},
    rows,
};
use std::{collections::BTreeMap, env, fmt::Write, fs, path::Path, time::Duration};
use tonic_supervisor::{ConnectivityState, Origin, Phase, policy::code_name};

const INTRO: &str = "\
# Faults

What happens to a supervised call when its peer misbehaves. A test writes this page (`UPDATE=1 cargo
test --features test-util`) from a table of which the tests play each row, in memory and over TCP,
for idempotent calls and others; `.ci/run` plays it once more without tonic's `server` feature. With
`testing::Misbehaviour` you can play each row against your own agent.

- **Sent**: *never*, the call did not leave this process; *unprocessed*, the server certainly did
  not act on it; *maybe*, it may have; *answered*, it did.
- **Then**, under the default list of codes: *ends*, the call fails with this status; *retried*, a
  retry that counts, and none where the call is `idempotent(false)`; *sent again*, a transparent
  retry, idempotent or not.
- **Kinds**: descriptors, configuration or the call say *unary* or *streaming*; *auto* is a unary
  call of a generated client whose method nobody described. Once the headers of its answer are
  there, the answer goes to the caller, and nothing is retried.
- **Link**: *kept*, only the call's stream ends; *lost*, all its calls fail, and a redial follows;
  *replaced*, its calls may finish while a successor is dialled; *never up*, no call is sent: one
  that waits for a link ends at its deadline with DEADLINE_EXCEEDED and the dial's error, one that
  does not wait ends as the row says.
- **Headers**: headers or trailers above `max_response_header_bytes` (16 KiB) end only their call.
  The link survives headers of 15 MiB in frames of 128 KiB, the largest that are taken, and of
  2.5 MiB in frames of 16 KiB: h2 ends the link at a block of more than 160 frames without
  END_HEADERS, and at one above 64 MiB. Between 16 MiB and that the call ends with INTERNAL. The
  headers of a link's open calls take at most 16 MiB together; above that the newest call fails.
- **DATA frames without a byte** that do not end their stream: h2 takes 100 on one connection. After
  80 the link is replaced as by `reconnect_now()`: a successor is dialled, and calls on the old link
  may finish.
- **Answers in tiny pieces** are copied together while they wait to be read, and padding is not
  kept. Of DATA frames below 256 bytes that nobody has read, a link holds what h2 counts as 66 MB:
  260,000 of one byte, for which it takes some 140 MB. One more ends the link. With frames of 19
  bytes or more the windows (2 MiB a stream, 5 MiB a link) are full before.
- **Links that only finish their calls**: at most `max_draining_links` (16). Above that the oldest
  is closed, and its calls fail with LinkLost, which says so.
- **Keepalive**: any byte from the peer shows that it is alive. A peer that acknowledges no PING but
  sends something is asked again, `keepalive_time` after its last byte. A link whose peer is silent
  ends after `keepalive_time` + `keepalive_timeout`; before that it is read once more.
- A *local* fault comes from this side or from the network, a *peer* fault from the peer.

";

const HEAD: &str = "\
| the peer | unary call | sent, then | call of kind `auto` | sent, then | known server-streaming \
call | sent, then | link | state events |
|---|---|---|---|---|---|---|---|---|
";

const FLEET_HEAD: &str = "\
| what befalls | failed | retries | transparent | channel | endpoints | answered by each | at the \
end | longest | what happens |
|---|---|---|---|---|---|---|---|---|---|
";

type IsOf = fn(FleetFault) -> bool;
const FLEET_TABLES: [(&str, IsOf); 3] = [
    ("One endpoint of three", |fault| matches!(fault, FleetFault::One(_))),
    ("All three at once", |fault| matches!(fault, FleetFault::All(_))),
    ("Another list of endpoints", |fault| matches!(fault, FleetFault::Listed(_))),
];

/// What the second table is of, with the numbers of those who played it.
fn fleet_intro() -> String {
    let s = |time: Duration| time.as_secs();
    let total = s(fleet::BEFORE + fleet::LASTING + fleet::AFTER) as u32 * fleet::PER_SECOND;
    format!(
        "
## A fleet of endpoints

What happens to the calls of one channel to three endpoints under `balancing.policy: round_robin`
while one of them, all of them, or the list of them comes to harm: {} idempotent unary calls a
second, {total} in all, each of which a healthy server answers after {} ms; {} s after the first the
fault begins, {} s later it ends. The configuration is the default, but for `keepalive_time` {} s
and `ejection.max` {} s. With `testing::Fleet` you can play each row against your own agent. Time is
virtual, so the numbers are exact.

- **Failed**: calls, and with what; **retries**: those that count; **transparent**: calls that were
  sent again without being counted.
- **Channel**, **endpoints**: the states that the snapshot shows just before the fault ends.
- **Answered by each**: the calls that began while the fault lasted, by the endpoint that answered
  them; **at the end**: the same for the last {} s.
- **Longest**: the time of the slowest call that was answered.
",
        fleet::PER_SECOND,
        fleet::ANSWER.as_millis(),
        s(fleet::BEFORE),
        s(fleet::LASTING),
        s(fleet::KEEPALIVE_TIME),
        s(fleet::EJECTION_MAX),
        s(fleet::LAST),
    )
}

fn fleet_line(played: &Played) -> String {
    let Played { row, retries, transparent_retries, state, .. } = played;
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    played.failed.iter().for_each(|code| *codes.entry(code_name(*code)).or_default() += 1);
    let codes: Vec<_> = codes.iter().map(|(code, calls)| format!("{calls} {code}")).collect();
    let failed = if codes.is_empty() { "0".into() } else { codes.join(", ") };
    let states: Vec<_> = played.endpoints.iter().map(ConnectivityState::to_string).collect();
    let states = if states.is_empty() { "none".into() } else { states.join(", ") };
    let places = match row.fault {
        FleetFault::Listed(places) => places.iter().max().map_or(fleet::LISTED, |last| last + 1),
        _ => fleet::LISTED,
    };
    let shares = |answered: &[usize], places: usize| {
        answered[..places].iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
    };
    let answered = shares(&played.answered, places.max(fleet::LISTED));
    let at_the_end = shares(&played.answered_last, fleet::LISTED);
    let longest = played.longest.as_millis() as f64 / 1_000.0;
    format!(
        "| {} | {failed} | {retries} | {transparent_retries} | {state} | {states} | {answered} | \
         {at_the_end} | {longest:.2} s | {} |",
        row.name, row.says
    )
}

#[test]
fn the_page_of_faults_is_the_table() {
    let mut page = format!("{INTRO}{HEAD}");
    for row in rows() {
        writeln!(page, "{}", line(&row)).expect("a string takes all");
    }
    page.push_str(&fleet_intro());
    for (heading, of) in FLEET_TABLES {
        write!(page, "\n### {heading}\n\n{FLEET_HEAD}").expect("a string takes all");
        for played in PLAYED.iter().filter(|played| of(played.row.fault)) {
            writeln!(page, "{}", fleet_line(played)).expect("a string takes all");
        }
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
        _ => "somebody",
    };
    let sent = match phase {
        Phase::Unsent => "never",
        Phase::Unprocessed => "unprocessed",
        Phase::MaybeProcessed => "maybe",
        Phase::Processed => "answered",
        _ => "unknown",
    };
    let then = match then {
        Then::Ends => "ends",
        Then::Retried => "retried",
        Then::Resent => "sent again",
    };
    (format!("{} ({origin})", code_name(code)), format!("{sent}, {then}"))
}
