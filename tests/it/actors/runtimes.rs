//! Runtimes other than the supervisor's: calls made in another one, or in none, and what happens
//! when the supervisor's ends. A deadline hangs on nobody's life. Real clocks and threads: paused
//! time belongs to a single runtime.

use crate::support::{ADDRESS, cause, codec, config, ms, path, post, report, said, say, secs};
use futures::{StreamExt as _, executor::block_on, stream};
use std::{future::Future, ops::ControlFlow, thread, time::Duration};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_supervisor::{
    CallOptions, Cause, ConfigBuilder, ConnectivityState, EventItem, Fact, Supervisor,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

pub(super) const GONE: &str = "the runtime of this supervisor has ended";

/// Far longer than any end may take, and far shorter than any wait that is cut short.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A runtime of its own for a supervisor, of either flavour, and how it is ended.
pub(super) struct Home {
    pub(super) end: Option<oneshot::Sender<()>>,
    pub(super) thread: Option<thread::JoinHandle<()>>,
}

impl Home {
    /// Spawns a supervisor there.
    pub(super) fn of(
        network: &MemoryNetwork,
        config: ConfigBuilder,
        threads: usize,
        in_background: bool,
    ) -> (Self, Supervisor) {
        let builder =
            Supervisor::builder(config.build().expect("valid")).connector(network.connector());
        let (end, ends) = oneshot::channel();
        let (spawned, supervisor) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = match threads {
                0 => Builder::new_current_thread().enable_all().build(),
                threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
            };
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async {
                spawned.send(builder.spawn()).expect("the test waits");
                let _ = ends.await;
            });
            match in_background {
                true => runtime.shutdown_background(),
                false => drop(runtime),
            }
        });
        (Self { end: Some(end), thread: Some(thread) }, supervisor.recv().expect("spawned"))
    }

    pub(super) fn end(&mut self) {
        drop(self.end.take());
        self.thread.take().expect("once").join().expect("no panic while a runtime ends");
    }
}

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("it hangs: {what}"))
}

pub(super) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(ms(1)).await;
        }
    })
    .await;
}

#[track_caller]
pub(super) fn assert_gone(what: &str, status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}");
    assert!(
        matches!(cause(status), Cause::Supervision(words) if &**words == GONE),
        "{what}: {status:?}"
    );
    assert!(status.message().contains(GONE), "{what}: {status:?}");
    assert!(report(status).elapsed < HOUR);
}

/// Calls of every kind in every state, made in another runtime; then the supervisor's ends.
fn the_end_answers_everything(threads: usize, in_background: bool) {
    let (servers, callers) = (runtime(), runtime());
    let network = MemoryNetwork::new();
    let server = servers.block_on(ScriptedServer::on_memory(&network, ADDRESS));
    let config =
        || config().initial_backoff(HOUR).max_backoff(HOUR).timeout(2 * HOUR).keepalive_time(None);
    let (mut home, supervisor) = Home::of(&network, config(), threads, in_background);
    let nowhere = MemoryNetwork::new();
    let (mut other_home, waiting) = Home::of(&nowhere, config(), threads, in_background);

    callers.block_on(async {
        supervisor.wait_ready(SOON).await.expect("Ready");
        let mut calls = Vec::new();
        let mut make = |what: &'static str, supervisor: &Supervisor| {
            let channel = supervisor.channel();
            let called = tokio::spawn(async move { say(&channel, "x", CallOptions::new()).await });
            let posted = post(&supervisor.mailbox(), "x", CallOptions::new());
            let answered = async move { said(posted.await.expect("a port gets its answer")) };
            let posted = tokio::spawn(answered);
            calls.extend([(what, called), (what, posted)]);
        };
        server.script(Script::always(Code::Unavailable));
        make("asleep before its retry", &supervisor);
        wait_until("two sleep", || supervisor.snapshot().retries == 2).await;
        server.script(Script::delay(HOUR));
        make("in flight", &supervisor);
        make("waiting for a link", &waiting);
        wait_until("two wait", || waiting.snapshot().calls_waiting == 2).await;
        server.arrived(4).await;
        let limited = CallOptions::new().attempt_timeout(HOUR);
        let channel = supervisor.channel();
        let call = tokio::spawn(async move { say(&channel, "x", limited).await });
        calls.push(("in flight with a limit", call));
        server.arrived(5).await;
        server.script(Answer::echo_stream());
        let endless = stream::iter(["a".to_owned()]).chain(stream::pending());
        let mut grpc = Grpc::new(supervisor.channel());
        let heard = grpc.streaming(Request::new(endless), path(), codec()).await;
        let mut heard = heard.expect("it begins").into_inner();
        assert_eq!(heard.message().await.expect("echoed"), Some("a".into()));
        let mut events = supervisor.events();
        let looping = supervisor.clone();
        let subscribing = tokio::spawn(async move {
            let go_on = |_| async { ControlFlow::<()>::Continue(()) };
            looping.for_each_incarnation(go_on).await
        });
        let hoping = waiting.clone();
        let hoping = tokio::spawn(async move { hoping.wait_ready(HOUR).await });

        home.end();
        other_home.end();
        for (what, call) in calls {
            let answer = soon(what, call).await.expect("no panic in the caller's task");
            assert_gone(what, &answer.expect_err(what));
        }
        let status = soon("a stream", heard.message()).await.expect_err("the stream ended");
        assert_gone("a stream", &status);
        soon("the end of all events", async {
            let mut last = None;
            while let Some(item) = events.next().await {
                last = Some(item);
            }
            let Some(EventItem::Event(last)) = last else { panic!("no event: {last:?}") };
            assert!(matches!(last.fact, Fact::Closed { cause: Some(_), .. }), "{last:?}");
        })
        .await;
        assert_eq!(soon("the loop over links", subscribing).await.expect("no panic"), None);
        assert!(soon("wait_ready", hoping).await.expect("no panic").is_err());
        for ended in [&supervisor, &waiting] {
            assert_eq!(ended.state(), ConnectivityState::Shutdown);
            assert_eq!(ended.snapshot().calls_open, 0);
            assert_eq!(*ended.watch_incarnation().borrow(), None);
            let late = soon("a late call", say(&ended.channel(), "x", CallOptions::new())).await;
            assert_gone("a late call", &late.expect_err("nobody is there"));
            let late = post(&ended.mailbox(), "x", CallOptions::new());
            let late = said(soon("a late message", late).await.expect("answered"));
            assert_gone("a late message", &late.expect_err("nobody is there"));
            let late = Request::new("x".to_owned());
            let late = Grpc::new(ended.channel()).unary(late, path(), codec()).await;
            assert_gone("a late call of a client", &late.expect_err("nobody is there"));
            soon("shutdown", ended.shutdown(HOUR)).await;
            soon("closed", ended.closed()).await;
            assert!(soon("wait_ready", ended.wait_ready(HOUR)).await.is_err());
        }
        drop((supervisor, waiting));
    });
    servers.block_on(async move { drop(server) });
}

