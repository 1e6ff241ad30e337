//! What came of each address of one dial, and how a dial that failed says so: every address with
//! the step that it failed at and the reason, in one sentence; whether a wrong peer answered at
//! every one; and how long each step took.

use super::{connect_request::ConnectRequest, connector::failure, step_clock::StepClock};
use crate::{
    clock,
    model::{DialFailure, DialStep, StepTimes},
};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// As many addresses are named in a failure; a name may have hundreds.
const NAMED: usize = 8;

/// The dial under way.
#[derive(Debug)]
pub(super) struct DialRecord {
    target: String,
    /// One for each address of the endpoint.
    requests: Vec<ConnectRequest>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is done before any address is known, and since when.
    before: (DialStep, Instant),
    tried: Vec<Tried>,
    /// How many addresses were not tried yet.
    left: usize,
    /// How long the lookup of each of the endpoint's addresses took; none while it goes on.
    lookups: Vec<Option<Duration>>,
}

#[derive(Debug)]
struct Tried {
    address: Option<String>,
    /// Which of the endpoint's addresses it is of.
    server: usize,
    clock: StepClock,
    /// Nothing but its connector knows what goes on.
    is_opening: bool,
    failure: Option<DialFailure>,
    /// Whoever answered cannot be the server that was meant.
    wrong_peer: bool,
}

impl DialRecord {
    pub(super) fn new(target: String, requests: Vec<ConnectRequest>) -> Self {
        let before = (DialStep::Resolve, clock::now());
        let lookups = vec![None; requests.len()];
        let state = State { before, tried: Vec::new(), left: 0, lookups };
        Self { target, requests, state: Mutex::new(state) }
    }

    /// What the connector is asked, for each address of the endpoint.
    pub(super) fn requests(&self) -> &[ConnectRequest] {
        &self.requests
    }

    /// The lookup of one of them has ended.
    pub(super) fn looked_up(&self, server: usize) {
        let state = &mut *self.state.lock();
        let took = clock::now().saturating_duration_since(state.before.1);
        if let Some(lookup) = state.lookups.get_mut(server) {
            *lookup = Some(took);
        }
    }

    /// One of them stands for nothing that could be tried.
    pub(super) fn not_found(&self, server: usize, failure: DialFailure) {
        let mut state = self.state.lock();
        let mut clock = StepClock::begin(failure.step, StepTimes::default(), state.before.1);
        clock.failed(failure.step, clock::now());
        let failure = Some(failure);
        let tried =
            Tried { address: None, server, clock, is_opening: false, failure, wrong_peer: false };
        state.tried.push(tried);
    }

    /// What the dial does before it knows its addresses.
    #[cfg(feature = "tls")]
    pub(super) fn before(&self, step: DialStep) {
        self.state.lock().before = (step, clock::now());
    }

    /// The next address is tried, one of the endpoint's address `server`, with so many left after
    /// it; its number.
    pub(super) fn begin(&self, address: Option<String>, server: usize, left: usize) -> usize {
        let mut state = self.state.lock();
        state.left = left;
        let listed = self.requests.get(server).map(|request| request.address().to_string());
        let was_found = address.is_some() && address != listed;
        let resolve = state.lookups.get(server).copied().flatten().filter(|_| was_found);
        let times = StepTimes { resolve, ..StepTimes::default() };
        let clock = StepClock::begin(DialStep::Connect, times, clock::now());
        let (is_opening, failure) = (address.is_none(), None);
        state.tried.push(Tried { address, server, clock, is_opening, failure, wrong_peer: false });
        state.tried.len() - 1
    }

    /// The next step begins there.
    pub(super) fn reached(&self, number: usize, step: DialStep) {
        self.with(number, |tried| {
            tried.is_opening = false;
            tried.clock.reached(step, clock::now());
        });
    }

    pub(super) fn failed(&self, number: usize, failure: DialFailure) {
        self.with(number, |tried| {
            // What its connector reports from now on comes too late.
            tried.is_opening = false;
            tried.clock.failed(failure.step, clock::now());
            tried.failure = Some(failure);
        });
    }

    /// Whoever answered there cannot be the server that was meant, whenever it is asked.
    pub(super) fn is_wrong(&self, number: usize) {
        self.with(number, |tried| tried.wrong_peer = true);
    }

    fn with(&self, number: usize, change: impl FnOnce(&mut Tried)) {
        if let Some(tried) = self.state.lock().tried.get_mut(number) {
            tried.hear(&self.requests);
            change(tried);
        }
    }

    /// Whether every address was tried, and failed, and a wrong peer answered at each.
    pub(super) fn is_wrong_everywhere(&self) -> bool {
        self.state.lock().is_each(|tried| tried.wrong_peer && tried.failure.is_some())
    }

    /// How long each step took that led to a link there.
    pub(super) fn times_of(&self, number: usize) -> StepTimes {
        let state = self.state.lock();
        let now = clock::now();
        state.tried.get(number).map(|tried| tried.clock.times(Some(now))).unwrap_or_default()
    }

