//! How calls are spread over endpoints: the policies, by the names that gRPC gave them.

/// Which endpoint a call goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balancing {
    /// All calls go to one server: all addresses are one endpoint, and each dial races them (gRPC
    /// A61). The default.
    #[default]
    PickFirst,
    /// Each endpoint has its links, and calls go to those that are Ready in turn.
    RoundRobin,
}

impl Balancing {
    /// Its name in the configuration, which is gRPC's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PickFirst => "pick_first",
            Self::RoundRobin => "round_robin",
        }
    }
}
