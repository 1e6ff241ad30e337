//! Makes the script's calls, and holds each answer, or the lack of one, to the laws.

use crate::{
    events::{GRAIN, Story},
    room::Rooms,
    script::{Call, Fate, Fault, Kind, Script, ms},
    shared::{Shared, now, path_of},
};
use http::uri::PathAndQuery;
use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};
use tokio::sync::oneshot;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallKind, CallOptions, CallReport, Cause, Child, Phase, SupervisedChannel, Supervisor,
    UnaryCall, UnaryResult,
};

/// What a call needs to be made and judged.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) script: Arc<Script>,
    pub(crate) shared: Shared,
    pub(crate) story: Rc<RefCell<Story>>,
    pub(crate) rooms: Rc<RefCell<Rooms>>,
    /// None once all handles are dropped.
    pub(crate) supervisor: Rc<RefCell<Option<Supervisor>>>,
}

/// How a call ended for whoever made it.
#[derive(Debug)]
enum Answer {
    /// With an answer.
    Came(Result<String, Status>),
    /// The caller dropped it.
    GivenUp,
    /// It is not known to anybody: nobody waited, or there was no handle to make it with.
    Nobody,
    /// The reply port was dropped without an answer.
    Dropped,
    /// Long after its deadline there was no answer.
    Missing,
}

impl Caller {
    /// Makes call `n` when its time has come. Returns when it is over.
    pub(crate) async fn make(self, n: usize) {
        let call = &self.script.calls[n];
        tokio::time::sleep(call.at).await;
        let begun = now();
        let answer = self.answer(n, call).await;
        let took = now() - begun;
        self.shared.note(format_args!(
            "client: call {n} ended after {:.6}: {}",
            took.as_secs_f64(),
            words(&answer)
        ));
        // By then the events of that moment were heard.
        tokio::time::sleep(GRAIN).await;
        self.judge(n, call, took, &answer);
    }

    async fn answer(&self, n: usize, call: &Call) -> Answer {
        // Dropped before the call runs: a call keeps the supervisor alive by itself.
        let Some((channel, mailbox)) = self.handles() else { return Answer::Nobody };
        let options = options(call);
        let text = text_of(n, call);
        let asking = async {
            match call.kind {
                Kind::Unary => Answer::Came(unary(channel, n, request(text, call)).await),
                Kind::Auto | Kind::Stream => {
                    Answer::Came(self.stream(channel, n, request(text, call)).await)
                }
                Kind::Chat { every } => {
                    Answer::Came(self.chat(channel, n, text, every, options).await)
                }
                Kind::Message | Kind::OneWay => {
                    drop(channel);
                    let (reply, answer) = oneshot::channel();
                    let message = match call.kind {
                        Kind::Message => UnaryCall::new(path_of(n), &text, reply.into()),
                        _ => UnaryCall::one_way(path_of(n), &text),
                    };
                    let message = message.with_metadata(metadata(call)).with_options(options);
                    mailbox.send_message(message).expect("a mailbox takes every message");
                    if call.kind == Kind::OneWay {
                        return Answer::Nobody;
                    }
                    match answer.await {
                        Ok(answer) => Answer::Came(said(answer)),
                        Err(_) => Answer::Dropped,
                    }
                }
            }
        };
        let patience = call.patience.unwrap_or(Duration::MAX);
        let far_too_late = self.script.longest_of(call) + self.lateness() + ms(1_000);
        match tokio::time::timeout(patience.min(far_too_late), asking).await {
            Ok(answer) => answer,
            Err(_) if patience < far_too_late => Answer::GivenUp,
            Err(_) => Answer::Missing,
        }
    }

    fn handles(&self) -> Option<(SupervisedChannel, tonic_supervisor::Mailbox)> {
        let supervisor = self.supervisor.borrow();
        supervisor.as_ref().map(|supervisor| (supervisor.channel(), supervisor.mailbox()))
    }

    /// How much later than its deadline a call may end: not at all, but for the clock's grain, and
    /// for actors that wait to be replaced. Meanwhile somebody looks every 20 ms, unless that
    /// panics.
    fn lateness(&self) -> Duration {
        let faults = || self.script.faults.iter().map(|one| one.fault);
        let missed = faults().map(|fault| match fault {
            Fault::Panic(Child::Task, "Watch", times) => times,
            _ => 0,
        });
        let panics = faults().any(|fault| matches!(fault, Fault::Panic(..)));
        GRAIN + if panics { ms(20) * (1 + missed.sum::<u32>()) } else { Duration::ZERO }
    }

