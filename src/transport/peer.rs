//! Where a link leads: a list of endpoints may have a name, and the link has one of the addresses
//! that it stood for. Whether a new list still has the server is asked of both.

use crate::model::{Address, LinkEnds, LinkTls};

/// Where a link leads.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The endpoint's address, as it is listed.
    pub(crate) listed: Address,
    /// What it was found to be, if it is a name.
    pub(crate) found: Option<Address>,
    /// What else is known of the link's ends. Boxed: dials carry it about, and there are many at
    /// once.
    pub(crate) known: Option<Box<Known>>,
}

/// What a dial came to know of a link's ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// This side's address, where the connector tells it.
    pub(crate) local: Option<Address>,
    /// The TLS that is spoken.
    pub(crate) tls: Option<LinkTls>,
}

impl Peer {
    /// Both ends of the link.
    pub(crate) fn ends(&self) -> LinkEnds {
        let Known { local, tls } = self.known.as_deref().cloned().unwrap_or_default();
        LinkEnds::new(local, self.address().clone(), tls)
    }

    /// The address that was connected to.
    pub(crate) fn address(&self) -> &Address {
        self.found.as_ref().unwrap_or(&self.listed)
    }
}
