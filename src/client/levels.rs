//! Gauges that are read and not counted: open calls, and what the retry throttles allow.
//!
//! Both change with every call, and no call shall pay for them. So they are recorded when somebody
//! is about to look. Several supervisors may have one target, which is the label: theirs are added
//! up here.

use crate::{
    actor::registered,
    clock,
    telemetry::{self, Levels},
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// What was recorded last. A lock, so that what was read earlier is not recorded later.
static LAST: Mutex<ByTarget> = Mutex::new(ByTarget(BTreeMap::new()));

/// The levels of each target that has a supervisor.
struct ByTarget(BTreeMap<Arc<str>, Levels>);

/// Records the gauges that are read and not counted, of every supervisor of this process:
/// `tonic_supervisor.calls.open`, `tonic_supervisor.retries.allowance` and
/// `tonic_supervisor.retries.allowance_limit`.
///
/// The admin server does it each second, and before each `/metrics`. Without one, call it before
/// metrics are scraped or pushed.
pub fn record_levels() {
    let mut last = LAST.lock();
    let live = registered();
    last.record(live.iter().map(|core| {
        let open = core.telemetry.counts.open.load(Relaxed);
        let allowance = core.calls.throttle.lock().allowance(clock::now());
        (core.telemetry.canonical().clone(), Levels { open, allowance })
    }));
}

impl ByTarget {
    /// Records what there is now; of targets that have no supervisor any more, nothing.
    fn record(&mut self, all: impl Iterator<Item = (Arc<str>, Levels)>) {
        let mut now = BTreeMap::<_, Levels>::new();
        for (target, levels) in all {
            now.entry(target).or_default().add(levels);
        }
        for (target, levels) in &mut self.0 {
            if !now.contains_key(target) {
                telemetry::record_levels(target, levels.nothing());
            }
        }
        now.iter().for_each(|(target, levels)| telemetry::record_levels(target, *levels));
        self.0 = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    #[test]
    fn supervisors_of_one_target_are_added_up_and_nothing_is_left_of_one_that_is_gone() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let recorded = || {
            let all = snapshotter.snapshot().into_vec().into_iter();
            let mut all: Vec<_> = all
                .filter_map(|(key, _, _, value)| {
                    let DebugValue::Gauge(value) = value else { return None };
                    let target = key.key().labels().next()?.value().to_owned();
                    let name = key.key().name().rsplit('.').next()?.to_owned();
                    Some((target, name, value.0))
                })
                .collect();
            all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            all
        };
        let row = |target: &str, name: &str, value| (target.to_owned(), name.to_owned(), value);
        let of = |target: &str, open, allowance| (target.into(), Levels { open, allowance });
        let mut shown = ByTarget(BTreeMap::new());
        ::metrics::with_local_recorder(&recorder, || {
            let one =
                [of("a", 3, Some((0.5, 5.0))), of("b", 1, None), of("a", 4, Some((5.0, 5.0)))];
            shown.record(one.into_iter());
        });
        assert_eq!(
            recorded(),
            [
                row("a", "allowance", 5.5),
                row("a", "allowance_limit", 10.0),
                row("a", "open", 7.0),
                row("b", "open", 1.0)
            ]
        );
        ::metrics::with_local_recorder(&recorder, || shown.record([of("b", 2, None)].into_iter()));
        assert_eq!(
            recorded(),
            [
                row("a", "allowance", 0.0),
                row("a", "allowance_limit", 0.0),
                row("a", "open", 0.0),
                row("b", "open", 2.0)
            ]
        );
        assert_eq!(shown.0.len(), 1, "it keeps what lives");
    }
}
