//! Runtimes other than the supervisor's: calls made in another one, or in none, and what happens
//! when the supervisor's ends. A deadline hangs on nobody's life. Real clocks and threads: paused
//! time belongs to a single runtime.

use crate::rig::{ADDRESS, SAY, cause, config, ms, post, report, said, say, secs};
use futures::executor::block_on;
use http::uri::PathAndQuery;
use prost::Message as _;
use ractor::{call, call_t};
use std::{
    future::Future,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, Cause, ConfigBuilder, ConnectivityState, EventItem, Fact, Supervisor, UnaryCall,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

const GONE: &str = "the runtime of this supervisor has ended";
/// Far longer than any end may take, and far shorter than any wait that is cut short.
const SOON: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn codec() -> ProstCodec<String, String> {
    ProstCodec::default()
}

fn path() -> PathAndQuery {
    PathAndQuery::from_static(SAY)
}

/// A runtime of its own for a supervisor, of either flavour, and how it is ended.
struct Home {
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Home {
    /// Spawns a supervisor there.
    fn of(
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

    fn end(&mut self) {
        drop(self.end.take());
        self.thread.take().expect("once").join().expect("no panic while a runtime ends");
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("it hangs: {what}"))
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(ms(1)).await;
        }
    })
    .await;
}

#[track_caller]
fn assert_gone(what: &str, status: &Status) {
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
    let (stage, callers) = (runtime(), runtime());
    let network = MemoryNetwork::new();
    let server = stage.block_on(ScriptedServer::on_memory(&network, ADDRESS));
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
            let posted = tokio::spawn(async move { said(posted.await.expect("a port gets its answer")) });
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
        calls.push(("in flight with a limit", tokio::spawn(async move { say(&channel, "x", limited).await })));
        server.arrived(5).await;
        server.script(Answer::echo_stream());
        let endless = futures::StreamExt::chain(futures::stream::iter(["a".to_owned()]), futures::stream::pending());
        let mut grpc = Grpc::new(supervisor.channel());
        let mut heard = grpc.streaming(Request::new(endless), path(), codec()).await.expect("it begins").into_inner();
        assert_eq!(heard.message().await.expect("echoed"), Some("a".into()));
        let mut events = supervisor.events();
        let looping = supervisor.clone();
        let subscribing =
            tokio::spawn(
                async move { looping.for_each_incarnation(|_| async { ControlFlow::<()>::Continue(()) }).await },
            );
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
            assert!(
                matches!(last, Some(EventItem::Event(event)) if matches!(event.fact, Fact::Closed { cause: Some(_), .. }))
            );
        })
        .await;
        assert_eq!(soon("the loop over links", subscribing).await.expect("no panic"), None);
        assert!(soon("wait_ready", hoping).await.expect("no panic").is_err());
        for ended in [&supervisor, &waiting] {
            assert_eq!(ended.state(), ConnectivityState::Shutdown);
            assert_eq!((ended.snapshot().calls_open, ended.watch_links().borrow().newest()), (0, None));
            let late = soon("a late call", say(&ended.channel(), "x", CallOptions::new())).await;
            assert_gone("a late call", &late.expect_err("nobody is there"));
            let late = soon("a late message", post(&ended.mailbox(), "x", CallOptions::new())).await;
            assert_gone("a late message", &said(late.expect("answered")).expect_err("nobody is \
                                                                                     there"));
            let late = Grpc::new(ended.channel()).unary(Request::new("x".to_owned()), path(), codec()).await;
            assert_gone("a late call of a client", &late.expect_err("nobody is there"));
            soon("shutdown", ended.shutdown(HOUR)).await;
            soon("closed", ended.closed()).await;
            assert!(soon("wait_ready", ended.wait_ready(HOUR)).await.is_err());
        }
        drop((supervisor, waiting));
    });
    stage.block_on(async move { drop(server) });
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
    let (stage, callers) = (runtime(), runtime());
    let network = MemoryNetwork::new();
    let server = stage.block_on(async {
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
    stage.block_on(async move { drop((server, supervisor)) });
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
fn handles_and_calls_may_be_dropped_anywhere_before_and_after_the_end_of_the_runtime() {
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

// --- no runtime at all
// -------------------------------------------------------------------------------

#[test]
fn a_spawn_outside_a_runtime_says_where_to_spawn() {
    let config = || config().build().expect("valid");
    let panic = std::panic::catch_unwind(|| Supervisor::spawn(config())).expect_err("no runtime");
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    let sentence = "a supervisor needs a tokio runtime to live on, and there is none here: spawn \
                    it in an async fn \
                    (under #[tokio::main], say), or after `let _guard = runtime.enter();`";
    assert_eq!(words, Some(sentence));
}

/// As batch exporters and sync wrappers make calls.
#[test]
fn calls_of_every_kind_work_on_a_thread_without_a_runtime() {
    let home = runtime();
    let network = MemoryNetwork::new();
    let server = home.block_on(ScriptedServer::on_memory(&network, ADDRESS));
    let supervisor = {
        let _entered = home.enter();
        Supervisor::builder(config().build().expect("valid")).connector(network.connector()).spawn()
    };
    block_on(async {
        supervisor.wait_ready(SOON).await.expect("Ready");
        for options in [
            CallOptions::new(),
            CallOptions::new().attempt_timeout(SOON),
            CallOptions::new().timeout(SOON),
        ] {
            assert_eq!(say(&supervisor.channel(), "x", options).await.expect("echoed"), "x");
        }
        let mailbox = supervisor.mailbox();
        let reply =
            call_t!(mailbox, UnaryCall::new, 10_000, SAY, &"x".to_owned()).expect("an answer");
        assert_eq!(reply.expect("echoed").decode::<String>().expect("text"), "x");
        let reply = call!(mailbox, UnaryCall::new, SAY, &"x".to_owned()).expect("an answer");
        assert!(reply.is_ok());

        let mut grpc = Grpc::new(supervisor.channel());
        let mut marked = Request::new("x".to_owned());
        marked.extensions_mut().insert(CallOptions::new().unary());
        for request in [marked, Request::new("x".to_owned())] {
            assert_eq!(
                grpc.unary(request, path(), codec()).await.expect("echoed").into_inner(),
                "x"
            );
        }
        server.script(Answer::echo_stream());
        let (speak, said) = tokio::sync::mpsc::unbounded_channel();
        speak.send("0".to_owned()).expect("open");
        let mut request = Request::new(tokio_stream::wrappers::UnboundedReceiverStream::new(said));
        request.set_timeout(SOON);
        let mut heard =
            grpc.streaming(request, path(), codec()).await.expect("it begins").into_inner();
        for n in 0..10 {
            assert_eq!(heard.message().await.expect("echoed"), Some(n.to_string()));
            speak.send((n + 1).to_string()).expect("open");
        }
        drop(heard);
    });
    assert_eq!(supervisor.snapshot().calls_open, 0);
    let looped =
        block_on(supervisor.for_each_incarnation(|link| async move { ControlFlow::Break(link) }));
    assert_eq!(looped, Some(supervisor.snapshot().incarnation));
    block_on(supervisor.shutdown(secs(1)));
    assert_eq!(supervisor.state(), ConnectivityState::Shutdown);
    home.block_on(async move { drop(server) });
}

#[test]
fn time_limits_hold_on_a_thread_without_a_runtime_in_every_phase() {
    let home = runtime();
    let network = MemoryNetwork::new();
    let server = home.block_on(ScriptedServer::on_memory(&network, ADDRESS));
    let builder = Supervisor::builder(config().max_retry_attempts(0).build().expect("valid"));
    let supervisor = {
        let _entered = home.enter();
        builder.connector(network.connector()).spawn()
    };
    let limits = [CallOptions::new().timeout(ms(50)), CallOptions::new().attempt_timeout(ms(50))];
    block_on(async {
        supervisor.wait_ready(SOON).await.expect("Ready");
        server.script(Script::delay(HOUR));
        for options in limits {
            let began = Instant::now();
            let status = say(&supervisor.channel(), "x", options).await.expect_err("late");
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert!(began.elapsed() >= ms(50) && began.elapsed() < SOON);
        }
        let mailbox = supervisor.mailbox();
        let timed_out = call_t!(mailbox, UnaryCall::new, 50, SAY, &"x".to_owned());
        assert!(timed_out.is_err(), "{timed_out:?}");
        server.script(Answer::message("a".to_owned().encode_to_vec()).then_hang());
        let mut request = Request::new("x".to_owned());
        request.set_timeout(ms(50));
        let answer =
            Grpc::new(supervisor.channel()).server_streaming(request, path(), codec()).await;
        let mut heard = answer.expect("it begins").into_inner();
        assert_eq!(heard.message().await.expect("sent"), Some("a".into()));
        assert_eq!(heard.message().await.expect_err("late").code(), Code::DeadlineExceeded);
        // A unary request that never comes.
        let mut never = Request::new(futures::stream::pending::<String>());
        never.set_timeout(ms(50));
        never.extensions_mut().insert(CallOptions::new().unary());
        let mut grpc = Grpc::new(supervisor.channel());
        let status = grpc.client_streaming(never, path(), codec()).await.expect_err("late");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        server.kill().await;
        // A call that goes out on the dying link would be lost with it; this one shall find none.
        let mut state = supervisor.watch_state();
        state
            .wait_for(|state| *state != ConnectivityState::Ready)
            .await
            .expect("the supervisor lives");
        let status = say(&supervisor.channel(), "x", limits[0]).await.expect_err("no link");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(supervisor.wait_ready(ms(20)).await.is_err());
    });
    assert_eq!(supervisor.snapshot().calls_open, 0);
    home.block_on(async move { drop(server) });
}

// --- a program that ends
// -------------------------------------------------------------------------------

/// Every line of warning or worse, from any thread.
#[derive(Clone, Default)]
struct Complaints(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Complaints {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Words(String);
        impl tracing::field::Visit for Words {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut words = Words(String::new());
        event.record(&mut words);
        self.0.lock().expect("no panic").push(words.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// The issue: 5 of 200 runs printed "an actor failed and is restarted: actor_task_cancelled".
#[test]
fn a_program_that_returns_from_main_complains_of_nothing() {
    let complaints = Complaints::default();
    let stage = runtime();
    let network = MemoryNetwork::new();
    let server = stage.block_on(ScriptedServer::on_memory(&network, ADDRESS));
    let _here = tracing::subscriber::set_default(complaints.clone());
    for run in 0..300 {
        let there = complaints.clone();
        let program = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || {
                std::mem::forget(tracing::subscriber::set_default(there.clone()))
            })
            .build()
            .expect("a runtime");
        let builder =
            Supervisor::builder(config().build().expect("valid")).connector(network.connector());
        let kept = program.block_on(async {
            let supervisor = builder.spawn();
            if run % 3 > 0 {
                say(&supervisor.channel(), "x", CallOptions::new()).await.expect("echoed");
            }
            if run % 3 > 1 {
                // One that is still under way, and a handle that outlives the runtime.
                let channel = supervisor.channel();
                tokio::spawn(async move { say(&channel, "x", CallOptions::new()).await });
                return Some(supervisor);
            }
            None
        });
        match run % 2 {
            0 => drop(program),
            _ => program.shutdown_background(),
        }
        drop(kept);
    }
    let complaints = complaints.0.lock().expect("no panic");
    assert!(complaints.is_empty(), "{complaints:?}");
    stage.block_on(async move { drop(server) });
}
