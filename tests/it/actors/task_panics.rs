//! No task dies unheard: whatever is killed in whichever task, the channel goes on, and every call
//! has its one answer.

use crate::support::{
    ADDRESS, EventLog, bounded, config, eventually, hide_injected_panics, ms, post, said, say,
    secs, start, supervise,
};
use tokio::runtime::Handle;
use tonic::{Code, metadata::MetadataMap};
use tonic_supervisor::{
    CallOptions, Child, CredentialsRequest, Fact, LinkEnd, Supervisor,
    testing::{MemoryNetwork, RawPeer, Script, ScriptedServer},
};

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_is_a_link_lost_with_its_words_and_a_redial() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let server =
        ScriptedServer::builder().script(Script::delay(ms(200))).on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().initial_backoff(ms(20)));
    let log = EventLog::of(&supervisor);
    say(&supervisor.channel(), "first", CallOptions::new()).await.expect("answered");
    let calls: Vec<_> =
        (0..5).map(|_| start(&supervisor.channel(), "in flight", CallOptions::new())).collect();
    server.arrived(6).await;
    supervisor.panics().arm(Child::Task, "Driver", 1);
    for call in calls {
        let (_, answer) = bounded("it is repeated", call).await.expect("no panic here");
        assert_eq!(answer.expect("answered"), "in flight");
    }
    let lost = log.links_lost();
    let told = |end: &LinkEnd| match end {
        LinkEnd::ActorFailed(text) => text.starts_with("its driver panicked: injected"),
        _ => false,
    };
    assert!(lost.len() == 1 && told(&lost[0]), "{lost:?}");
    assert_eq!(log.count(|fact| matches!(fact, Fact::ChildFailed { .. })), 0);
}

/// Seed 77 of the simulation: the supervisor hears of an actor's end before what it said last.
#[tokio::test(start_paused = true)]
async fn a_link_that_ends_in_the_moment_in_which_it_came_up_is_established_and_then_lost() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    supervisor.panics().arm(Child::Task, "Driver", 1);
    say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered");
    assert_eq!(log.count(|fact| matches!(fact, Fact::DialStarted { .. })), 2);
    assert_eq!(log.count(|fact| matches!(fact, Fact::LinkEstablished { .. })), 2);
    assert_eq!(log.links_lost().len(), 1);
}

/// A proxy at its limit greets and hangs up, for example.
#[tokio::test(start_paused = true)]
async fn a_link_that_ends_in_the_moment_in_which_it_came_up_takes_no_other_links_place() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let log = EventLog::of(&supervisor);
    supervisor.panics().arm(Child::Task, "Driver", 1);
    supervisor.reconnect_now();
    log.first(|fact| matches!(fact, Fact::LinkLost { .. })).await;
    for _ in 0..10 {
        say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered");
    }
    let on_the_first = server.arrivals().iter().filter(|arrival| arrival.connection == 1).count();
    let changes = log.count(|fact| matches!(fact, Fact::StateChanged { .. }));
    assert_eq!((on_the_first, changes), (10, 0), "the link that works stays");
}

#[tokio::test(start_paused = true)]
async fn a_dial_task_that_panics_again_and_again_fails_dials_and_nothing_else() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    supervisor.panics().arm(Child::Task, "Dial", 5);
    say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered");
    assert_eq!(log.count(|fact| matches!(fact, Fact::DialFailed { .. })), 5);
    assert_eq!(log.count(|fact| matches!(fact, Fact::ChildFailed { .. })), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_reading_an_answer_or_asking_for_credentials_ends_that_call() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let hook = |_: CredentialsRequest| async { Ok(MetadataMap::new()) };
    let builder = Supervisor::builder(config().max_retry_attempts(0).build().expect("valid"));
    let supervisor =
        builder.connector(network.connector()).call_credentials(hook).allow_plaintext(true).spawn();
    for task in ["Runner", "Credentials"] {
        assert_eq!(
            said(post(&supervisor.mailbox(), "x", CallOptions::new()).await.expect("an answer"))
                .expect("x"),
            "x"
        );
        supervisor.panics().arm(Child::Task, task, 1);
        let answer = bounded("it ends", post(&supervisor.mailbox(), "x", CallOptions::new())).await;
        let status = said(answer.expect("a port gets its answer")).expect_err("the task panicked");
        assert_eq!(status.code(), Code::Internal, "{task}");
        assert!(status.message().contains("injected by a test into Task"), "{task}: {status:?}");
        let seen = supervisor.snapshot();
        assert_eq!((seen.calls_open, seen.streams), (0, 0), "{task}");
    }
}

