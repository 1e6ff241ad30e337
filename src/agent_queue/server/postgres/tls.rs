//! TLS to the database, by rustls: asked for in the DSN in libpq's words, and always verified.
//!
//! | `sslmode` | the connection is |
//! |---|---|
//! | none, `disable`, `allow`, `prefer` | not encrypted |
//! | `require`, `verify-ca`, `verify-full` | TLS; the server's certificate is verified in full: chain, validity and name |
//!
//! `sslrootcert` names a file with the authorities (`system`, or none: the system's); `sslcert` and
//! `sslkey` what this side shows.

use super::OpenError;

/// What the DSN says of TLS.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TlsOptions {
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl TlsOptions {
    /// Takes those words out of a DSN; the rest is for the driver, which also says what is wrong
    /// with it.
    pub(super) fn take(dsn: &str) -> (Self, String) {
        let mut asked = Self::default();
        let rest = match dsn.split_once('?') {
            Some((address, query)) if address.contains("://") => {
                let others: Vec<_> =
                    query.split('&').filter(|pair| !asked.takes_encoded(pair)).collect();
                if others.is_empty() {
                    address.to_owned()
                } else {
                    format!("{address}?{}", others.join("&"))
                }
            }
            _ if dsn.contains("://") => dsn.to_owned(),
            _ => {
                let words = dsn_options(dsn);
                let others: Vec<_> =
                    words.iter().filter(|word| !asked.takes(&word.key, &word.value)).collect();
                others.iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
            }
        };
        (asked, rest)
    }

    fn takes_encoded(&mut self, pair: &str) -> bool {
        let Some((key, value)) = pair.split_once('=') else { return false };
        decoded(value).is_some_and(|value| self.takes(key, &value))
    }

    fn takes(&mut self, key: &str, value: &str) -> bool {
        let place = match key {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.certificate,
            "sslkey" => &mut self.key,
            _ => return false,
        };
        *place = Some(value.to_owned());
        true
    }

    /// Whether connections are to be encrypted.
    fn encrypted(&self) -> Result<bool, OpenError> {
        let files = self.root.is_some() || self.certificate.is_some() || self.key.is_some();
        match self.mode.as_deref() {
            Some("require" | "verify-ca" | "verify-full") => Ok(true),
            Some("disable" | "allow" | "prefer") | None if files => Err(OpenError::refused(
                "sslrootcert, sslcert and sslkey are for TLS: add sslmode=verify-full, or take \
                 them out"
                    .into(),
            )),
            Some("disable" | "allow" | "prefer") | None => Ok(false),
            Some(_) => Err(OpenError::refused(
                "sslmode must be disable, require, verify-ca or verify-full; the last three mean \
                 the same here"
                    .into(),
            )),
        }
    }
}

/// One word of libpq's kind, `key=value`.
struct DsnOption<'a> {
    key: String,
    value: String,
    text: &'a str,
}

