//! The connections of the admin server, and what each may cost: no more than 64 at once, ten
//! seconds for a request's head, HTTP/1 and HTTP/2 on one port.

#[cfg(feature = "tls")]
use super::settings::AdminError;
use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};

/// How many connections there may be.
const CONNECTIONS: usize = 64;
/// How long a connection may take for TLS, and a request for its head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How large a request's head may be.
const HEAD_BYTES: usize = 16 << 10;
/// After a failure to accept, as when there are no more files, so long is waited.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How connections are made.
#[derive(Clone)]
pub(super) enum Place {
    Plain,
    #[cfg(feature = "tls")]
    Tls(tokio_rustls::TlsAcceptor),
}

#[cfg(feature = "tls")]
impl Place {
    /// Over TLS, with this chain and key.
    pub(super) fn tls(
        certificate: &std::path::Path,
        key: &std::path::Path,
    ) -> Result<Self, AdminError> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
        let failed = |path: &std::path::Path, error: String| {
            let what = format!("{} cannot be used", path.display());
            AdminError::Io(what, std::io::Error::other(error))
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(|all| all.collect::<Result<Vec<_>, _>>())
            .map_err(|error| failed(certificate, error.to_string()))?;
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
        let provider = crate::crypto::provider().map_err(|error| failed(certificate, error))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| failed(certificate, error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self::Tls(tokio_rustls::TlsAcceptor::from(Arc::new(config))))
    }
}

/// Serves every connection in a task of its own; dropped, it takes them with it.
pub(super) async fn serve(listener: TcpListener, place: Place, routes: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = tokio::task::JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log_line!(warn, "the admin server cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // One more is closed at once.
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let (place, routes) = (place.clone(), routes.clone());
        open.spawn(async move {
            match place {
                Place::Plain => connection(stream, routes).await,
                #[cfg(feature = "tls")]
                Place::Tls(acceptor) => {
                    let accepting = tokio::time::timeout(HEAD_WITHIN, acceptor.accept(stream));
                    if let Ok(Ok(stream)) = accepting.await {
                        connection(stream, routes).await;
                    }
                }
            }
            drop(permit);
        });
    }
}

async fn connection<S>(stream: S, routes: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES as u32)
        .max_concurrent_streams(64)
        .keep_alive_interval(HEAD_WITHIN);
    let service = TowerToHyperService::new(routes);
    // Whoever went away does not want to know.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
