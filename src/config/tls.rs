//! TLS as configured: where its files lie, and when it is on. The files themselves are read at each
//! dial.

use super::{host, scope::Scope, value::Value};
use std::path::{Path, PathBuf};

/// How the server is authenticated, and who this side says it is. Verification cannot be switched
/// off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) server_name: Option<String>,
    pub(crate) roots: Roots,
}

/// Which authorities may have signed the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Those of the system, and those in `tls.ca`.
    Platform,
    /// Mozilla's, which this program carries, and those in `tls.ca`.
    Webpki,
    /// Only those in `tls.ca`.
    File,
}

impl TlsConfig {
    /// The file with the authorities to trust.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// The file with this side's certificate chain.
    pub fn certificate(&self) -> Option<&Path> {
        self.identity.as_ref().map(|(certificate, _)| certificate.as_path())
    }

    /// The file with this side's private key.
    pub fn key(&self) -> Option<&Path> {
        self.identity.as_ref().map(|(_, key)| key.as_path())
    }

    /// The name that the server's certificate must have, where it is not the target's.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Which authorities are trusted.
    pub fn roots(&self) -> Roots {
        self.roots
    }
}

const KEYS: [&str; 5] = ["tls.ca", "tls.certificate", "tls.key", "tls.server_name", "tls.roots"];

/// The settings of TLS; none: plaintext. `scheme` is whether the target's scheme asks for TLS, if
/// the target is used and has one that decides it.
pub(super) fn read(scope: &mut Scope<'_>, scheme: Option<bool>) -> Option<TlsConfig> {
    let wanted = scope.read::<bool>("use_tls");
    let ca = scope.read_with("tls.ca", file);
    let certificate = scope.read_with("tls.certificate", file);
    let key = scope.read_with("tls.key", file);
    let server_name = scope.read_with("tls.server_name", name);
    let chosen = scope.read_with("tls.roots", roots);
    let parts = [
        ca.is_some(),
        certificate.is_some(),
        key.is_some(),
        server_name.is_some(),
        chosen.is_some(),
    ];
    let part = KEYS.into_iter().zip(parts).find_map(|(key, is_set)| is_set.then_some(key));

    let refused = scope.explicit("use_tls") && !wanted;
    match (part, scheme) {
        // What has less precedence than `use_tls` is merely overruled.
        (Some(part), _) if refused && scope.precedence(part) >= scope.precedence("use_tls") => {
            scope.conflict("use_tls", "contradicts", part);
        }
        (Some(part), Some(false)) if !refused => {
            scope.conflict("target", "speaks of plaintext and contradicts", part)
        }
        (None, Some(false)) if wanted => {
            scope.conflict("target", "speaks of plaintext and contradicts", "use_tls")
        }
        (_, Some(true)) if refused => {
            scope.conflict("target", "asks for TLS and contradicts", "use_tls")
        }
        _ => {}
    }
    if refused || !(wanted || part.is_some() || scheme == Some(true)) {
        return None;
    }
    match (&certificate, &key) {
        (Some(_), None) => scope.conflict("tls.certificate", "does nothing without", "tls.key"),
        (None, Some(_)) => scope.conflict("tls.key", "does nothing without", "tls.certificate"),
        _ => {}
    }
    if chosen == Some(Roots::File) && ca.is_none() {
        scope.conflict("tls.roots", "needs", "tls.ca");
    }
    if let Some(missing) = missing() {
        let cause = part.unwrap_or(if wanted { "use_tls" } else { "target" });
        scope.refuse(cause, missing);
    }
    let roots = chosen.unwrap_or(if ca.is_some() { Roots::File } else { Roots::Platform });
    Some(TlsConfig { ca, identity: certificate.zip(key), server_name, roots })
}

/// Why this program cannot speak TLS at all.
fn missing() -> Option<&'static str> {
    #[cfg(not(feature = "tls"))]
    return Some(
        "this program was built without TLS: it needs the feature `tls-ring` or `tls-aws-lc`",
    );
    #[cfg(feature = "tls")]
    {
        let provided = cfg!(any(feature = "tls-ring", feature = "tls-aws-lc"))
            || rustls::crypto::CryptoProvider::get_default().is_some();
        (!provided).then_some(
            "no cryptography is there for it: enable the feature `tls-ring` or `tls-aws-lc`, or \
             install a default CryptoProvider of rustls first",
        )
    }
}

fn file(value: &Value) -> Result<Option<PathBuf>, String> {
    if value.is_none() {
        return Ok(None);
    }
    match value.text()? {
        "" => Err("must be the path of a file, or `none`".into()),
        text if text.contains("-----BEGIN") => {
            Err("must be the path of a PEM file, not its contents".into())
        }
        text => Ok(Some(text.into())),
    }
}

fn name(value: &Value) -> Result<Option<String>, String> {
    if value.is_none() {
        return Ok(None);
    }
    let name = value.text()?;
    if name.is_empty() || name.contains('/') {
        return Err("must be a name or an address, without scheme or port".into());
    }
    if name.contains('%') {
        return Err("must not have a zone: no certificate has one".into());
    }
    host::read(name).map(Some)
}

fn roots(value: &Value) -> Result<Option<Roots>, String> {
    if value.is_none() {
        return Ok(None);
    }
    match value.text().map(str::to_ascii_lowercase).as_deref() {
        Ok("platform") => Ok(Some(Roots::Platform)),
        Ok("webpki") => Ok(Some(Roots::Webpki)),
        Ok("file") => Ok(Some(Roots::File)),
        _ => Err("must be `platform`, `webpki`, `file` or `none`".into()),
    }
}
