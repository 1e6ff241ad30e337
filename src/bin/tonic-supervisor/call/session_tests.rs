//! Runs of the command against servers without reflection, with too much of it, or that say
//! nothing; and what standard output and the exit code are then.

use super::{
    explain_tests::{HEALTH, call, call_until},
    schema::Schema,
};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic_supervisor::{
    agent_queue::DESCRIPTORS,
    testing::{Answer, Arrival, HealthAnswer, MemoryNetwork, ScriptedServer},
};

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
const QUEUE: &str = "queue:50051";

async fn server() -> (MemoryNetwork, ScriptedServer) {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.on(REFLECTION, Answer::status(Code::Unimplemented));
    server.on(ALPHA, Answer::status(Code::Unimplemented));
    (network, server)
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut all = vec![number << 3 | 2];
    while length >= 0x80 {
        all.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    all.push(length as u8);
    all.extend_from_slice(bytes);
    all
}

/// A reflection's answer with files.
fn files(files: impl IntoIterator<Item = Vec<u8>>) -> Answer {
    let files: Vec<_> = files.into_iter().flat_map(|file| field(1, &file)).collect();
    Answer::message(field(4, &files))
}

/// A server that has reflection of this version, one file at a time, as tonic's does.
fn reflects(server: &ScriptedServer, path: &str) {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("a set").file;
    server.on(path, move |call: &Arrival| {
        let text = String::from_utf8_lossy(&call.message).into_owned();
        if text.ends_with('*') {
            let name = field(1, b"agent_queue.v1.AgentQueue");
            return Answer::message(field(6, &field(1, &name)));
        }
        let asked = |file: &&FileDescriptorProto| text.ends_with(file.name());
        let symbol = text.contains("agent_queue.v1.AgentQueue").then(|| set.last()).flatten();
        match set.iter().find(asked).or(symbol) {
            Some(file) => files([file.encode_to_vec()]),
            None => {
                let refusal = [vec![1 << 3, 5], field(2, b"\x1b[2Jnot known")].concat();
                Answer::message(field(7, &refusal))
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn without_reflection_one_sentence_says_what_to_give() {
    let (network, _server) = server().await;
    let said = call(&network, &[HEALTH], false).await;
    let (code, words) = said.end();
    assert!(code == 1 && words.contains("has no reflection"), "{words}");
    assert!(words.contains("--descriptors FILE") && !words.contains('\n'), "{words}");
    assert_eq!(call(&network, &[HEALTH], true).await.answered, ["{}"]);
}

#[tokio::test(start_paused = true)]
async fn both_versions_of_reflection_are_spoken() {
    for path in [REFLECTION, ALPHA] {
        let (network, server) = server().await;
        reflects(&server, path);
        let said = call(&network, &[HEALTH, "--explain"], false).await;
        assert_eq!((said.end(), &*said.answered), ((0, ""), &["{}".to_owned()][..]));
        let version = if path == ALPHA { "v1alpha" } else { "v1" };
        let text = format!("reflection {version}, 1 file for agent_queue.v1.AgentQueue");
        assert!(said.explained.iter().any(|line| line.ends_with(&text)), "{:?}", said.explained);
        let listed = call(&network, &["list"], false).await;
        assert_eq!(listed.answered, ["agent_queue.v1.AgentQueue"]);
        let methods = call(&network, &["list", "agent_queue.v1.AgentQueue"], false).await;
        assert!(methods.answered.contains(&HEALTH.to_owned()), "{:?}", methods.answered);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_know_is_told_with_what_it_has() {
    let (network, server) = server().await;
    reflects(&server, REFLECTION);
    let said = call(&network, &["a.B/C"], false).await;
    let (code, words) = said.end();
    assert!(code == 1 && words.contains("\\u{1b}[2Jnot known"), "{words}");
    assert!(words.ends_with("its services are agent_queue.v1.AgentQueue"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_reflection_that_never_answers_has_ten_seconds_or_the_timeout() {
    for (more, seconds) in [(&[][..], 10.0), (&["--timeout", "3"], 3.0)] {
        let (network, server) = server().await;
        server.on(REFLECTION, Answer::hang());
        let began = Instant::now();
        let said = call(&network, &[&[HEALTH], more].concat(), false).await;
        assert_eq!(began.elapsed().as_secs_f64().round(), seconds);
        assert!(said.end().0 == 1 && said.end().1.contains("reflection"), "{:?}", said.end());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reflection_that_never_ends_is_bounded() {
    let (network, server) = server().await;
    let next = std::sync::atomic::AtomicUsize::new(0);
    server.on(REFLECTION, move |_: &Arrival| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dependency = vec![format!("{}", number + 1)];
        let name = Some(number.to_string());
        let file = FileDescriptorProto { name, dependency, ..Default::default() };
        files([file.encode_to_vec()])
    });
    let said = call(&network, &[HEALTH], false).await;
    assert!(said.end().0 == 1 && said.end().1.contains("too much"), "{:?}", said.end());
}

#[tokio::test(start_paused = true)]
async fn a_reflection_that_sends_nonsense_is_told_so() {
    let import = FileDescriptorProto {
        name: Some("a".into()),
        dependency: vec!["a".into()],
        ..Default::default()
    };
    let nothing = Answer::message(Vec::new());
    for answer in [nothing, files([]), files([vec![0xff; 40]]), files([import.encode_to_vec()])] {
        let (network, server) = server().await;
        server.on(REFLECTION, answer);
        let said = call(&network, &[HEALTH], false).await;
        assert!(said.end().0 == 1 && said.end().1.contains("reflection"), "{:?}", said.end());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_says_which_services_there_are_and_how_they_are() {
    let (network, server) = server().await;
    let said = call(&network, &[], false).await;
    assert_eq!(said.end(), (0, ""));
    assert!(said.explained[3].contains("connected"), "{:?}", said.explained);
    assert!(said.explained[4].contains("has no reflection"), "{:?}", said.explained);
    reflects(&server, REFLECTION);
    server.health(HealthAnswer::NotServing);
    let said = call(&network, &[], false).await;
    let last = said.explained.last().expect("a line");
    assert!(last.ends_with("services   agent_queue.v1.AgentQueue (NOT_SERVING)"), "{last}");
    let said = call(&network, &["--json"], false).await;
    let last = said.answered.last().expect("a line");
    let object: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(object["health"], "NOT_SERVING");
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_fails_says_where_and_exits_with_4() {
    let network = MemoryNetwork::new();
    let began = Instant::now();
    let said = call(&network, &[], false).await;
    assert_eq!((said.end().0, began.elapsed()), (4, Duration::ZERO));
    assert!(said.end().1.contains("connection refused"), "{:?}", said.end());
    let said = call(&network, &["--wait", "--timeout", "7"], false).await;
    assert_eq!((said.end().0, began.elapsed()), (4, Duration::from_secs(7)));
    network.black_hole(true);
    let said = call(&network, &[HEALTH, "--timeout", "3"], true).await;
    assert_eq!((said.end().0, began.elapsed()), (4, Duration::from_secs(10)));
    assert!(said.end().1.contains("within 3.000 s"), "{:?}", said.end());
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_ends_a_call_at_once() {
    let (network, server) = server().await;
    server.script(Answer::hang());
    let began = Instant::now();
    let pressed = sleep(Duration::from_secs(1));
    let said = call_until(&network, &[HEALTH, "--explain"], true, pressed).await;
    assert_eq!((said.end().0, began.elapsed()), (130, Duration::from_secs(1)));
    assert!(said.explained.last().is_some_and(|line| line.contains("by Ctrl-C after 1.000 s")));
    server.given_up(1).await;
}

#[tokio::test(start_paused = true)]
async fn what_d_has_must_fit_the_method() {
    let (network, _server) = server().await;
    for (data, part) in [
        ("{} {}", "has 2 messages"),
        ("{\"x\": 1}", "is not a agent_queue.v1.HealthCheckRequest"),
        ("{", "line 1"),
    ] {
        let said = call(&network, &[HEALTH, "-d", data], true).await;
        assert!(said.end().0 == 2 && said.end().1.contains(part), "{data}: {:?}", said.end());
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_goes_with_the_call() {
    let (network, server) = server().await;
    let arguments = [HEALTH, "-H", "x-tenant: a", "-H", "x-tenant: b", "-H", "t-bin: AAE="];
    assert_eq!(call(&network, &arguments, true).await.end(), (0, ""));
    let arrival = server.arrivals().pop().expect("it came");
    let tenants: Vec<_> = arrival.metadata.get_all("x-tenant").iter().collect();
    assert_eq!(tenants, ["a", "b"]);
    assert_eq!(arrival.metadata.get("t-bin").map(|value| value.as_bytes()), Some(&b"AAE="[..]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_written_as_it_comes_and_its_end_is_told() {
    let (network, server) = server().await;
    // WatchQueueResponse { cursor: "a" }: whatever the field, it is a text.
    let schema = Schema::of_set(DESCRIPTORS).expect("a set");
    let watch = "agent_queue.v1.AgentQueue/WatchQueue";
    assert!(schema.method(&watch.parse().expect("a name")).is_ok());
    server.script(Answer::stream([Vec::new(), Vec::new()], Code::DataLoss).text("gone"));
    let said = call(&network, &[watch, "--exit-code", "grpc"], true).await;
    assert_eq!(said.answered, ["{}", "{}"]);
    assert_eq!(said.end().0, 64 + 15);
}

#[tokio::test(start_paused = true)]
async fn what_a_file_says_needs_no_connection() {
    let network = MemoryNetwork::new();
    for arguments in [&["list"][..], &["describe", HEALTH], &[HEALTH, "--template"]] {
        let said = call(&network, arguments, true).await;
        assert_eq!(said.end(), (0, ""));
        assert!(!said.answered.is_empty());
    }
    assert_eq!(network.dials().len(), 0);
}
