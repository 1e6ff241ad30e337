//! The command `serve`, from outside: TLS, health, drain, and what it refuses to start with.

use crate::{
    certificates::{Authority, NOW},
    process::{Serve, command},
};
use std::{fs, net::SocketAddr, time::Duration};
use tokio::time::timeout;
use tonic::{Code, Request};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_supervisor::{
    Config, SupervisedChannel, Supervisor,
    agent_queue::{
        CreateQueueRequest, DESCRIPTORS, GetTaskRequest, HealthCheckRequest as AskQueue, NewTask,
        SubmitTaskRequest, TaskStatus, TaskType, UpdateTaskStatusRequest, WatchQueueRequest,
        agent_queue_client::AgentQueueClient,
    },
};

/// No step of a healthy server takes longer.
const LONG: Duration = Duration::from_secs(20);

fn connect(address: SocketAddr) -> (Supervisor, AgentQueueClient<SupervisedChannel>) {
    let config = Config::builder().host("127.0.0.1").port(address.port()).build().expect("valid");
    let builder = Supervisor::builder(config).descriptor_set(DESCRIPTORS).expect("descriptors");
    let supervisor = builder.spawn();
    let channel = supervisor.channel();
    (supervisor, AgentQueueClient::new(channel))
}

async fn queue(client: &mut AgentQueueClient<SupervisedChannel>) {
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
}

fn submission(name: &str) -> SubmitTaskRequest {
    let task = NewTask {
        r#type: TaskType::ApiCall as i32,
        payload: "{}".into(),
        client_request_id: name.into(),
        ..NewTask::default()
    };
    SubmitTaskRequest { agent_id: "a".into(), task: Some(task) }
}

fn claim(id: &str, timeout: f64) -> GetTaskRequest {
    GetTaskRequest { agent_id: "a".into(), claim_id: id.into(), timeout }
}

