//! What a client can cost `serve`: connections, silence, answers that nobody reads.

use crate::process::{Serve, command};
use bytes::Bytes;
use std::{fs, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::{Code, transport::Endpoint};
use tonic_supervisor::agent_queue::{
    BatchSubmitTasksRequest, CreateQueueRequest, GetTaskRequest, ListTasksRequest, NewTask,
    QueueExistsRequest, WatchQueueRequest, agent_queue_client::AgentQueueClient,
};

const LONG: Duration = Duration::from_secs(30);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Client = AgentQueueClient<tonic::transport::Channel>;

async fn client(address: SocketAddr) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    AgentQueueClient::new(endpoint.connect().await.expect("connected"))
}

async fn answers(client: &mut Client) -> bool {
    let asked = client.queue_exists(QueueExistsRequest { agent_id: "a".into() });
    matches!(timeout(LONG, asked).await, Ok(Ok(_)))
}

/// Waits until the server has closed a connection.
async fn closed(mut stream: TcpStream) {
    let mut bytes = [0; 1024];
    let end = async { while matches!(stream.read(&mut bytes).await, Ok(count) if count > 0) {} };
    timeout(LONG, end).await.expect("the server closes it");
}

#[tokio::test]
async fn silent_connections_are_closed_and_others_are_served_meanwhile() {
    let server = Serve::start("memory", &["--handshake-timeout", "2", "--max-connections", "500"]);
    let mut silent = Vec::new();
    for number in 0..400 {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        // Some begin, and stop in the middle of the first words.
        stream.write_all(&PREFACE[..number % PREFACE.len()]).await.expect("sent");
        silent.push(stream);
    }
    let mut client = client(server.address).await;
    assert!(answers(&mut client).await);
    for stream in silent {
        closed(stream).await;
    }
    assert!(answers(&mut client).await, "who has spoken stays");
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_closed() {
    let server = Serve::start("memory", &["--keepalive-time", "0.5", "--keepalive-timeout", "0.5"]);
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(PREFACE).await.expect("sent");
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("sent");
    closed(stream).await;
}

#[tokio::test]
async fn one_connection_more_than_the_limit_is_closed_at_once() {
    let server = Serve::start("memory", &["--max-connections", "4", "--handshake-timeout", "60"]);
    let mut client = client(server.address).await;
    assert!(answers(&mut client).await);
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(TcpStream::connect(server.address).await.expect("connected"));
    }
    closed(TcpStream::connect(server.address).await.expect("connected")).await;
    assert!(answers(&mut client).await);
    drop(others);
    // A slot is free when the server has seen that its connection is gone.
    let again = async {
        let endpoint =
            Endpoint::from_shared(format!("http://{}", server.address)).expect("an address");
        while endpoint.connect().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, again).await.expect("there is room again");
}

/// Processor time of a process in hundredths of a second.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let fields: Vec<_> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}

#[tokio::test]
async fn with_no_files_left_the_server_rests_and_serves_whom_it_has() {
    let server = Serve::start_with_files(64, "memory", &["--handshake-timeout", "60"]);
    let mut client = client(server.address).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(server.address).await.expect("connected"));
    }
    assert!(answers(&mut client).await);
    let before = ticks(server.id());
    sleep(Duration::from_secs(1)).await;
    assert!(ticks(server.id()) - before < 50, "it does not spin");
    assert!(answers(&mut client).await);
}

/// A connection whose answers are never read: HTTP/2 by hand, whose windows are never opened again.
struct Deaf {
    send: h2::client::SendRequest<Bytes>,
    unread: Vec<h2::RecvStream>,
}

