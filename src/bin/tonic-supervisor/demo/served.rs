//! What became of each of several servers: its state at the end, how long the supervised channel
//! had no link to it, and how many calls it answered for either agent.

use super::supervised::StateSince;
use crate::stdout::{Stdout, Tone};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tonic_supervisor::ConnectivityState;

/// One server.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) address: SocketAddr,
    /// As the supervised channel sees it at the end.
    pub(super) state: ConnectivityState,
    /// How long it was in another state than Ready, since it first was, or always.
    pub(super) away: Duration,
    /// Calls answered: supervised, plain.
    pub(super) calls: [u64; 2],
}

impl Served {
    /// The server at `address`, whose states until `end` were these.
    pub(super) fn new(
        address: SocketAddr,
        states: &[StateSince],
        end: Duration,
        calls: [u64; 2],
    ) -> Self {
        let until_end: Vec<_> = states.iter().filter(|(at, _)| *at <= end).collect();
        let ready = |(_, state): &&StateSince| *state == ConnectivityState::Ready;
        let first = until_end.iter().position(ready).unwrap_or_default();
        let since = &until_end[first..];
        let ends = since.iter().skip(1).map(|(at, _)| *at).chain([end]);
        let spans = since.iter().zip(ends).filter(|(state, _)| !ready(state));
        let away = spans.map(|((at, _), end)| end.saturating_sub(*at)).sum();
        let state = until_end.last().map_or(ConnectivityState::default(), |(_, state)| *state);
        Self { address, state, away, calls }
    }

    /// Whether the channel had a link to it at the end.
    pub(super) fn is_back(&self) -> bool {
        self.state == ConnectivityState::Ready
    }

    /// Its line of `--json`; `number` is from 1.
    pub(super) fn to_json(&self, number: usize) -> Value {
        let [supervised, plain] = self.calls;
        json!({
            "kind": "server", "server": number, "address": self.address.to_string(),
            "state": self.state.as_str(), "away_ms": self.away.as_millis() as u64,
            "supervised_calls": supervised, "plain_calls": plain,
        })
    }
}

/// The table for people, in at most 80 columns.
pub(super) fn table(stdout: Stdout, servers: &[Served]) -> String {
    let mut lines = vec![
        format!("{:<8}{:<22}{:<19}{:>8}{:>12}{:>8}", "", "", "", "not", "supervised", "plain"),
        format!(
            "{:<8}{:<22}{:<19}{:>8}{:>12}{:>8}",
            "server", "address", "state", "READY", "calls", "calls"
        ),
    ];
    for (place, server) in servers.iter().enumerate() {
        let state = format!("{:<19}", server.state.as_str());
        let tone = if server.is_back() { Tone::Good } else { Tone::Bad };
        let away = format!("{:.2} s", server.away.as_secs_f64());
        let [supervised, plain] = server.calls;
        lines.push(format!(
            "{:<8}{:<22}{}{away:>8}{supervised:>12}{plain:>8}",
            place + 1,
            server.address,
            stdout.paint(tone, &state)
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectivityState::*;

    fn served(states: &[(u64, ConnectivityState)]) -> Served {
        let states: Vec<_> =
            states.iter().map(|(at, state)| (Duration::from_secs(*at), *state)).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], 50_051));
        Served::new(address, &states, Duration::from_secs(10), [12_345, 12_345])
    }

    #[test]
    fn the_time_away_is_from_the_first_ready_to_the_end() {
        let back = served(&[(0, Connecting), (1, Ready), (3, TransientFailure), (5, Ready)]);
        assert_eq!((back.away, back.is_back()), (Duration::from_secs(2), true));
        let gone = served(&[(1, Ready), (6, TransientFailure), (8, Connecting)]);
        assert_eq!((gone.away, gone.state), (Duration::from_secs(4), Connecting));
        let closed = served(&[(1, Ready), (11, Shutdown)]);
        assert_eq!((closed.away, closed.is_back()), (Duration::ZERO, true));
        let never = served(&[(0, Connecting), (9, TransientFailure)]);
        assert_eq!((never.away, never.is_back()), (Duration::from_secs(10), false));
    }

    #[test]
    fn no_line_of_the_table_is_longer_than_80_columns() {
        let text = table(Stdout::plain(), &[served(&[(1, Ready), (6, TransientFailure)])]);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        let row = text.lines().last().expect("a row");
        let cells: Vec<_> = row.split_whitespace().collect();
        let expected = ["1", "127.0.0.1:50051", "TRANSIENT_FAILURE", "4.00", "s", "12345", "12345"];
        assert_eq!(cells, expected);
    }
}
