//! `proxy`, from outside: where it listens and for whom, what it passes on, how it ends.

use crate::support::{SAY, TonicServer, codec, descriptors, eventually, request};
use http::uri::PathAndQuery;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tonic::{Status, client::Grpc};
use tonic_supervisor::{CallOptions, Config, Supervisor};

const LONG: Duration = Duration::from_secs(30);

/// A running proxy; killed when dropped.
struct Proxy {
    process: Child,
    /// Where it listens, as it says.
    address: String,
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// Before a server on this port of loopback.
    fn start(port: u16, keys: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!("grpc:\n  host: 127.0.0.1\n  port: {port}\n{keys}");
        fs::write(folder.path().join("grpc.yaml"), text).expect("written");
        let mut process = command(folder.path(), arguments).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut errors = String::new();
            process.stderr.take().expect("piped").read_to_string(&mut errors).expect("text");
            panic!("it does not serve: {errors}")
        });
        let address = said["address"].as_str().expect("an address").to_owned();
        Self { process, address, _folder: folder }
    }

    /// A client that is no supervised one: nothing of it waits or tries again.
    async fn say(&self) -> Result<String, Status> {
        let target = match self.address.strip_prefix("unix:") {
            Some(path) => format!("unix:{path}"),
            None => self.address.clone(),
        };
        let config = Config::builder().target(target).max_retry_attempts(0);
        let supervisor = Supervisor::spawn(config.build().expect("valid"));
        let mut grpc = Grpc::new(supervisor.channel());
        let request = request("hello", CallOptions::new().timeout(LONG));
        let answer = grpc.unary(request, PathAndQuery::from_static(SAY), codec()).await;
        answer.map(tonic::Response::into_inner)
    }

    fn terminate(&self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
    }

    async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        let ended = || {
            status = self.process.try_wait().expect("a child");
            status.is_some()
        };
        eventually("it ends", ended).await;
        status.and_then(|status| status.code())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"));
    command
        .args(["--json", "proxy", "--config", "grpc.yaml"])
        .args(arguments)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit code and standard error of one that does not start.
fn refused(text: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("grpc.yaml"), text).expect("written");
    fs::write(folder.path().join("token"), "secret-token").expect("written");
    let output = command(folder.path(), arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_call_goes_through_it_over_tcp_and_over_a_socket_of_its_users_own() {
    let server = TonicServer::start().await;
    let tcp = Proxy::start(server.port, "", &["--listen", "127.0.0.1:0"]);
    assert_eq!(tcp.say().await.expect("answered"), "hello");
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("proxy.sock");
    let place = format!("unix:{}", socket.display());
    let mut unix = Proxy::start(server.port, "", &["--listen", &place]);
    assert_eq!(unix.say().await.expect("answered"), "hello");
    let mode = fs::metadata(&socket).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    unix.terminate();
    assert_eq!(unix.ended().await, Some(0));
    assert!(!socket.exists(), "it goes with the proxy");
}

#[tokio::test]
async fn descriptors_are_read_and_what_is_none_is_refused() {
    let server = TonicServer::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let set = folder.path().join("set.bin");
    fs::write(&set, descriptors("test", false)).expect("written");
    let arguments = ["--listen", "127.0.0.1:0", "--descriptors", set.to_str().expect("text")];
    let proxy = Proxy::start(server.port, "", &arguments);
    assert_eq!(proxy.say().await.expect("answered"), "hello");
    fs::write(&set, "not a set").expect("written");
    let (code, words) = refused("grpc:\n", &arguments);
    assert_eq!(code, Some(1));
    assert!(words.contains("set.bin: not an encoded FileDescriptorSet"), "{words}");
}

/// Whoever reached it would have its rights.
#[test]
fn credentials_of_its_own_are_used_for_this_machine_and_for_certificates_only() {
    let token = "grpc:\n  credentials: {token_file: token}\n";
    let (code, words) = refused(token, &["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("would make calls as this proxy, with grpc.credentials.token_file"));
    assert!(words.contains("unix:PATH") && words.contains("--listen-ca"), "{words}");
    assert!(!words.contains("secret-token"), "{words}");
    let socket = "grpc:\n  target: unix:/run/server.sock\n";
    let (code, words) = refused(socket, &["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("with the rights of its user at unix:/run/server.sock"), "{words}");
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    for (arguments, text) in [
        (&[][..], "--listen"),
        (&["--listen", "nowhere"], "there is no port"),
        (&["--listen", "unix:"], "must be unix:PATH"),
        (&["--listen", "127.0.0.1:0", "--listen-certificate", "a"], "--listen-key"),
        (
            &["--listen", "unix:a", "--listen-certificate", "a", "--listen-key", "b"],
            "a Unix socket (--listen) speaks no TLS",
        ),
    ] {
        let (code, words) = refused("grpc:\n", arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {words}");
        assert!(words.contains(text), "{arguments:?}: {words}");
    }
    let (code, words) = refused("grpc:\n  port: 0\n", &["--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(3), "{words}");
}

#[tokio::test]
async fn http_1_on_its_port_gets_415_and_a_sentence() {
    let proxy = Proxy::start(1, "", &["--listen", "127.0.0.1:0"]);
    let mut stream = TcpStream::connect(&proxy.address).expect("connected");
    stream.set_read_timeout(Some(LONG)).expect("an option");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").expect("sent");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("text");
    assert!(said.starts_with("HTTP/1.1 415 ") && said.contains("this port speaks gRPC"), "{said}");
}

/// Standard error has one line for it, whoever calls and how often.
#[tokio::test]
async fn it_says_once_per_method_what_it_costs_that_nobody_said_idempotent() {
    let server = TonicServer::start().await;
    let mut proxy = Proxy::start(server.port, "", &["--listen", "127.0.0.1:0"]);
    for _ in 0..3 {
        proxy.say().await.expect("answered");
    }
    proxy.terminate();
    let mut words = String::new();
    proxy.process.stderr.take().expect("piped").read_to_string(&mut words).expect("text");
    assert_eq!(words.matches("may run twice").count(), 1, "{words}");
    assert!(words.contains("test.Echo/Say") && words.contains("WARN"), "{words}");
}

/// systemd's end of the socket is the test's.
#[tokio::test]
async fn systemd_is_told_that_it_serves_that_it_lives_and_that_it_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("grpc.yaml"), "grpc:\n").expect("written");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(LONG)).expect("an option");
    let told = || {
        let mut words = [0; 1024];
        let length = socket.recv(&mut words).expect("told in time");
        String::from_utf8(words[..length].to_vec()).expect("text")
    };
    let mut process = command(folder.path(), &["--listen", "127.0.0.1:0"])
        .envs([("NOTIFY_SOCKET", path.to_str().expect("text")), ("WATCHDOG_USEC", "200000")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let ready = told();
    let address = ready.strip_prefix("READY=1\nSTATUS=serves on ").expect("READY comes first");
    TcpStream::connect(address.trim()).expect("it serves when it says so");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1\n");
    }
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
    let stopping =
        std::iter::repeat_with(told).find(|words| words != "WATCHDOG=1\n").expect("endless");
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
    assert_eq!(process.wait().expect("ended").code(), Some(0));
}