#[test]
fn the_end_of_a_multi_thread_runtime_answers_every_open_and_later_call_elsewhere() {
    for _ in 0..3 {
        the_end_answers_everything(2, false);
        the_end_answers_everything(2, true);
    }
}

#[test]
fn the_end_of_a_current_thread_runtime_answers_every_open_and_later_call_elsewhere() {
    for _ in 0..3 {
        the_end_answers_everything(0, false);
        the_end_answers_everything(0, true);
    }
}

#[test]
fn a_shutdown_under_way_returns_when_the_runtime_ends_before_it() {
    let (servers, callers) = (runtime(), runtime());
    let network = MemoryNetwork::new();
    let server = servers.block_on(async {
        ScriptedServer::builder().script(Script::delay(HOUR)).on_memory(&network, ADDRESS).await
    });
    let (mut home, supervisor) = Home::of(&network, config(), 2, false);
    callers.block_on(async {
        let channel = supervisor.channel();
        let call = tokio::spawn(async move { say(&channel, "x", CallOptions::new()).await });
        soon("the call arrives", server.arrived(1)).await;
        let closing = supervisor.clone();
        let closing = tokio::spawn(async move { closing.shutdown(HOUR).await });
        wait_until("the drain begins", || supervisor.state() == ConnectivityState::Shutdown).await;
        home.end();
        soon("shutdown", closing).await.expect("no panic");
        let status = soon("the call", call).await.expect("no panic").expect_err("it was cut short");
        assert_eq!((status.code(), cause(&status)), (Code::Cancelled, &Cause::Shutdown));
    });
    servers.block_on(async move { drop((server, supervisor)) });
}

/// Nothing moves there, links neither. Deadlines do.
#[test]
fn calls_on_a_supervisor_whose_runtime_nobody_drives_end_at_their_deadline() {
    let still = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let supervisor = {
        let _entered = still.enter();
        Supervisor::spawn(config().build().expect("valid"))
    };
    let options = CallOptions::new().timeout(ms(50));
    let channel = supervisor.channel();
    runtime().block_on(async {
        for options in [options, options.attempt_timeout(secs(60))] {
            let status =
                soon("a deadline", say(&channel, "x", options)).await.expect_err("nobody is there");
            assert_eq!(status.code(), Code::DeadlineExceeded);
        }
    });
    assert_eq!(supervisor.snapshot().calls_open, 0);
    drop(still);
    assert_eq!(supervisor.state(), ConnectivityState::Shutdown);
}

/// `Handle::drop`, cancelled calls and dropped streams on threads and at times that have no
/// runtime.
#[test]
fn handles_and_calls_may_be_dropped_before_and_after_the_runtime_ends() {
    let home = runtime();
    let supervisor = home.block_on(async { Supervisor::spawn(config().build().expect("valid")) });
    let (channel, mailbox) = (supervisor.channel(), supervisor.mailbox());
    let mut call =
        Box::pin(async move { say(&channel, "x", CallOptions::new().timeout(HOUR)).await });
    assert!(block_on(async { futures::poll!(call.as_mut()) }).is_pending());
    drop(post(&mailbox, "x", CallOptions::new()));
    drop(supervisor);
    drop(home);
    drop(call);
    let late = said(block_on(post(&mailbox, "x", CallOptions::new())).expect("an answer"));
    assert!(late.is_err());
}
