//! TLS for the servers of this command, and for the demo's plain client: the same keys of the
//! configuration as the supervisor's.
//!
//! With `ca` a server demands a client certificate of that authority, or where there are tokens
//! takes one.

use crate::CliError;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{fs, path::Path, sync::Arc};
use tokio_rustls::TlsAcceptor;
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
    pub(crate) fn for_a_server(file: Option<&Path>) -> Result<Option<Self>, CliError> {
        Self::read(
            file,
            |tls| tls.certificate().is_some() && tls.key().is_some(),
            "certificate and grpc.tls.key",
        )
    }

    /// For both ends of the demo, which show the same certificate and demand the other's.
    pub(crate) fn for_both_ends(file: Option<&Path>) -> Result<Option<Self>, CliError> {
        let all = |tls: &config::TlsConfig| {
            tls.ca().is_some() && tls.certificate().is_some() && tls.key().is_some()
        };
        Self::read(file, all, "ca, grpc.tls.certificate and grpc.tls.key")
    }

    fn read(
        file: Option<&Path>,
        suffices: impl FnOnce(&config::TlsConfig) -> bool,
        needed: &str,
    ) -> Result<Option<Self>, CliError> {
        let Some(file) = file else { return Ok(None) };
        let config = Config::builder()
            .file(file)
            .build()
            .map_err(|error| CliError::Config(error.to_string()))?;
        let Some(tls) = config.tls() else { return Ok(None) };
        if !suffices(tls) {
            return Err(CliError::Config(format!("over TLS the server needs grpc.tls.{needed}")));
        }
        // tonic chooses for itself, and cannot where more than one is there. A choice made before
        // holds.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if let Some(key) = tls.key() {
            warn_of_readers(key);
        }
        Ok(Some(Self {
            ca: tls.ca().map(contents).transpose()?,
            certificate: tls.certificate().map(contents).transpose()?.unwrap_or_default(),
            key: tls.key().map(contents).transpose()?.unwrap_or_default(),
            server_name: tls.server_name().map(str::to_owned),
        }))
    }

    /// For a server whose files are named one by one. Clients must show a certificate of `ca`.
    pub(crate) fn of_files(
        certificate: &Path,
        key: &Path,
        ca: Option<&Path>,
    ) -> Result<Self, CliError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        warn_of_readers(key);
        Ok(Self {
            ca: ca.map(contents).transpose()?,
            certificate: contents(certificate)?,
            key: contents(key)?,
            server_name: None,
        })
    }

    /// Whether clients are asked for a certificate.
    pub(crate) fn asks_clients(&self) -> bool {
        self.ca.is_some()
    }

    /// The server's end for an accept loop of its own, which speaks these protocols. Clients must
    /// show a certificate, or `may` where there is another way to say who they are; what they show
    /// is verified.
    pub(crate) fn acceptor(&self, may: bool, protocols: &[&str]) -> Result<TlsAcceptor, CliError> {
        let error = "cannot serve over TLS";
        let builder = rustls::ServerConfig::builder();
        let builder = match &self.ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = rustls::RootCertStore::empty();
                for authority in chain("grpc.tls.ca", ca)? {
                    roots
                        .add(authority)
                        .map_err(CliError::failed("grpc.tls.ca is no authority"))?;
                }
                let verifier = WebPkiClientVerifier::builder(roots.into());
                let verifier = if may { verifier.allow_unauthenticated() } else { verifier };
                builder
                    .with_client_cert_verifier(verifier.build().map_err(CliError::failed(error))?)
            }
        };
        // What is wrong inside is not repeated: it may be part of the key.
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            CliError::Failed("the server's key is no whole private key in PEM".into())
        })?;
        let chain = chain("grpc.tls.certificate", &self.certificate)?;
        let mut config = builder.with_single_cert(chain, key).map_err(CliError::failed(error))?;
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Ok(Arc::new(config).into())
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

fn contents(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(CliError::failed(&format!("cannot read {}", path.display())))
}

fn chain(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CliError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(CliError::Failed(format!("{key} has no whole certificate in PEM"))),
    }
}

/// A key that others may read is used all the same: on some systems nothing else is possible. Said
/// where no log is asked for, too.
fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(found) = fs::metadata(path) else { return };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        eprintln!(
            "tonic-supervisor: warning: the key {path} can be read by others than its owner \
             (mode {mode:o}): chmod 600 it"
        );
    }
}
