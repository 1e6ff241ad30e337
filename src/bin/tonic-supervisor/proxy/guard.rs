//! No confused deputy: what the proxy shows to its server, to prove who it is, is shown for nobody
//! but those who may use it.
//!
//! Whoever reaches the port makes calls with the proxy's certificate and token, and as its user
//! where the server listens on a Unix socket. On a Unix socket of this user's, and on loopback,
//! these are this machine's own processes; elsewhere it is anybody, unless clients must prove who
//! they are.

use super::listen::Place;
use crate::CliError;
use tonic_supervisor::{Config, config::Target};

/// Whether what the configuration has may be used for those who reach `place`.
pub(super) fn check(
    config: &Config,
    place: &Place,
    demands_certificates: bool,
) -> Result<(), CliError> {
    let certificate = config.tls().and_then(|tls| tls.certificate());
    let secret = match (certificate, config.token_file(), unix_socket(config)) {
        (Some(path), ..) => format!("grpc.tls.certificate, {}", path.display()),
        (_, Some(path), _) => format!("grpc.credentials.token_file, {}", path.display()),
        (.., Some(socket)) => format!("the rights of its user at {socket}"),
        _ => return Ok(()),
    };
    if demands_certificates || place.is_on_this_machine() {
        return Ok(());
    }
    Err(CliError::Config(format!(
        "whoever reaches {place} would make calls as this proxy, with {secret}: listen on \
         unix:PATH or a loopback address, or demand client certificates \
         (--listen-certificate, --listen-key and --listen-ca)"
    )))
}

/// A Unix socket on which the server listens; who may use that is for its file's mode to say.
fn unix_socket(config: &Config) -> Option<String> {
    match config.target() {
        target @ (Target::Unix(_) | Target::UnixAbstract(_)) => Some(target.to_string()),
        Target::Endpoints(all) => {
            let mut hosts = all.iter().map(|one| one.host());
            let is_socket =
                |host: &&str| ["unix:", "unix-abstract:"].iter().any(|it| host.starts_with(it));
            hosts.find(is_socket).map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_used_for_this_machine_and_for_who_shows_a_certificate_only() {
        let place = |text: &str| match text.strip_prefix("unix:") {
            Some(path) => Place::Unix(path.into()),
            None => Place::Tcp(text.parse().expect("an address")),
        };
        let plain = Config::default();
        let token = Config::builder().credentials_token_file("token").build().expect("valid");
        let socket = Config::builder().target("unix:/run/server.sock").build().expect("valid");
        let named = Config::builder().target("unix-01:50051").build().expect("valid");
        assert!(check(&named, &place("0.0.0.0:1"), false).is_ok(), "a host's name");
        for (listen, demands, may) in [
            ("unix:/run/a.sock", false, true),
            ("127.0.0.1:1", false, true),
            ("127.8.0.1:1", false, true),
            ("[::1]:1", false, true),
            ("[::ffff:127.0.0.1]:1", false, true),
            ("0.0.0.0:1", false, false),
            ("[::]:1", false, false),
            ("10.0.0.1:1", false, false),
            ("0.0.0.0:1", true, true),
        ] {
            assert!(check(&plain, &place(listen), demands).is_ok(), "{listen}");
            for config in [&token, &socket] {
                let checked = check(config, &place(listen), demands);
                assert_eq!(checked.is_ok(), may, "{listen} {demands} {}", config.target());
            }
        }
    }
}
