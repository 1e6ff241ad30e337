//! grpcio, gRPC's own server for Python: mutual TLS, rotation, credentials and Unix sockets.

use super::{Foreign, World, certificates::NOW};
use std::{env, path::Path, process::Command, time::Duration};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use tonic_supervisor::{Config, EventItem, Fact, Supervisor};

fn serve(arguments: &[&Path]) -> Foreign {
    let python = env::var_os("PEERS_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/grpc_server.py"))
        .args(arguments);
    Foreign::start(command, |line| Some(line.trim().to_owned()))
}

async fn say(supervisor: &Supervisor) -> Result<Response<String>, Status> {
    supervisor
        .channel()
        .unary::<String, String>("/test.Echo/Say", Request::new("hello".into()))
        .await
}

fn trailer<'a>(response: &'a Response<String>, name: &str) -> &'a str {
    response.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn mutual_tls_works_and_a_rotated_certificate_is_shown_from_the_next_link_on() {
    let world = World::new();
    world.ours.server("127.0.0.1", NOW).write(world.path(), "server");
    world.ours.client("agent-1.example", NOW).write(world.path(), "client");
    let files = ["ca.pem", "server.pem", "server.key"].map(|name| world.file(name));
    let server = serve(&[Path::new("tcp"), &files[0], &files[1], &files[2]]);
    let config = world.showing(world.config(format!("https://127.0.0.1:{}", server.said)));
    let token = |_| async {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", "Bearer t".parse().expect("a value"));
        Ok(metadata)
    };
    let supervisor =
        Supervisor::builder(config.build().expect("valid")).call_credentials(token).spawn();
    let answer = say(&supervisor).await.expect("answered");
    assert_eq!((answer.get_ref().as_str(), trailer(&answer, "who")), ("hello", "agent-1.example"));
    assert_eq!(trailer(&answer, "token"), "Bearer t");

    world.ours.client("agent-2.example", NOW).write(world.path(), "client");
    let mut events = supervisor.events();
    supervisor.reconnect_now();
    while let Some(item) = events.next().await {
        if let EventItem::Event(event) = item
            && matches!(event.fact, Fact::LinkEstablished { .. })
        {
            break;
        }
    }
    let answer = say(&supervisor).await.expect("answered");
    assert_eq!(trailer(&answer, "who"), "agent-2.example");
    assert_eq!(supervisor.snapshot().retries, 0);
}

#[tokio::test]
async fn without_a_certificate_of_its_authority_it_lets_nobody_in() {
    let world = World::new();
    world.ours.server("127.0.0.1", NOW).write(world.path(), "server");
    let files = ["ca.pem", "server.pem", "server.key"].map(|name| world.file(name));
    let server = serve(&[Path::new("tcp"), &files[0], &files[1], &files[2]]);
    let target = format!("https://127.0.0.1:{}", server.said);
    let refused = |config: tonic_supervisor::ConfigBuilder| async move {
        let supervisor = Supervisor::spawn(config.wait_for_ready(false).build().expect("valid"));
        let ended =
            tokio::time::timeout(Duration::from_secs(20), say(&supervisor)).await.expect("no hang");
        ended.expect_err("refused").message().to_owned()
    };
    let words = refused(world.config(&*target)).await;
    assert!(words.contains("require a client certificate, and none is configured"), "{words}");
    world.theirs.client("stranger", NOW).write(world.path(), "client");
    let words = refused(world.showing(world.config(&*target))).await;
    assert!(words.contains("have refused our client certificate"), "{words}");
}

#[tokio::test]
async fn a_unix_socket_works() {
    let world = World::new();
    let path = world.file("queue.sock");
    let _server = serve(&[Path::new("unix"), &path]);
    let config =
        Config::builder().target(format!("unix:{}", path.display())).build().expect("valid");
    let answer = say(&Supervisor::spawn(config)).await.expect("answered");
    assert_eq!(answer.get_ref(), "hello");
}
