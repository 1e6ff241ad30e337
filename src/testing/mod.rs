//! A test kit: servers, peers and networks that fail on command, for testing this crate and your
//! own agent.
//!
//! | to test against | use | over |
//! |---|---|---|
//! | several servers, listed and not | [`Fleet`] | memory or TCP |
//! | a gRPC server that fails by script | [`ScriptedServer`] | memory or TCP |
//! | a peer that breaks HTTP/2 or gRPC | [`RawPeer`] with a [`Misbehaviour`] | memory or TCP |
//! | a network with exact, paused time | [`MemoryNetwork`] | memory |
//! | a bad network before a real server | [`FaultProxy`] | TCP |
//! | bugs in a connector, or in its streams | [`PanickingConnector`] | any other connector |
//!
//! Two rules hold for all of them: a fault holds when its method returns, and nothing outlives the
//! tool that started it.

mod memory;
pub use memory::{Direction, MemoryListener, MemoryNetwork};
mod pipe;
pub use pipe::MemoryStream;
mod socket;

mod scripted;
pub use scripted::{ScriptedServer, ScriptedServerBuilder};
mod arrival;
pub use arrival::Arrival;
mod answer;
pub use answer::{Answer, Script};
mod fleet;
mod health;
mod serve;
mod server_state;
pub use fleet::Fleet;
pub use health::HealthAnswer;
mod fleet_names;
pub use fleet_names::NameAnswer;

mod raw;
pub use raw::{RawLink, RawPeer};
mod frame;
pub use frame::{Frame, FrameKind};
mod behaviour;
pub use behaviour::PlayingPeer;
mod misbehave;
mod misbehaviour;
pub use misbehaviour::{Misbehaviour, Moment};

mod panicking;
pub use panicking::{PanicSpot, PanickingConnector};

mod proxy;
pub use proxy::FaultProxy;

pub use crate::model::every_fact;
