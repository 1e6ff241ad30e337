//! Authorities and certificates, made where they are needed.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::{fs, path::Path};

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// When a certificate is valid: from one year to another.
#[derive(Clone, Copy)]
pub(crate) struct Years(pub(crate) i32, pub(crate) i32);

pub(crate) const NOW: Years = Years(2020, 2090);
pub(crate) const PAST: Years = Years(2010, 2020);
pub(crate) const FUTURE: Years = Years(2090, 2100);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a server with this name or address.
    pub(crate) fn server(&self, name: &str, years: Years) -> Identity {
        self.issue(name, years, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// A certificate for a client.
    pub(crate) fn client(&self, name: &str, years: Years) -> Identity {
        self.issue(name, years, &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A certificate for both ends.
    #[allow(dead_code)]
    pub(crate) fn both(&self, name: &str, years: Years) -> Identity {
        self.issue(
            name,
            years,
            &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        )
    }

    /// A certificate for a client with these URIs, and a common name that is none of them.
    #[allow(dead_code)]
    pub(crate) fn client_with_uris(&self, uris: &[&str], common_name: &str) -> Identity {
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("ASCII"));
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(uri).collect();
        self.sign(params, common_name, NOW, &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(&self, name: &str, years: Years, purposes: &[ExtendedKeyUsagePurpose]) -> Identity {
        self.sign(CertificateParams::new([name.to_owned()]).expect("a name"), name, years, purposes)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        common_name: &str,
        Years(from, to): Years,
        purposes: &[ExtendedKeyUsagePurpose],
    ) -> Identity {
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes.to_vec();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// Writes `name.pem` and `name.key` into `folder`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        fs::write(folder.join(format!("{name}.pem")), &self.certificate).expect("written");
        fs::write(folder.join(format!("{name}.key")), &self.key).expect("written");
    }
}
