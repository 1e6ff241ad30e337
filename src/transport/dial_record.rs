//! What came of each address of one dial, and how a dial that failed says so: every address with
//! the step that it failed at and the reason, in one sentence; and whether a wrong peer answered at
//! every one.

use super::connector::failure;
use crate::model::{DialFailure, DialStep};
use parking_lot::Mutex;
use std::time::Duration;

/// As many addresses are named in a failure; a name may have hundreds.
const NAMED: usize = 8;

/// The dial under way.
#[derive(Debug)]
pub(super) struct DialRecord {
    target: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is done before any address is known.
    before: DialStep,
    tried: Vec<Tried>,
    /// How many addresses were not tried yet.
    left: usize,
    /// Of several addresses those that are still looked up, by their places among them.
    looked_up: Vec<Option<String>>,
}

#[derive(Debug)]
struct Tried {
    address: Option<String>,
    outcome: Outcome,
    /// Whoever answered cannot be the server that was meant.
    wrong_peer: bool,
}

#[derive(Debug)]
enum Outcome {
    /// It is at this step.
    Runs(DialStep),
    Failed(DialFailure),
}

impl DialRecord {
    pub(super) fn new(target: String) -> Self {
        let (tried, looked_up) = (Vec::new(), Vec::new());
        let state = State { before: DialStep::Resolve, tried, left: 0, looked_up };
        Self { target, state: Mutex::new(state) }
    }

    /// These addresses of one endpoint are looked up, all at once.
    pub(super) fn looks_up(&self, addresses: Vec<String>) {
        self.state.lock().looked_up = addresses.into_iter().map(Some).collect();
    }

    /// The lookup of one of them has ended.
    pub(super) fn looked_up(&self, place: usize) {
        if let Some(address) = self.state.lock().looked_up.get_mut(place) {
            *address = None;
        }
    }

    /// An address stands for nothing that could be tried.
    pub(super) fn not_found(&self, failure: DialFailure) {
        let outcome = Outcome::Failed(failure);
        self.state.lock().tried.push(Tried { address: None, outcome, wrong_peer: false });
    }

    /// What the dial does before it knows its addresses.
    #[cfg(feature = "tls")]
    pub(super) fn before(&self, step: DialStep) {
        self.state.lock().before = step;
    }

    /// The next address is tried, with so many left after it; its number.
    pub(super) fn begin(&self, address: Option<String>, left: usize) -> usize {
        let mut state = self.state.lock();
        state.left = left;
        let outcome = Outcome::Runs(DialStep::Connect);
        state.tried.push(Tried { address, outcome, wrong_peer: false });
        state.tried.len() - 1
    }

    pub(super) fn reached(&self, number: usize, step: DialStep) {
        self.end(number, Outcome::Runs(step));
    }

    pub(super) fn failed(&self, number: usize, failure: DialFailure) {
        self.end(number, Outcome::Failed(failure));
    }

    /// Whoever answered there cannot be the server that was meant, whenever it is asked.
    pub(super) fn is_wrong(&self, number: usize) {
        if let Some(tried) = self.state.lock().tried.get_mut(number) {
            tried.wrong_peer = true;
        }
    }

    /// Whether every address was tried, and failed, and a wrong peer answered at each.
    pub(super) fn is_wrong_everywhere(&self) -> bool {
        let state = self.state.lock();
        let wrong = |tried: &Tried| tried.wrong_peer && matches!(tried.outcome, Outcome::Failed(_));
        let all = state.left == 0 && state.looked_up.iter().all(Option::is_none);
        all && !state.tried.is_empty() && state.tried.iter().all(wrong)
    }

    fn end(&self, number: usize, outcome: Outcome) {
        if let Some(tried) = self.state.lock().tried.get_mut(number) {
            tried.outcome = outcome;
        }
    }

    /// The failure of a dial all of whose addresses failed.
    pub(super) fn all_failed(&self) -> DialFailure {
        self.failure(None, None)
    }

    /// The failure of a dial that `timeout` cut off; `progress` is what the connector says of its
    /// part.
    pub(super) fn cut_off(&self, timeout: Duration, progress: Option<String>) -> DialFailure {
        self.failure(Some(timeout), progress)
    }

