//! What is known of the health of the server at one link's other end: what it says on a watch
//! (gRPC A17), and whether it answers probes.
//!
//! | happens | it becomes | and then |
//! |---|---|---|
//! | the link is up, and a watch is opened | Unknown | |
//! | the watch says SERVING | Serving | the watch goes on |
//! | the watch says anything else | NotServing | the watch goes on |
//! | the watch ends with a status UNIMPLEMENTED | Unsupported | no watch on this link any more |
//! | the peer allows one stream only | the same | the same |
//! | the watch ends otherwise, or says nothing in time | WatchBroken | another one after a wait |
//! | a probe is answered | what the watch says; Serving where there is none | the next one |
//! | a probe is answered with UNIMPLEMENTED | the same; Unsupported where there is none | no more |
//! | so many probes in a row had no answer | Unanswered, whatever the watch says | the next one |
//!
//! The waits before further watches are those between dials while no call waits, counted from the
//! moment when the last watch was opened; they start over after a message. A17 opens the next watch
//! at once then: a server that ends each watch after its first message would be asked as fast as it
//! answers.
//!
//! A watch that says nothing at first is given up after `connect_timeout`, as a dial is. Its link
//! stays: health changes what is picked and shown, never when is dialled.

use super::{
    backoff::{Backoff, jittered},
    channel::Standing,
    deadline::after,
};
use crate::model::Health;
use std::time::Instant;

/// What is asked, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthRule {
    /// Whether there is a watch.
    pub watch: bool,
    /// After so many probes without an answer the server does not answer.
    pub probe_failures: u32,
    /// The waits between watches, and the share by which they vary.
    pub backoff: Backoff,
    pub jitter: f64,
}

/// How a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The server does not know the health service, or has no room for a watch.
    Unsupported,
    /// It ended, or said nothing in time.
    Broken,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// The server answered, whatever it said.
    Answered,
    /// It answered UNIMPLEMENTED.
    Unsupported,
    /// It did not answer in time, or something else did.
    Silent,
}

/// The machine of one link. What it returns is what is known now, where that changed.
#[derive(Clone, Debug)]
pub struct LinkHealth {
    rule: HealthRule,
    watch: Health,
    probes: Health,
    shown: Health,
    /// When the watch was opened, and whether it has said anything.
    opened: Option<Instant>,
    heard: bool,
    /// How many watches in a row ended without a word.
    failures: u32,
    /// How many probes in a row had no answer.
    unanswered: u32,
}

impl LinkHealth {
    /// Nothing is known yet.
    pub fn new(rule: HealthRule) -> Self {
        Self {
            rule,
            watch: Health::Unknown,
            probes: Health::Unknown,
            shown: Health::Unknown,
            opened: None,
            heard: false,
            failures: 0,
            unanswered: 0,
        }
    }

    /// A watch is opened.
    pub fn opens(&mut self, now: Instant) {
        (self.opened, self.heard) = (Some(now), false);
    }

    /// The watch has said whether the server serves.
    pub fn said(&mut self, serving: bool) -> Option<Health> {
        (self.heard, self.failures) = (true, 0);
        self.watch = if serving { Health::Serving } else { Health::NotServing };
        self.news()
    }

    /// The watch ended; what is known, and when the next one is to be opened, if ever. `unit` is a
    /// random number in `0.0..1.0`.
    pub fn watch_ended(
        &mut self,
        end: WatchEnd,
        now: Instant,
        unit: f64,
    ) -> (Option<Health>, Option<Instant>) {
        if end == WatchEnd::Unsupported {
            self.watch = Health::Unsupported;
            return (self.news(), None);
        }
        self.watch = Health::WatchBroken;
        let n = self.failures;
        self.failures = n.saturating_add(1);
        let wait = jittered(self.rule.backoff.delay(n), self.rule.jitter, unit);
        let at = after(self.opened.unwrap_or(now), wait);
        (self.news(), Some(at.max(now)))
    }

    /// A probe ended; what is known, and whether there is another one.
    pub fn probed(&mut self, probed: Probed) -> (Option<Health>, bool) {
        self.unanswered = match probed {
            Probed::Silent => self.unanswered.saturating_add(1),
            Probed::Answered | Probed::Unsupported => 0,
        };
        match probed {
            Probed::Answered => self.probes = Health::Serving,
            Probed::Unsupported => self.probes = Health::Unsupported,
            Probed::Silent if self.unanswered >= self.rule.probe_failures => {
                self.probes = Health::Unanswered;
            }
            Probed::Silent => {}
        }
        (self.news(), probed != Probed::Unsupported)
    }

