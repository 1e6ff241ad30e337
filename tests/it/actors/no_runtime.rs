//! Calls on threads without a runtime, and a program that ends.

use super::runtimes::{HOUR, SOON, runtime};
use crate::support::{ADDRESS, SAY, codec, config, ms, path, say, secs};
use futures::executor::block_on;
use prost::Message as _;
use ractor::{call, call_t};
use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::runtime::Builder;
use tonic::{Code, Request, client::Grpc};
use tonic_supervisor::{
    CallOptions, ConnectivityState, Supervisor, UnaryCall,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

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

/// Once, 5 of 200 runs printed "an actor failed and is restarted: actor_task_cancelled".
#[test]
fn a_program_that_returns_from_main_complains_of_nothing() {
    let complaints = Complaints::default();
    let servers = runtime();
    let network = MemoryNetwork::new();
    let server = servers.block_on(ScriptedServer::on_memory(&network, ADDRESS));
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
    servers.block_on(async move { drop(server) });
}