    /// How long each step took of a dial that failed at `step`, where it came furthest.
    pub(super) fn times(&self, step: DialStep) -> StepTimes {
        let (state, now) = (self.state.lock(), clock::now());
        let Some(tried) = state.tried.iter().max_by_key(|tried| tried.clock.step()) else {
            return StepClock::begin(step, StepTimes::default(), state.before.1).times(Some(now));
        };
        tried.clock.times(tried.failure.is_none().then_some(now))
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
        let mut state = self.state.lock();
        state.tried.iter_mut().for_each(|tried| tried.hear(&self.requests));
        let within =
            format!("within connect_timeout ({} s)", timeout.unwrap_or_default().as_secs_f64());
        let target = &self.target;
        let asked = self.requests.iter().zip(&state.lookups);
        let unanswered = asked.filter(|(_, lookup)| lookup.is_none()).map(|(asked, _)| asked);
        let unanswered: Vec<_> = unanswered.map(|asked| asked.address().to_string()).collect();
        let before = state.before.0;
        if state.tried.is_empty() && (before == DialStep::Tls || unanswered.len() < 2) {
            let reason = match (timeout, before, progress) {
                (None, ..) => "the name has no address".into(),
                (_, DialStep::Tls, _) => format!("the files of TLS were not read {within}"),
                (.., Some(progress)) => format!("{progress}, and not {within}"),
                (.., None) => format!("the lookup has not answered {within}"),
            };
            return DialFailure {
                timed_out: timeout.is_some(),
                ..failure(before, target, &reason)
            };
        }
        if let [Tried { address, failure: Some(failure), .. }] = &state.tried[..]
            && state.left == 0
            && unanswered.is_empty()
            && address.as_ref().is_none_or(|address| address == target)
        {
            // Its own sentence names the target already.
            return failure.clone();
        }
        let progress = progress.map_or(String::new(), |progress| format!(": {progress}"));
        let sentence = |tried: &Tried| match &tried.failure {
            Some(failure) => failure.reason.clone(),
            None => {
                let step = tried.clock.step();
                let named = tried.address.as_ref().filter(|address| *address != target);
                let named = named.map_or(String::new(), |address| format!("{address}: "));
                let progress = if step <= DialStep::Connect { &*progress } else { "" };
                format!("{named}{} {within}{progress}", missing(step))
            }
        };
        let mute =
            |name: &String| format!("cannot resolve {name}: the lookup has not answered {within}");
        let mute = unanswered.iter().map(mute);
        let count = state.tried.len() + unanswered.len();
        let mut each: Vec<_> = state.tried.iter().map(sentence).chain(mute).take(NAMED).collect();
        if count > NAMED {
            each.push(format!("{} more addresses", count - NAMED));
        }
        if state.left > 0 {
            each.push(format!("{} more were not tried", state.left));
        }
        let furthest = state.tried.iter().map(|tried| tried.clock.step()).max();
        DialFailure {
            step: furthest.unwrap_or(DialStep::Resolve),
            reason: format!("cannot dial {target}: {}", each.join("; ")),
            timed_out: timeout.is_some(),
            refused: state.is_each(|tried| tried.failure.as_ref().is_some_and(|it| it.refused)),
        }
    }
}

impl State {
    /// Whether every address was tried, and each is such.
    fn is_each(&self, such: impl Fn(&Tried) -> bool) -> bool {
        let all = self.left == 0 && self.lookups.iter().all(Option::is_some);
        all && !self.tried.is_empty() && self.tried.iter().all(such)
    }
}

impl Tried {
    /// What its connector has reported by now.
    fn hear(&mut self, requests: &[ConnectRequest]) {
        let request = requests.get(self.server).filter(|_| self.is_opening);
        for (step, at) in request.into_iter().flat_map(ConnectRequest::steps) {
            self.clock.learnt(step, at);
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
    use crate::model::Address;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Of an endpoint with one address, which was looked up.
    fn record() -> DialRecord {
        let record = unknown();
        record.looked_up(0);
        record
    }

    fn unknown() -> DialRecord {
        DialRecord::new("queue:7".into(), vec![ConnectRequest::new(Address::new("queue", 7))])
    }

    fn refused(address: &str) -> DialFailure {
        failure(DialStep::Connect, &address, &"refused")
    }

    #[test]
    fn a_lone_address_that_is_the_target_is_not_named_twice() {
        for address in [None, Some("queue:7".into())] {
            let record = record();
            let number = record.begin(address, 0, 0);
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
            record.begin(Some(address.into()), 0, 4);
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
        let first = record.begin(Some("1.1.1.1:7".into()), 0, 1);
        record.failed(first, refused("1.1.1.1:7"));
        assert!(!record.all_failed().refused, "one more was not tried");
        let second = record.begin(Some("2.2.2.2:7".into()), 0, 0);
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
        let first = record.begin(Some("1.1.1.1:7".into()), 0, 1);
        let second = record.begin(Some("2.2.2.2:7".into()), 0, 0);
        record.is_wrong(first);
        record.failed(first, refused("1.1.1.1:7"));
        record.is_wrong(second);
        assert!(!record.is_wrong_everywhere(), "the second still runs");
        record.failed(second, refused("2.2.2.2:7"));
        assert!(record.is_wrong_everywhere());
        let third = record.begin(Some("3.3.3.3:7".into()), 0, 1);
        record.is_wrong(third);
        record.failed(third, refused("3.3.3.3:7"));
        assert!(!record.is_wrong_everywhere(), "one was not tried");
        let fourth = record.begin(Some("4.4.4.4:7".into()), 0, 0);
        record.failed(fourth, refused("4.4.4.4:7"));
        assert!(!record.is_wrong_everywhere(), "the fourth refused");
    }

    #[test]
    fn a_name_with_hundreds_of_addresses_makes_no_endless_sentence() {
        let record = record();
        for n in 0..500 {
            let address = format!("10.0.0.{n}:7");
            let number = record.begin(Some(address.clone()), 0, 0);
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
        let record = unknown();
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
