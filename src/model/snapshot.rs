//! The supervisor at one moment.

use super::{ids::Incarnation, state::ConnectivityState};
use std::{sync::Arc, time::Duration};

/// The state and counts of a supervised channel at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The connectivity state.
    pub state: ConnectivityState,
    /// How long the channel has been in it.
    pub since: Duration,
    /// What is dialled: `host:port`, `ipv4:address:port`, `unix:path`.
    pub target: Arc<str>,
    /// The current link's incarnation, or the last one's; 0 before the first dial.
    pub incarnation: Incarnation,
    /// Why the channel is not Ready, if it is not.
    pub last_error: Option<Arc<str>>,
    /// Dials started since spawn.
    pub dials: u64,
    /// Links established since spawn.
    pub links: u64,
    /// Until the next dial, while one is waited for.
    pub next_dial: Option<Duration>,
    /// Calls accepted and not yet answered.
    pub calls_open: usize,
    /// Calls of those that wait for a link or for room on it.
    pub calls_waiting: usize,
    /// Streams open on the current link.
    pub streams: usize,
    /// Policy retries scheduled since spawn.
    pub retries: u64,
    /// Transparent retries sent since spawn.
    pub transparent_retries: u64,
    /// The keepalive time in force; longer than configured after a complaint of the peer.
    pub keepalive_time: Option<Duration>,
    /// The last measured round trip of a keepalive PING.
    pub round_trip: Option<Duration>,
    /// The number of the last event.
    pub seq: u64,
}
