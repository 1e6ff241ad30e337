//! An actor-based connection supervisor for tonic gRPC clients.

mod actor;
#[cfg(feature = "agent-queue")]
pub mod agent_queue;
mod client;
mod clock;
pub mod config;
mod model;
pub mod policy;
#[cfg(feature = "agent-queue")]
pub mod proto;
mod telemetry;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod transport;

pub use actor::{CallCredentials, CredentialsRequest, UnaryCall, UnaryReply, UnaryResult};
#[cfg(feature = "test-util")]
pub use actor::{Child, Panics};
pub use client::{Builder, DescriptorError, Mailbox, SupervisedChannel, Supervisor};
pub use config::{Config, ConfigBuilder, ConfigError};
pub use model::{
    AttemptReport, CallId, CallKind, CallOptions, CallReport, Cause, ConnectivityState, DialFailure, DialStep, Event,
    Fact, Failure, GoAway, Incarnation, LinkEnd, Origin, Phase, Scope, ShedReason, Snapshot,
};
pub use telemetry::{EventItem, EventStream};