#[tokio::test]
async fn a_waiting_claim_is_woken_by_a_submission_and_empty_when_the_server_stops() {
    let server = Serve::start("memory", &[]);
    let (supervisor, mut client) = connect(server.address);
    queue(&mut client).await;
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.get_task(claim("c1", 60.0)).await });
    client.submit_task(submission("r1")).await.expect("submitted");
    let woken = timeout(LONG, waiting)
        .await
        .expect("woken")
        .expect("joined")
        .expect("claimed")
        .into_inner();
    assert_eq!(woken.task.map(|task| task.payload), Some("{}".into()));

    let mut watch = client
        .watch_queue(WatchQueueRequest { agent_id: "a".into(), cursor: None })
        .await
        .expect("watched");
    let first = watch.get_mut().message().await.expect("at once").expect("an answer");
    assert_eq!(first.changes, []);
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.get_task(claim("c2", 60.0)).await });
    // The claim has reached the server when a later call on the same link is answered.
    tokio::task::yield_now().await;
    client.submit_task(submission("r2")).await.expect("submitted");
    let second = timeout(LONG, waiting)
        .await
        .expect("woken")
        .expect("joined")
        .expect("claimed")
        .into_inner();
    assert!(second.task.is_some());
    let told = watch.get_mut().message().await.expect("told").expect("an answer");
    assert_eq!(told.changes[0].task_id, "task-2");

    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.get_task(claim("c3", 60.0)).await });
    // Not a race to hide: a claim that comes after the drain is answered empty, too, or finds no
    // server.
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.terminate();
    let empty = timeout(LONG, waiting)
        .await
        .expect("answered")
        .expect("joined")
        .expect("no error")
        .into_inner();
    assert_eq!(empty.task, None);
    let end = loop {
        match timeout(LONG, watch.get_mut().message()).await.expect("it ends") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a watch that the server ends says so"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    assert_eq!(timeout(LONG, server.ended()).await.expect("ended").code(), Some(0));
    supervisor.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn health_is_told_by_grpc_health_v1_and_by_the_service_itself() {
    let folder = tempfile::tempdir().expect("folder");
    let store = format!("sqlite:{}", folder.path().join("queue.db").display());
    let server = Serve::start(&store, &[]);
    let (supervisor, mut client) = connect(server.address);
    let mut health = HealthClient::new(supervisor.channel());
    for service in ["", "agent_queue.v1.AgentQueue"] {
        let mut watch = health
            .watch(HealthCheckRequest { service: service.into() })
            .await
            .expect("watched")
            .into_inner();
        while watch.message().await.expect("told").expect("a status").status()
            != ServingStatus::Serving
        {}
    }
    let said = client.health_check(AskQueue {}).await.expect("answered").into_inner();
    assert!(
        said.healthy
            && said.message.starts_with("SQLite 3.")
            && said.version == env!("CARGO_PKG_VERSION"),
        "{said:?}"
    );
    supervisor.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_task_whose_agent_dies_is_handed_out_again_and_fails_after_max_claims() {
    let server = Serve::start("memory", &["--lease", "1", "--max-claims", "2"]);
    let (supervisor, mut client) = connect(server.address);
    queue(&mut client).await;
    let id = client.submit_task(submission("r")).await.expect("submitted").into_inner().task_id;
    for round in ["c1", "c2", "c3"] {
        let answer = client.get_task(claim(round, 30.0)).await.expect("claimed").into_inner();
        assert_eq!((answer.lease, answer.task.expect("the task").task_id), (1.0, id.clone()));
    }
    let none = client.get_task(claim("c4", 1.5)).await.expect("answered").into_inner();
    assert_eq!(none.task, None, "it is given up");
    let late = UpdateTaskStatusRequest {
        agent_id: "a".into(),
        task_id: id,
        claim_id: "c1".into(),
        status: TaskStatus::Completed as i32,
        ..UpdateTaskStatusRequest::default()
    };
    let refused = client.update_task_status(late).await.expect_err("too late");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("its lease ended"), "{refused}");
    supervisor.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_by_field_value_and_rule() {
    let server = Serve::start("memory", &[]);
    let (supervisor, mut client) = connect(server.address);
    let mut bad = submission("r");
    bad.task.as_mut().expect("a task").priority = Some(10);
    let refused = client.submit_task(Request::new(bad)).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), r#"task.priority: "10" must be 0 to 9"#);
    let refused = client.submit_task(submission("r")).await.expect_err("no queue");
    assert_eq!(refused.code(), Code::NotFound);
    supervisor.shutdown(Duration::ZERO).await;
}

#[test]
fn what_it_cannot_start_with_is_said_without_passwords() {
    for (arguments, code, text) in [
        (
            &["--store", "postgre://me:secret@host/db"][..],
            2,
            "--store must be `memory`, `sqlite:PATH` or `postgres:DSN`",
        ),
        (
            &["--store", "sqlite:/nowhere/at/all.db"],
            1,
            "the database /nowhere/at/all.db cannot be used",
        ),
        (&["--lease", "0"], 2, "must be 1 to 86400 seconds"),
        (&["--max-claims", "0"], 2, "--max-claims"),
        (&["--keep-finished", "6"], 2, "--keep-finished"),
        (&["--store", "memory", "--addr", "256.0.0.1:1"], 2, "is not an IPv4 address"),
        (
            &["--store", "memory", "--addr", "localhost"],
            2,
            "must be HOST:PORT, as in 127.0.0.1:50051, localhost:50051",
        ),
    ] {
        let output = command(&[&["serve"], arguments].concat()).output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(text) && !said.contains("secret"), "{arguments:?}: {said}");
    }
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = busy.local_addr().expect("bound").to_string();
    let output =
        command(&["serve", "--store", "memory", "--addr", &address]).output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}