    fn judge(&self, n: usize, call: &Call, took: Duration, answer: &Answer) {
        let shared = &self.shared;
        match answer {
            Answer::Nobody | Answer::GivenUp => return,
            Answer::Dropped => {
                return shared.violated(format_args!(
                    "call {n}: its reply port was dropped without an answer"
                ));
            }
            Answer::Missing => {
                return shared
                    .violated(format_args!("call {n}: no answer, long after its deadline"));
            }
            Answer::Came(_) => {}
        }
        let Answer::Came(answer) = answer else { return };
        let longest = match answer.as_ref().err().and_then(CallReport::of) {
            Some(report) if shared.answer_began(n).is_none() => {
                self.script.longest_until(call, report.attempts_made)
            }
            _ => self.script.longest_of(call),
        };
        shared.require(took <= longest + self.lateness(), || {
            format!("call {n} of {longest:?} ended after {took:?}")
        });
        match answer {
            Ok(text) => {
                let executed = shared.arrivals(n).iter().any(|came| came.executed);
                shared.require(executed, || {
                    format!("call {n} is answered with OK, and the server never saw it")
                });
                let big = call.fates.iter().any(|fate| matches!(fate, Fate::Big(_)));
                let own = big || !call.is_unary() || *text == text_of(n, call);
                shared.require(own, || format!("call {n} got the answer of another: {text:?}"));
            }
            Err(status) => match CallReport::of(status) {
                Some(report) => {
                    self.judge_failure(n, call, took, report);
                    let begun = now().saturating_sub(GRAIN + took);
                    self.story.borrow_mut().reports.push((n, begun, report.clone()));
                }
                None => shared
                    .require(!call.is_unary() && shared.answer_began(n).is_some(), || {
                        format!("call {n} failed without a report: {status:?}")
                    }),
            },
        }
    }

    fn judge_failure(&self, n: usize, call: &Call, took: Duration, report: &CallReport) {
        let (shared, story) = (&self.shared, self.story.borrow());
        let said = || format!("call {n}: {report}");
        let cause = &report.outcome.cause;
        let sent_again = report.retries + report.transparent_retries;
        // The last retry may have been waited for in vain; nothing else is counted that was not
        // made.
        let made = report.attempts_made;
        shared.require(made == sent_again || made == sent_again + 1, || {
            format!(
                "{} ({made} attempts, {} retries, {} resent)",
                said(),
                report.retries,
                report.transparent_retries
            )
        });
        shared.require(report.retries as usize == story.retries(n).len(), || {
            format!(
                "{}; it counts {} retries, {} were announced",
                said(),
                report.retries,
                story.retries(n).len()
            )
        });
        match cause {
            Cause::Deadline(_) => shared
                .require(took + GRAIN >= self.script.timeout_of(call), || {
                    format!("{}, before its deadline", said())
                }),
            Cause::NotConnected(_) => shared
                .require(!call.wait_for_ready, || format!("{}, and it waits for a link", said())),
            Cause::Shutdown => {
                shared.require(story.draining, || format!("{}, and nobody shut down", said()))
            }
            Cause::Shed(_) => shared
                .require(story.shed.contains(&n), || format!("{}, and nobody said so", said())),
            // Each call has a method of its own, of which only its own attempts are known.
            Cause::WouldNotFinish { .. } => shared.require(made > 0, || {
                format!("{}, and nothing is known of what answers take", said())
            }),
            Cause::Cancelled | Cause::Supervision(_) => shared.violated(said()),
            _ => shared.require(!self.was_worth_a_retry(n, took, report, &story), || {
                format!("{}, and no retry followed", said())
            }),
        }
        // What a peer excluded is free once, and again only where a server in good order went away.
        let excluded = report
            .attempts
            .iter()
            .filter(|attempt| attempt.transparent && attempt.phase() > Phase::Unsent);
        let (free, goaways) = (excluded.count(), story.orderly_goaways);
        shared.require(free <= 1 + goaways, || {
            format!(
                "{}; it was excluded and sent again for free {free} times, over {goaways} \
                     orderly GOAWAYs",
                said()
            )
        });
        let unseen = report.certainly_unprocessed();
        let seen = shared.arrivals(n).iter().any(|came| came.executed);
        shared.require(!(unseen && seen), || format!("{}; the server did process it", said()));
    }

