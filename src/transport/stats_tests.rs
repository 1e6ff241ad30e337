//! What counts as a failure of an endpoint, and when the supervisor hears of it.

use super::*;
use crate::{
    config::Config,
    model::{GoAway, LinkEnd},
};
use parking_lot::Mutex;
use tonic::Code;

type Told = Arc<Mutex<Vec<(bool, bool)>>>;

/// The numbers of an endpoint, and what the supervisor was told: whether of a probation's call, and
/// whether that was answered.
fn stats() -> (Arc<Stats>, Told) {
    let told = Told::default();
    let all = told.clone();
    let tell = Arc::new(move |judged: Judged| all.lock().push((judged.probe, judged.answered)));
    (Arc::new(Stats::new(EndpointId(1), Config::default().ejection(), tell)), told)
}

fn end(stats: &Arc<Stats>, failure: Option<&Failure>) {
    end_of(stats.sample(), failure, Duration::ZERO);
}

/// An attempt that was on the wire for so long.
fn end_of(sample: Sample, failure: Option<&Failure>, on_wire: Duration) {
    sample.ended(failure, on_wire, None, clock::now(), &"pkg.Svc/Do".into());
}

#[test]
fn only_the_peers_word_and_the_attempts_timeout_count_and_an_answer_ends_the_run() {
    let unavailable = Failure::status(Code::Unavailable);
    let lost = Failure::link_lost(Arc::new(LinkEnd::KeepaliveTimeout), Phase::MaybeProcessed);
    let goaway = GoAway { last_stream_id: 0, code: 0, debug: String::new() };
    // How many failures are counted after three and this.
    for (failure, run) in [
        (Some(unavailable.clone()), 4),
        (Some(Failure::http(503, "no backend".into())), 4),
        (Some(Failure::http(502, "no backend".into())), 4),
        (Some(Failure::attempt_timeout()), 4),
        (None, 0),
        (Some(Failure::status(Code::NotFound)), 0),
        (Some(Failure::http(404, "what?".into())), 0),
        (Some(Failure::unusable_answer(Code::Internal, "no message".into())), 0),
        (Some(lost), 3),
        (Some(Failure::goaway(goaway.into())), 3),
        (Some(Failure::reset(7)), 3),
        (Some(Failure::cancelled(Phase::MaybeProcessed)), 3),
        (Some(Failure::deadline(Phase::MaybeProcessed, None)), 3),
    ] {
        let (stats, _) = stats();
        (0..3).for_each(|_| end(&stats, Some(&unavailable)));
        end(&stats, failure.as_ref());
        assert_eq!(stats.run.load(Relaxed), run, "{failure:?}");
    }
}

#[test]
fn the_supervisor_hears_of_the_seventh_failure_in_a_row_and_of_no_other_call() {
    let (stats, told) = stats();
    let unavailable = Failure::status(Code::Unavailable);
    for _ in 0..100 {
        (0..6).for_each(|_| end(&stats, Some(&unavailable)));
        end(&stats, None);
    }
    assert!(told.lock().is_empty() && !stats.is_at_limit());
    (0..7).for_each(|_| end(&stats, Some(&unavailable)));
    assert_eq!((&told.lock()[..], stats.is_at_limit()), (&[(false, false)][..], true));
    (0..6).for_each(|_| end(&stats, Some(&unavailable)));
    assert_eq!(told.lock().len(), 1);
    end(&stats, Some(&unavailable));
    assert_eq!(told.lock().len(), 2, "and of the fourteenth");
    (0..13).for_each(|_| end(&stats, Some(&unavailable)));
    assert_eq!(told.lock().len(), 2, "not of the twenty-first");
    end(&stats, Some(&unavailable));
    assert_eq!(told.lock().len(), 3, "but of the twenty-eighth");
}

/// Where one failure is enough, and too many are ejected, each of them would be told.
#[test]
fn of_a_thousand_failures_in_a_row_the_supervisor_hears_ten_times() {
    let told = Arc::new(Mutex::new(0));
    let count = told.clone();
    let rule =
        crate::policy::EjectionRule { consecutive_failures: 1, ..Config::default().ejection() };
    let stats = Arc::new(Stats::new(EndpointId(1), rule, Arc::new(move |_| *count.lock() += 1)));
    (0..1_000).for_each(|_| end(&stats, Some(&Failure::status(Code::Unavailable))));
    assert_eq!(*told.lock(), 10);
}

