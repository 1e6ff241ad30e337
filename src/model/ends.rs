//! The two ends of a link, and the TLS between them.

use super::endpoint::Address;
use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Where a link begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkEnds {
    /// This side's address; none where the connector does not tell it, and for Unix sockets.
    pub local: Option<Address>,
    /// The address that was connected to.
    pub remote: Address,
    /// The TLS that is spoken over it; none in plaintext.
    pub tls: Option<LinkTls>,
}

/// The TLS of a link. `{}`: `TLS 1.3, TLS13_AES_256_GCM_SHA384`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkTls {
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: &'static str,
    /// The cipher suite, by its name in the RFC.
    pub cipher: Arc<str>,
    /// Until when the server's own certificate is valid; none where it cannot be read.
    pub certificate_until: Option<SystemTime>,
}

impl LinkEnds {
    pub(crate) fn new(local: Option<Address>, remote: Address, tls: Option<LinkTls>) -> Self {
        Self { local, remote, tls }
    }
}

impl LinkTls {
    #[cfg(feature = "tls")]
    pub(crate) fn new(
        version: &'static str,
        cipher: Arc<str>,
        certificate_until: Option<SystemTime>,
    ) -> Self {
        Self { version, cipher, certificate_until }
    }

    /// Until when the server's certificate is valid, in seconds since 1970.
    pub fn certificate_until_unix(&self) -> Option<u64> {
        Some(self.certificate_until?.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }
}

impl fmt::Display for LinkTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.version, self.cipher)
    }
}
