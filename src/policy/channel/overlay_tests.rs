//! What is picked and shown follows from what is known besides links; dials do not.

use super::*;
use crate::policy::{Backoff, Input, Schedules};
use std::time::{Duration, Instant};

/// A channel of two endpoints with a link each, number 1 and number 2.
fn channel(connections: usize) -> Channel {
    let second = Duration::from_secs(1);
    let backoff = Backoff { initial: second, multiplier: 1.0, max: second };
    let schedules = Schedules::steady(backoff);
    let mut channel = Channel::new(schedules, connections, Incarnation::default());
    let (cause, now) = (Arc::from("up"), Instant::now());
    channel.on_list([EndpointId(1), EndpointId(2)], [], &cause, now, || 0.5);
    for input in [Input::Connect, Input::Established(ONE), Input::Established(TWO)] {
        assert!(channel.on(input, &cause, now, || 0.5).is_some());
    }
    channel
}

const FIRST: EndpointId = EndpointId(1);
const ONE: Incarnation = Incarnation(1);
const TWO: Incarnation = Incarnation(2);

fn on(channel: &mut Channel, news: News) -> Option<Step> {
    channel.on_news(news, &"the news".into())
}

#[test]
fn news_change_what_an_endpoint_shows_and_never_what_is_dialled() {
    let mut channel = channel(1);
    let (dials, due) = (channel.dials, channel.next_dial());
    for (news, standing, shows) in [
        (News::Suspect(ONE, true), Standing::Suspect, None),
        (News::Ejected(FIRST, true), Standing::Ejected, Some((Ready, TransientFailure))),
        (
            News::Health(ONE, Standing::Unknown),
            Standing::Unknown,
            Some((TransientFailure, Connecting)),
        ),
        (
            News::Health(ONE, Standing::NotServing),
            Standing::NotServing,
            Some((Connecting, TransientFailure)),
        ),
        (News::Health(ONE, Standing::Good), Standing::Ejected, None),
        (News::Ejected(FIRST, false), Standing::Suspect, Some((TransientFailure, Ready))),
        (News::Suspect(ONE, false), Standing::Good, None),
    ] {
        let step = on(&mut channel, news).unwrap_or_else(|| panic!("{news:?} came late"));
        assert_eq!(channel.standing(FIRST, ONE), standing, "{news:?}");
        let shown: Vec<_> = step.endpoints.iter().map(|(_, from, to)| (*from, *to)).collect();
        assert_eq!(shown, Vec::from_iter(shows), "{news:?}");
        assert_eq!((step.changed, step.outputs), (None, Vec::new()), "{news:?}: the other serves");
        assert_eq!((channel.dials, channel.next_dial()), (dials, due), "{news:?}");
    }
}

#[test]
fn a_channel_whose_endpoints_do_not_serve_fails_fast_and_says_why() {
    let mut channel = channel(1);
    on(&mut channel, News::Health(ONE, Standing::NotServing));
    assert_eq!((channel.state(), channel.last_error()), (Ready, None));
    let step = on(&mut channel, News::Health(TWO, Standing::NotServing)).unwrap();
    assert_eq!(step.changed, Some((Ready, TransientFailure)));
    let why = "2 of 2 endpoints have failed, the last one so: the news";
    assert_eq!(channel.last_error().as_deref(), Some(why));
    let step = on(&mut channel, News::Health(ONE, Standing::Good)).unwrap();
    assert_eq!((step.changed, channel.last_error()), (Some((TransientFailure, Ready)), None));
}

#[test]
fn an_ejected_endpoint_keeps_the_channel_ready_where_it_is_the_only_one_left() {
    let mut channel = channel(1);
    on(&mut channel, News::Ejected(FIRST, true));
    let lost = Input::Lost { link: TWO, goaway: false };
    channel.on(lost, &"lost".into(), Instant::now(), || 0.5);
    assert_eq!(channel.state(), Ready, "calls go there");
}

#[test]
fn an_ejected_endpoint_that_has_a_link_again_says_why_it_is_out() {
    let (mut channel, now) = (channel(1), Instant::now());
    on(&mut channel, News::Ejected(FIRST, true));
    let lost = Input::Lost { link: ONE, goaway: false };
    channel.on(lost, &"lost".into(), now, || 0.5);
    channel.on(Input::ResetBackoff, &"asked".into(), now, || 0.5);
    let dial = channel.subchannels[0].1.subchannel.dialling().unwrap();
    channel.on(Input::Established(dial), &"SETTINGS".into(), now, || 0.5);
    let record = &channel.subchannels[0].1;
    assert_eq!(
        (record.state(), record.last_error.as_deref()),
        (TransientFailure, Some("the news"))
    );
}

