//! Asks the server at a link's other end how it is: a watch of its health (gRPC A17) and probes, on
//! streams that are no calls. What follows from the answers `policy::LinkHealth` says; here are the
//! streams, in one task that the connection actor owns.
//!
//! The questions carry no credentials: health services ask for none, and those of a call are its
//! caller's.

use super::{core::Core, message::SupervisorMsg};
use crate::{
    call, clock,
    model::{Cause, Health, LinkEnd, Origin, code_name, printable},
    policy::{HealthRule, LinkHealth, Probed, WatchEnd, after},
    transport::{
        AttemptFailure, Hold, Link, LinkEvent, LinkListener, OpenStream, PREFIX, Permit,
        ResponseBody, UnaryAnswer, frame, message_length, read_head, status, take_message,
    },
};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, future::join};
use parking_lot::Mutex;
use prost::Message;
use ractor::ActorRef;
use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;
use tonic::Code;

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// No answer of the health service is longer.
const LARGEST: usize = 1_024;

/// A watch is read at this pace: each change of health goes to the supervisor, and how often it
/// changes is up to the peer. What comes meanwhile waits with h2, whose window holds the peer back.
const PACE: Duration = Duration::from_millis(100);

/// Of so many states that lie there at once only the last counts.
const AT_ONCE: usize = 10_000;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The names of the response's states, by their numbers.
const STATES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: i32 = 1;

/// Asks about the server of a link that is up, where that is configured, in a task of its own.
/// `at_once`: the first probe does not wait.
pub(super) fn ask(
    core: &Arc<Core>,
    link: &Arc<Link>,
    supervisor: &ActorRef<SupervisorMsg>,
    at_once: bool,
    events: Arc<dyn LinkListener>,
) -> Option<AbortHandle> {
    let questions = Questions::new(core, link, supervisor, at_once)?;
    let on_end = move |end: Result<(), String>| {
        // Without an answer the link would never be used, or never be doubted.
        if let Err(words) = end {
            let words = format!("the questions about its health panicked: {words}");
            events.on_event(LinkEvent::Ended(LinkEnd::ActorFailed(words)));
        }
    };
    let asks = link.is_accepting();
    asks.then(|| call::spawn(&core.calls, "Health", questions.ask(), on_end))
}

/// The questions about one link.
struct Questions {
    core: Arc<Core>,
    link: Arc<Link>,
    supervisor: ActorRef<SupervisorMsg>,
    machine: Mutex<LinkHealth>,
    /// Whether the first probe does not wait: the last link's were not answered.
    at_once: bool,
}

impl Questions {
    /// None: nothing is configured to be asked.
    fn new(
        core: &Arc<Core>,
        link: &Arc<Link>,
        supervisor: &ActorRef<SupervisorMsg>,
        at_once: bool,
    ) -> Option<Self> {
        let (asked, reconnect) = (&core.config.health, &core.config.reconnect);
        let rule = HealthRule {
            watch: asked.service.is_some(),
            probe_failures: asked.probe_failures,
            backoff: reconnect.idle,
            jitter: reconnect.jitter,
        };
        asked.are_on().then(|| Self {
            core: core.clone(),
            link: link.clone(),
            supervisor: supervisor.clone(),
            machine: Mutex::new(LinkHealth::new(rule)),
            at_once,
        })
    }

    /// Asks for as long as the link takes calls, or there is nothing more to be asked.
    async fn ask(self) {
        join(self.watch(), self.probe()).await;
    }

    fn tell(&self, health: Option<Health>, cause: String) {
        let Some(health) = health else { return };
        let incarnation = self.link.incarnation();
        let cause = cause.into();
        // A dead supervisor takes this task with it.
        let _ = self.supervisor.cast(SupervisorMsg::HealthHeard { incarnation, health, cause });
    }

    fn request(&self) -> Bytes {
        let service = self.core.config.health.service.clone().unwrap_or_default();
        frame(&HealthCheckRequest { service }.encode_to_vec())
    }

    fn open(&self, path: &'static str, timeout: Option<Duration>) -> Result<OpenStream, Ended> {
        let head = self.core.calls.question(path, timeout);
        let opened = self.link.aside().open(head, Some(self.request()), None);
        opened.map_err(|failure| Box::new(AttemptFailure::from(failure)))
    }

