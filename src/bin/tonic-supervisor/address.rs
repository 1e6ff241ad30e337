//! An address as arguments name it: `HOST:PORT`, where the host may be a name.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};
use tokio::net::lookup_host;

/// A host and a port, not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// An IPv6 address has no brackets here.
    host: String,
    port: u16,
}

impl Address {
    /// Looks the host up; at least one address. IPv4 comes before IPv6: `localhost` may be both,
    /// and 127.0.0.1 is what most people try.
    pub(crate) async fn lookup(&self) -> io::Result<Vec<SocketAddr>> {
        let mut found: Vec<_> = lookup_host((&*self.host, self.port)).await?.collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        found.sort_by_key(SocketAddr::is_ipv6);
        Ok(found)
    }

    /// The host, as it was named; an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = "must be HOST:PORT, as in 127.0.0.1:50051, localhost:50051 or [::1]:50051";
        if text.contains("//") {
            return Err(format!("{rule}; leave out the part up to `//`"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("{rule}; there is no port"));
        };
        let Ok(port) = port.parse() else {
            return Err(format!("{rule}; the port {port:?} is not a number from 0 to 65535"));
        };
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match inner {
            Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => inner,
            Some(inner) => return Err(format!("{rule}; {inner:?} is not an IPv6 address")),
            None if host.contains(':') => {
                return Err(format!("{rule}; an IPv6 address stands in brackets"));
            }
            None if host.is_empty() => {
                return Err(format!("{rule}; the host is empty: 0.0.0.0 is every IPv4 address"));
            }
            None => host,
        };
        let numbers = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if numbers && host.parse::<Ipv4Addr>().is_err() {
            return Err(format!("{rule}; {host:?} is not an IPv4 address"));
        }
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
            return Err(format!("{rule}; {host:?} is not the name of a host"));
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for text in
            ["localhost:50051", "queue.internal:1", "127.0.0.1:0", "[::1]:50051", "0.0.0.0:65535"]
        {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.into()));
        }
    }

    #[test]
    fn each_wrong_address_is_told_what_is_wrong_with_it() {
        for (text, part) in [
            ("localhost", "there is no port"),
            ("50051", "there is no port"),
            ("localhost:", "the port \"\" is not a number"),
            ("localhost:http", "the port \"http\" is not a number"),
            ("127.0.0.1:70000", "from 0 to 65535"),
            (":50051", "the host is empty"),
            ("::1:50051", "in brackets"),
            ("[127.0.0.1]:50051", "is not an IPv6 address"),
            ("256.0.0.1:1", "is not an IPv4 address"),
            ("http://localhost:50051", "leave out the part up to `//`"),
            ("local host:50051", "is not the name of a host"),
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(
                error.starts_with("must be HOST:PORT") && error.contains(part),
                "{text}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        let address: Address = "localhost:50052".parse().expect("an address");
        let found = address.lookup().await.expect("found");
        assert!(
            found.iter().all(|address| address.ip().is_loopback() && address.port() == 50052),
            "{found:?}"
        );
    }
}
