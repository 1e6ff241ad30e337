//! Where the server is, as gRPC names it: `target` read into a [`Target`], without looking anything
//! up.
//!
//! | written | read |
//! |---|---|
//! | `host:port`, `dns:host:port`, `dns:///host:port` | a name, looked up anew at each dial |
//! | `ipv4:a:p[,b:q]`, `ipv6:[a]:p[,..]` | these addresses |
//! | any of these with `[fe80::1%eth0]:port` | an IPv6 address in a zone, found at each dial |
//! | `unix:path`, `unix:///absolute/path` | a Unix socket |
//! | `unix-abstract:name` | a Unix socket without a file (Linux) |
//! | `http://host[:port]`, `https://host[:port]` | a name; `https` asks for TLS |

use super::host::{self, without_zone};
use crate::model::{Address, Endpoint};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    path::PathBuf,
};

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A name or an address; a name is looked up anew at each dial.
    Host {
        /// Without brackets. An IPv6 address may have a zone: `fe80::1%eth0`.
        host: String,
        /// The port.
        port: u16,
    },
    /// These addresses, at least one.
    Addresses(Vec<SocketAddr>),
    /// These IPv6 addresses and ports, at least one of them in a zone that has a name
    /// (`fe80::1%eth0`): which interface that is, is looked up anew at each dial.
    Zoned(Vec<(String, u16)>),
    /// The Unix socket at this path.
    Unix(PathBuf),
    /// The Unix socket with this name and no file (Linux).
    UnixAbstract(String),
    /// These addresses, at least one, each of a server of its own: the key `endpoints`. Requests
    /// are addressed to the first.
    Endpoints(Vec<Address>),
}

/// A target, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParsedTarget {
    pub(super) target: Target,
    /// Whether the scheme asks for TLS: `https` yes, `http` no; none: it leaves that open.
    pub(super) tls: Option<bool>,
}

const RULE: &str = "must be host:port, dns:///host:port, ipv4:address:port, ipv6:[address]:port, \
                    unix:path, unix-abstract:name or http(s)://host:port";

/// Reads a target; the error is the rule that it breaks, to follow "is ..., but".
pub(super) fn parse(text: &str) -> Result<ParsedTarget, String> {
    if without_zone(text).parse::<Ipv6Addr>().is_ok() {
        return Err(format!("must have the address in brackets, and a port: [{text}]:50051"));
    }
    let bare = |target| ParsedTarget { target, tls: None };
    let (scheme, rest) = match text.split_once(':') {
        // `host:port` has no scheme; neither has `[::1]:port`.
        Some((scheme, rest)) if is_scheme(scheme) && !is_number(rest) => (scheme, rest),
        _ => return host_and_port(text, None).map(bare),
    };
    match scheme.to_ascii_lowercase().as_str() {
        "dns" => dns(rest).map(bare),
        "ipv4" => addresses(
            rest,
            |text| text.parse::<SocketAddrV4>().map(Into::into).ok(),
            "ipv4:10.0.0.1:50051",
        )
        .map(bare),
        "ipv6" => ipv6(rest).map(bare),
        "unix" => unix(rest).map(bare),
        "unix-abstract" => unix_abstract(rest).map(bare),
        "http" => web(rest, 80).map(|target| ParsedTarget { target, tls: Some(false) }),
        "https" => web(rest, 443).map(|target| ParsedTarget { target, tls: Some(true) }),
        "" => Err(RULE.into()),
        other => Err(format!("the scheme `{other}:` is not known: it {RULE}")),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-'))
}

/// `dns:host:port`, `dns:///host:port`. An authority would name a DNS server to ask; that is the
/// system's choice here.
fn dns(rest: &str) -> Result<Target, String> {
    match rest.strip_prefix("//").map(|rest| rest.split_once('/')) {
        None => host_and_port(rest, None),
        Some(Some(("", name))) => host_and_port(name, None),
        Some(_) => Err("must not name a DNS server: write dns:///host:port".into()),
    }
}

fn addresses(
    rest: &str,
    read: impl Fn(&str) -> Option<SocketAddr>,
    example: &str,
) -> Result<Target, String> {
    let read = |text: &str| read(text.trim()).filter(|address| address.port() > 0);
    let all: Option<Vec<_>> = rest.trim_start_matches('/').split(',').map(read).collect();
    all.map(Target::Addresses).ok_or_else(|| {
        format!("must be addresses with ports, such as {example}, with commas between")
    })
}

fn ipv6(rest: &str) -> Result<Target, String> {
    let plain = addresses(
        rest,
        |text| text.parse::<SocketAddrV6>().map(Into::into).ok(),
        "ipv6:[::1]:50051",
    );
    let zoned = |text: &str| match host_and_port(text.trim(), None) {
        Ok(Target::Host { host, port }) if text.contains('[') => Some((host, port)),
        _ => None,
    };
    let zoned: Option<Vec<_>> = rest.trim_start_matches('/').split(',').map(zoned).collect();
    plain.or_else(|rule| zoned.map(Target::Zoned).ok_or(rule))
}

fn unix(rest: &str) -> Result<Target, String> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(path) if path.starts_with('/') => path,
        Some(_) => {
            return Err(
                "must not have an authority: write unix:///absolute/path or unix:relative/path"
                    .into(),
            );
        }
    };
    if path.is_empty() || path.contains('\0') {
        return Err("must name the socket's path, such as unix:///run/queue.sock".into());
    }
    on_unix(Target::Unix(path.into()))
}

