//! What goes wrong in TLS, in the words of whoever has to put it right.

use rustls::{AlertDescription as Alert, CertificateError, Error, PeerMisbehaved};
use std::{io, time::Duration};

/// What a sentence may have to name.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) server_name: String,
    /// Whom this side trusts.
    pub(super) trusted: String,
    /// Whether this side has a certificate to show.
    pub(super) has_certificate: bool,
}

/// A handshake that failed.
pub(in super::super) struct Refused {
    /// Why.
    pub(in super::super) words: String,
    /// Whether whoever answered cannot be the server that was meant.
    pub(in super::super) wrong_peer: bool,
}

/// Whether this says that another server than the one that was meant has answered, or one that is
/// none for gRPC: its certificate is from an unknown authority or for another name, or it does
/// not choose HTTP/2. A certificate that has expired, or is not accepted for another reason, may
/// still be its own.
fn names_wrong_peer(error: &Error) -> bool {
    use CertificateError::*;
    use PeerMisbehaved::SelectedUnofferedApplicationProtocol;
    match error {
        Error::InvalidCertificate(error) => {
            let other_name = matches!(error, NotValidForName | NotValidForNameContext { .. });
            other_name || matches!(error, UnknownIssuer | BadSignature)
        }
        Error::AlertReceived(alert) => *alert == Alert::NoApplicationProtocol,
        Error::PeerMisbehaved(SelectedUnofferedApplicationProtocol) => true,
        Error::NoApplicationProtocol | Error::InvalidMessage(_) => true,
        _ => false,
    }
}

