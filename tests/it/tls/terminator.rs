//! TLS before a server that knows none: accepts, takes part in the handshake, and passes the bytes
//! on.

use super::certificates::{Authority, Identity};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// What a server offers and demands.
pub(crate) struct Offer<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) clients: Option<&'a Authority>,
    pub(crate) alpn: &'a [&'a str],
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
}

impl<'a> Offer<'a> {
    pub(crate) fn of(identity: &'a Identity) -> Self {
        Self { identity, clients: None, alpn: &["h2"], versions: rustls::ALL_VERSIONS }
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions)
            .expect("known versions");
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(&authority.pem)).expect("an authority");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.identity.key.as_bytes()).expect("a key");
        let mut config = builder
            .with_single_cert(vec![certificate(&self.identity.certificate)], key)
            .expect("a pair");
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub(crate) fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// A listening terminator. Ends when dropped.
pub(crate) struct TlsTerminator {
    pub(crate) address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    seen: Arc<Mutex<Vec<CertificateDer<'static>>>>,
    _tasks: JoinSet<()>,
}

impl TlsTerminator {
    /// Before the server at `upstream`.
    pub(crate) async fn start(upstream: String, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let config = Arc::new(Mutex::new(config));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (offered, noted) = (config.clone(), seen.clone());
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let config = offered.lock().expect("not poisoned").clone();
                let (upstream, noted) = (upstream.clone(), noted.clone());
                links.spawn(async move {
                    let _ = client.set_nodelay(true);
                    let Ok(mut client) = TlsAcceptor::from(config).accept(client).await else {
                        return;
                    };
                    if let Some([first, ..]) = client.get_ref().1.peer_certificates() {
                        noted.lock().expect("not poisoned").push(first.clone().into_owned());
                    }
                    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
                    let _ = server.set_nodelay(true);
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, config, seen, _tasks: tasks }
    }

    /// From now on.
    pub(crate) fn present(&self, config: Arc<ServerConfig>) {
        *self.config.lock().expect("not poisoned") = config;
    }

    /// The client certificate of the last link.
    pub(crate) fn last_client(&self) -> Option<CertificateDer<'static>> {
        self.seen.lock().expect("not poisoned").last().cloned()
    }
}
