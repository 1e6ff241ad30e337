//! The connections of the admin server, and what each may cost: no more than 64 at once, ten
//! seconds until the first request, a minute in which nothing moves; HTTP/1 and HTTP/2 on one port.

#[cfg(feature = "tls")]
use super::error::AdminError;
use crate::clock;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};

/// How many connections there may be.
const CONNECTIONS: usize = 64;
/// How long a connection may take for TLS, and a request for its head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// A connection on which nothing moves for so long is closed. A stream of events shows every 15 s
/// that it lives.
const STILL_FOR: Duration = Duration::from_secs(60);
/// How many requests may be under way on one connection.
const STREAMS: u32 = 8;
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

/// Serves one connection, for as long as something moves on it.
async fn connection<S>(stream: S, routes: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let movement = Movement::begin();
    let routes = routes.layer(middleware::from_fn_with_state(movement.clone(), watched));
    let service = TowerToHyperService::new(routes);
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
        .max_concurrent_streams(STREAMS);
    tokio::select! {
        // Whoever went away does not want to know.
        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
        () = movement.stopped() => {}
    }
}

/// When something moved last on a connection: a request came, or a piece of an answer was asked
/// for because the one before has gone out. So neither a silent client nor one that reads nothing
/// keeps its place for ever.
#[derive(Clone)]
struct Movement(Arc<Mutex<(Instant, Duration)>>);

impl Movement {
    /// The first request has as long as its head may take.
    fn begin() -> Self {
        Self(Arc::new(Mutex::new((clock::now(), HEAD_WITHIN))))
    }

    fn note(&self) {
        *self.0.lock() = (clock::now(), STILL_FOR);
    }

    /// Returns when nothing has moved for too long. Cancel safe.
    async fn stopped(&self) {
        loop {
            let (last, limit) = *self.0.lock();
            let left = limit.saturating_sub(clock::now().saturating_duration_since(last));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// Notes a request, and each piece of its answer.
async fn watched(State(movement): State<Movement>, request: Request, next: Next) -> Response {
    movement.note();
    next.run(request).await.map(|body| Body::new(Watched { body, movement }))
}

struct Watched {
    body: Body,
    movement: Movement,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.movement.note();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