/// Reads words; what follows one that is not right is one word, for the driver to refuse.
fn dsn_options(dsn: &str) -> Vec<DsnOption<'_>> {
    let mut words = Vec::new();
    let mut rest = dsn.trim_start();
    while !rest.is_empty() {
        let Some((word, after)) = word(rest) else {
            words.push(DsnOption { key: String::new(), value: String::new(), text: rest });
            break;
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

fn word(text: &str) -> Option<(DsnOption<'_>, &str)> {
    let (key, after) = text.split_once('=')?;
    let after = after.trim_start();
    let quoted = after.starts_with('\'');
    let (mut value, mut escaped) = (String::new(), false);
    for (index, character) in after.char_indices().skip(usize::from(quoted)) {
        match character {
            _ if escaped => escaped = false,
            '\\' => {
                escaped = true;
                continue;
            }
            '\'' if quoted => {
                let after = &after[index + 1..];
                let ends = after.is_empty() || after.starts_with(char::is_whitespace);
                return ends.then(|| ended(text, key, value, after));
            }
            other if !quoted && other.is_whitespace() => {
                return Some(ended(text, key, value, &after[index..]));
            }
            _ => {}
        }
        value.push(character);
    }
    (!quoted).then(|| ended(text, key, value, ""))
}

fn ended<'a>(text: &'a str, key: &str, value: String, after: &'a str) -> (DsnOption<'a>, &'a str) {
    (DsnOption { key: key.trim().into(), value, text: &text[..text.len() - after.len()] }, after)
}

/// Text with `%41` for `A`; none where it is not right.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(not(feature = "tls"))]
pub(super) use plain::{Connector, connector};
#[cfg(feature = "tls")]
pub(super) use rustls_connector::{Connector, connector};

/// Without the feature `tls`.
#[cfg(not(feature = "tls"))]
mod plain {
    use super::{OpenError, TlsOptions};

    pub(in super::super) type Connector = tokio_postgres::NoTls;

    /// What opens connections, and whether they are encrypted.
    pub(in super::super) fn connector(asked: &TlsOptions) -> Result<(Connector, bool), OpenError> {
        if asked.encrypted()? {
            return Err(OpenError::refused(
                "this program was built without TLS (features `tls` and `tls-ring`)".into(),
            ));
        }
        Ok((tokio_postgres::NoTls, false))
    }
}

#[cfg(feature = "tls")]
mod rustls_connector {
    use super::{OpenError, TlsOptions};
    use crate::crypto;
    use rustls::{
        ClientConfig, RootCertStore,
        pki_types::{
            CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem::PemObject,
        },
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
            let to =
                self.0.clone().map(|config| Ok((config, ServerName::try_from(host)?.to_owned())));
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
                let (config, host) =
                    self.0.ok_or_else(|| io::Error::other("TLS was not asked for"))?;
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

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(mode: &str, root: &str) -> TlsOptions {
        TlsOptions { mode: Some(mode.into()), root: Some(root.into()), ..TlsOptions::default() }
    }

    #[test]
    fn words_of_tls_are_taken_out_of_both_kinds_of_dsn() {
        let (found, rest) = TlsOptions::take(
            "postgres://me:p%3Dw@host/db?connect_timeout=3&sslmode=verify-full&\
             sslrootcert=%2Fetc%2Fca.pem",
        );
        assert_eq!(
            (found, &*rest),
            (asked("verify-full", "/etc/ca.pem"), "postgres://me:p%3Dw@host/db?connect_timeout=3")
        );
        let (found, rest) = TlsOptions::take(
            r"host=x password='it''s' sslmode = require sslrootcert='/a b\'c.pem' user=me",
        );
        assert_eq!(
            (found, &*rest),
            (
                TlsOptions::default(),
                r"host=x password='it''s' sslmode = require sslrootcert='/a b\'c.pem' user=me"
            )
        );
        let (found, rest) = TlsOptions::take(
            r"host=x password='it\'s' sslmode=require sslrootcert='/a b\'c.pem' user=me",
        );
        assert_eq!(
            (found, &*rest),
            (asked("require", "/a b'c.pem"), r"host=x password='it\'s' user=me")
        );
        for untouched in ["postgres://host/db", "host=x port=5", "nonsense", "password='open", ""] {
            assert_eq!(TlsOptions::take(untouched), (TlsOptions::default(), untouched.to_owned()));
        }
    }

    #[test]
    fn files_without_tls_and_unknown_modes_are_refused() {
        let encrypted = |mode: Option<&str>| {
            TlsOptions { mode: mode.map(str::to_owned), ..TlsOptions::default() }.encrypted()
        };
        assert!(
            encrypted(None).is_ok_and(|yes| !yes)
                && encrypted(Some("verify-full")).is_ok_and(|yes| yes)
        );
        assert!(encrypted(Some("Require")).is_err());
        assert!(asked("prefer", "/ca.pem").encrypted().is_err());
    }
}
