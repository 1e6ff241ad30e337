//! The supervisor at one moment.

use super::{
    endpoint::{Address, EndpointId},
    ends::LinkTls,
    health::Health,
    ids::Incarnation,
    link::{DialFailure, LinkEnd},
    state::ConnectivityState,
};
use std::{sync::Arc, time::Duration};

/// The state and counts of a supervised channel at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The supervisor's number in this process, from 1.
    pub id: u64,
    /// Its name ([`SupervisorBuilder::name`](crate::SupervisorBuilder::name)).
    pub name: Arc<str>,
    /// The connectivity state.
    pub state: ConnectivityState,
    /// How long the channel has been in it.
    pub since: Duration,
    /// The target: `host:port`, `ipv4:address:port`, `unix:path`. It is what is dialled, unless
    /// endpoints are given or a resolver is asked.
    pub target: Arc<str>,
    /// The target as metrics call it, gRPC A66's canonical URI: `dns:///host:port`.
    pub uri: Arc<str>,
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
    /// How many streams may be open on a link, where the peer allows as many (`max_in_flight`).
    pub max_in_flight: usize,
    /// Calls refused since spawn: the queue was full, or they would not have finished.
    pub calls_shed: u64,
    /// Retries that the throttle forbade since spawn.
    pub retries_throttled: u64,
    /// What the retry throttle allows now; none where it is off.
    pub allowance: Option<Allowance>,
    /// While it drains: until when what runs may go on, where there is a limit.
    pub draining: Option<Draining>,
    /// Why it is closed, where nobody asked for that.
    pub closed_by: Option<Arc<str>>,
    /// Whether a link was ever established.
    pub was_connected: bool,
    /// How often an actor failed since spawn: a bug.
    pub child_failures: u64,
    /// Which actor failed last, and why.
    pub last_child_failure: Option<Arc<str>>,
    /// How long ago that was.
    pub since_child_failure: Option<Duration>,
    /// Whether actors failed more often than `intensity` allows, and have not been well for a
    /// minute since.
    pub intensity_reached: bool,
    /// Why the last lookup of the channel's name failed; none once one has succeeded.
    pub lookup_failure: Option<Arc<str>>,
    /// Why the TLS files could not be used at the last dial, which took the former ones.
    pub tls_rejected: Option<Arc<str>>,
    /// Whether the peer complained of too many pings, so that they go out more rarely.
    pub pings_reduced: bool,
    /// The endpoints, in the order of their numbers.
    pub endpoints: Vec<EndpointSnapshot>,
    /// The number of the last event.
    pub seq: u64,
}

/// What the retry throttle allows at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Allowance {
    /// Retries that may go now: with gRPC A6's bucket, its tokens.
    pub left: f64,
    /// Of at most so many.
    pub of: f64,
}

/// A drain that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Draining {
    /// How long what runs may go on; none: until it ends.
    pub left: Option<Duration>,
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
    /// For how long it has been without a link, since one was lost or a dial failed.
    pub out_for: Option<Duration>,
    /// How many of its dials have failed since it last had a link.
    pub failed_dials: u32,
    /// How the last of them failed.
    pub dial_failure: Option<DialFailure>,
    /// How many of its links in a row ended before they had answered anything.
    pub short_links: u32,
    /// How the last of its links ended, until another one is proven.
    pub last_end: Option<LinkEnd>,
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
    /// This side's address, where the connector tells it.
    pub local: Option<Address>,
    /// The TLS that is spoken over it; none in plaintext.
    pub tls: Option<LinkTls>,
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
