//! The second table, as data: what befalls one endpoint of three, or all of them, or the list of
//! endpoints, while calls go to them in turns.
//!
//! Each row says in words what happens, and which calls may fail. Its numbers are measured in
//! virtual time (`play_fleet.rs`), so that they are exact, and the same in each run. As the first
//! table does, it needs nothing but `tonic_supervisor::testing`.

use tonic::Code::{self, *};
use tonic_supervisor::testing::Misbehaviour::{self, *};

/// One row.
pub(crate) struct FleetRow {
    pub(crate) name: &'static str,
    pub(crate) fault: FleetFault,
    /// With what a call may fail that began while the fault lasted; none: no call fails.
    pub(crate) may_fail: Option<Code>,
    /// What happens, in a sentence or two.
    pub(crate) says: &'static str,
}

/// What befalls the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FleetFault {
    /// The first of three servers.
    One(Harm),
    /// All three.
    All(Harm),
    /// The servers at these places are listed, and no others. Before and after it is the first
    /// three.
    Listed(&'static [usize]),
}

/// What befalls a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It is killed, and a peer that misbehaves so listens in its place.
    Peer(Misbehaviour),
    /// It answers every call with UNAVAILABLE at once.
    Errs,
    /// It answers no call.
    Hangs,
    /// The same, and an attempt may take no longer than a second.
    HangsLimited,
    /// It stands still: connections stay open, and new ones are not accepted.
    Freezes,
    /// Its health is watched, and it says that it does not serve.
    NotServing,
    /// Its health is watched, and the watch breaks, again and again.
    WatchBreaks,
    /// Its health is watched, and from the start on it does not know the health service.
    LacksHealth,
    /// From the start on its endpoint has a first address that accepts and stays silent. Now its
    /// connection is reset.
    MuteAddress,
}

fn one(name: &'static str, harm: Harm, says: &'static str) -> FleetRow {
    FleetRow { name, fault: FleetFault::One(harm), may_fail: None, says }
}

fn all(name: &'static str, harm: Harm, may_fail: Option<Code>, says: &'static str) -> FleetRow {
    FleetRow { name, fault: FleetFault::All(harm), may_fail, says }
}

fn listed(name: &'static str, places: &'static [usize], says: &'static str) -> FleetRow {
    FleetRow { name, fault: FleetFault::Listed(places), may_fail: None, says }
}

const FIRST_LINK: &str = "Calls wait, and are answered when servers are back. The first link \
    that is up takes all that \
     wait, up to its `max_in_flight`.";

/// The table.
pub(crate) fn fleet_rows() -> Vec<FleetRow> {
    let mut rows = of_one();
    rows.extend(of_all());
    rows.extend(lists());
    rows
}

