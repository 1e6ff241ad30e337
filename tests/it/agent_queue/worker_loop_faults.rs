//! The worker loop under a machine that cannot work, a server that says nonsense, and a proxy in
//! between: no worker is held, no work is done in vain again and again, nothing panics. Virtual
//! time.

use crate::support::{
    AGENT, LEASE, LogLines, ScriptedQueue, bounded, config, eventually, hide_injected_panics, secs,
    timed,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Status, transport::Server};
use tonic_supervisor::{
    agent_queue::{
        NewTask, Outcome, PrivateAgentTasksQueue, Processed, Task, TaskStatus,
        agent_queue_server::AgentQueueServer,
        server::{MemoryStore, Service, Settings},
    },
    testing::Answer,
};

/// A worker loop, how many tasks it began, and how to end it.
struct Loop {
    begun: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<Processed, Status>>,
}

impl Loop {
    /// Whose handler takes so many seconds and then says this of its task.
    fn start(
        rig: &ScriptedQueue,
        workers: usize,
        seconds: u64,
        outcome: impl Fn(&Task) -> Outcome + Clone + Send + Sync + 'static,
    ) -> Self {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = begun.clone();
        let handler = move |task: Task| {
            count.fetch_add(1, SeqCst);
            let outcome = outcome.clone();
            async move {
                sleep(secs(seconds)).await;
                outcome(&task)
            }
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_default() };
        let process =
            rig.client.queue(AGENT).process(handler, workers).grace(secs(1)).until(stopped);
        Self { begun, stop, ended: tokio::spawn(async move { process.await }) }
    }

    fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    async fn finish(self) -> Processed {
        self.stop.send(()).expect("it runs");
        bounded("the loop ends", self.ended).await.expect("no panic").expect("no failure")
    }
}

fn done(_: &Task) -> Outcome {
    Outcome::Completed("1".into())
}

fn ids(many: usize) -> Vec<String> {
    (0..many).map(|n| format!("t{n}")).collect()
}

fn put(rig: &ScriptedQueue, many: usize) {
    rig.tasks.put(&ids(many).iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_cannot_work_gives_back_and_pauses_until_it_can() {
    let (log, rig) = (LogLines::listen(), ScriptedQueue::start().await);
    put(&rig, 200);
    let sick = Arc::new(AtomicBool::new(true));
    let state = sick.clone();
    let running = Loop::start(&rig, 16, 0, move |_| match state.load(SeqCst) {
        true => Outcome::GivenBack("no files are left".into()),
        false => Outcome::Completed("1".into()),
    });
    sleep(secs(600)).await;
    let tried = running.begun();
    // At most one for each worker before the first pause, and then one in ten seconds.
    assert!((50..16 + 90).contains(&tried), "{tried} in ten minutes");
    let outcomes = rig.tasks.outcomes();
    assert!(
        outcomes.iter().all(|(_, status, text)| *status == TaskStatus::Pending && text.is_empty())
    );
    let told = log.saying("tasks are given back");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].level == tracing::Level::ERROR
            && told[0].field("reason").contains("no files are left")
    );

    sick.store(false, SeqCst);
    let (took, ()) = timed(eventually("all are done", || running.begun() == tried + 200)).await;
    assert!(took <= secs(13), "{took:?}");
    sleep(secs(1)).await;
    sick.store(true, SeqCst);
    rig.tasks.put(&["last"]);
    eventually("it is tried", || running.begun() > tried + 200).await;
    sleep(secs(1)).await;
    assert_eq!(log.saying("tasks are given back").len(), 2, "it had worked in between");
    let ended = running.finish().await;
    assert_eq!((ended.completed, ended.failed, ended.lost, ended.left), (200, 0, 0, 0));
    assert!(ended.given_back as usize > tried, "{ended}");
}