    fn failure(&self, timeout: Option<Duration>, progress: Option<String>) -> DialFailure {
        let state = self.state.lock();
        let within =
            format!("within connect_timeout ({} s)", timeout.unwrap_or_default().as_secs_f64());
        let target = &self.target;
        let unanswered: Vec<_> = state.looked_up.iter().flatten().collect();
        if state.tried.is_empty() && unanswered.len() < 2 {
            let reason = match (timeout, state.before, progress) {
                (None, ..) => "the name has no address".into(),
                (_, DialStep::Tls, _) => format!("the files of TLS were not read {within}"),
                (.., Some(progress)) => format!("{progress}, and not {within}"),
                (.., None) => format!("the lookup has not answered {within}"),
            };
            return DialFailure {
                timed_out: timeout.is_some(),
                ..failure(state.before, target, &reason)
            };
        }
        if let [Tried { address, outcome: Outcome::Failed(failure), .. }] = &state.tried[..]
            && state.left == 0
            && unanswered.is_empty()
            && address.as_ref().is_none_or(|address| address == target)
        {
            // Its own sentence names the target already.
            return failure.clone();
        }
        let progress = progress.map_or(String::new(), |progress| format!(": {progress}"));
        let sentence = |tried: &Tried| match &tried.outcome {
            Outcome::Failed(failure) => failure.reason.clone(),
            Outcome::Runs(step) => {
                let named = tried.address.as_ref().filter(|address| *address != target);
                let named = named.map_or(String::new(), |address| format!("{address}: "));
                let progress = if *step == DialStep::Connect { &*progress } else { "" };
                format!("{named}{} {within}{progress}", missing(*step))
            }
        };
        let mute =
            |name: &&String| format!("cannot resolve {name}: the lookup has not answered {within}");
        let mute = unanswered.iter().copied().map(|name| mute(&name));
        let count = state.tried.len() + unanswered.len();
        let mut each: Vec<_> = state.tried.iter().map(sentence).chain(mute).take(NAMED).collect();
        if count > NAMED {
            each.push(format!("{} more addresses", count - NAMED));
        }
        if state.left > 0 {
            each.push(format!("{} more were not tried", state.left));
        }
        let furthest = state.tried.iter().map(Tried::step).max();
        DialFailure {
            step: furthest.unwrap_or(DialStep::Resolve),
            reason: format!("cannot dial {target}: {}", each.join("; ")),
            timed_out: timeout.is_some(),
            refused: state.is_refused_everywhere(),
        }
    }
}

impl State {
    /// Whether every address was tried, and refused.
    fn is_refused_everywhere(&self) -> bool {
        let refused =
            |tried: &Tried| matches!(&tried.outcome, Outcome::Failed(failure) if failure.refused);
        let all = self.left == 0 && self.looked_up.iter().all(Option::is_none);
        all && !self.tried.is_empty() && self.tried.iter().all(refused)
    }
}

impl Tried {
    fn step(&self) -> DialStep {
        match &self.outcome {
            Outcome::Runs(step) => *step,
            Outcome::Failed(failure) => failure.step,
        }
    }
}

