//! A channel without links, because nobody has called for long: it dials again when it is told to
//! connect.

use super::{Channel, Stage, Step};
use crate::policy::subchannel::{Input, Subchannel};
use std::{sync::Arc, time::Instant};

impl Channel {
    /// All links drain, dials and waits end, and what was known of failures is forgotten: Idle,
    /// until `Connect`. Who was ejected still is.
    pub fn rest(&mut self, cause: &Arc<str>, now: Instant) -> Option<Step> {
        if self.stage != Stage::Connects {
            return None;
        }
        let (before, mut step) = (self.before(), Step::default());
        self.stage = Stage::Idle;
        let connections = self.connections;
        for place in 0..self.subchannels.len() {
            let (id, record) = &mut self.subchannels[place];
            let (id, from) = (*id, record.state());
            self.dials -= usize::from(record.subchannel.dialling().is_some());
            let ends = record.subchannel.on(Input::Shutdown, now, || 0.5, None);
            step.outputs.extend(ends.into_iter().flatten().map(|output| (id, output)));
            let fresh = Subchannel::new(self.schedules.clone(), connections);
            record.subchannel = fresh.while_calls_wait(self.calls_waiting);
            record.forget_lost_links();
            (record.failing, record.last_error, record.lost) = (false, None, None);
            self.shows(place, from, false, cause, &mut step);
        }
        Some(self.finish(before, None, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            ConnectivityState::{Connecting, Idle, Ready, TransientFailure},
            EndpointId, Incarnation,
        },
        policy::{Backoff, News, Output, Schedules, Standing},
    };
    use std::time::Duration;

    const FIRST: EndpointId = EndpointId(1);
    const ONE: Incarnation = Incarnation(1);
    const TWO: Incarnation = Incarnation(2);

    /// Two endpoints that are dialled.
    fn channel(now: Instant) -> Channel {
        let second = Duration::from_secs(1);
        let backoff = Backoff { initial: second, multiplier: 1.0, max: second };
        let schedules = Schedules::steady(backoff);
        let mut channel = Channel::new(schedules, 1, Incarnation::default());
        channel.on_list([FIRST, EndpointId(2)], [], &"listed".into(), now, || 0.5);
        assert!(channel.is_idle() && channel.rest(&"quiet".into(), now).is_none());
        channel.on(Input::Connect, &"spawned".into(), now, || 0.5);
        channel
    }

    #[test]
    fn links_and_dials_end_nothing_is_due_and_connect_begins_anew() {
        let (now, cause) = (Instant::now(), Arc::<str>::from("quiet"));
        let mut channel = channel(now);
        channel.on(Input::Established(ONE), &"up".into(), now, || 0.5);
        let step = channel.rest(&cause, now).expect("it rests");
        let drained = [(FIRST, Output::Drain(ONE)), (EndpointId(2), Output::Drain(TWO))];
        assert_eq!(step.outputs, drained);
        assert_eq!(step.changed, Some((Ready, Idle)));
        let shown = [(FIRST, Ready, Idle), (EndpointId(2), Connecting, Idle)];
        assert_eq!(step.endpoints, shown);
        assert_eq!((channel.next_dial(), channel.links().count(), channel.dials), (None, 0, 0));
        assert_eq!(channel.stuck(|_| false, false, |_| false).count(), 0);
        let late = Input::Lost { link: ONE, goaway: false };
        assert_eq!(channel.on(late, &"closed".into(), now, || 0.5), None);
        assert_eq!(channel.on(Input::RedialDue, &"due".into(), now, || 0.5).unwrap().outputs, []);
        let step = channel.on(Input::Connect, &"a call came".into(), now, || 0.5).unwrap();
        assert_eq!((step.changed, step.outputs.len()), (Some((Idle, Connecting)), 2));
    }

    #[test]
    fn failures_are_forgotten_and_ejections_are_not() {
        let (now, cause) = (Instant::now(), Arc::<str>::from("quiet"));
        let mut channel = channel(now);
        for dial in [ONE, TWO] {
            channel.on(Input::DialFailed(dial), &"refused".into(), now, || 0.5);
        }
        channel.on_news(News::Ejected(FIRST, true), &"it fails".into());
        assert_eq!(channel.state(), TransientFailure);
        assert!(channel.rest(&cause, now).is_some() && channel.last_error().is_none());
        assert_eq!((channel.failures(FIRST), channel.why_no_link()), (0, None));
        assert_eq!(channel.standing(FIRST, ONE), Standing::Ejected);
    }

    #[test]
    fn a_list_that_comes_meanwhile_is_taken_in_and_dialled_later() {
        let (now, cause) = (Instant::now(), Arc::<str>::from("quiet"));
        let mut channel = channel(now);
        channel.rest(&cause, now);
        let step = channel.on_list([EndpointId(3)], [FIRST], &"listed".into(), now, || 0.5);
        assert_eq!((step.outputs.len(), channel.state()), (0, Idle));
        let step = channel.on(Input::Connect, &"a call came".into(), now, || 0.5).unwrap();
        let dialled: Vec<_> = step.outputs.iter().map(|(endpoint, _)| endpoint.0).collect();
        assert_eq!(dialled, [2, 3]);
    }
}