#[tokio::test(start_paused = true)]
async fn another_reason_is_an_error_of_its_own() {
    let (log, rig) = (LogLines::listen(), ScriptedQueue::start().await);
    rig.tasks.put(&["a"]);
    let tries = Arc::new(AtomicUsize::new(0));
    let running = Loop::start(&rig, 1, 0, move |_| {
        let reason = if tries.fetch_add(1, SeqCst) < 3 { "no files" } else { "no memory" };
        Outcome::GivenBack(reason.into())
    });
    eventually("it was tried six times", || running.begun() >= 6).await;
    running.finish().await;
    let told: Vec<_> = log
        .saying("tasks are given back")
        .iter()
        .map(|line| line.field("reason").to_owned())
        .collect();
    assert!(
        told.len() == 2 && told[0].contains("no files") && told[1].contains("no memory"),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_pause() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let running = Loop::start(&rig, 4, 0, |_| Outcome::GivenBack("no files".into()));
    eventually("it was tried often", || running.begun() >= 8).await;
    let (took, ended) = timed(running.finish()).await;
    assert!(took <= secs(1) && ended.left == 0, "{took:?}, {ended}");
}

#[tokio::test(start_paused = true)]
async fn leases_without_end_panic_nothing() {
    for seconds in [1e19, 1e300, f64::INFINITY] {
        let rig = ScriptedQueue::start().await;
        rig.tasks.say_leases(seconds);
        rig.tasks.put(&["a"]);
        // At a third of a day it is renewed, and so the answer to that is read, too.
        let running = Loop::start(&rig, 1, 9 * 3_600, done);
        sleep(secs(10 * 3_600)).await;
        assert_eq!(rig.tasks.renewals().len(), 1, "{seconds}");
        assert_eq!(running.finish().await.completed, 1, "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn leases_of_nothing_are_a_second_and_the_work_goes_on() {
    for seconds in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-9] {
        let rig = ScriptedQueue::start().await;
        rig.tasks.say_leases(seconds);
        rig.tasks.put(&["a"]);
        let running = Loop::start(&rig, 1, 10, done);
        sleep(secs(12)).await;
        assert!(rig.tasks.renewals().len() <= 31, "{seconds}: {:?}", rig.tasks.renewals());
        assert_eq!(running.begun(), 1, "{seconds}");
        assert_eq!(running.finish().await.completed, 1, "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_claim_the_loop_pauses() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.say_leases(-1.0);
    rig.tasks.refuse(TaskStatus::Processing, Code::FailedPrecondition, "its lease ended");
    put(&rig, 10_000);
    let running = Loop::start(&rig, 16, 1_000, done);
    sleep(secs(600)).await;
    assert!(running.begun() <= 16 + 80, "{} in ten minutes", running.begun());
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_with_a_nul_fails_its_task_after_one_run() {
    hide_injected_panics();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let service = Service::new(MemoryStore::new(Settings::default()));
    let serving = Server::builder().add_service(AgentQueueServer::new(service));
    let serving = tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let client =
        PrivateAgentTasksQueue::builder().grpc_port(address.port()).build().expect("valid");
    let queue = client.get_queue(AGENT, true).await.expect("made");
    let mut ids = Vec::new();
    for kind in ["error", "panic", "reason"] {
        ids.push(queue.submit_task(NewTask::custom(kind, "1")).await.expect("submitted").task_id);
    }
    let handler = |task: Task| async move {
        match &*task.custom_type {
            "error" => Outcome::Failed(format!("a\0b{}", "\0".repeat(20_000))),
            "panic" => panic!("injected by a test: a\0b"),
            _ => Outcome::Completed("not JSON\0".into()),
        }
    };
    let watched = queue.clone();
    let all = async move {
        loop {
            let counts = watched.get_queue_info().await.expect("told").tasks.expect("counted");
            if counts.pending + counts.processing == 0 {
                return;
            }
            sleep(secs(1)).await;
        }
    };
    let ended = bounded("all end", queue.process(handler, 1).until(all).into_future())
        .await
        .expect("no failure");
    assert_eq!((ended.failed, ended.lost), (3, 0));
    for (id, text) in
        ids.iter().zip(["a\u{fffd}b", "the handler panicked", "the result was refused"])
    {
        let task = queue.query_task(id).await.expect("there");
        assert_eq!((task.status(), task.claims), (TaskStatus::Failed, 1), "{task:?}");
        assert!(task.error_message.starts_with(text), "{task:?}");
    }
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refused_error_text_is_left_out() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let refusal = |code| Answer::status(code).text("the text is not welcome");
    let refusals = vec![refusal(Code::InvalidArgument), refusal(Code::OutOfRange)];
    rig.tasks.answer_wrongly("UpdateTaskStatus", refusals);
    let running = Loop::start(&rig, 1, 1, |_| Outcome::Failed("why".into()));
    eventually("it is said in fewer words", || rig.tasks.outcomes().len() == 3).await;
    assert_eq!(running.finish().await.failed, 1);
    let said: Vec<_> =
        rig.tasks.outcomes().into_iter().map(|(_, status, text)| (status, text)).collect();
    let texts = ["why", "the server refused the text that says why", ""];
    assert_eq!(said, texts.map(|text| (TaskStatus::Failed, text.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_large_for_the_way_fails_its_task_at_once() {
    let rig = ScriptedQueue::start_with(config().max_request_message_bytes(1_000)).await;
    rig.tasks.put(&["a"]);
    let running =
        Loop::start(&rig, 1, 1, |_| Outcome::Completed(format!("{:?}", "x".repeat(2_000))));
    eventually("it is reported", || rig.tasks.outcomes().len() == 1).await;
    assert_eq!(running.finish().await.failed, 1);
    assert!(
        rig.tasks.outcomes()[0].2.starts_with("the result was refused: "),
        "{:?}",
        rig.tasks.outcomes()
    );
}

/// What a proxy does to results, and nothing else, for good.
async fn a_proxy_holds_no_worker(
    config: tonic_supervisor::ConfigBuilder,
    proxy: Answer,
    within: u64,
) {
    let (log, rig) = (LogLines::listen(), ScriptedQueue::start_with(config).await);
    rig.tasks.put(&["large", "small"]);
    rig.tasks.answer_wrongly("UpdateTaskStatus", vec![proxy; 1_000]);
    let running = Loop::start(&rig, 1, 1, done);
    let (took, ()) = timed(eventually("the next has begun", || running.begun() == 2)).await;
    assert!(took >= LEASE && took <= LEASE + secs(within), "{took:?}");
    let given_up = log.saying("a result is given up");
    assert!(given_up.len() == 1 && given_up[0].level == tracing::Level::ERROR, "{given_up:?}");
    assert_eq!(given_up[0].field("task").trim_matches('"'), "large");
    running.stop.send(()).expect("it runs");
    let ended = bounded("the end", running.ended).await.expect("no panic").expect("no failure");
    assert_eq!((ended.completed, ended.lost), (0, 1), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_answered_with_an_error_for_good_is_given_up_after_its_lease() {
    for code in
        [Code::Unknown, Code::Internal, Code::Unavailable, Code::ResourceExhausted, Code::Aborted]
    {
        a_proxy_holds_no_worker(config(), Answer::status(code), 35).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_never_answered_is_given_up_after_its_lease() {
    a_proxy_holds_no_worker(config(), Answer::hang(), 75).await;
    a_proxy_holds_no_worker(config().timeout(None), Answer::hang(), 35).await;
}

#[tokio::test(start_paused = true)]
async fn a_result_whose_link_is_cut_for_good_is_given_up_after_its_lease() {
    a_proxy_holds_no_worker(config(), Answer::cut_after_processing(), 90).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_not_tried_again() {
    for code in [Code::PermissionDenied, Code::NotFound, Code::Unimplemented, Code::Unauthenticated]
    {
        let rig = ScriptedQueue::start().await;
        rig.tasks.put(&["a"]);
        rig.tasks.refuse(TaskStatus::Completed, code, "no");
        let running = Loop::start(&rig, 1, 1, done);
        sleep(secs(100)).await;
        assert_eq!(rig.tasks.outcomes().len(), 1, "{code:?}");
        assert_eq!(running.finish().await.lost, 1, "{code:?}");
    }
}