    /// Watches, unless that would leave no stream for calls: now, or later on.
    async fn watch(&self) {
        if self.core.config.health.service.is_none() {
            return;
        }
        tokio::select! {
            biased;
            () = self.link.limit_is(|limit| limit == Some(1)) => {}
            () = self.watches() => return,
        }
        let end = WatchEnd::Unsupported;
        let (news, _) = self.machine.lock().watch_ended(end, clock::now(), self.core.random());
        let why = "the server allows one stream at once, which its health watch would take";
        self.tell(news, why.into());
    }

    /// One watch after the other.
    async fn watches(&self) {
        while self.link.is_accepting() {
            let opened = clock::now();
            self.machine.lock().opens(opened);
            let (end, cause) = self.one_watch(opened).await;
            let unit = self.core.random();
            let (news, again) = self.machine.lock().watch_ended(end, clock::now(), unit);
            self.tell(news, cause);
            let Some(again) = again else { return };
            // Its place among the peer's streams waits for it.
            let room = self.link.aside();
            tokio::time::sleep_until(again.into()).await;
            drop(room);
        }
    }

    /// A watch, from its opening to its end.
    async fn one_watch(&self, opened: Instant) -> (WatchEnd, String) {
        let stream = match self.open(WATCH, None) {
            Ok(stream) => stream,
            Err(ended) => return watch_failed(&ended),
        };
        let timeout = self.core.config.connect_timeout;
        let late = || {
            let time = timeout.as_secs_f64();
            let why =
                format!("its health watch has said nothing within connect_timeout ({time} s)");
            (WatchEnd::Broken, why)
        };
        let until = tokio::time::Instant::from(after(opened, timeout));
        let head = tokio::time::timeout_at(until, read_head(stream.answer, stream.permit)).await;
        let mut body = match head {
            Ok(Ok(response)) => response.into_body(),
            Ok(Err(ended)) => return watch_failed(&ended),
            Err(_) => return late(),
        };
        let (mut heard, mut buffer) = (false, BytesMut::new());
        loop {
            let next = next_state(&mut body, &mut buffer);
            let next = match heard {
                true => next.await,
                false => match tokio::time::timeout_at(until, next).await {
                    Ok(next) => next,
                    Err(_) => return late(),
                },
            };
            let mut state = match next {
                Ok(state) => state,
                Err(end) => return end,
            };
            heard = true;
            let mut end = None;
            for _ in 0..AT_ONCE {
                match next_state(&mut body, &mut buffer).now_or_never() {
                    Some(Ok(later)) => state = later,
                    Some(Err(why)) => {
                        end = Some(why);
                        break;
                    }
                    None => break,
                }
            }
            let name = usize::try_from(state).ok().and_then(|state| STATES.get(state));
            let name = name.map_or_else(|| state.to_string(), |name| (*name).to_owned());
            let news = self.machine.lock().said(state == SERVING);
            self.tell(news, format!("its health watch says {name}"));
            if let Some(end) = end {
                return end;
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn probe(&self) {
        let asked = &self.core.config.health;
        let Some(period) = asked.probe_period else { return };
        let mut waits = !self.at_once;
        // A place is kept for probes: one that waits for calls to end would look unanswered.
        // The peer may change its limit at any time, and calls come first.
        let watches = u32::from(asked.service.is_some());
        let fits = |limit: Option<u32>| limit.is_none_or(|limit| limit > 1 + watches);
        let mut room: Option<Permit> = None;
        loop {
            let wait = if std::mem::replace(&mut waits, true) { period } else { Duration::ZERO };
            let mut due = pin!(tokio::time::sleep(wait));
            loop {
                let has_room = room.is_some();
                tokio::select! {
                    biased;
                    () = self.link.limit_is(|limit| fits(limit) != has_room) => {
                        room = (!has_room).then(|| self.link.aside());
                    }
                    () = &mut due => break,
                }
            }
            let limit = self.link.peer_limit();
            if !self.link.is_accepting() {
                return;
            }
            if room.is_none() && (self.link.in_flight() > 0 || limit == Some(0)) {
                continue;
            }
            let probe = tokio::time::timeout(asked.probe_timeout, self.one_probe()).await;
            let (probed, words) = probe.unwrap_or_else(|_| {
                let time = asked.probe_timeout.as_secs_f64();
                (Probed::Silent, format!("within health.probe_timeout ({time} s)"))
            });
            let (news, goes_on) = self.machine.lock().probed(probed);
            let cause = match probed {
                Probed::Answered => format!("it answers a probe: {words}"),
                Probed::Unsupported => "it answers a probe with UNIMPLEMENTED".to_owned(),
                Probed::Silent => {
                    let times = asked.probe_failures;
                    format!("{times} probes in a row had no answer, the last not {words}")
                }
            };
            // Where the probes are over, what the watch says is all there is.
            self.tell(news, cause);
            if !goes_on {
                return;
            }
        }
    }

    /// A probe, and what came of it in words.
    async fn one_probe(&self) -> (Probed, String) {
        let stream = match self.open(CHECK, Some(self.core.config.health.probe_timeout)) {
            Ok(stream) => stream,
            Err(ended) => return (Probed::Silent, format!("since {}", ended.failure)),
        };
        let mut answer = UnaryAnswer::new(stream, Hold::OneMessage(LARGEST));
        match answer.read(|_| Poll::Pending).await {
            Ok(_) => (Probed::Answered, code_name(Code::Ok).to_owned()),
            Err(ended) => {
                let by_server = ended.failure.origin == Origin::Peer
                    && matches!(ended.failure.cause, Cause::Status | Cause::TooLarge(_));
                let code = ended.failure.code;
                match (by_server, code) {
                    (true, Code::Unimplemented) => (Probed::Unsupported, String::new()),
                    (true, code) => (Probed::Answered, code_name(code).to_owned()),
                    (false, _) => (Probed::Silent, format!("since {}", ended.failure)),
                }
            }
        }
    }
}

type Ended = Box<AttemptFailure>;

fn watch_failed(ended: &AttemptFailure) -> (WatchEnd, String) {
    watch_ended(ended.failure.code, &ended.failure.cause, &ended.message())
}

/// What has no health service says so with a status of its own. A code that was made of something
/// else, HTTP's 404 for example, says nothing about the server: a proxy may have answered.
fn watch_ended(code: Code, cause: &Cause, words: &str) -> (WatchEnd, String) {
    let end = match (code, cause) {
        (Code::Unimplemented, Cause::Status) => WatchEnd::Unsupported,
        _ => WatchEnd::Broken,
    };
    let name = code_name(code);
    let cause = match words {
        "" => format!("its health watch ended with {name}"),
        words => format!("its health watch ended with {name}: {}", printable(words)),
    };
    (end, cause)
}

/// The next state that the watch says, or how it ended. Cancel safe.
async fn next_state(
    body: &mut ResponseBody,
    buffer: &mut BytesMut,
) -> Result<i32, (WatchEnd, String)> {
    loop {
        let broken = |why: &str| Err((WatchEnd::Broken, format!("its health watch {why}")));
        if message_length(buffer).is_some_and(|length| length > PREFIX + LARGEST) {
            return broken("sent a message that is too long");
        }
        if buffer.first().is_some_and(|compressed| *compressed != 0) {
            return broken("sent a compressed message, and no compression was offered");
        }
        if let Some(message) = take_message(buffer) {
            return match HealthCheckResponse::decode(message) {
                Ok(response) => Ok(response.status),
                Err(error) => broken(&format!("sent what is no HealthCheckResponse: {error}")),
            };
        }
        match poll_fn(|cx| body.poll_frame(cx)).await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => buffer.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let status = status::from_headers(&trailers);
                    return match status {
                        Some(status) => {
                            Err(watch_ended(status.code(), &Cause::Status, status.message()))
                        }
                        None => broken("ended without a grpc-status"),
                    };
                }
            },
            Some(Err(failure)) => {
                return Err(watch_ended(failure.code, &failure.cause, &failure.to_string()));
            }
            None => return broken("ended"),
        }
    }
}