/// The error of rustls inside an error of the stream.
pub(super) fn inside(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

impl About {
    /// Why the handshake failed.
    pub(super) fn handshake(&self, error: &io::Error) -> Refused {
        let wrong_peer = inside(error).is_some_and(names_wrong_peer);
        Refused { words: self.describe(error), wrong_peer }
    }

    fn describe(&self, error: &io::Error) -> String {
        match (inside(error), error.kind()) {
            (Some(error), _) => self.tls(error),
            (None, io::ErrorKind::UnexpectedEof) => {
                "the server closed the connection during the TLS handshake; does it speak TLS on \
                 this port?"
                    .into()
            }
            (None, _) => format!("the connection failed during the TLS handshake: {error}"),
        }
    }

    /// Why the server may have hung up after the handshake, before it said anything.
    pub(super) fn silence(&self) -> String {
        let guess = match self.has_certificate {
            true => "it may have refused our client certificate (tls.certificate)",
            false => {
                "it may require a client certificate, and none is configured (tls.certificate, \
                 tls.key)"
            }
        };
        format!(
            "the server closed the connection right after the TLS handshake without saying why: \
             {guess}"
        )
    }

    /// What rustls found wrong, or was told by the server.
    pub(super) fn tls(&self, error: &Error) -> String {
        match error {
            Error::InvalidCertificate(error) => self.certificate(error),
            Error::AlertReceived(alert) => self.alert(*alert),
            Error::InvalidMessage(_) => {
                "the server does not speak TLS on this port (what it sent is plaintext or another \
                 protocol)"
                    .into()
            }
            Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                "the server chose another protocol than HTTP/2 by ALPN: it must offer h2".into()
            }
            Error::NoApplicationProtocol => no_http2(),
            Error::PeerIncompatible(_) => {
                format!("the server supports no TLS version or cipher that this side does: {error}")
            }
            other => format!("the TLS handshake failed: {other}"),
        }
    }

    fn certificate(&self, error: &CertificateError) -> String {
        use CertificateError::*;
        let Self { server_name, trusted, .. } = self;
        let since = |from: u64, to: u64| ago(Duration::from_secs(to.saturating_sub(from)));
        match error {
            UnknownIssuer => {
                format!(
                    "the server's certificate is signed by an unknown authority (trusted: \
                     {trusted})"
                )
            }
            NotValidForNameContext { presented, .. } => {
                let names =
                    if presented.is_empty() { "no name".into() } else { presented.join(", ") };
                format!(
                    "the server's certificate is not for {server_name:?} but for {names}; is \
                     tls.server_name right?"
                )
            }
            NotValidForName => {
                format!(
                    "the server's certificate is not for {server_name:?}; is tls.server_name right?"
                )
            }
            ExpiredContext { time, not_after } => {
                format!(
                    "the server's certificate expired {} ago",
                    since(not_after.as_secs(), time.as_secs())
                )
            }
            Expired => "the server's certificate has expired".into(),
            NotValidYetContext { time, not_before } => format!(
                "the server's certificate is not valid yet, but will be in {}; is this machine's \
                 clock right?",
                since(time.as_secs(), not_before.as_secs())
            ),
            NotValidYet => {
                "the server's certificate is not valid yet; is this machine's clock right?".into()
            }
            Revoked => "the server's certificate is revoked".into(),
            InvalidPurpose | InvalidPurposeContext { .. } => {
                "the server's certificate is not for servers".into()
            }
            BadSignature => {
                "the server's certificate is not signed by the authority that it names".into()
            }
            other => format!("the server's certificate cannot be verified: {other}"),
        }
    }

    fn alert(&self, alert: Alert) -> String {
        let own = |what: &str| match self.has_certificate {
            true => format!("the server refused our client certificate (tls.certificate): {what}"),
            false => "the server requires a client certificate, and none is configured \
                 (tls.certificate, tls.key)"
                .into(),
        };
        match alert {
            Alert::CertificateRequired | Alert::NoCertificate if self.has_certificate => {
                own("it wants one from another authority")
            }
            Alert::CertificateRequired | Alert::NoCertificate => own(""),
            Alert::UnknownCA => own("it does not know the authority that signed it"),
            Alert::CertificateExpired => own("it has expired"),
            Alert::CertificateRevoked => own("it is revoked"),
            Alert::UnsupportedCertificate => {
                own("it is of a kind that the server does not support")
            }
            Alert::BadCertificate | Alert::CertificateUnknown | Alert::DecryptError => {
                own("it is not accepted")
            }
            Alert::AccessDenied => own("access denied"),
            Alert::NoApplicationProtocol => no_http2(),
            Alert::UnrecognisedName => {
                format!("the server does not know the name {:?}", self.server_name)
            }
            Alert::ProtocolVersion => {
                "the server supports no TLS version that this side does (1.2 and 1.3)".into()
            }
            Alert::HandshakeFailure => match self.has_certificate {
                true => "the server refused the handshake: no cipher in common, or our client \
                     certificate refused"
                    .into(),
                false => "the server refused the handshake: no cipher in common, or it requires a \
                          client certificate and none is configured (tls.certificate, tls.key)"
                    .into(),
            },
            other => format!("the server ended TLS with the alert {other:?}"),
        }
    }
}

fn no_http2() -> String {
    "the server does not offer HTTP/2 by ALPN (it may speak HTTP/1 only): it must offer h2".into()
}

