//! An actor-based connection supervisor for tonic gRPC clients.

mod clock;
mod model;
pub mod policy;
pub mod transport;
#[cfg(feature = "test-util")]
pub mod testing;

pub use model::*;
