//! The runtime of a supervisor ends at any moment of any script: whoever holds on to it from
//! outside is told so, and waits for nothing.

use crate::{
    draw,
    panic_hook::hide_injected_panics,
    run::run_until_the_runtime_ends,
    script::{Fault, Script, ms, secs},
    seeds::say,
    shared::Shared,
};
use futures::{FutureExt as _, executor::block_on};
use tokio::sync::oneshot;
use tonic::{Code, Request, Status};
use tonic_supervisor::{
    CallOptions, CallReport, Cause, ConnectivityState, EventItem, EventStream, Fact, LinkEnd,
    Supervisor, UnaryCall, UnaryResult,
};

/// So many scripts are cut off.
const SEEDS: u64 = 200;

/// Calls that are open, or only just sent, when the runtime ends.
const MESSAGES: usize = 3;

/// What is held outside the runtime, beside the supervisor.
struct Outside {
    events: EventStream,
    answers: Vec<oneshot::Receiver<UnaryResult>>,
}

#[test]
fn whenever_the_runtime_ends_every_call_outside_is_answered() {
    hide_injected_panics();
    let mut broken = Vec::new();
    for seed in 0..SEEDS {
        let mut script = draw::script(seed);
        script
            .faults
            .retain(|one| !matches!(one.fault, Fault::Shutdown { .. } | Fault::DropHandles));
        let at = moment(&script);
        let outcome =
            run_until_the_runtime_ends(script, at, call, |shared, supervisor, outside| {
                judge(shared, &supervisor, outside);
            });
        if let Some(law) = outcome.broken {
            say(&format!("seed {seed}, its runtime ended at {at:?}, breaks a law: {law}"));
            broken.push(seed);
        }
    }
    assert!(broken.is_empty(), "laws were broken by {broken:?}");
}

/// Somewhere in the script's life, mostly in the midst of its calls.
fn moment(script: &Script) -> std::time::Duration {
    let calls = script.calls.len().max(1);
    let call = script.calls.get(script.seed as usize % calls).map_or(ms(500), |call| call.at);
    call + ms(script.seed % 7 * 20)
}

fn call(supervisor: &Supervisor) -> Outside {
    let answers = (0..MESSAGES).map(|_| {
        let (reply, answer) = oneshot::channel();
        let message = UnaryCall::new("/sim.Calls/Outside", &"outside".to_owned(), reply.into());
        // Made by another clock than the script's, whose own timeout may be over by then.
        let message = message.with_options(CallOptions::new().timeout(secs(60)));
        supervisor.mailbox().send_message(message).expect("a mailbox takes every message");
        answer
    });
    Outside { answers: answers.collect(), events: supervisor.events() }
}

fn judge(shared: &Shared, supervisor: &Supervisor, mut outside: Outside) {
    let (state, now) = (supervisor.state(), supervisor.snapshot());
    shared.require(state == ConnectivityState::Shutdown, || {
        format!("it shows {state} when its runtime has ended")
    });
    let left = (now.calls_open, now.calls_waiting, now.streams);
    shared.require(left == (0, 0, 0), || {
        format!("calls open, waiting and streams without a runtime: {left:?}")
    });
    for answer in &mut outside.answers {
        match answer.try_recv() {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => {
                shared.require(is_told(&status), || format!("a message ended with {status:?}"))
            }
            Err(error) => shared.violated(format_args!("a message has no answer: {error}")),
        }
    }
    let late = block_on(
        supervisor
            .channel()
            .unary::<String, String>("/sim.Calls/Late", Request::new(String::new())),
    );
    match late {
        Ok(_) => shared.violated("a call without a runtime was answered"),
        Err(status) => {
            shared.require(is_told(&status), || format!("a late call ended with {status:?}"))
        }
    }
    shared.require(supervisor.closed().now_or_never().is_some(), || "closed() waits".into());
    shared
        .require(supervisor.shutdown(ms(0)).now_or_never().is_some(), || "shutdown() waits".into());
    let mut last = None;
    loop {
        match outside.events.next().now_or_never() {
            Some(Some(EventItem::Event(event))) => last = Some(event.fact),
            Some(Some(_)) => {}
            Some(None) => break,
            None => return shared.violated("the events do not end"),
        }
    }
    shared.require(matches!(last, Some(Fact::Closed { .. })), || {
        format!("the last event was {last:?}")
    });
}

/// The end of the runtime is named; or the call had failed by policy before.
fn is_told(status: &Status) -> bool {
    let Some(report) = CallReport::of(status) else { return false };
    match &report.outcome.cause {
        Cause::Supervision(_) => {
            status.code() == Code::Unavailable
                && status.message().contains("the runtime of this supervisor has ended")
        }
        Cause::Shed(_) | Cause::Credentials(_) | Cause::Status => true,
        // What the runtime's end does to links is not told as their own.
        Cause::LinkLost(end) => !matches!(**end, LinkEnd::HungUp | LinkEnd::ActorFailed(_)),
        _ => false,
    }
}
