//! TLS to the database, by rustls: asked for in the DSN in libpq's words, and always verified.
//!
//! | `sslmode` | the connection is |
//! |---|---|
//! | none, `disable`, `allow`, `prefer` | not encrypted |
//! | `require`, `verify-ca`, `verify-full` | TLS; the server's certificate is verified in full |
//!
//! In full means its chain of authorities, its validity and the server's name in it.
//! `sslrootcert` names a file with the authorities (`system`, or none: the system's); `sslcert` and
//! `sslkey` what this side shows.

mod options;
#[cfg(not(feature = "tls"))]
mod plain;
#[cfg(feature = "tls")]
mod rustls_connector;

pub(super) use options::TlsOptions;
#[cfg(not(feature = "tls"))]
pub(super) use plain::{Connector, connector};
#[cfg(feature = "tls")]
pub(super) use rustls_connector::{Connector, connector};
