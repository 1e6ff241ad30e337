//! TLS over any byte stream: rustls, with `h2` by ALPN, the server always verified, and every file
//! read anew at each dial.
//!
//! A session is never resumed: each link's certificates are verified in full, against the files as
//! they are then.

mod describe;
mod material;
mod pem;
mod stream;

use super::{
    connector::BoxedIo,
    event::{LinkEvent, LinkListener},
    greeted::Greeted,
    greeting::Expected,
};
use crate::{
    config::{self, Config, ConfigError},
    crypto,
    model::Address,
    unwind,
};
use describe::About;
pub(super) use describe::Refused;
pub(super) use material::Material;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use std::sync::{Arc, OnceLock};
use stream::{Checked, ServerRefusal};
use tokio::task::JoinError;
use tokio_rustls::TlsConnector;

/// A stream inside TLS, and what the server may say later against this side; or why there is none.
type Secured = Result<(Checked, ServerRefusal), Refused>;

/// How one channel speaks TLS, and the material it read last.
pub(crate) struct TlsClient {
    settings: config::TlsConfig,
    /// Whose certificate it must be; none: that of the address which is dialled.
    server_name: Option<String>,
    kept: Mutex<Option<Arc<Material>>>,
}

impl TlsClient {
    pub(crate) fn new(settings: config::TlsConfig, target: &config::Target) -> Self {
        let server_name = settings.server_name.clone().or_else(|| target.server_name());
        Self { settings, server_name, kept: Mutex::new(None) }
    }

    /// What the files hold now. Where they cannot be used and there was something before, that,
    /// which is reported.
    pub(super) async fn material(
        &self,
        listener: &dyn LinkListener,
    ) -> Result<Arc<Material>, String> {
        let kept = self.kept.lock().clone();
        let (settings, before) = (self.settings.clone(), kept.clone());
        // Files may lie on a slow disk or a network.
        let read = tokio::task::spawn_blocking(move || {
            Material::read(&settings, crypto::provider()?, before)
        })
        .await;
        let unread = |error: JoinError| match error.try_into_panic() {
            Ok(panic) => {
                Err(format!("reading its files panicked: {}", unwind::panic_message(&*panic)))
            }
            Err(_) => Err("reading its files was broken off".into()),
        };
        match (read.unwrap_or_else(unread), kept) {
            (Ok(material), _) => {
                *self.kept.lock() = Some(material.clone());
                Ok(material)
            }
            (Err(cause), Some(kept)) => {
                listener.on_event(LinkEvent::TlsMaterialRejected(cause));
                Ok(kept)
            }
            (Err(cause), None) => Err(cause),
        }
    }

    /// The handshake. What the server says of our certificate may come only later: the stream keeps
    /// it as its verdict.
    pub(super) async fn secure(
        &self,
        io: BoxedIo,
        material: &Material,
        address: &Address,
    ) -> Secured {
        let refused = |words: String, wrong_peer| Refused { words, wrong_peer };
        let server_name =
            self.server_name.clone().unwrap_or_else(|| config::certificate_name(address));
        let name = ServerName::try_from(server_name.clone()).map_err(|_| {
            let rule = "is not a name that a certificate could have: set tls.server_name";
            refused(format!("{server_name:?} {rule}"), false)
        })?;
        let about = About {
            server_name,
            trusted: material.trusted(),
            has_certificate: self.settings.identity.is_some(),
        };
        let (io, wrong) = Greeted::new(io, Expected::Tls);
        let connected = TlsConnector::from(material.config()).connect(name, io).await;
        let stream = connected.map_err(|error| match wrong.get() {
            Some(greeting) => refused(greeting.words.clone(), greeting.wrong_peer),
            None => about.handshake(&error),
        })?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => {
                let verdict = Arc::new(OnceLock::new());
                Ok((Checked::new(stream, about, verdict.clone()), verdict))
            }
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                Err(refused(format!("the server chose {other:?} by ALPN instead of h2"), true))
            }
            None => {
                let words = "the server did not choose HTTP/2 by ALPN: it must offer h2";
                Err(refused(words.into(), true))
            }
        }
    }
}

/// Looks at the files that the keys below `tls` name, as a dial does: whether each can be read and
/// is whole PEM, whether authorities are some, and whether certificate and key belong together.
/// Blocking. A supervisor does not ask: the files may come, and change, while it lives.
///
/// # Errors
///
/// Every file that cannot be used, with the place where it is named.
pub fn check_tls_files(config: &Config) -> Result<(), ConfigError> {
    let Some(settings) = config.tls() else { return Ok(()) };
    let faults = match crypto::provider() {
        Ok(provider) => material::faults(settings, provider),
        Err(cause) => vec![("use_tls", cause)],
    };
    ConfigError::check(faults.iter().map(|(key, rule)| config.problem_with(key, rule)).collect())
}