#[test]
fn an_address_may_name_its_host() {
    use std::io::{BufRead as _, BufReader};
    let arguments = ["serve", "--json", "--store", "memory", "--addr", "localhost:0"];
    let mut process =
        command(&arguments).stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    let mut said = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut said).expect("a line");
    let line: serde_json::Value = serde_json::from_str(&said).expect("it serves, and says so");
    let address: SocketAddr = line["address"].as_str().expect("text").parse().expect("an address");
    let connected = std::net::TcpStream::connect(address);
    process.kill().expect("killed");
    process.wait().expect("ended");
    assert!(address.ip().is_loopback() && connected.is_ok(), "{address}: {connected:?}");
}

#[test]
fn a_tls_key_that_others_can_read_is_warned_of() {
    use std::{
        io::{BufRead as _, BufReader},
        os::unix::fs::PermissionsExt as _,
        process::Stdio,
    };
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("authority");
    authority.both("127.0.0.1", NOW).write(folder.path(), "both");
    let key = folder.path().join("both.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("opened to all");
    let file = folder.path().join("grpc.yaml");
    let keys = "grpc:\n  tls: {certificate: FOLDER/both.pem, key: FOLDER/both.key}\n";
    fs::write(&file, keys.replace("FOLDER", &folder.path().display().to_string()))
        .expect("written");
    let arguments = [
        "--config",
        file.to_str().expect("text"),
        "serve",
        "--store",
        "memory",
        "--addr",
        "127.0.0.1:0",
    ];
    let mut process = command(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = String::new();
    BufReader::new(process.stderr.take().expect("piped")).read_line(&mut said).expect("a line");
    process.kill().expect("killed");
    process.wait().expect("ended");
    assert!(
        said.contains("both.key") && said.contains("mode 644") && said.contains("chmod 600"),
        "{said}"
    );
}

/// A supervised client and `serve` take the same keys of the same file; SIGTERM drains.
#[tokio::test]
async fn serve_takes_the_same_tls_keys_as_the_supervisor() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    authority.both("127.0.0.1", NOW).write(folder.path(), "both");
    let file = folder.path().join("grpc.yaml");
    let keys =
        "grpc:\n  tls: {ca: FOLDER/ca.pem, certificate: FOLDER/both.pem, key: FOLDER/both.key}\n";
    fs::write(&file, keys.replace("FOLDER", &folder.path().display().to_string()))
        .expect("written");
    let server = Serve::start("memory", &["--config", file.to_str().expect("text")]);

    let config = Config::builder()
        .file(&file)
        .host("127.0.0.1")
        .port(server.address.port())
        .build()
        .expect("valid");
    let supervisor = Supervisor::spawn(config);
    let mut client = AgentQueueClient::new(supervisor.channel());
    queue(&mut client).await;
    server.terminate();
    assert_eq!(timeout(LONG, server.ended()).await.expect("ended").code(), Some(0));
    supervisor.shutdown(Duration::ZERO).await;
}

/// systemd's end of the socket is the test's.
#[test]
fn systemd_is_told_that_it_serves_that_it_lives_and_that_it_stops() {
    use std::{net::TcpStream, os::unix::net::UnixDatagram, process::Stdio};
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(LONG)).expect("an option");
    let told = || {
        let mut words = [0; 1024];
        let length = socket.recv(&mut words).expect("told in time");
        String::from_utf8(words[..length].to_vec()).expect("text")
    };
    let mut process = command(&["serve", "--store", "memory", "--addr", "127.0.0.1:0"])
        .envs([("NOTIFY_SOCKET", path.to_str().expect("text")), ("WATCHDOG_USEC", "200000")])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let ready = told();
    let address =
        ready.strip_prefix("READY=1\nSTATUS=serves on ").expect("READY comes first").trim();
    TcpStream::connect(address).expect("it serves when it says so");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1\n");
    }
    let sent =
        std::process::Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
    assert!(sent.expect("kill").success());
    let stopping =
        std::iter::repeat_with(told).find(|words| words != "WATCHDOG=1\n").expect("endless");
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
    assert_eq!(process.wait().expect("ended").code(), Some(0));
}
