//! The servers of a simulated life: what their hosts are called, the lists of them that the
//! supervisor is given, and which of them a fault befalls.

use crate::script::PORT;
use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc};
use tonic_supervisor::{Address, Endpoint, config::Balancing};

/// The hosts that answer. A script uses the first few of them.
pub(crate) const SERVERS: [&str; 5] = ["server", "server-2", "server-3", "server-4", "server-5"];

const _: () = assert!(SERVERS.len() <= u8::BITS as usize, "a list has a bit for each");

/// A list of servers, in the order of their numbers: bit `n` stands for server `n`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct List(u8);

impl List {
    pub(crate) const EMPTY: Self = Self(0);

    /// The first so many.
    pub(crate) fn first(servers: usize) -> Self {
        Self::of(0..servers)
    }

    pub(crate) fn of(servers: impl IntoIterator<Item = usize>) -> Self {
        Self(servers.into_iter().fold(0, |bits, server| bits | 1 << server))
    }

    pub(crate) fn servers(self) -> impl Iterator<Item = usize> {
        (0..SERVERS.len()).filter(move |server| self.0 & 1 << server != 0)
    }

    /// As the supervisor is given it.
    pub(crate) fn endpoints(self) -> Arc<[Endpoint]> {
        self.servers().map(|server| Address::new(SERVERS[server], PORT).into()).collect()
    }

    /// The addresses of the endpoints that it makes, as events have them.
    pub(crate) fn addresses(self, balancing: Balancing) -> BTreeSet<String> {
        match balancing {
            Balancing::PickFirst if self == Self::EMPTY => BTreeSet::new(),
            Balancing::PickFirst => {
                let all = self.endpoints();
                let all = all.iter().flat_map(|endpoint| endpoint.addresses().iter().cloned());
                [Endpoint::of(all).to_string()].into()
            }
            _ => self.endpoints().iter().map(Endpoint::to_string).collect(),
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.servers()).finish()
    }
}

/// The servers of an endpoint, whose addresses are these.
pub(crate) fn servers_at(addresses: &str) -> Vec<usize> {
    addresses.split(',').filter_map(|one| server_of(one.split(':').next()?)).collect()
}

/// The server whose host is called so.
pub(crate) fn server_of(host: &str) -> Option<usize> {
    SERVERS.iter().position(|server| *server == host)
}

/// Whom a fault befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Every server, or none: the program.
    All,
    /// This server, and the network between it and the client.
    One(usize),
}

impl Whom {
    /// The servers among the first so many.
    pub(crate) fn among(self, servers: usize) -> Range<usize> {
        match self {
            Self::All => 0..servers,
            Self::One(server) => server..servers.min(server + 1),
        }
    }
}