    /// Whether the policy asks for one more attempt after the last failure.
    fn was_worth_a_retry(
        &self,
        n: usize,
        took: Duration,
        report: &CallReport,
        story: &Story,
    ) -> bool {
        let (call, retry) = (&self.script.calls[n], self.script.config.retry());
        // The server may have forbidden it, and what is passed on already is not asked for again.
        let special = call
            .fates
            .iter()
            .any(|fate| matches!(fate, Fate::Status { pushback: Some(_), .. } | Fate::Big(_)));
        // What is larger is sent once; the prefix and the field's head come on top.
        let kept = call.size + 16 <= self.script.config.max_replay_bytes();
        let harmless = call.idempotent || report.outcome.phase < Phase::MaybeProcessed;
        let by_policy = !call.is_known_to_stream() && self.shared.answer_began(n).is_none();
        let may = by_policy && !call.no_retry && kept && harmless && !special;
        let in_time =
            took + retry.backoff.delay(report.retries) + GRAIN < self.script.timeout_of(call);
        may && in_time
            && retry.codes.contains(report.outcome.code)
            && retry.limit.allows(report.retries)
            && !story.throttled.contains(&n)
            && !story.draining
    }

    /// Reads whatever comes, and notes when the answer begins.
    async fn stream(
        &self,
        channel: SupervisedChannel,
        n: usize,
        request: Request<String>,
    ) -> Result<String, Status> {
        let path = PathAndQuery::try_from(path_of(n)).expect("a path");
        let mut grpc = Grpc::new(channel);
        grpc.ready().await?;
        let answer = grpc.server_streaming(request, path, ProstCodec::default()).await?;
        self.shared.begin_answer(n);
        whole(answer.into_inner()).await
    }

    /// Three messages, one after the other.
    async fn chat(
        &self,
        channel: SupervisedChannel,
        n: usize,
        text: String,
        every: Duration,
        options: CallOptions,
    ) -> Result<String, Status> {
        let words = futures::stream::unfold(0, move |said| {
            let text = text.clone();
            async move {
                tokio::time::sleep(every).await;
                (said < 3).then_some((text, said + 1))
            }
        });
        let mut request = Request::new(words);
        request.extensions_mut().insert(options);
        let path = PathAndQuery::try_from(path_of(n)).expect("a path");
        let mut grpc = Grpc::new(channel);
        grpc.ready().await?;
        let answer = grpc.streaming(request, path, ProstCodec::default()).await?;
        self.shared.begin_answer(n);
        whole(answer.into_inner()).await
    }
}

fn options(call: &Call) -> CallOptions {
    let mut options =
        CallOptions::new().wait_for_ready(call.wait_for_ready).idempotent(call.idempotent);
    if call.states_timeout {
        options = options.timeout(call.timeout);
    }
    if call.kind != Kind::Auto {
        options = options.kind(if call.is_unary() { CallKind::Unary } else { CallKind::Streaming });
    }
    if let Some(timeout) = call.attempt_timeout {
        options = options.attempt_timeout(timeout);
    }
    if call.no_retry { options.retry(false) } else { options }
}

/// What a call says, and hears when all is well.
fn text_of(n: usize, call: &Call) -> String {
    let text = n.to_string();
    let fill = call.size.saturating_sub(text.len());
    text + &".".repeat(fill)
}

/// Fields about the connection, which HTTP/2 forbids, where the call is odd.
fn metadata(call: &Call) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    if call.odd {
        metadata.insert("connection", MetadataValue::from_static("keep-alive"));
        metadata.insert("upgrade", MetadataValue::from_static("h2c"));
    }
    metadata
}

fn request(text: String, call: &Call) -> Request<String> {
    let mut request = Request::new(text);
    *request.metadata_mut() = metadata(call);
    request.extensions_mut().insert(options(call));
    request
}

async fn unary(
    channel: SupervisedChannel,
    n: usize,
    request: Request<String>,
) -> Result<String, Status> {
    let answer = channel.unary::<String, String>(&path_of(n), request).await;
    answer.map(tonic::Response::into_inner)
}

async fn whole(mut messages: Streaming<String>) -> Result<String, Status> {
    let mut whole = String::new();
    while let Some(message) = messages.message().await? {
        whole.push_str(&message);
    }
    Ok(whole)
}

fn said(answer: UnaryResult) -> Result<String, Status> {
    answer?.decode()
}

/// For the trace.
fn words(answer: &Answer) -> String {
    match answer {
        Answer::Came(Ok(text)) => format!("OK, {} bytes", text.len()),
        Answer::Came(Err(status)) => match CallReport::of(status) {
            Some(report) => format!("{:?}: {report}", status.code()),
            None => format!("{:?}: {}", status.code(), status.message()),
        },
        other => format!("{other:?}"),
    }
}
