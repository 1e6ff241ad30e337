//! The wire: the only chapter that knows sockets and HTTP/2. A [`Connector`] opens bytes, a link speaks HTTP/2 over them.

mod connector;

pub use connector::{BoxedIo, Connector, Io, Target, TcpConnector};