fn of_one() -> Vec<FleetRow> {
    use Harm::*;
    vec![
        one(
            "refuses connections",
            Peer(Refuse),
            "What it had when it died is tried again elsewhere, after the first wait. From then on \
             it gets no call, and the others share its turns; its redials back off.",
        ),
        one(
            "accepts, then silence",
            Peer(BlackHole),
            "The same; each of its dials takes `connect_timeout`.",
        ),
        one("never sends SETTINGS", Peer(NoSettings), "The same."),
        one("accepts, then FIN", Peer(AcceptThenClose), "As a refusal: its dials fail at once."),
        one(
            "answers UNAVAILABLE at once",
            Errs,
            "After seven calls it is ejected, for longer each time; in between it has one call. \
             Each call that it refuses is tried again, at another.",
        ),
        FleetRow {
            may_fail: Some(DeadlineExceeded),
            ..one(
                "answers no call",
                Hangs,
                "It stays READY and has its turns. Without `attempt_timeout` a call that it does \
                 not answer ends at its `timeout`.",
            )
        },
        one(
            "answers no call, `attempt_timeout` 1 s",
            HangsLimited,
            "Each attempt there ends after 1 s, and is tried again at another. After seven it is \
             ejected, for longer each time; in between it has one call.",
        ),
        one(
            "stands still",
            Freezes,
            "It has its turns until it is suspect, `keepalive_time` + half of `keepalive_timeout` \
             after its last byte. Another half later its link is given up, and its calls are tried \
             again at the others.",
        ),
        one(
            "says NOT_SERVING, with `health.service`",
            NotServing,
            "It gets no new call until it says SERVING; those it has are answered, and no link is \
             lost.",
        ),
        one(
            "breaks the watch of its health, with `health.service`",
            WatchBreaks,
            "The same, until it answers a watch: it is opened again with backoff.",
        ),
        one(
            "lacks the health service, with `health.service`",
            LacksHealth,
            "It counts as healthy and has its turns; the log says so once.",
        ),
        one(
            "GOAWAY at every call",
            Peer(GoAwayBelow(0)),
            "What GOAWAY excludes is sent again at once, to another. Its links never answer a \
             call, so its redials back off, and it seldom has a turn.",
        ),
        one(
            "MAX_CONCURRENT_STREAMS 0",
            Peer(Streams(0)),
            "It is READY and has no room: the others share its turns.",
        ),
        one(
            "one of its two addresses is mute",
            MuteAddress,
            "The call on the link that was reset is tried again. The dial tries the other address \
             250 ms after the mute one, and it has its turns again.",
        ),
    ]
}

fn of_all() -> Vec<FleetRow> {
    use Harm::*;
    vec![
        all("refuse connections", Peer(Refuse), None, FIRST_LINK),
        all("accept, then silence", Peer(BlackHole), None, "The same."),
        all("never send SETTINGS", Peer(NoSettings), None, "The same."),
        all("accept, then FIN", Peer(AcceptThenClose), None, "The same."),
        all(
            "answer UNAVAILABLE at once",
            Errs,
            Some(Unavailable),
            "Calls end with the status of the last of 4 attempts, or of an earlier one where \
             `retry_throttle` holds retries back. Links are kept. At most one of three is \
             ejected.",
        ),
        all("answer no call", Hangs, Some(DeadlineExceeded), "Calls end at their `timeout`."),
        all(
            "answer no call, `attempt_timeout` 1 s",
            HangsLimited,
            Some(DeadlineExceeded),
            "A call has 4 attempts of 1 s with waits between, 11 s in all. Those whose last \
             attempt comes after the fault are answered.",
        ),
        all(
            "stand still",
            Freezes,
            None,
            "Keepalive gives the links up; then calls wait, and are answered when servers go on.",
        ),
        all(
            "say NOT_SERVING, with `health.service`",
            NotServing,
            None,
            "The channel is in TRANSIENT_FAILURE with all links up: calls wait, and are answered \
             when one says SERVING.",
        ),
        all(
            "lack the health service, with `health.service`",
            LacksHealth,
            None,
            "All count as healthy.",
        ),
        all(
            "GOAWAY at every call",
            Peer(GoAwayBelow(0)),
            Some(Unavailable),
            "On links that have answered nothing a call is sent again at once only the first time, \
             then by the policy; it fails when its 4 attempts are used up. While redials back off, \
             calls wait.",
        ),
        all(
            "MAX_CONCURRENT_STREAMS 0",
            Peer(Streams(0)),
            None,
            "All are READY and none has room: calls wait.",
        ),
        all(
            "one of two addresses of each is mute",
            MuteAddress,
            None,
            "Calls wait for 250 ms, until the dials try the other addresses.",
        ),
    ]
}

fn lists() -> Vec<FleetRow> {
    vec![
        listed("one fewer", &[1, 2], "Its link finishes the calls that it has, and closes."),
        listed("one more", &[0, 1, 2, 3], "It has its turns as soon as its link is up."),
        listed(
            "another set",
            &[3, 4, 5],
            "The old links finish the calls that they have; new calls go to the new ones.",
        ),
        listed(
            "an empty list",
            &[],
            "There is no endpoint: links finish the calls that they have, and calls wait for the \
             next list.",
        ),
    ]
}
