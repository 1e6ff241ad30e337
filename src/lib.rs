//! Keeps a tonic gRPC channel alive: reconnects with backoff, retries calls, lets calls wait out an
//! outage, and says what happens. Inside, actors own the lifecycle; outside, any generated client
//! works unchanged.
//!
//! Before:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = tonic::transport::Channel::from_static("http://127.0.0.1:50051").connect().await?;
//! # Ok(()) }
//! ```
//!
//! After; `channel` goes into the same `SomeClient::new(channel)`:
//!
//! ```no_run
//! # #[cfg(feature = "yaml")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tonic_supervisor::{Config, Supervisor};
//! let supervisor = Supervisor::spawn(Config::load("grpc.yaml")?);
//! let channel = supervisor.channel();
//! # Ok(()) }
//! ```
//!
//! Calls of methods that nobody described are retried by policy until their answer begins, and a
//! method that was seen to stream is not retried any more. Calls that are said to be unary are
//! retried until their status is known: say so once, with the descriptors that the code generator
//! wrote ([`SupervisorBuilder::descriptor_set`]), per method in the configuration
//! (`methods:`), or on a request ([`CallOptions::unary`]). Known streams are never retried
//! ([`CallKind`]).
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | spawning, state, events, shutdown | [`Supervisor`] |
//! | the channel for generated clients | [`SupervisedChannel`] |
//! | calls as messages, from any actor | [`Mailbox`], [`UnaryCall`] |
//! | options of one call | [`CallOptions`] |
//! | why a call failed, attempt by attempt | [`CallReport::of`] |
//! | what can happen to a channel | [`Fact`] |
//! | traces that go on in the server | [`Propagation`] |
//! | the agent queue, and the loop of a long-running agent | `agent_queue::PrivateAgentTasksQueue`, `AgentQueue::process` |
//! | configuration | [`Config`], [`ConfigBuilder`] |
//! | byte streams other than TCP | [`transport::Connector`] |
//! | what a configuration says of waits and retries | [`policy`] |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `yaml` | yes | `Config::load` and `Config::from_yaml` |
//! | `tls-ring`, `tls-aws-lc` | | TLS through rustls, with that cryptography |
//! | `agent-queue` | | the module `agent_queue`: the agent queue's client, `PrivateAgentTasksQueue`, and its messages |
//! | `test-util` | | the module `testing`: scripted servers, a fault proxy, networks in memory; and a switch for panics |
//! | `ractor-cluster` | | for builds in which any crate turns on `ractor/cluster` |
//! | `agent-queue-server` | | its server: the service, and a store in memory; `sqlite` and `postgres` add stores that last |
//! | `auth-file` | | for that server: who may do what, from a YAML file |
//! | `bridge` | | `Bridge`: an HTTP/2 server side over a supervised channel |
//! | `tonic-channel` | | `Supervisor::tonic_channel`: a real `tonic::transport::Channel`, for crates that take no other |
//! | `admin` | | the module `admin`: pages, JSON, metrics and probes of every supervisor, over HTTP |
//! | `cli` | | what the command `tonic-supervisor` needs |
//! | `serve` | | what its commands `serve` and `token` need |
//!
//! # Runtimes
//!
//! Works on tokio's multi-thread and current-thread runtimes. Calls may be made on another runtime
//! than the supervisor's, or on a thread without one; see [`Supervisor::spawn`]. Time is asked of
//! tokio, so tests may pause it. Futures say
//! in their documentation what happens when they are dropped; none of them loses a call silently.

// On docs.rs each item names the features that it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Tests of single files may look at the clock.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

/// Writes a log line under the one target that users filter by, whatever file it stands in.
macro_rules! log_line {
    ($level:ident, $($rest:tt)+) => {
        tracing::$level!(target: "tonic_supervisor", $($rest)+)
    };
}

mod actor;
#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "agent-queue")]
pub mod agent_queue;
#[cfg(feature = "bridge")]
mod bridge;
mod call;
#[cfg(feature = "tonic-channel")]
mod chain;
mod client;
mod clock;
pub mod config;
#[cfg(feature = "tls")]
mod crypto;
mod model;
pub mod policy;
#[cfg(feature = "agent-queue")]
pub mod proto;
mod telemetry;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod transport;
mod unwind;

pub use actor::UnaryCall;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub use actor::{Mutation, Mutations};
#[cfg(feature = "bridge")]
pub use bridge::{Bridge, BridgeLimits};
pub use call::{
    AttemptInfo, CallCredentials, CredentialsRequest, Propagation, UnaryReply, UnaryResult,
};
#[cfg(feature = "test-util")]
pub use call::{Child, Panics};
pub use client::{
    DescriptorError, Mailbox, NotReady, Observer, SupervisedChannel, Supervisor, SupervisorBuilder,
    record_levels, supervisors,
};
pub use config::{Config, ConfigBuilder, ConfigError, InvalidAddress, MethodOptions};
pub use model::{
    Address, Allowance, AttemptReport, CallKind, CallOptions, CallReport, CallStage, Cause,
    ConnectivityState, DialFailure, DialStep, Draining, Endpoint, EndpointId, EndpointSnapshot,
    Event, Fact, Failure, Field, FieldValue, GoAway, Health, Incarnation, LastFailure, Level,
    LinkEnd, LinkEnds, LinkSnapshot, LinkTls, LinksInUse, MethodCounts, NotRetried, OpenCall,
    Origin, Phase, Recent, Scope, ShedReason, Snapshot, StepTimes, Story, StreamStory, Verdict,
    VerdictKind, Waits, endpoint_verdicts, printable, verdict,
};
pub use telemetry::{EventItem, EventLines, EventStream, KeepHistory};

// The examples of the pages compile.
#[cfg(all(doctest, feature = "yaml", feature = "agent-queue"))]
#[doc = include_str!("../README.md")]
struct Readme;
#[cfg(all(doctest, feature = "yaml", feature = "agent-queue"))]
#[doc = include_str!("../README.zh-CN.md")]
struct ReadmeInChinese;
#[cfg(all(
    doctest,
    feature = "yaml",
    feature = "agent-queue",
    feature = "test-util",
    not(feature = "ractor-cluster")
))]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
#[cfg(all(doctest, feature = "yaml", feature = "agent-queue"))]
#[doc = include_str!("../docs/zh/guide.md")]
struct GuideInChinese;
#[cfg(doctest)]
#[doc = include_str!("../docs/errors.md")]
struct Errors;
#[cfg(doctest)]
#[doc = include_str!("../docs/zh/errors.md")]
struct ErrorsInChinese;
#[cfg(all(doctest, feature = "admin"))]
#[doc = include_str!("../docs/windows.md")]
struct Windows;
#[cfg(all(doctest, feature = "admin"))]
#[doc = include_str!("../docs/zh/windows.md")]
struct WindowsInChinese;
// The recipes that need no more than this crate has; `.ci/recipes` builds and runs all.
#[cfg(all(doctest, feature = "agent-queue"))]
#[doc = include_str!("../docs/recipes/token.md")]
struct TokenRecipe;
#[cfg(all(doctest, feature = "yaml", feature = "agent-queue", feature = "test-util"))]
#[doc = include_str!("../docs/recipes/no-retry.md")]
struct NoRetryRecipe;
#[cfg(all(doctest, feature = "test-util"))]
#[doc = include_str!("../docs/testing.md")]
struct Testing;
