//! Tokens and grants are swapped while calls run: what holds counts from the next call on, and no
//! call fails that may.

use super::{bearer, client, grants, server, token};
use futures::future::BoxFuture;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Status};
use tonic_supervisor::{
    Config, Supervisor,
    agent_queue::{
        CreateQueueRequest, DESCRIPTORS, GetQueueInfoRequest, NewTask, PrivateAgentTasksQueue,
        SubmitTaskRequest, Task,
        agent_queue_client::AgentQueueClient,
        agent_queue_server::AgentQueueServer,
        server::{
            Action, Authenticated, Authorizer, Identity, LiveGrants, MemoryStore, Service, Settings,
        },
    },
};

const LONG: Duration = Duration::from_secs(60);
const LOOPS: usize = 16;

/// The grants, and the number of the newest token that was shown.
struct Noting {
    live: LiveGrants,
    newest: AtomicUsize,
}

impl Authorizer for Noting {
    fn identify<'a>(
        &'a self,
        head: &'a http::request::Parts,
    ) -> BoxFuture<'a, Result<Identity, Status>> {
        let shown = head
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let number = (1..=9).find(|number| bearer(*number).as_deref() == Some(shown)).unwrap_or(0);
        self.newest.fetch_max(number.into(), SeqCst);
        self.live.identify(head)
    }

    fn may(&self, identity: &Identity, action: Action, queue: &str) -> bool {
        self.live.may(identity, action, queue)
    }

    fn knows(&self, identity: &Identity) -> bool {
        self.live.knows(identity)
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.live.changed()
    }
}

/// Waits until a counter has passed; each of these is driven by calls that go on.
async fn passes(counter: &AtomicUsize, value: usize) {
    let wait = async {
        while counter.load(SeqCst) < value {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, wait).await.expect("calls go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_replaced_under_a_thousand_calls_and_none_fails() {
    let authorizer = Arc::new(Noting {
        live: LiveGrants::new(grants(&[("a", &[1], "")])),
        newest: AtomicUsize::default(),
    });
    let service =
        Service::new(MemoryStore::new(Settings::default())).with_authorizer(authorizer.clone());
    let service = Authenticated::new(AgentQueueServer::new(service), Some(authorizer.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming),
    );

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, token(1).reveal()).expect("written");
    let config = Config::builder()
        .host("127.0.0.1")
        .port(port)
        .credentials_token_file(file.display().to_string());
    let config = config.build().expect("valid");
    let builder = Supervisor::builder(config).descriptor_set(DESCRIPTORS).expect("descriptors");
    let supervisor = builder.spawn();
    let channel = supervisor.channel();
    let mut client = AgentQueueClient::new(channel);
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");

    // A worker, too, whose claim waits at the server all the time.
    let (done, mut ran) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel::<()>();
    let work = move |task: Task| {
        let sent = done.send(task.task_id).map_err(std::io::Error::other);
        async move { sent.map(|()| "{}".to_owned()) }
    };
    let queues = PrivateAgentTasksQueue::over(supervisor.clone());
    let worker = tokio::spawn(async move {
        let ended = async { ended.await.unwrap_or_default() };
        queues.queue("a").process(work, 1).until(ended).await.map(drop)
    });

    let (stop, rounds) =
        (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicUsize::new(0) }; LOOPS]));
    let loops = (0..LOOPS).map(|number| {
        let (mut client, stop, rounds) = (client.clone(), stop.clone(), rounds.clone());
        tokio::spawn(async move {
            while !stop.load(SeqCst) {
                client
                    .get_queue_info(GetQueueInfoRequest { agent_id: "a".into() })
                    .await
                    .expect("no call fails");
                rounds[number].fetch_add(1, SeqCst);
            }
        })
    });
    let loops: Vec<_> = loops.collect();
    for next in 2..=4 {
        authorizer.live.replace(grants(&[("a", &[next - 1, next], "")]));
        let beside = folder.path().join("beside");
        fs::write(&beside, format!("{}\n", token(next).reveal())).expect("written");
        fs::rename(&beside, &file).expect("renamed");
        passes(&authorizer.newest, next.into()).await;
        // Calls that began before the new token was read may still show the old one; of each loop
        // there is one.
        for round in rounds.iter() {
            passes(round, round.load(SeqCst) + 2).await;
        }
        authorizer.live.replace(grants(&[("a", &[next], "")]));
    }
    for round in rounds.iter() {
        passes(round, 1_000 / LOOPS + 1).await;
    }
    stop.store(true, SeqCst);
    for one in loops {
        one.await.expect("no call failed");
    }
    let task = NewTask {
        r#type: 1,
        payload: "{}".into(),
        client_request_id: "r".into(),
        ..NewTask::default()
    };
    let request = SubmitTaskRequest { agent_id: "a".into(), task: Some(task) };
    let submitted = client.submit_task(request).await.expect("submitted").into_inner().task_id;
    let worked = timeout(LONG, ran.recv()).await.expect("the worker lives");
    assert_eq!(worked, Some(submitted));
    end.send(()).expect("it listens");
    worker.await.expect("joined").expect("no claim failed");
    let calls: usize = rounds.iter().map(|round| round.load(SeqCst)).sum();
    assert!(calls >= 1_000, "{calls}");
    supervisor.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn grants_that_are_swapped_a_thousand_times_hold_for_the_very_next_call() {
    let with: &[super::Line<'_>] =
        &[("a", &[1], ""), ("guest", &[2], "{ queues: a, may: [look] }")];
    let less: &[super::Line<'_>] =
        &[("a", &[1], ""), ("guest", &[2], "{ queues: b, may: [look] }")];
    let none: &[super::Line<'_>] = &[("a", &[1], "")];
    let live = Arc::new(LiveGrants::new(grants(with)));
    let server = server(&live);
    let (mut owner, mut guest) = (client(server.clone(), bearer(1)), client(server, bearer(2)));
    owner.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    let info = || GetQueueInfoRequest { agent_id: "a".into() };
    for round in 0..1_000 {
        let (lines, code) = match round % 3 {
            0 => (with, Code::Ok),
            1 => (less, Code::PermissionDenied),
            _ => (none, Code::Unauthenticated),
        };
        live.replace(grants(lines));
        let said =
            guest.get_queue_info(info()).await.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(said, code, "{round}");
        owner.get_queue_info(info()).await.expect("never touched");
    }
}
