//! How long each step of one dial took: where the time of a slow connection went, and how far a
//! dial that failed came.

use super::{link::DialStep, text::readable};
use std::{fmt, time::Duration};

/// How long each step of a dial took, at the address that gave the link; of a dial that failed, at
/// the one that came furthest, with the step that failed. None: the step was not taken.
///
/// `{}`: `connect 12 ms, tls 8 ms, handshake 3 ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepTimes {
    /// Looking the name up, by the dial itself or by its connector.
    pub resolve: Option<Duration>,
    /// Opening the connection; all that a connector does, unless it reports its steps
    /// ([`ConnectRequest::report_step`](crate::transport::ConnectRequest::report_step)).
    pub connect: Option<Duration>,
    /// Agreeing on TLS.
    pub tls: Option<Duration>,
    /// From then on, until the peer's SETTINGS were read.
    pub handshake: Option<Duration>,
}

impl StepTimes {
    /// Each of them, in the order of a dial.
    pub fn by_step(&self) -> [(DialStep, Option<Duration>); 4] {
        [
            (DialStep::Resolve, self.resolve),
            (DialStep::Connect, self.connect),
            (DialStep::Tls, self.tls),
            (DialStep::Handshake, self.handshake),
        ]
    }

    /// The step went on for so long.
    pub(crate) fn add(&mut self, step: DialStep, time: Duration) {
        let sum = match step {
            DialStep::Resolve => &mut self.resolve,
            DialStep::Connect => &mut self.connect,
            DialStep::Tls => &mut self.tls,
            DialStep::Handshake => &mut self.handshake,
        };
        *sum = Some(sum.unwrap_or_default().saturating_add(time));
    }
}

impl fmt::Display for StepTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = self.by_step().into_iter().filter_map(|(step, time)| Some((step, time?)));
        for (n, (step, time)) in taken.enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", step.as_str(), readable(time))?;
        }
        Ok(())
    }
}
