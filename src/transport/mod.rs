//! The wire: the only chapter that knows sockets and HTTP/2. A [`Connector`] opens bytes, a link
//! speaks HTTP/2 over them.
//!
//! A dial gives a `Link` (what callers open streams on) and a `Driver` (the future that owns the
//! socket). The driver first lets no more calls in and reports second, so no call is ever started
//! on a link that is known to be ending.

mod answer;
mod asides;
mod body;
mod chunks;
mod clean;
mod code;
mod connect_request;
mod connector;
mod dial;
mod dial_record;
mod driver;
mod ended_streams;
mod event;
mod exchange;
mod eyeballs;
mod fields;
mod framing;
mod greeted;
mod greeting;
mod guarded;
mod limits;
mod link;
mod lookup;
mod net;
mod peer;
mod proof;
mod pump;
mod pushback;
mod refused;
mod resolver;
mod stats;
pub(crate) mod status;
mod step_clock;
mod tap;
mod tapped;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod unary_answer;
mod window;

pub(crate) use body::ResponseBody;
pub use connect_request::ConnectRequest;
pub use connector::{BoxedIo, Candidate, Connected, Connector, Io};
pub(crate) use dial::{Dial, Dialled, FailedDial, dial_panicked};
pub(crate) use event::{LinkEvent, LinkListener};
pub(crate) use exchange::{AttemptFailure, Outcome, read_head};
pub(crate) use framing::{
    PREFIX, begins_with_a_message, frame, is_one_message, message_length, payload, take_message,
    unframe,
};
pub(crate) use guarded::GuardedConnector;
pub(crate) use limits::bound_without_metadata;
#[cfg(feature = "bridge")]
pub(crate) use limits::size_of_head;
pub(crate) use link::{Link, OpenStream, Permit};
pub(crate) use net::NetConnector;
pub(crate) use pump::{Beside, OpenBody, Pump, Sent, beside};
#[cfg(feature = "test-util")]
pub(crate) use pushback::details_with_retry_info;
pub use resolver::{Resolution, Resolver};
pub(crate) use stats::{Judged, Sample, Stats, Tell};
pub use tcp::TcpConnector;
#[cfg(feature = "tls")]
pub(crate) use tls::TlsClient;
#[cfg(feature = "tls")]
pub use tls::check_tls_files;
pub(crate) use unary_answer::{Hold, UnaryAnswer};
pub(crate) use window::Room;
