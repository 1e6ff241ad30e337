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
    /// A few endpoints are drawn, and of them that one with the fewest streams is taken (gRPC A48,
    /// which may draw one twice).
    LeastRequest,
    /// A few endpoints are drawn, and of them that one is taken whose answers take the least time,
    /// multiplied by its streams (linkerd and tower: peak EWMA).
    PeakEwma,
}

impl Balancing {
    /// Each of them.
    pub(super) const ALL: [Self; 4] =
        [Self::PickFirst, Self::RoundRobin, Self::LeastRequest, Self::PeakEwma];

    /// Whether it looks at how the endpoints fare: then one that fails at once looks like the best
    /// of them.
    pub(crate) fn is_load_aware(self) -> bool {
        matches!(self, Self::LeastRequest | Self::PeakEwma)
    }

    /// Its name in the configuration, which is gRPC's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PickFirst => "pick_first",
            Self::RoundRobin => "round_robin",
            Self::LeastRequest => "least_request",
            Self::PeakEwma => "peak_ewma",
        }
    }
}
