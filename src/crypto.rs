//! Chooses the cryptography of TLS, for links to a server and for connections to PostgreSQL alike.
//!
//! The program's own choice comes first: a process may have to use one provider everywhere, such
//! as a certified one. Without a choice it is what this crate was built with.

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// The program's provider, else the one that was built in.
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, String> {
    if let Some(chosen) = CryptoProvider::get_default() {
        return Ok(chosen.clone());
    }
    #[cfg(feature = "tls-ring")]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(all(feature = "tls-aws-lc", not(feature = "tls-ring")))]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
    Err("no cryptography provider: enable the feature tls-ring or tls-aws-lc, or install a default \
         one"
        .into())
}
