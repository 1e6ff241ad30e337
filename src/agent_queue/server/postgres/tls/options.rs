//! What a DSN says of TLS, in libpq's words. They are taken out of it before the driver reads it,
//! which knows few of them.

use super::super::OpenError;

/// What the DSN says of TLS.
#[derive(Debug, Default, PartialEq)]
pub(in super::super) struct TlsOptions {
    mode: Option<String>,
    pub(super) root: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

impl TlsOptions {
    /// Takes those words out of a DSN; the rest is for the driver, which also says what is wrong
    /// with it.
    pub(in super::super) fn take(dsn: &str) -> (Self, String) {
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
    pub(super) fn encrypted(&self) -> Result<bool, OpenError> {
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
