//! The supervisor at one moment.

use super::{
    endpoint::{Address, EndpointId},
    health::Health,
    ids::Incarnation,
    state::ConnectivityState,
};
use std::{sync::Arc, time::Duration};

/// The state and counts of a supervised channel at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The connectivity state.
    pub state: ConnectivityState,
    /// How long the channel has been in it.
    pub since: Duration,
    /// The target: `host:port`, `ipv4:address:port`, `unix:path`. It is what is dialled, unless
    /// endpoints are given or a resolver is asked.
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
    /// Streams open on the links in use.
    pub streams: usize,
    /// Policy retries scheduled since spawn.
    pub retries: u64,
    /// Transparent retries sent since spawn.
    pub transparent_retries: u64,
    /// The keepalive time in force; longer than configured after a complaint of the peer.
    pub keepalive_time: Option<Duration>,
    /// The last measured round trip of a keepalive PING.
    pub round_trip: Option<Duration>,
    /// The endpoints, in the order of their numbers.
    pub endpoints: Vec<EndpointSnapshot>,
    /// The number of the last event.
    pub seq: u64,
}

/// One endpoint at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// Its number.
    pub endpoint: EndpointId,
    /// Its addresses, with commas between.
    pub addresses: Arc<str>,
    /// Its state: READY while one of its links takes calls.
    pub state: ConnectivityState,
    /// How long it has been in it.
    pub since: Duration,
    /// Why it is not Ready, if it is not.
    pub last_error: Option<Arc<str>>,
    /// Until its next dial, while one is waited for.
    pub next_dial: Option<Duration>,
    /// Until a call goes there again, while it is ejected; 0 while one call at a time does.
    pub ejected_for: Option<Duration>,
    /// How long its answers take, by the moving figure of `peak_ewma`; none where it is not kept.
    pub latency: Option<Duration>,
    /// What its newest link knows of its server's health; none where that is not asked for, or not
    /// known yet.
    pub health: Option<Health>,
    /// Its links that take calls, the oldest first.
    pub links: Vec<LinkSnapshot>,
}

/// One link at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LinkSnapshot {
    /// Its number.
    pub incarnation: Incarnation,
    /// The address it was connected to.
    pub peer: Option<Address>,
    /// How long it has lived.
    pub age: Duration,
    /// Streams open on it.
    pub streams: usize,
    /// The peer's MAX_CONCURRENT_STREAMS, if it set one.
    pub max_concurrent_streams: Option<u32>,
    /// Whether it has answered a call.
    pub proven: bool,
    /// What is known of the server's health over it; none where that is not asked for, or not known
    /// yet.
    pub health: Option<Health>,
    /// Whether its peer owes the answer to a keepalive PING for half of `keepalive_timeout`.
    pub suspect: bool,
}