impl Deaf {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connected");
        let (send, connection) = h2::client::handshake(stream).await.expect("greeted");
        tokio::spawn(connection);
        Self { send, unread: Vec::new() }
    }

    async fn ask(&mut self, method: &str, message: &impl prost::Message) {
        let uri = format!("http://server/agent_queue.v1.AgentQueue/{method}");
        let request = http::Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let mut send = self.send.clone().ready().await.expect("room for a stream");
        let (answer, mut body) =
            send.send_request(request.body(()).expect("a request"), false).expect("sent");
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(message.encoded_len()).expect("short").to_be_bytes());
        message.encode(&mut bytes).expect("room");
        body.send_data(bytes.into(), true).expect("sent");
        // The answer's head may have to wait for room, too.
        if let Ok(answer) = timeout(Duration::from_millis(50), answer).await {
            self.unread.push(answer.expect("an answer").into_body());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_cost_no_more_than_their_budget_and_are_thrown_away() {
    let limits = ["--max-answer-bytes", "33554432", "--answer-timeout", "5"];
    let server = Serve::start("memory", &limits);
    let mut client = client(server.address).await;
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    for batch in 0..2 {
        let tasks = (0..3).map(|number| NewTask {
            r#type: 1,
            payload: format!("\"{}\"", "x".repeat(900_000)),
            client_request_id: format!("{batch}-{number}"),
            ..NewTask::default()
        });
        let request = BatchSubmitTasksRequest { agent_id: "a".into(), tasks: tasks.collect() };
        client.batch_submit_tasks(request).await.expect("submitted");
    }
    let before = resident(server.id());
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let mut connection = Deaf::connect(server.address).await;
        for number in 0..50 {
            let (agent_id, cursor) = ("a".to_owned(), Some(0));
            if number % 2 == 0 {
                connection
                    .ask("ListTasks", &ListTasksRequest { agent_id, ..ListTasksRequest::default() })
                    .await;
            } else {
                connection.ask("WatchQueue", &WatchQueueRequest { agent_id, cursor }).await;
            }
        }
        deaf.push(connection);
    }
    let grown = resident(server.id()).saturating_sub(before);
    println!("200 unread answers cost {} MiB", grown >> 20);
    assert!(grown < 160 << 20, "{} MiB", grown >> 20);
    // What takes no room is answered all the time, and what does takes its turn.
    assert!(answers(&mut client).await);
    drop(deaf);
    let list = ListTasksRequest { agent_id: "a".into(), ..ListTasksRequest::default() };
    let listed =
        timeout(LONG, client.list_tasks(list)).await.expect("there is room again").expect("listed");
    assert_eq!(listed.into_inner().tasks.len(), 3, "3 MiB of them");
}

