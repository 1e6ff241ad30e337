//! TLS for the servers of this command, and for the demo's plain client: the same keys of the configuration as the supervisor's.
//!
//! With `ca` a server demands a client certificate of that authority.

use crate::Trouble;
use std::{fs, path::Path};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};
use tonic_supervisor::{Config, config};

/// What an end needs, read once at the start.
#[derive(Clone)]
pub(crate) struct Tls {
    ca: Option<Vec<u8>>,
    certificate: Vec<u8>,
    key: Vec<u8>,
    server_name: Option<String>,
}

impl Tls {
    /// For a server, as the file says; none: plaintext.
    #[cfg(feature = "serve")]
    pub(crate) fn for_a_server(file: Option<&Path>) -> Result<Option<Self>, Trouble> {
        Self::read(file, |tls| tls.certificate().is_some() && tls.key().is_some(), "certificate and grpc.tls.key")
    }

    /// For both ends of the demo, which show the same certificate and demand the other's.
    pub(crate) fn for_both_ends(file: Option<&Path>) -> Result<Option<Self>, Trouble> {
        let all = |tls: &config::Tls| tls.ca().is_some() && tls.certificate().is_some() && tls.key().is_some();
        Self::read(file, all, "ca, grpc.tls.certificate and grpc.tls.key")
    }

    fn read(
        file: Option<&Path>,
        suffices: impl FnOnce(&config::Tls) -> bool,
        needed: &str,
    ) -> Result<Option<Self>, Trouble> {
        let Some(file) = file else { return Ok(None) };
        let config = Config::builder().file(file).build().map_err(|error| Trouble::Config(error.to_string()))?;
        let Some(tls) = config.tls() else { return Ok(None) };
        if !suffices(tls) {
            return Err(Trouble::Config(format!("over TLS the server needs grpc.tls.{needed}")));
        }
        // tonic chooses for itself, and cannot where more than one is there. A choice made before holds.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = |path: &Path| fs::read(path).map_err(Trouble::failed(&format!("cannot read {}", path.display())));
        Ok(Some(Self {
            ca: tls.ca().map(read).transpose()?,
            certificate: tls.certificate().map(read).transpose()?.unwrap_or_default(),
            key: tls.key().map(read).transpose()?.unwrap_or_default(),
            server_name: tls.server_name().map(str::to_owned),
        }))
    }

    pub(crate) fn server(&self) -> ServerTlsConfig {
        let config = ServerTlsConfig::new().identity(self.identity());
        match &self.ca {
            Some(ca) => config.client_ca_root(Certificate::from_pem(ca)),
            None => config,
        }
    }

    pub(crate) fn client(&self) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new().identity(self.identity());
        if let Some(ca) = &self.ca {
            config = config.ca_certificate(Certificate::from_pem(ca));
        }
        match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        }
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }
}
