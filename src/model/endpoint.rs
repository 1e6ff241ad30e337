//! Where servers are: addresses, and endpoints, which are servers with their addresses.

use std::{fmt, net::SocketAddr, sync::Arc};

/// The number of an endpoint of one supervisor, from 1, in the order in which the endpoints were
/// first listed. It is never given to another: an endpoint that comes back has the number it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One address of a server: a host and a port, or a Unix socket.
///
/// A host is a name, looked up at each dial, or an IP address. It is read from text as the
/// configuration has it:
///
/// ```
/// use tonic_supervisor::Address;
///
/// let address: Address = "queue-0.queue:50051".parse()?;
/// assert_eq!((address.host(), address.port()), ("queue-0.queue", 50051));
/// let socket: Address = "unix:/run/queue.sock".parse()?;
/// assert_eq!((socket.host(), socket.port()), ("unix:/run/queue.sock", 0));
/// # Ok::<(), tonic_supervisor::InvalidAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

impl Address {
    /// `host` is a name or an IP address; for a Unix socket it is `unix:/run/queue.sock` or
    /// `unix-abstract:queue`, and `port` is 0. Nothing is checked: a host that cannot be dialled is
    /// a dial that fails.
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// A name or an IP address; for a Unix socket all of it, `unix:` included.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            // With its zone, where it has one.
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self::new(host, address.port())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.host, self.port) {
            (host, 0) => f.write_str(host),
            (host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            (host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// A server with all its addresses: each dial races them, and the first link wins.
///
/// Two endpoints are the same if they have the same addresses, in whatever order. A server that
/// answers on IPv4 and IPv6 is one endpoint with two addresses:
///
/// ```
/// use tonic_supervisor::{Address, Endpoint};
///
/// let one = Endpoint::from(Address::new("10.0.0.7", 50051));
/// let both = Endpoint::of([Address::new("fd00::7", 50051), Address::new("10.0.0.7", 50051)]);
/// assert_eq!((one.addresses().len(), both.addresses().len()), (1, 2));
/// assert_eq!(both.to_string(), "[fd00::7]:50051,10.0.0.7:50051");
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    addresses: Arc<[Address]>,
}

impl Endpoint {
    /// A server with these addresses, in the order in which they are to be tried. Without any, each
    /// dial fails.
    pub fn of(addresses: impl IntoIterator<Item = Address>) -> Self {
        Self { addresses: addresses.into_iter().collect() }
    }

    /// Its addresses, in the order in which they are tried.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Its addresses in the order that two equal endpoints have in common.
    pub(crate) fn key(&self) -> Box<[Address]> {
        let mut key = self.addresses.to_vec();
        key.sort_unstable();
        key.dedup();
        key.into()
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self::of([address])
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        match (&*self.addresses, &*other.addresses) {
            ([one], [other]) => one == other,
            (all, others) => all == others || self.key() == other.key(),
        }
    }
}

impl Eq for Endpoint {}

impl fmt::Display for Endpoint {
    /// Its addresses with commas between; of many, the first few and how many more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (n, address) in self.addresses.iter().take(SHOWN).enumerate() {
            write!(f, "{}{address}", if n > 0 { "," } else { "" })?;
        }
        match self.addresses.len().checked_sub(SHOWN) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_known_by_the_set_of_its_addresses() {
        let (a, b) = (Address::new("a", 1), Address::new("b", 1));
        let both = Endpoint::of([a.clone(), b.clone()]);
        assert_eq!(both, Endpoint::of([b.clone(), a.clone(), b.clone()]));
        assert_ne!(both, Endpoint::from(a));
        assert_ne!(both, Endpoint::of([]));
    }

    #[test]
    fn socket_addresses_keep_their_zones_and_stand_in_brackets() {
        for text in ["[fe80::1%3]:50051", "[::1]:50051", "127.0.0.1:50051"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Address::from(address).to_string(), text);
        }
        let many = Endpoint::of((0..10).map(|n| Address::new(format!("h{n}"), 1)));
        assert!(many.to_string().ends_with("h7:1 and 2 more"), "{many}");
    }
}