#[tokio::test]
async fn one_connection_that_reads_nothing_does_not_stop_the_others() {
    let server = Serve::start("memory", &["--max-answer-bytes", "16777216"]);
    let mut client = client(server.address).await;
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    let task = |name: &str| NewTask {
        r#type: 1,
        payload: format!("\"{}\"", "x".repeat(1_000_000)),
        client_request_id: name.into(),
        ..NewTask::default()
    };
    let tasks = ["1", "2", "3"].map(task).to_vec();
    client
        .batch_submit_tasks(BatchSubmitTasksRequest { agent_id: "a".into(), tasks })
        .await
        .expect("submitted");
    let mut deaf = Deaf::connect(server.address).await;
    for _ in 0..20 {
        deaf.ask(
            "ListTasks",
            &ListTasksRequest { agent_id: "a".into(), ..ListTasksRequest::default() },
        )
        .await;
    }
    let list = ListTasksRequest { agent_id: "a".into(), ..ListTasksRequest::default() };
    // Sooner than an unread answer is thrown away.
    let listed = timeout(LONG, client.list_tasks(list)).await.expect("in time").expect("listed");
    assert_eq!(listed.into_inner().tasks.len(), 3);
    let claim = GetTaskRequest { agent_id: "a".into(), claim_id: "c".into(), timeout: 0.0 };
    assert!(timeout(LONG, client.get_task(claim)).await.expect("in time").is_ok());
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_never_end_cost_no_more_than_their_budget_and_others_get_through() {
    let server =
        Serve::start("memory", &["--max-answer-bytes", "33554432", "--answer-timeout", "20"]);
    let mut client = client(server.address).await;
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    let before = resident(server.id());
    let mut endless = Vec::new();
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let (send, connection) = h2::client::handshake(stream).await.expect("greeted");
    tokio::spawn(connection);
    for _ in 0..200 {
        let uri = "http://server/agent_queue.v1.AgentQueue/SubmitTask";
        let request = http::Request::post(uri)
            .header("content-type", "application/grpc")
            .body(())
            .expect("a request");
        let (answer, mut body) = send
            .clone()
            .ready()
            .await
            .expect("a stream")
            .send_request(request, false)
            .expect("sent");
        let message = [&[0], &4_000_000_u32.to_be_bytes()[..], &[b'x'; 3_900_000]].concat();
        body.send_data(message.into(), false).expect("sent");
        endless.push((answer, body));
    }
    sleep(Duration::from_secs(2)).await;
    let grown = resident(server.id()).saturating_sub(before);
    println!("200 endless requests cost {} MiB", grown >> 20);
    assert!(grown < 80 << 20, "{} MiB", grown >> 20);
    let task = NewTask {
        r#type: 1,
        payload: format!("\"{}\"", "x".repeat(1_000_000)),
        client_request_id: "r".into(),
        ..NewTask::default()
    };
    let request = BatchSubmitTasksRequest { agent_id: "a".into(), tasks: vec![task] };
    // On another connection, and sooner than the endless ones are given up.
    let submitted = timeout(Duration::from_secs(10), client.batch_submit_tasks(request)).await;
    submitted.expect("in time").expect("submitted");
}

#[tokio::test]
async fn a_watch_that_is_read_again_too_late_hears_why_it_ended() {
    let server = Serve::start("memory", &["--answer-timeout", "0.5"]);
    let mut client = client(server.address).await;
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    let task = NewTask {
        r#type: 1,
        payload: format!("\"{}\"", "x".repeat(1_000_000)),
        client_request_id: "r".into(),
        ..NewTask::default()
    };
    let tasks = vec![task];
    client
        .batch_submit_tasks(BatchSubmitTasksRequest { agent_id: "a".into(), tasks })
        .await
        .expect("submitted");
    let mut deaf = Deaf::connect(server.address).await;
    deaf.ask("WatchQueue", &WatchQueueRequest { agent_id: "a".into(), cursor: Some(0) }).await;
    sleep(Duration::from_secs(2)).await;
    let mut body = deaf.unread.pop().expect("an answer");
    let read = async {
        while let Some(data) = body.data().await {
            let read = data.expect("data").len();
            body.flow_control().release_capacity(read).expect("released");
        }
        body.trailers().await.expect("no reset").expect("trailers")
    };
    let trailers = timeout(LONG, read).await.expect("it ends");
    assert_eq!(trailers["grpc-status"], (Code::ResourceExhausted as i32).to_string());
}

#[test]
fn limits_that_make_no_sense_are_refused_with_their_rule() {
    for (arguments, text) in [
        (["--max-connections", "0"], "--max-connections"),
        (["--max-streams", "0"], "--max-streams"),
        (["--handshake-timeout", "0"], "must be 0.1 to 86400 seconds"),
        (["--max-answer-bytes", "1000"], "--max-answer-bytes"),
        (["--answer-timeout", "NaN"], "must be 0.1 to 86400 seconds"),
    ] {
        let output = command(&[&["serve", "--store", "memory"], &arguments[..]].concat())
            .output()
            .expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(text), "{arguments:?}: {said}");
    }
}

/// 5,000 claims wait on ten connections while 400 others say nothing: each claim gets one task, and
/// nobody two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_waiting_claims_beside_silent_connections_get_a_task_each() {
    const WAITING: usize = 5000;
    let folder = tempfile::tempdir().expect("folder");
    let store = format!("sqlite:{}", folder.path().join("queue.db").display());
    let server = Serve::start(&store, &[]);
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(server.address).await.expect("connected"));
    }
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(client(server.address).await);
    }
    clients[0].create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..WAITING {
        let mut client = clients[number % clients.len()].clone();
        let claim = GetTaskRequest {
            agent_id: "a".into(),
            claim_id: format!("claim-{number}"),
            timeout: 60.0,
        };
        waiting.spawn(async move {
            client.get_task(claim).await.map(|answer| answer.into_inner().task)
        });
    }
    for batch in 0..WAITING / 100 {
        let task = |number| NewTask {
            r#type: 1,
            payload: "{}".into(),
            client_request_id: format!("{batch}-{number}"),
            ..NewTask::default()
        };
        let request =
            BatchSubmitTasksRequest { agent_id: "a".into(), tasks: (0..100).map(task).collect() };
        clients[0].batch_submit_tasks(request).await.expect("submitted");
    }
    let mut given = std::collections::HashSet::new();
    while let Some(answer) = timeout(LONG, waiting.join_next()).await.expect("nobody is forgotten")
    {
        let task = answer.expect("no panic").expect("no claim fails").expect("a task");
        assert!(given.insert(task.task_id), "no task is given to two");
    }
    assert_eq!(given.len(), WAITING);
    for stream in silent {
        closed(stream).await;
    }
}