fn unix_abstract(name: &str) -> Result<Target, String> {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return Err("abstract Unix sockets exist on Linux only".into());
    }
    if name.is_empty() {
        return Err("must name the socket, such as unix-abstract:queue".into());
    }
    on_unix(Target::UnixAbstract(name.to_owned()))
}

fn on_unix(target: Target) -> Result<Target, String> {
    if cfg!(unix) { Ok(target) } else { Err("Unix sockets do not exist on this system".into()) }
}

fn web(rest: &str, port: u16) -> Result<Target, String> {
    let authority = rest.strip_prefix("//").ok_or(RULE)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '?', '#', '@']) {
        return Err("must be scheme, host and port, and nothing behind them".into());
    }
    // A URI writes the % before a zone as %25.
    host_and_port(&authority.replacen("%25", "%", 1), Some(port))
}

fn host_and_port(text: &str, default: Option<u16>) -> Result<Target, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("has a bracket that is not closed")?;
            without_zone(host)
                .parse::<Ipv6Addr>()
                .map_err(|_| "must have an IPv6 address in the brackets")?;
            (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("")).ok_or(RULE)?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match (port, default) {
        ("", Some(port)) => port,
        ("", None) => return Err(format!("must name a port: it {RULE}")),
        (port, _) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("must end in a port from 1 to 65535, not {port:?}"))?,
    };
    if host.is_empty() {
        return Err(RULE.into());
    }
    let host = host::read(host).map_err(|rule| format!("its host {rule}"))?;
    Ok(Target::Host { host, port })
}

impl Target {
    /// What HTTP/2 requests are addressed to, in gRPC's way: the name, the first address, or
    /// `localhost` for Unix sockets. Zones are this machine's own business.
    pub(crate) fn authority(&self) -> String {
        let plain = |one: &SocketAddr| SocketAddr::new(one.ip(), one.port()).to_string();
        match self {
            Self::Host { host, port } => with_port(without_zone(host), *port),
            Self::Addresses(addresses) => addresses.first().map(plain).unwrap_or_default(),
            Self::Zoned(all) => all
                .first()
                .map(|(host, port)| with_port(without_zone(host), *port))
                .unwrap_or_default(),
            Self::Unix(_) | Self::UnixAbstract(_) => "localhost".into(),
            Self::Endpoints(all) => all.first().map(authority).unwrap_or_default(),
        }
    }

