//! The files of TLS, read and checked: authorities, certificate and key become a configuration of
//! rustls, or one sentence that says which file is wrong and why. Blocking; never run it on a
//! runtime's thread.

use super::pem;
use crate::{
    config::{Roots, TlsConfig},
    model::Secret,
};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::Arc,
};

/// What one reading of the files gave.
pub(crate) struct Material {
    config: Arc<ClientConfig>,
    trusted: String,
    /// Of everything that was read: the same files mean the same material.
    digest: u64,
}

/// The files' bytes.
#[derive(Hash)]
struct Files {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Secret<Vec<u8>>>,
    system: Vec<Vec<u8>>,
}

impl Material {
    /// Reads everything; `before` is given back if nothing changed.
    pub(super) fn read(
        settings: &TlsConfig,
        provider: Arc<CryptoProvider>,
        before: Option<Arc<Self>>,
    ) -> Result<Arc<Self>, String> {
        let files = Files::read(settings)?;
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        let digest = hasher.finish();
        if let Some(before) = before.filter(|before| before.digest == digest) {
            return Ok(before);
        }
        let roots = roots(settings, &files)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("the cryptography provider cannot do TLS: {error}"))?
            .with_root_certificates(roots);
        let mut config = match identity(settings, &files)? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                warn_of_readers(settings.key());
                let pair = names(settings);
                builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(_) => format!("{pair} do not belong together"),
                    // Says of what kind the key is at most.
                    error => format!("{pair} cannot be used: {error}"),
                })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(Self { config: Arc::new(config), trusted: trusted(settings), digest }))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// Whom it trusts, in words.
    pub(super) fn trusted(&self) -> String {
        self.trusted.clone()
    }
}

impl Files {
    fn read(settings: &TlsConfig) -> Result<Self, String> {
        let open = |key: &str, path: Option<&Path>| {
            let read = |path: &Path| {
                fs::read(path)
                    .map_err(|error| format!("{key} {} cannot be read: {error}", path.display()))
            };
            path.map(read).transpose()
        };
        let system = match settings.roots {
            Roots::Platform => rustls_native_certs::load_native_certs().certs,
            Roots::Webpki | Roots::File => Vec::new(),
        };
        Ok(Self {
            ca: open("tls.ca", settings.ca())?,
            certificate: open("tls.certificate", settings.certificate())?,
            key: open("tls.key", settings.key())?.map(Secret::new),
            system: system.iter().map(|certificate| certificate.to_vec()).collect(),
        })
    }
}

fn roots(settings: &TlsConfig, files: &Files) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        files.system.iter().map(|der| CertificateDer::from(der.as_slice())),
    );
    if settings.roots == Roots::Webpki {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some((path, bytes)) = settings.ca().zip(files.ca.as_deref()) {
        authorities(bytes, &mut roots)
            .map_err(|rule| format!("tls.ca {} {rule}", path.display()))?;
    }
    if roots.is_empty() {
        return Err(
            "the system has no certificate authorities (tls.roots: platform): set tls.ca".into()
        );
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(settings: &TlsConfig, files: &Files) -> Result<Option<Identity>, String> {
    let (Some(certificate), Some(key)) = (&files.certificate, &files.key) else { return Ok(None) };
    let (Some(certificate_path), Some(key_path)) = (settings.certificate(), settings.key()) else {
        return Ok(None);
    };
    let chain = pem::certificates(certificate)
        .map_err(|rule| format!("tls.certificate {} {rule}", certificate_path.display()))?;
    let key = pem::private_key(key.reveal())
        .map_err(|rule| format!("tls.key {} {rule}", key_path.display()))?;
    Ok(Some((chain, key)))
}

fn authorities(bytes: &[u8], roots: &mut RootCertStore) -> Result<(), String> {
    pem::certificates(bytes)?.into_iter().try_for_each(|certificate| {
        roots
            .add(certificate)
            .map_err(|error| format!("has a certificate that cannot be an authority: {error}"))
    })
}

/// Each key of `tls` whose file cannot be used, with the rule that the file breaks.
pub(super) fn faults(
    settings: &TlsConfig,
    provider: Arc<CryptoProvider>,
) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let mut open = |key: &'static str, path: Option<&Path>| {
        let read = fs::read(path?).map_err(|error| format!("the file cannot be read: {error}"));
        read.map_err(|rule| faults.push((key, rule))).ok()
    };
    let ca = open("tls.ca", settings.ca());
    let certificate = open("tls.certificate", settings.certificate());
    let key = open("tls.key", settings.key()).map(Secret::new);
    let about = |rule: String| format!("the file {rule}");
    if let Some(Err(rule)) = ca.map(|bytes| authorities(&bytes, &mut RootCertStore::empty())) {
        faults.push(("tls.ca", about(rule)));
    }
    let chain = certificate.map(|bytes| pem::certificates(&bytes));
    let key = key.map(|bytes| pem::private_key(bytes.reveal()));
    match (chain, key) {
        (Some(Ok(chain)), Some(Ok(key))) => {
            if let Err(error) = rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
                faults.push((
                    "tls.key",
                    match error {
                        rustls::Error::InconsistentKeys(_) => {
                            "the file does not belong to grpc.tls.certificate".into()
                        }
                        // Says of what kind the key is at most.
                        error => {
                            format!("the file cannot be used with grpc.tls.certificate: {error}")
                        }
                    },
                ));
            }
        }
        (chain, key) => {
            let chain = chain.and_then(Result::err).map(|rule| ("tls.certificate", about(rule)));
            let key = key.and_then(Result::err).map(|rule| ("tls.key", about(rule)));
            faults.extend(chain.into_iter().chain(key));
        }
    }
    faults
}