fn ago(time: Duration) -> String {
    match time.as_secs() {
        s if s >= 2 * 86_400 => format!("{} days", s / 86_400),
        s if s >= 2 * 3_600 => format!("{} hours", s / 3_600),
        s if s >= 120 => format!("{} minutes", s / 60),
        s => format!("{s} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_certificate_and_a_refused_one_are_told_apart() {
        let about = |has_certificate| About {
            server_name: "q".into(),
            trusted: "ca.pem".into(),
            has_certificate,
        };
        let required = Error::AlertReceived(Alert::CertificateRequired);
        assert!(
            about(false)
                .tls(&required)
                .contains("requires a client certificate, and none is configured")
        );
        assert!(about(true).tls(&required).contains("refused our client certificate"));
        let unknown = about(true).tls(&Error::AlertReceived(Alert::UnknownCA));
        assert!(unknown.contains("does not know the authority"), "{unknown}");
    }

    #[test]
    fn every_fault_has_its_words() {
        use CertificateError as Certificate;
        let alert = Error::AlertReceived;
        let certificate = Error::InvalidCertificate;
        let alpn = PeerMisbehaved::SelectedUnofferedApplicationProtocol;
        let (required, refused) =
            ("requires a client certificate", "refused our client certificate (tls.certificate): ");
        // The error, what is said without a certificate of our own, and with one.
        let table = [
            (
                Error::PeerMisbehaved(alpn),
                "another protocol than HTTP/2",
                "another protocol than HTTP/2",
            ),
            (
                Error::NoApplicationProtocol,
                "does not offer HTTP/2 by ALPN",
                "does not offer HTTP/2 by ALPN",
            ),
            (Error::DecryptError, "the TLS handshake failed: ", "the TLS handshake failed: "),
            (
                certificate(Certificate::NotValidForName),
                "is not for \"q\"; is tls.server_name",
                "is not for \"q\"",
            ),
            (
                certificate(Certificate::Expired),
                "certificate has expired",
                "certificate has expired",
            ),
            (
                certificate(Certificate::NotValidYet),
                "is not valid yet; is this machine's clock",
                "is not valid yet",
            ),
            (
                certificate(Certificate::Revoked),
                "the server's certificate is revoked",
                "is revoked",
            ),
            (certificate(Certificate::InvalidPurpose), "is not for servers", "is not for servers"),
            (
                certificate(Certificate::BadSignature),
                "not signed by the authority that it names",
                "not signed by",
            ),
            (certificate(Certificate::BadEncoding), "cannot be verified: ", "cannot be verified: "),
            (alert(Alert::NoCertificate), required, "refused our client certificate"),
            (alert(Alert::CertificateExpired), required, &format!("{refused}it has expired")),
            (alert(Alert::CertificateRevoked), required, &format!("{refused}it is revoked")),
            (alert(Alert::UnsupportedCertificate), required, &format!("{refused}it is of a kind")),
            (alert(Alert::BadCertificate), required, &format!("{refused}it is not accepted")),
            (alert(Alert::AccessDenied), required, &format!("{refused}access denied")),
            (
                alert(Alert::NoApplicationProtocol),
                "does not offer HTTP/2 by ALPN",
                "does not offer HTTP/2 by ALPN",
            ),
            (
                alert(Alert::UnrecognisedName),
                "does not know the name \"q\"",
                "does not know the name \"q\"",
            ),
            (
                alert(Alert::ProtocolVersion),
                "no TLS version that this side does",
                "no TLS version that this side does",
            ),
            (
                alert(Alert::HandshakeFailure),
                "or it requires a client certificate",
                "or our client certificate refused",
            ),
            (alert(Alert::InternalError), "the alert InternalError", "the alert InternalError"),
        ];
        for (error, without, with) in table {
            for (has_certificate, words) in [(false, without), (true, with)] {
                let about =
                    About { server_name: "q".into(), trusted: "ca.pem".into(), has_certificate };
                let said = about.tls(&error);
                assert!(said.contains(words), "{error:?}: {said}");
            }
        }
    }

    #[test]
    fn a_wrong_peer_is_told_from_one_that_may_be_right_and_is_ill() {
        use CertificateError as Certificate;
        let alpn = PeerMisbehaved::SelectedUnofferedApplicationProtocol;
        for error in [
            Error::InvalidCertificate(Certificate::UnknownIssuer),
            Error::InvalidCertificate(Certificate::NotValidForName),
            Error::AlertReceived(Alert::NoApplicationProtocol),
            Error::NoApplicationProtocol,
            Error::PeerMisbehaved(alpn),
        ] {
            assert!(names_wrong_peer(&error), "{error:?}");
        }
        for error in [
            Error::InvalidCertificate(Certificate::Expired),
            Error::InvalidCertificate(Certificate::NotValidYet),
            Error::InvalidCertificate(Certificate::Revoked),
            Error::AlertReceived(Alert::CertificateRequired),
            Error::AlertReceived(Alert::InternalError),
            Error::DecryptError,
        ] {
            assert!(!names_wrong_peer(&error), "{error:?}");
        }
    }

    #[test]
    fn times_are_said_in_the_unit_that_people_would_use() {
        let said = [45, 300, 7_200, 864_000].map(|seconds| ago(Duration::from_secs(seconds)));
        assert_eq!(said, ["45 seconds", "5 minutes", "2 hours", "10 days"]);
    }
}
