//! What one line for people says of a fact: its level, its sentence, and the numbers that are no
//! fields of the fact.

use crate::model::{Fact, Level, readable};
use std::time::Duration;

/// What a line says of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Its own sentence.
    Plain,
    /// The first dial failed.
    NotConnectedYet,
    /// The first link is up.
    Connected { failed_dials: u64 },
    /// An outage began.
    ConnectionLost,
    /// It goes on.
    StillNotConnected { failed_dials: u64, outage: Duration },
    /// It ended.
    ConnectedAgain { failed_dials: u64, outage: Duration },
    /// The links are closed, since there are no calls.
    Idle,
    /// An endpoint of several is out.
    EndpointLost,
    /// It still is.
    EndpointStillLost { failed_dials: u64, outage: Duration },
    /// It is back.
    EndpointBack { failed_dials: u64, outage: Duration },
    /// Its own sentence, for this many of its kind.
    Repeated { times: u64 },
}

/// The numbers of a line that are no fields of its fact.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) failed_dials: Option<u64>,
    pub(super) outage_ms: Option<u64>,
    pub(super) times: Option<u64>,
}

impl Line {
    /// The level of the line for `fact`.
    pub(super) fn level(self, fact: &Fact) -> Level {
        match self {
            Self::Plain | Self::Repeated { .. } => fact.level(),
            Self::Connected { .. } | Self::ConnectedAgain { .. } => Level::Info,
            Self::EndpointBack { .. } | Self::Idle => Level::Info,
            Self::NotConnectedYet | Self::ConnectionLost | Self::StillNotConnected { .. } => {
                Level::Warn
            }
            Self::EndpointLost | Self::EndpointStillLost { .. } => Level::Warn,
        }
    }

    /// The text of the line for `fact`.
    pub(super) fn sentence(self, fact: &Fact) -> String {
        match (self, fact) {
            (Self::NotConnectedYet, Fact::StateChanged { cause, .. }) => {
                format!("not connected yet: {cause}")
            }
            (Self::Connected { failed_dials: 0 }, _) => "connected".to_owned(),
            (Self::Connected { failed_dials }, _) => {
                format!("connected, after {}", failed(failed_dials))
            }
            (Self::ConnectionLost, Fact::StateChanged { cause, .. }) => {
                format!("connection lost: {cause}")
            }
            (Self::Idle, Fact::StateChanged { cause, .. }) => {
                format!("idle: {cause}; the next one connects")
            }
            (Self::StillNotConnected { failed_dials, outage }, _) => {
                format!(
                    "still not connected after {} and {}: {fact}",
                    readable(outage),
                    failed(failed_dials)
                )
            }
            (Self::ConnectedAgain { failed_dials, outage }, _) => {
                format!("connected again after {} and {}", readable(outage), failed(failed_dials))
            }
            (Self::EndpointLost, Fact::SubchannelChanged { addresses, cause, .. }) => {
                format!("endpoint {addresses} is lost: {cause}")
            }
            (Self::EndpointStillLost { failed_dials, outage }, _) => {
                let (outage, dials) = (readable(outage), failed(failed_dials));
                format!("an endpoint is still lost after {outage} and {dials}: {fact}")
            }
            (
                Self::EndpointBack { failed_dials, outage },
                Fact::SubchannelChanged { addresses, .. },
            ) => {
                let (outage, dials) = (readable(outage), failed(failed_dials));
                format!("endpoint {addresses} is back after {outage} and {dials}")
            }
            (Self::Repeated { times }, _) if times > 1 => format!("{fact} ({times} times by now)"),
            _ => fact.to_string(),
        }
    }

    /// Its numbers beside the fact's fields.
    pub(super) fn counts(self) -> Counts {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::Plain | Self::NotConnectedYet | Self::ConnectionLost => Counts::default(),
            Self::EndpointLost | Self::Idle => Counts::default(),
            Self::Connected { failed_dials } => {
                Counts { failed_dials: Some(failed_dials), ..Counts::default() }
            }
            Self::StillNotConnected { failed_dials, outage }
            | Self::ConnectedAgain { failed_dials, outage }
            | Self::EndpointStillLost { failed_dials, outage }
            | Self::EndpointBack { failed_dials, outage } => Counts {
                failed_dials: Some(failed_dials),
                outage_ms: Some(ms(outage)),
                times: None,
            },
            Self::Repeated { times } => Counts { times: Some(times), ..Counts::default() },
        }
    }
}

fn failed(dials: u64) -> String {
    format!("{dials} failed dial{}", if dials == 1 { "" } else { "s" })
}