fn names(settings: &TlsConfig) -> String {
    let name =
        |path: Option<&Path>| path.map(|path| path.display().to_string()).unwrap_or_default();
    format!("tls.certificate {} and tls.key {}", name(settings.certificate()), name(settings.key()))
}

fn trusted(settings: &TlsConfig) -> String {
    let own = settings.ca().map(|path| path.display().to_string());
    let given = match settings.roots {
        Roots::Platform => Some("the system's authorities"),
        Roots::Webpki => Some("Mozilla's authorities"),
        Roots::File => None,
    };
    let both = given.map(str::to_owned).into_iter().chain(own);
    both.collect::<Vec<_>>().join(" and ")
}

/// A key that others may read is used all the same: on some systems nothing else is possible.
fn warn_of_readers(key: Option<&Path>) {
    if let Some((path, mode)) = key.and_then(|path| Some((path, open_to_others(path)?))) {
        let path = path.display();
        log_line!(
            warn,
            "tls.key {path} can be read by others than its owner (mode {mode:o}): chmod 600 it"
        );
    }
}

/// The file's mode, if others than its owner may do anything with it.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<u32> {
    None
}

#[cfg(all(test, unix, feature = "tls-ring"))]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigBuilder};
    use std::{io::Write, os::unix::fs::PermissionsExt};

    fn read(config: ConfigBuilder) -> Result<String, String> {
        let config = config.build().expect("valid");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Material::read(config.tls().expect("on"), provider, None).map(|material| material.trusted())
    }

    #[test]
    fn whom_it_trusts_is_what_tls_roots_says_and_the_file_besides() {
        let mozilla = Config::builder().use_tls(true).tls_roots("webpki");
        assert_eq!(read(mozilla), Ok("Mozilla's authorities".into()));
        let system = match rustls_native_certs::load_native_certs().certs.is_empty() {
            true => {
                Err("the system has no certificate authorities (tls.roots: platform): set tls.ca"
                    .into())
            }
            false => Ok("the system's authorities".into()),
        };
        assert_eq!(read(Config::builder().use_tls(true).tls_roots("platform")), system);
    }

    #[test]
    fn a_file_with_something_else_than_an_authority_is_named() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        file.write_all(other.as_bytes()).expect("written");
        let path = file.path().display().to_string();
        let said = read(Config::builder().tls_ca(&*path)).expect_err("no authority");
        assert!(
            said.starts_with(&format!(
                "tls.ca {path} has a certificate that cannot be an authority"
            )),
            "{said}"
        );
    }

    #[test]
    fn a_key_that_only_its_owner_can_read_is_no_cause_for_a_warning() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (mode, warned) in
            [(0o600, None), (0o400, None), (0o640, Some(0o640)), (0o604, Some(0o604))]
        {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("ours");
            assert_eq!(open_to_others(file.path()), warned, "{mode:o}");
        }
    }
}
