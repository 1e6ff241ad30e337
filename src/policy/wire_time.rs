//! How long the answers of a method take of late, and whether a call that has waited still has time
//! for one.
//!
//! Under overload calls wait until hardly any of their time is left. Each then takes a place on the
//! link, runs out of time on it, and leaves the next one in the same state: next to nothing is
//! answered, and the server is busy all the time. So a call that waited starts only if it has more
//! time left than an answer needs.
//!
//! | what happens | what follows |
//! |---|---|
//! | a call is answered with OK | mean and deviation change as in RFC 6298; fewer calls are late |
//! | a call that waited runs out of time on the wire | more calls are late; the mean rises |
//! | a call ends otherwise | nothing: that does not say how long an answer takes |
//! | nothing, for 16 mean times | one call that would be refused is started |
//!
//! **What an answer needs** lies between two times. The lower one, the mean less four deviations,
//! is what an answer takes at least; RFC 6298 adds four to get what it takes at most. With its
//! weights the lower time is never above what the last answer took. So while no call that waited
//! runs out of time, none is refused that has the time of the last answer. But where answers
//! differ, calls that start with the lower time mostly run out of it, and in an overload all calls
//! start so. Therefore what is needed rises with the share of late calls, up to the mean and four
//! deviations. It comes to rest where about one call in 25 is late, and falls back when there are
//! none.
//!
//! **It always falls again** when the server has become fast. A call is refused only while a place
//! is free. If all that wait are refused, the next call finds room, does not wait, and is started
//! unasked. Where others take every place, the 16 mean times pass.

use std::time::{Duration, Instant};

/// RFC 6298's weights of the newest time in the mean and in the deviation, and its factor K.
const MEAN: f64 = 1.0 / 8.0;
const DEVIATION: f64 = 1.0 / 4.0;
const SPREAD: f64 = 4.0;

/// The weight of the newest call in the share of late ones.
const LATE: f64 = 1.0 / 64.0;

/// At this share of late calls the upper time is needed.
const MANY_LATE: f64 = 1.0 / 16.0;

/// A call that ran out of time would have needed a quarter more, for all that is known.
const BEYOND: f64 = 1.25;

/// After so many mean times without news a call is started that would be refused.
const SILENCE: f64 = 16.0;

/// The time on the wire of one method's calls.
#[derive(Clone, Debug, Default)]
pub struct WireTime(Option<Figure>);

/// Times are in seconds.
#[derive(Clone, Debug)]
struct Figure {
    mean: f64,
    deviation: f64,
    /// The share of late calls among those that ended of late.
    late: f64,
    /// When a late call raised the mean. Those that had begun before say the same once more.
    raised: Option<Instant>,
    heard: Instant,
}

impl WireTime {
    /// A call was answered with OK after `took` on the wire.
    pub fn answered(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let Some(figure) = &mut self.0 else {
            self.0 = Some(Figure::new(took, now));
            return;
        };
        figure.add(took);
        figure.late -= figure.late * LATE;
        figure.heard = now;
    }

    /// A call that had waited was not answered, and had `given` on the wire. If that is all that is
    /// known, it is used: in an overload from the start no call may be answered.
    pub fn ran_out(&mut self, given: Duration, now: Instant) {
        let had = given.as_secs_f64();
        let figure = self.0.get_or_insert_with(|| Figure::new(had * BEYOND, now));
        if had < figure.least() {
            return;
        }
        figure.late += (1.0 - figure.late) * LATE;
        figure.heard = now;
        let is_news =
            figure.raised.is_none_or(|raised| now.saturating_duration_since(raised) >= given);
        // A server that hangs makes late calls with any time: it doubles the mean at most.
        let took = (had * BEYOND).min(figure.mean * 2.0);
        if is_news && took > figure.mean {
            figure.raised = Some(now);
            figure.add(took);
        }
    }

    /// What an answer needs, where a call that waited and has `left` would not get one; none: it is
    /// to be started.
    pub fn too_short(&mut self, left: Duration, now: Instant) -> Option<Duration> {
        let figure = self.0.as_mut()?;
        let needed = figure.needed();
        if left.as_secs_f64() > needed {
            return None;
        }
        let silence = now.saturating_duration_since(figure.heard).as_secs_f64();
        if silence > figure.mean * SILENCE {
            figure.heard = now;
            return None;
        }
        Some(Duration::try_from_secs_f64(needed).unwrap_or(Duration::MAX))
    }
}

impl Figure {
    fn new(took: f64, now: Instant) -> Self {
        Self { mean: took, deviation: took / 2.0, late: 0.0, raised: None, heard: now }
    }

    fn add(&mut self, took: f64) {
        let error = took - self.mean;
        self.deviation += (error.abs() - self.deviation) * DEVIATION;
        self.mean += error * MEAN;
    }

    /// What an answer takes at least.
    fn least(&self) -> f64 {
        (self.mean - SPREAD * self.deviation).max(0.0)
    }

    /// What an answer takes at most.
    fn most(&self) -> f64 {
        self.mean + SPREAD * self.deviation
    }

    fn needed(&self) -> f64 {
        let least = self.least();
        least + (self.most() - least) * (self.late / MANY_LATE).min(1.0)
    }
}

#[cfg(test)]
#[path = "wire_time_tests.rs"]
mod tests;