#[test]
fn what_only_passes_is_never_told_as_the_reason_of_a_failure() {
    let mut channel = channel(1);
    let out = channel.on_news(News::Ejected(FIRST, true), &"seven failed".into()).unwrap();
    assert_eq!(out.endpoints, [(FIRST, Ready, TransientFailure)]);
    channel.on_news(News::Health(ONE, Standing::Unknown), &"not known yet".into());
    channel.on_news(News::Suspect(ONE, true), &"owes an answer".into());
    channel.on_news(News::Health(ONE, Standing::Good), &"it serves".into());
    let record = &channel.subchannels[0].1;
    assert_eq!(
        (record.state(), record.last_error.as_deref()),
        (TransientFailure, Some("seven failed"))
    );
}

#[test]
fn an_endpoint_is_as_good_as_the_best_of_its_links() {
    let mut channel = channel(2);
    let (up, now) = (Arc::from("up"), Instant::now());
    let further = channel.subchannels[0].1.subchannel.dialling().unwrap();
    assert!(channel.on(Input::Established(further), &up, now, || 0.5).is_some());
    let step = on(&mut channel, News::Health(ONE, Standing::NotServing)).unwrap();
    assert_eq!(step.endpoints, []);
    let step = on(&mut channel, News::Health(further, Standing::NotServing)).unwrap();
    assert_eq!(step.endpoints, [(FIRST, Ready, TransientFailure)]);
}

#[test]
fn what_was_known_of_a_link_goes_with_it_and_news_of_it_come_late() {
    let (mut channel, now) = (channel(1), Instant::now());
    on(&mut channel, News::Health(ONE, Standing::NotServing));
    let lost = Input::Lost { link: ONE, goaway: false };
    channel.on(lost, &"lost".into(), now, || 0.5);
    assert_eq!(channel.standing(FIRST, ONE), Standing::Good, "nothing is kept");
    assert_eq!(on(&mut channel, News::Health(ONE, Standing::Good)), None);
    channel.on(Input::Shutdown, &"over".into(), now, || 0.5);
    assert_eq!(on(&mut channel, News::Ejected(FIRST, true)), None);
}

/// The law of all this: two channels hear the same of their links and dials, and one of them hears
/// news besides. What is dialled, drained and waited for is the same in both, always.
#[test]
fn whatever_the_news_the_same_is_dialled_at_the_same_time() {
    for seed in 1..=2_000_u64 {
        let mut dice = Dice(seed);
        let connections = 1 + dice.up_to(2) as usize;
        let mut told = channel(connections);
        let mut plain = told.clone();
        let (mut now, cause) = (Instant::now(), Arc::<str>::from("so it is"));
        for _ in 0..60 {
            now += Duration::from_millis(dice.up_to(700));
            let link = Incarnation(dice.up_to(plain.last.0));
            if dice.up_to(1) == 0 {
                told.on_news(news(&mut dice, link), &cause);
            }
            let input = input(&mut dice, link);
            let unit = dice.up_to(999) as f64 / 1_000.0;
            let one = told.on(input, &cause, now, || unit);
            let other = plain.on(input, &cause, now, || unit);
            let outputs = |step: Option<Step>| step.map(|step| step.outputs);
            assert_eq!(outputs(one), outputs(other), "seed {seed}: {input:?}");
            assert_eq!(told.next_dial(), plain.next_dial(), "seed {seed}: {input:?}");
            assert!(told.links().eq(plain.links()), "seed {seed}: {input:?}");
        }
    }
}

fn news(dice: &mut Dice, link: Incarnation) -> News {
    let of = [Standing::Good, Standing::Unknown, Standing::NotServing];
    match dice.up_to(2) {
        0 => News::Ejected(EndpointId(1 + dice.up_to(1) as u32), dice.up_to(1) == 0),
        1 => News::Suspect(link, dice.up_to(1) == 0),
        _ => News::Health(link, of[dice.up_to(2) as usize]),
    }
}

fn input(dice: &mut Dice, link: Incarnation) -> Input {
    match dice.up_to(9) {
        0 | 1 => Input::Established(link),
        2 => Input::DialFailed(link),
        3 => Input::Proven(link),
        4 => Input::Lost { link, goaway: dice.up_to(1) == 0 },
        5 => Input::GoAway(link),
        6 => Input::WornOut(link),
        7 => Input::CallsWaiting(dice.up_to(1) == 0),
        8 => Input::ResetBackoff,
        _ => Input::RedialDue,
    }
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % (most + 1)
    }
}
