//! What a PEM file holds, and where it holds something else, what it probably is. The words follow
//! the file's name, and repeat nothing of its contents: they may be a key's.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// The certificates in a file, at least one.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    no_mark(bytes)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) if has(bytes, "PRIVATE KEY-----") => {
            Err("has no certificate in PEM, but a private key: was it taken for the other file?"
                .into())
        }
        Ok(_) if is_der(bytes) => {
            Err("has no certificate in PEM, but DER: convert it with `openssl x509 -inform der`"
                .into())
        }
        Ok(_) => Err("has no certificate in PEM".into()),
        Err(_) => Err("is not whole or not PEM".into()),
    }
}

/// The private key in a file.
pub(super) fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    no_mark(bytes)?;
    let wrong = "has no whole private key in PEM";
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| {
        if has(bytes, "ENCRYPTED") {
            format!("{wrong} that is not encrypted: take its passphrase away with `openssl pkey`")
        } else if has(bytes, "BEGIN CERTIFICATE") {
            format!("{wrong}, but a certificate: was it taken for the other file?")
        } else if is_der(bytes) {
            format!("{wrong}, but DER: convert it with `openssl pkey -inform der`")
        } else {
            wrong.into()
        }
    })
}

/// A byte order mark hides the first block of a file.
fn no_mark(bytes: &[u8]) -> Result<(), String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        Err("begins with a byte order mark: save it as UTF-8 without one".into())
    } else if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        Err("is UTF-16 text: save it as UTF-8 without a byte order mark".into())
    } else {
        Ok(())
    }
}

fn has(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

/// DER begins with a SEQUENCE of a length in two bytes.
fn is_der(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x30\x82")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pem_is_told_what_it_probably_is() {
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let marked = format!("\u{feff}{certificate}{certificate}");
        for (bytes, words) in [
            (marked.as_bytes(), "byte order mark: save it as UTF-8 without one"),
            (&b"\xff\xfe-\0-\0"[..], "UTF-16"),
            (&b"\x30\x82\x01\x00"[..], "openssl x509 -inform der"),
            (key.as_bytes(), "taken for the other file"),
            (&b""[..], "has no certificate in PEM"),
            (&b"-----BEGIN CERTIFICATE-----\nAA"[..], "is not whole"),
        ] {
            let said = certificates(bytes).expect_err(words);
            assert!(said.contains(words), "{said}");
        }
        let secret =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (bytes, words) in [
            (format!("\u{feff}{key}").as_bytes(), "byte order mark"),
            (secret.as_bytes(), "openssl pkey"),
            (certificate.as_bytes(), "taken for the other file"),
            (&b"\x30\x82\x01\x00"[..], "openssl pkey -inform der"),
            (&b""[..], "has no whole private key in PEM"),
        ] {
            let said = private_key(bytes).expect_err(words);
            assert!(said.contains(words) && !said.contains("AAAA"), "{said}");
        }
        assert_eq!(certificates(certificate.as_bytes()).map(|all| all.len()), Ok(1));
    }
}