    fn news(&mut self) -> Option<Health> {
        let known = match self.probes {
            Health::Unanswered => Health::Unanswered,
            _ if self.rule.watch => self.watch,
            probes => probes,
        };
        (std::mem::replace(&mut self.shown, known) != known).then_some(known)
    }
}

/// How good a link is to send a call on, as far as its server's health is concerned.
pub fn standing_of(health: Health) -> Standing {
    match health {
        Health::Serving | Health::Unsupported => Standing::Good,
        Health::Unknown => Standing::Unknown,
        Health::NotServing | Health::WatchBroken | Health::Unanswered => Standing::NotServing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn link(watch: bool) -> LinkHealth {
        let backoff = Backoff { initial: SECOND, multiplier: 2.0, max: 10 * SECOND };
        LinkHealth::new(HealthRule { watch, probe_failures: 3, backoff, jitter: 0.2 })
    }

    #[test]
    fn a_watch_tells_of_changes_and_of_nothing_else() {
        let mut link = link(true);
        link.opens(Instant::now());
        assert_eq!(link.said(true), Some(Health::Serving));
        assert_eq!(link.said(true), None);
        assert_eq!(link.said(false), Some(Health::NotServing));
        assert_eq!(link.said(true), Some(Health::Serving));
    }

    #[test]
    fn a_server_without_health_is_not_asked_again_and_counts_as_healthy() {
        let (mut link, now) = (link(true), Instant::now());
        link.opens(now);
        let ended = link.watch_ended(WatchEnd::Unsupported, now, 0.5);
        assert_eq!(ended, (Some(Health::Unsupported), None));
        assert_eq!(standing_of(Health::Unsupported), Standing::Good);
    }

    #[test]
    fn a_broken_watch_is_opened_again_after_waits_that_start_over_after_a_message() {
        let (mut link, start) = (link(true), Instant::now());
        let mut ended = |said: bool, at: Duration| {
            let opened = start + at;
            link.opens(opened);
            if said {
                link.said(true);
            }
            let (_, again) = link.watch_ended(WatchEnd::Broken, opened, 0.5);
            again.expect("opened again") - opened
        };
        let waits: Vec<_> = (0..6).map(|n| ended(false, n * 20 * SECOND).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(ended(true, 200 * SECOND), SECOND, "a server that said something starts over");
        assert_eq!(ended(false, 300 * SECOND), 2 * SECOND);
    }

    #[test]
    fn the_wait_counts_from_the_opening_so_a_watch_that_lived_long_is_opened_again_at_once() {
        let (mut link, start) = (link(true), Instant::now());
        link.opens(start);
        link.said(true);
        let now = start + 60 * SECOND;
        let ended = link.watch_ended(WatchEnd::Broken, now, 0.5);
        assert_eq!(ended, (Some(Health::WatchBroken), Some(now)));
    }

    #[test]
    fn as_many_probes_in_a_row_as_configured_must_be_silent() {
        let mut link = link(false);
        assert_eq!(link.probed(Probed::Answered), (Some(Health::Serving), true));
        for _ in 0..3 {
            assert_eq!(link.probed(Probed::Silent), (None, true));
            assert_eq!(link.probed(Probed::Silent), (None, true));
            assert_eq!(link.probed(Probed::Answered), (None, true), "they start over");
        }
        link.probed(Probed::Silent);
        link.probed(Probed::Silent);
        assert_eq!(link.probed(Probed::Silent), (Some(Health::Unanswered), true));
        assert_eq!(link.probed(Probed::Silent), (None, true));
        assert_eq!(link.probed(Probed::Answered), (Some(Health::Serving), true));
    }

    #[test]
    fn a_server_that_does_not_know_probes_is_alive_and_gets_no_more() {
        assert_eq!(link(false).probed(Probed::Unsupported), (Some(Health::Unsupported), false));
        assert_eq!(link(true).probed(Probed::Unsupported), (None, false), "the watch decides");
    }

    #[test]
    fn silent_probes_stand_above_what_the_watch_says_and_answers_leave_it_to_it() {
        let mut link = link(true);
        link.opens(Instant::now());
        link.said(true);
        link.probed(Probed::Silent);
        link.probed(Probed::Silent);
        assert_eq!(link.probed(Probed::Silent), (Some(Health::Unanswered), true));
        assert_eq!(link.said(false), None, "it is out already");
        assert_eq!(link.probed(Probed::Answered), (Some(Health::NotServing), true));
    }
}
