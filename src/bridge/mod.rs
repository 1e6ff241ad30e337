//! The bridge: an HTTP/2 server side whose service is a supervised channel, so that whoever speaks
//! gRPC can make calls on it, in this process or in another one, in any language.
//!
//! ```text
//! tonic_channel   a real tonic `Channel`, over a pipe in memory
//! together        runs all that tonic's channel spawns in one task
//! server          what holds for all connections
//! serve           one of them, after its first bytes
//! connection      one client's connection: handshake, keepalive, drain
//! own_wakes       wakes within a task stay there
//! first_bytes     what speaks no HTTP/2 is told so
//! exchange        one call: request in, call, answer out
//! request         what a request must be, and its body
//! answer          the answer, as fast as the client reads it
//! failure         statuses as trailers, and what is told in them
//! unread          what answers may hold that nobody reads
//! unwritten       what h2 was given of them and has not written
//! watched         whether a client sends and reads
//! reflection      asks the server what its methods are
//! ```
//!
//! It is made of h2 and not of hyper: a body that fails must end in trailers and not in
//! RST_STREAM, a client that reads nothing must be noticed while it reads nothing, and no field of
//! a head may be ours. All calls of a connection run in its task, so that what they write in one go
//! is sent in one go, and nothing of them is left when the connection ends.

mod answer;
mod connection;
mod exchange;
mod failure;
mod first_bytes;
mod limits;
mod own_wakes;
mod reflection;
mod request;
mod serve;
mod server;
#[cfg(feature = "tonic-channel")]
mod together;
#[cfg(feature = "tonic-channel")]
mod tonic_channel;
mod unread;
mod unwritten;
mod watched;

pub use limits::BridgeLimits;
pub use server::Bridge;
