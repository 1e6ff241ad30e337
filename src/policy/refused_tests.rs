//! What the waits before a port that refuses are, and what a fleet of clients makes of them.

use super::super::{
    backoff::Backoff,
    schedules::Schedules,
    subchannel::{Input, Output, Subchannel},
};
use crate::model::Incarnation;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The default schedules, but for the longest wait while the port refuses.
fn schedules(refused_max: Duration) -> Schedules {
    let idle = Backoff { initial: SECOND, multiplier: 1.6, max: SECOND * 10 };
    let waiting = Backoff { initial: SECOND / 20, multiplier: 2.0, max: SECOND };
    Schedules { idle, waiting, refused_max, jitter: 0.2, spread: SECOND / 50 }
}

fn millis(schedules: &Schedules, calls_waiting: bool, refused: bool) -> Vec<u128> {
    (0..30).map(|n| schedules.delay(n, calls_waiting, refused).as_millis()).collect()
}

#[test]
fn a_port_that_refuses_is_asked_more_often_for_27_dials_while_calls_wait() {
    let schedules = schedules(SECOND / 4);
    let waits = millis(&schedules, true, true);
    assert_eq!(waits[..4], [50, 100, 100, 250]);
    assert!(waits[3..11].iter().all(|wait| *wait == 250));
    assert!(waits[11..27].iter().all(|wait| *wait == 550));
    assert!(waits[27..].iter().all(|wait| *wait == 1_000));
    assert_eq!(millis(&schedules, true, false)[..6], [50, 100, 200, 400, 800, 1_000]);
    assert_eq!(millis(&schedules, false, true), millis(&schedules, false, false));
}

#[test]
fn no_wait_before_a_port_that_refuses_is_shorter_than_the_first_one() {
    let mut patient = schedules(SECOND / 4);
    (patient.waiting.initial, patient.waiting.max) = (SECOND * 2, SECOND * 9);
    let waits = millis(&patient, true, true);
    assert!(waits[..27].iter().all(|wait| *wait == 2_000));
    assert_eq!(waits[27], 9_000);
    assert_eq!(millis(&schedules(SECOND), true, true), millis(&schedules(SECOND), true, false));
}

/// When one client dials that has calls waiting, after it lost its server at 0: up to the first
/// dial after the server is back, or for a minute.
fn dials(schedules: Schedules, back: Duration, random: &mut StdRng) -> Vec<Duration> {
    let start = Instant::now();
    let mut subchannel = Subchannel::new(schedules, 1).while_calls_wait(true);
    let (mut last, mut now, mut dials) = (Incarnation(1), start, Vec::new());
    let first = [Input::Connect, Input::Established(last), Input::Proven(last)];
    for input in first {
        let _ = subchannel.on(input, now, || 0.5, Some(last));
    }
    let mut input = Input::Lost { link: last, goaway: false };
    loop {
        let next = Incarnation(last.0 + 1);
        let outputs = subchannel.on(input, now, || random.random(), Some(next));
        match outputs.expect("it is not late")[..] {
            [Output::WaitUntil(at)] => (input, now) = (Input::RedialDue, at),
            [Output::Dial(dial)] => {
                (input, last) = (Input::DialRefused(dial), dial);
                let at = now - start;
                if at > Duration::from_secs(60) {
                    return dials;
                }
                dials.push(at);
                if at >= back {
                    return dials;
                }
            }
            ref other => unreachable!("{other:?}"),
        }
    }
}

/// A fleet, one server of which is away for `down` seconds.
struct Fleet {
    /// How many dials there are in each tenth of a second.
    tenths: Vec<usize>,
    /// How many clients are back in the fullest tenth of a second.
    back_at_once: usize,
    /// How long after its server each client is back; sorted.
    back_after: Vec<Duration>,
    most_dials: usize,
}

impl Fleet {
    fn of(clients: u64, schedules: Schedules, down: f64) -> Self {
        let back = Duration::from_secs_f64(down);
        let tenth = |at: Duration| usize::try_from(at.as_millis() / 100).expect("a minute");
        let (mut tenths, mut backs) = (vec![0; 640], vec![0; 640]);
        let (mut back_after, mut most_dials) = (Vec::new(), 0);
        for client in 0..clients {
            let all = dials(schedules, back, &mut StdRng::seed_from_u64(client));
            all.iter().for_each(|at| tenths[tenth(*at)] += 1);
            most_dials = most_dials.max(all.len());
            if let Some(after) = all.last().and_then(|last| last.checked_sub(back)) {
                backs[tenth(after)] += 1;
                back_after.push(after);
            }
        }
        back_after.sort();
        let back_at_once = backs.into_iter().max().expect("some");
        Self { tenths, back_at_once, back_after, most_dials }
    }

    /// The most dials in a tenth of a second, and in the second after `from`.
    fn peak(&self) -> usize {
        *self.tenths.iter().max().expect("some")
    }

    fn in_second(&self, from: usize) -> usize {
        self.tenths[from * 10..][..10].iter().sum()
    }

    fn back_within(&self, percent: usize) -> u128 {
        self.back_after[(self.back_after.len() - 1) * percent / 100].as_millis()
    }
}

/// Clients that all have calls waiting lose one server at the same moment; each stands for ten, so
/// that the test is quick. `--nocapture` prints the table that is in the decision.
#[test]
fn a_fleet_whose_server_restarts_dials_no_more_at_once_than_before() {
    const CLIENTS: u64 = 1_000;
    const FOR: usize = 10;
    println!(
        "down | max | peak in 0.1 s | dials in the 1st 2nd 3rd 7th 21st s | back in 0.1 s | \
              back after, median and 99 %"
    );
    for down in [0.2, 1.0, 2.0, 10.0, 100.0] {
        let [before, now] = [SECOND, SECOND / 4].map(|refused_max| {
            let fleet = Fleet::of(CLIENTS, schedules(refused_max), down);
            let rates = [0, 1, 2, 6, 20].map(|second| fleet.in_second(second) * FOR);
            let back = (!fleet.back_after.is_empty())
                .then(|| (fleet.back_at_once * FOR, fleet.back_within(50), fleet.back_within(99)));
            println!("{down} | {refused_max:?} | {} | {rates:?} | {back:?}", fleet.peak() * FOR);
            fleet
        });
        // All dial within the spread, and again 50 ms later: that is the peak in either case.
        assert_eq!(now.peak(), before.peak(), "down for {down} s");
        let per_second = (1..60).map(|second| now.in_second(second) * FOR).max().expect("some");
        assert!(per_second <= 45_000, "{per_second} dials in a second");
        assert!(now.most_dials <= 80, "{} dials in a minute", now.most_dials);
    }
}

/// The bars: how long after its server a client is back that has calls waiting.
#[test]
fn a_client_is_back_soon_after_a_server_that_was_away_for_moments() {
    for (down, median, most) in [(0.2, 75, 125), (1.0, 130, 300), (2.0, 150, 300), (10.0, 300, 660)]
    {
        let fleet = Fleet::of(1_000, schedules(SECOND / 4), down);
        let (half, all) = (fleet.back_within(50), fleet.back_within(99));
        assert!(half <= median && all <= most, "down for {down} s: {half} ms, {all} ms");
    }
}