/// The watch that ends overdue calls while their actor waits to be replaced.
#[tokio::test(start_paused = true)]
async fn a_watch_over_deadlines_that_panics_goes_on_watching() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    say(&supervisor.channel(), "first", CallOptions::new()).await.expect("answered");
    server.kill().await;
    supervisor.panics().arm(Child::Task, "Watch", 5);
    supervisor.panics().arm(Child::Request, "Adopt", u32::MAX);
    supervisor.panics().arm(Child::Request, "Submit", 1);
    let began = tokio::time::Instant::now();
    let answer = post(&supervisor.mailbox(), "x", CallOptions::new().timeout(ms(300)))
        .await
        .expect("an answer");
    assert_eq!(said(answer).expect_err("nobody runs it").code(), Code::DeadlineExceeded);
    assert!(began.elapsed() <= ms(330), "{:?}", began.elapsed());
}

/// Every task, again and again, under calls of both kinds.
#[tokio::test(start_paused = true)]
async fn panics_of_every_task_under_calls_lose_no_answer_and_leave_no_task() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let server =
        ScriptedServer::builder().script(Script::delay(ms(5))).on_memory(&network, ADDRESS).await;
    let before = Handle::current().metrics().num_alive_tasks();
    let supervisor =
        supervise(&network, config().initial_backoff(ms(20)).retry_throttle_enabled(false));
    let options = CallOptions::new().timeout(secs(20));
    for round in 0..40 {
        let task = Child::Task.messages()[round % Child::Task.messages().len()];
        supervisor.panics().arm(Child::Task, task, 1);
        if round % 5 == 0 {
            network.reset_all();
        }
        let calls: Vec<_> =
            (0..5).map(|_| start(&supervisor.channel(), "called", options)).collect();
        let posted: Vec<_> =
            (0..5).map(|_| post(&supervisor.mailbox(), "posted", options)).collect();
        for call in calls {
            let (_, answer) = bounded("a call ends", call).await.expect("no panic here");
            assert_eq!(answer.expect("answered"), "called", "{task}");
        }
        for call in posted {
            let answer = said(bounded("a message is answered", call).await.expect("an answer"));
            // The one whose reader panicked.
            let excused = |code| task == "Runner" && code == Code::Internal;
            assert!(
                answer.as_ref().map_or_else(|status| excused(status.code()), |_| true),
                "{task}: {answer:?}"
            );
        }
    }
    supervisor.wait_ready(secs(5)).await.expect("Ready");
    eventually("no call is open", || supervisor.snapshot().calls_open == 0).await;
    bounded("it is closed", supervisor.shutdown(secs(1))).await;
    drop((supervisor, server));
    eventually("no task is left", || Handle::current().metrics().num_alive_tasks() < before).await;
}

/// 59 complaints in a row doubled keepalive past the clock's end. Now it stops at 4 h.
#[tokio::test(start_paused = true)]
async fn a_hundred_complaints_of_too_many_pings_stop_at_four_hours_and_the_channel_lives() {
    let network = MemoryNetwork::new();
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_settings(&[]).await;
        if let Some((stream, message)) = link.next_whole_request().await {
            link.answer(stream, &message[5..]).await;
            link.goaway(stream, 0xb, "too_many_pings").await;
        }
    });
    for (configured, most) in [(secs(30), secs(4 * 3_600)), (secs(30 * 3_600), secs(30 * 3_600))] {
        let supervisor = supervise(&network, config().keepalive_time(configured));
        let log = EventLog::of(&supervisor);
        for n in 1..=100 {
            say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered");
            log.until("it is heard", n, |fact| matches!(fact, Fact::KeepaliveBackedOff { .. }))
                .await;
        }
        assert_eq!(supervisor.snapshot().keepalive_time, Some(most), "{configured:?}");
        assert_eq!(log.count(|fact| matches!(fact, Fact::ChildFailed { .. })), 0);
    }
}