    /// The canonical URI of gRPC A66, as metrics carry it: with its scheme, whatever was left out.
    pub(crate) fn canonical(&self) -> String {
        match self {
            // A URI writes the % before a zone as %25.
            Self::Host { host, port } => {
                format!("dns:///{}", with_port(host, *port).replace('%', "%25"))
            }
            Self::Unix(path) if path.is_absolute() => format!("unix://{}", path.display()),
            Self::Zoned(_) => self.to_string().replace('%', "%25"),
            Self::Endpoints(_) => self.to_string().replace('%', "%25"),
            Self::Addresses(_) | Self::Unix(_) | Self::UnixAbstract(_) => self.to_string(),
        }
    }

    /// All addresses that it names, in order.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Host { host, port } => vec![Address::new(host.as_str(), *port)],
            Self::Addresses(all) => all.iter().copied().map(Address::from).collect(),
            Self::Zoned(all) => {
                all.iter().map(|(host, port)| Address::new(host.as_str(), *port)).collect()
            }
            Self::Unix(_) | Self::UnixAbstract(_) => vec![Address::new(self.to_string(), 0)],
            Self::Endpoints(all) => all.clone(),
        }
    }

    /// Its first address, for a target that has one.
    pub(crate) fn to_address(&self) -> Address {
        self.addresses().swap_remove(0)
    }

    /// Whether nothing sent there leaves this machine: a Unix socket, a loopback address,
    /// `localhost`.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        match self {
            Self::Host { host, .. } => is_this_machine(host),
            Self::Addresses(addresses) => addresses.iter().all(|one| one.ip().is_loopback()),
            Self::Zoned(_) => false,
            Self::Unix(_) | Self::UnixAbstract(_) => true,
            Self::Endpoints(all) => {
                all.iter().all(|one| is_socket(one) || is_this_machine(one.host()))
            }
        }
    }

    /// Whose name a server's certificate must have, where no other is configured; none: that of the
    /// address which is dialled.
    #[cfg(feature = "tls")]
    pub(crate) fn server_name(&self) -> Option<String> {
        match self {
            Self::Endpoints(_) => None,
            _ => Some(certificate_name(&self.to_address())),
        }
    }
}

/// Whether a host is a loopback address or `localhost`, which no resolver may take for anything
/// else (RFC 6761).
fn is_this_machine(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost"),
    }
}

/// Whether it is a Unix socket: they have no port.
fn is_socket(address: &Address) -> bool {
    address.port() == 0
}

/// What HTTP/2 requests to this address are addressed to.
fn authority(address: &Address) -> String {
    match is_socket(address) {
        true => "localhost".into(),
        false => with_port(without_zone(address.host()), address.port()),
    }
}

/// Whose name the certificate of the server at this address must have.
#[cfg(feature = "tls")]
pub(crate) fn certificate_name(address: &Address) -> String {
    match is_socket(address) {
        true => "localhost".into(),
        false => without_zone(address.host()).to_owned(),
    }
}

/// `host:port`, an IPv6 address in brackets.
fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) if host.contains(':') => format!("[{host}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

impl fmt::Display for Target {
    /// As a target that names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => f.write_str(&with_port(host, *port)),
            Self::Addresses(addresses) => {
                f.write_str(if addresses.iter().all(SocketAddr::is_ipv4) {
                    "ipv4:"
                } else {
                    "ipv6:"
                })?;
                for (n, address) in addresses.iter().enumerate() {
                    write!(f, "{}{address}", if n > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::Zoned(all) => {
                let all: Vec<_> = all.iter().map(|(host, port)| with_port(host, *port)).collect();
                write!(f, "ipv6:{}", all.join(","))
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::UnixAbstract(name) => write!(f, "unix-abstract:{name}"),
            Self::Endpoints(all) => write!(f, "endpoints:{}", Endpoint::of(all.iter().cloned())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "target_tests.rs"]
mod tests;
