//! One request to the admin pages, and its whole answer: in plaintext, or over TLS with the one
//! authority that the user names.
//!
//! The token goes out over a network only where TLS has shown who reads it.

use crate::{CliError, address::Address};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body::Body as _;
use hyper::{Error, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{fs, future::poll_fn, path::Path, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsConnector;

/// How long the program has to answer.
const WITHIN: Duration = Duration::from_secs(10);
/// No answer is larger.
const LARGEST: usize = 64 << 20;

/// Where the pages are, and what is needed to be let in.
pub(super) struct Pages {
    admin: Address,
    /// None: in plaintext.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Option<String>,
}

impl Pages {
    pub(super) fn new(admin: &Address, token_file: Option<&Path>) -> Result<Self, CliError> {
        let token = token_file.map(|path| {
            let error = format!("cannot read {}", path.display());
            fs::read_to_string(path).map_err(CliError::failed(&error))
        });
        let token = token.transpose()?.map(|token| token.trim().to_owned());
        Ok(Self { admin: admin.clone(), tls: None, token })
    }

    /// Asks over TLS: the certificate must be of an authority in the file `ca`, and have `name`, or
    /// else the address's host.
    pub(super) fn over_tls(mut self, ca: &Path, name: Option<&str>) -> Result<Self, CliError> {
        let path = ca.display();
        let none = format!("--ca {path} has no authority");
        let found = CertificateDer::pem_file_iter(ca).and_then(Iterator::collect);
        let found: Vec<_> =
            found.map_err(CliError::failed(&format!("--ca {path} cannot be used")))?;
        if found.is_empty() {
            return Err(CliError::Failed(none));
        }
        let mut roots = RootCertStore::empty();
        for authority in found {
            roots.add(authority).map_err(CliError::failed(&none))?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(CliError::failed("cannot ask over TLS"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = name.unwrap_or(self.admin.host()).to_owned();
        let wrong = format!("{name:?} can be in no certificate: give --server-name");
        let name = ServerName::try_from(name).map_err(|_| CliError::Usage(wrong))?;
        self.tls = Some((TlsConnector::from(Arc::new(config)), name));
        Ok(self)
    }

    /// One request, and its whole answer.
    pub(super) async fn fetch(&self, method: Method, path: &str) -> Result<Bytes, CliError> {
        let late = |_| CliError::Failed(format!("{} has not answered within 10 s", self.admin));
        time::timeout(WITHIN, self.ask(method, path)).await.map_err(late)?
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Bytes, CliError> {
        let none = self.none();
        let addresses = self.admin.lookup().await.map_err(CliError::failed(&none))?;
        let local = addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
        if self.token.is_some() && !local && self.tls.is_none() {
            let rule = "the token is not sent over a network in plaintext: ask over TLS, with \
                        --ca, or on that machine";
            return Err(CliError::Usage(rule.into()));
        }
        let stream = TcpStream::connect(&*addresses).await.map_err(CliError::failed(&none))?;
        let Some((connector, name)) = &self.tls else {
            return self.answer(stream, method, path).await;
        };
        let stream = connector.connect(name.clone(), stream).await;
        let stream = stream.map_err(CliError::failed(&format!("{none} that --ca vouches for")))?;
        self.answer(stream, method, path).await
    }

    async fn answer<S>(&self, stream: S, method: Method, path: &str) -> Result<Bytes, CliError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake::<_, String>(TokioIo::new(stream))
            .await
            .map_err(|error| self.no_pages(&error))?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request =
            request.body(String::new()).map_err(CliError::failed("the token cannot be sent"))?;
        let answer = sender.send_request(request).await.map_err(|error| self.no_pages(&error))?;
        let (head, mut body) = answer.into_parts();
        let mut whole = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(CliError::failed("the answer broke off"))?;
            whole.extend_from_slice(&frame.into_data().unwrap_or_default());
            if whole.len() > LARGEST {
                return Err(CliError::Failed("the answer is larger than 64 MiB".into()));
            }
        }
        connection.abort();
        if head.status != StatusCode::OK {
            let (admin, words) = (&self.admin, String::from_utf8_lossy(&whole));
            let words = words.trim();
            return Err(CliError::Failed(format!("{admin} answered {}: {words}", head.status)));
        }
        Ok(whole.freeze())
    }

    fn none(&self) -> String {
        format!("there are no admin pages at {}", self.admin)
    }

    /// A server of TLS answers a request in plaintext with an alert, which is no HTTP.
    fn no_pages(&self, error: &Error) -> CliError {
        let hint = match self.tls.is_none() && error.is_parse() {
            true => "; if they are served over TLS, give --ca",
            false => "",
        };
        CliError::Failed(format!("{}: {error}{hint}", self.none()))
    }
}
