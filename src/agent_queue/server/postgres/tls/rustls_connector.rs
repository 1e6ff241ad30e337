//! TLS by rustls, in the driver's words: what opens connections, and the connection itself.

use super::{super::OpenError, TlsOptions};
use crate::crypto;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{
    fs, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect},
};
use tokio_rustls::{TlsConnector, client};

/// Opens connections; the driver asks it only where they are to be encrypted.
#[derive(Clone)]
pub(in super::super) struct Connector(Option<Arc<ClientConfig>>);

/// What opens connections, and whether they are encrypted. Files are read now, once.
pub(in super::super) fn connector(asked: &TlsOptions) -> Result<(Connector, bool), OpenError> {
    let encrypted = asked.encrypted()?;
    let config = encrypted.then(|| config(asked).map_err(OpenError::refused)).transpose()?;
    Ok((Connector(config.map(Arc::new)), encrypted))
}

fn config(asked: &TlsOptions) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(crypto::provider()?)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("the cryptography provider cannot do TLS: {error}"))?
        .with_root_certificates(roots(asked.root.as_deref())?);
    match (&asked.certificate, &asked.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            // What is wrong inside is not repeated: it may be part of the key.
            let key = PrivateKeyDer::from_pem_slice(&read("sslkey", key)?)
                .map_err(|_| "sslkey has no whole private key in PEM".to_owned())?;
            let chain = chain("sslcert", certificate)?;
            let built = builder.with_client_auth_cert(chain, key);
            built.map_err(|error| format!("sslcert and sslkey cannot be used: {error}"))
        }
        _ => Err("sslcert and sslkey belong together: give both, or none".into()),
    }
}

fn roots(file: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file {
        None | Some("system") => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(file) => {
            for authority in chain("sslrootcert", file)? {
                roots
                    .add(authority)
                    .map_err(|error| format!("sslrootcert has no authority: {error}"))?;
            }
        }
    }
    if roots.is_empty() {
        return Err(
            "the system has no certificate authorities: name a file with sslrootcert".into()
        );
    }
    Ok(roots)
}

fn read(key: &str, path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{key} cannot be read: {error}"))
}

fn chain(key: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(key, path)?).collect();
    chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| format!("{key} has no whole certificate in PEM"))
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, InvalidDnsNameError> {
        // Where there is no TLS the host may be a socket's folder, and nobody looks at it.
        let to = self.0.clone().map(|config| Ok((config, ServerName::try_from(host)?.to_owned())));
        Ok(Handshake(to.transpose()?))
    }
}

/// One connection's handshake: how, and with whom.
pub(in super::super) struct Handshake(Option<(Arc<ClientConfig>, ServerName<'static>)>);

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let (config, host) = self.0.ok_or_else(|| io::Error::other("TLS was not asked for"))?;
            Ok(Stream(TlsConnector::from(config).connect(host, socket).await?))
        })
    }
}

/// An encrypted connection.
pub(in super::super) struct Stream(client::TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
