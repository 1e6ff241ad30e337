//! When names are looked up, and whether the order of what they give means anything.

use std::time::Duration;

/// How often a name is looked up while all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Period {
    /// Every 30 s where several servers share the calls, every 300 s where one has them all. The
    /// default.
    #[default]
    Auto,
    /// Only when a link is lost or a dial fails.
    Never,
    /// So often.
    Every(Duration),
}

impl From<Duration> for Period {
    fn from(time: Duration) -> Self {
        Self::Every(time)
    }
}

/// Whether addresses are put in a random order, under `pick_first`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shuffle {
    /// Those that a name gave, but not those that a person wrote. The default.
    #[default]
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

impl From<bool> for Shuffle {
    fn from(always: bool) -> Self {
        if always { Self::Always } else { Self::Never }
    }
}

/// When names are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolve {
    pub(crate) period: Period,
    pub(crate) min_interval: Duration,
    pub(crate) absent: u32,
}