fn missing(step: DialStep) -> &'static str {
    match step {
        DialStep::Handshake => "connected, but the peer sent no HTTP/2 SETTINGS",
        DialStep::Tls => "connected, but the TLS handshake was not finished",
        DialStep::Resolve | DialStep::Connect => "not connected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn record() -> DialRecord {
        DialRecord::new("queue:7".into())
    }

    fn refused(address: &str) -> DialFailure {
        failure(DialStep::Connect, &address, &"refused")
    }

    #[test]
    fn a_lone_address_that_is_the_target_is_not_named_twice() {
        for address in [None, Some("queue:7".into())] {
            let record = record();
            let number = record.begin(address, 0);
            assert_eq!(
                record.cut_off(TIMEOUT, None).reason,
                "cannot dial queue:7: not connected within connect_timeout (20 s)"
            );
            record.reached(number, DialStep::Handshake);
            let cut_off = record.cut_off(TIMEOUT, Some("the connector's words".into()));
            assert_eq!((cut_off.step, cut_off.timed_out), (DialStep::Handshake, true));
            assert_eq!(
                cut_off.reason,
                "cannot dial queue:7: connected, but the peer sent no HTTP/2 SETTINGS within \
                 connect_timeout (20 s)"
            );
            record.failed(number, refused("queue:7"));
            assert_eq!(record.all_failed(), refused("queue:7"));
        }
    }

    #[test]
    fn each_address_is_named_with_its_reason_and_the_step_is_the_furthest() {
        let record = record();
        for address in ["1.1.1.1:7", "2.2.2.2:7", "3.3.3.3:7"] {
            record.begin(Some(address.into()), 4);
        }
        record.reached(0, DialStep::Tls);
        record.failed(1, refused("2.2.2.2:7"));
        let cut_off = record.cut_off(TIMEOUT, None);
        assert_eq!((cut_off.step, cut_off.timed_out), (DialStep::Tls, true));
        assert_eq!(
            cut_off.reason,
            "cannot dial queue:7: 1.1.1.1:7: connected, but the TLS handshake was not finished \
             within connect_timeout (20 s); cannot connect to 2.2.2.2:7: refused; 3.3.3.3:7: not \
             connected within connect_timeout (20 s); 4 more were not tried"
        );
    }

    #[test]
    fn a_dial_is_refused_if_every_address_was_tried_and_refused() {
        let refused = |address: &str| DialFailure { refused: true, ..refused(address) };
        let record = record();
        assert!(!record.all_failed().refused, "nothing was tried");
        let first = record.begin(Some("1.1.1.1:7".into()), 1);
        record.failed(first, refused("1.1.1.1:7"));
        assert!(!record.all_failed().refused, "one more was not tried");
        let second = record.begin(Some("2.2.2.2:7".into()), 0);
        assert!(!record.cut_off(TIMEOUT, None).refused, "one has not answered");
        record.failed(second, failure(DialStep::Connect, &"2.2.2.2:7", &"no route"));
        assert!(!record.all_failed().refused, "one was not refused");
        record.failed(second, refused("2.2.2.2:7"));
        assert!(record.all_failed().refused);
    }

    #[test]
    fn a_dial_is_wrong_everywhere_if_each_address_was_tried_and_has_a_wrong_peer() {
        let record = record();
        assert!(!record.is_wrong_everywhere(), "nobody answered");
        let first = record.begin(Some("1.1.1.1:7".into()), 1);
        let second = record.begin(Some("2.2.2.2:7".into()), 0);
        record.is_wrong(first);
        record.failed(first, refused("1.1.1.1:7"));
        record.is_wrong(second);
        assert!(!record.is_wrong_everywhere(), "the second still runs");
        record.failed(second, refused("2.2.2.2:7"));
        assert!(record.is_wrong_everywhere());
        let third = record.begin(Some("3.3.3.3:7".into()), 1);
        record.is_wrong(third);
        record.failed(third, refused("3.3.3.3:7"));
        assert!(!record.is_wrong_everywhere(), "one was not tried");
        let fourth = record.begin(Some("4.4.4.4:7".into()), 0);
        record.failed(fourth, refused("4.4.4.4:7"));
        assert!(!record.is_wrong_everywhere(), "the fourth refused");
    }

    #[test]
    fn a_name_with_hundreds_of_addresses_makes_no_endless_sentence() {
        let record = record();
        for n in 0..500 {
            let address = format!("10.0.0.{n}:7");
            let number = record.begin(Some(address.clone()), 0);
            record.failed(number, refused(&address));
        }
        let failure = record.all_failed();
        assert!(
            failure.reason.len() < 1_000 && failure.reason.ends_with("; 492 more addresses"),
            "{failure}"
        );
        assert!(!failure.timed_out);
    }

    #[test]
    fn what_comes_before_the_addresses_has_its_own_step_and_words() {
        let record = record();
        let cut_off = record.cut_off(TIMEOUT, None);
        assert_eq!((cut_off.step, cut_off.timed_out), (DialStep::Resolve, true));
        let words =
            "cannot resolve queue:7: the lookup has not answered within connect_timeout (20 s)";
        assert_eq!(cut_off.reason, words);
        let none = record.all_failed();
        assert_eq!((none.step, none.timed_out), (DialStep::Resolve, false));
        assert_eq!(none.reason, "cannot resolve queue:7: the name has no address");
        #[cfg(feature = "tls")]
        {
            record.before(DialStep::Tls);
            let files = record.cut_off(TIMEOUT, None);
            assert_eq!(files.step, DialStep::Tls);
            let words = "the files of TLS were not read within connect_timeout";
            assert!(files.reason.contains(words), "{files}");
        }
    }
}
