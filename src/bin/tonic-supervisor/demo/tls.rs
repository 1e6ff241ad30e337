//! The demo over TLS: the keys of the configuration serve both ends, which run on this machine with one certificate.
//!
//! The server demands a client certificate of the same authority, and both clients show theirs.

use crate::Trouble;
use std::{fs, path::Path};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};
use tonic_supervisor::{Config, config};

/// What both ends need, read once at the start.
#[derive(Clone)]
pub(super) struct Tls {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
    server_name: Option<String>,
}

impl Tls {
    /// As the file says; none: plaintext.
    pub(super) fn read(file: Option<&Path>) -> Result<Option<Self>, Trouble> {
        let Some(file) = file else { return Ok(None) };
        let config = Config::builder().file(file).build().map_err(|error| Trouble::Config(error.to_string()))?;
        config.tls().map(Self::open).transpose()
    }

    fn open(tls: &config::Tls) -> Result<Self, Trouble> {
        let (Some(ca), Some(certificate), Some(key)) = (tls.ca(), tls.certificate(), tls.key()) else {
            let text =
                "over TLS the demo needs grpc.tls.ca, grpc.tls.certificate and grpc.tls.key, for its server as well";
            return Err(Trouble::Config(text.into()));
        };
        // tonic chooses for itself, and cannot where more than one is there. A choice made before holds.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = |path: &Path| fs::read(path).map_err(Trouble::failed(&format!("cannot read {}", path.display())));
        Ok(Self {
            ca: read(ca)?,
            certificate: read(certificate)?,
            key: read(key)?,
            server_name: tls.server_name().map(str::to_owned),
        })
    }

    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity()).client_ca_root(Certificate::from_pem(&self.ca))
    }

    pub(super) fn client(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().identity(self.identity()).ca_certificate(Certificate::from_pem(&self.ca));
        match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        }
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }
}