/// The place of a probation is another's after `base`, a second at least.
#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_keeps_the_place_of_a_probation_for_a_second() {
    let (stats, told) = stats();
    let ms = |ms| tokio::time::advance(Duration::from_millis(ms));
    ms(10).await;
    stats.begin_probation();
    let first = stats.probe().expect("nobody is");
    ms(999).await;
    assert!(!stats.may_be_probed() && stats.probe().is_none());
    ms(1).await;
    assert!(stats.may_be_probed());
    let second = stats.probe().expect("it hangs");
    drop(first);
    assert!(stats.probe().is_none(), "the place is the second's");
    drop(second);
    let third = stats.probe().expect("the second gave it back");
    ms(1_000).await;
    let fourth = stats.probe().expect("the third hangs as well");
    end_of(third, None, Duration::from_secs(1));
    drop(fourth);
    assert_eq!(told.lock()[..], [(true, true)], "it was answered after all");
    assert!(!stats.may_be_probed(), "the probation is over");
}

/// A deadline says nothing of an endpoint, but for the one call that a probation has.
#[test]
fn a_probations_call_that_hangs_until_its_deadline_has_failed() {
    let (stats, told) = stats();
    let late = Failure::deadline(Phase::MaybeProcessed, None);
    let (short, long) = (Duration::from_millis(999), Duration::from_secs(1));
    stats.begin_probation();
    end_of(stats.sample(), Some(&late), long);
    assert_eq!(stats.run.load(Relaxed), 0);
    end_of(stats.probe().expect("free"), Some(&late), short);
    let gone = Failure::cancelled(Phase::MaybeProcessed);
    end_of(stats.probe().expect("free again"), Some(&gone), long);
    assert!(told.lock().is_empty() && stats.may_be_probed());
    end_of(stats.probe().expect("free still"), Some(&late), long);
    assert_eq!(told.lock()[..], [(true, false)]);
}

#[test]
fn who_is_in_use_again_for_want_of_links_has_no_run_and_no_probation() {
    let (stats, _) = stats();
    (0..7).for_each(|_| end(&stats, Some(&Failure::status(Code::Unavailable))));
    stats.begin_probation();
    stats.start_over();
    assert!(!stats.is_at_limit() && stats.probe().is_none());
}

#[test]
fn a_probation_has_one_call_at_a_time_and_ends_with_what_is_heard_of_it() {
    let (stats, told) = stats();
    assert!(stats.probe().is_none(), "it is on no probation");
    stats.begin_probation();
    let first = stats.probe().expect("nobody is");
    assert!(stats.probe().is_none());
    drop(first);
    let lost = Failure::link_lost(Arc::new(LinkEnd::HungUp), Phase::MaybeProcessed);
    let second = stats.probe().expect("the first never went");
    end_of(second, Some(&lost), Duration::ZERO);
    assert!(told.lock().is_empty() && stats.may_be_probed(), "nothing was heard");
    let mut third = stats.probe().expect("nor was it of the second");
    third.answer_began(&"pkg.Svc/Watch".into());
    assert_eq!(told.lock()[..], [(true, true)]);
    drop(third);
    assert!(stats.probe().is_none(), "the probation is over");
    stats.begin_probation();
    let fourth = stats.probe().expect("another has begun");
    let unavailable = Failure::status(Code::Unavailable);
    end_of(fourth, Some(&unavailable), Duration::ZERO);
    assert_eq!(told.lock()[..], [(true, true), (true, false)]);
}

#[test]
fn the_figure_follows_answers_and_failures_and_not_streams() {
    let (stats, _) = stats();
    let (now, ms) = (clock::now(), Duration::from_millis);
    let method = "pkg.Svc/Do".into();
    stats.sample().ended(None, ms(0), Some(ms(70)), now, &method);
    assert_eq!(stats.seconds(now), 0.07);
    stats.sample().ended(None, ms(0), None, now, &method);
    let cancelled = Failure::cancelled(Phase::MaybeProcessed);
    stats.sample().ended(Some(&cancelled), ms(0), Some(ms(1)), now, &method);
    assert_eq!(stats.seconds(now), 0.07);
    stats.sample().ended(Some(&cancelled), ms(0), Some(ms(100)), now, &method);
    assert_eq!(stats.seconds(now), 0.1, "it would have taken longer");
    stats.sample().ended(
        Some(&Failure::status(Code::Unavailable)),
        ms(0),
        Some(ms(1)),
        now,
        &method,
    );
    assert_eq!(stats.seconds(now), 5.0);
}
