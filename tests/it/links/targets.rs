//! Targets as gRPC names them, over real sockets: many addresses in one dial, and Unix sockets with
//! the same life as TCP's.

use crate::support::call_empty;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::Request;
use tonic_supervisor::{
    Config, DialStep, EventItem, EventStream, Fact, Supervisor, testing::ScriptedServer,
};

fn supervise(target: &str) -> Supervisor {
    let config = Config::builder().target(target).keepalive_floor(Duration::from_millis(100));
    let config = config
        .keepalive_time(Duration::from_millis(200))
        .keepalive_timeout(Duration::from_millis(300));
    Supervisor::spawn(config.build().expect("a valid configuration"))
}

/// The first event that `wanted` makes something of.
async fn first<T>(events: &mut EventStream, wanted: impl Fn(&Fact) -> Option<T>) -> T {
    let waiting = async {
        loop {
            match events.next().await {
                Some(EventItem::Event(event)) => match wanted(&event.fact) {
                    Some(found) => return found,
                    None => continue,
                },
                Some(_) => {}
                None => panic!("the supervisor ended"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the event comes")
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test]
async fn a_name_and_each_form_of_an_address_reach_the_server() {
    let server = ScriptedServer::on_tcp().await;
    let address = server.address();
    let port = address.rsplit(':').next().expect("a port");
    for target in [
        address.clone(),
        format!("dns:///localhost:{port}"),
        format!("dns:localhost:{port}"),
        format!("ipv4:{address}"),
        format!("http://localhost:{port}"),
        format!("ipv4:{},{address}", nobody().await),
    ] {
        let supervisor = supervise(&target);
        call_empty(&supervisor).await.expect(&target);
        supervisor.shutdown(Duration::ZERO).await;
    }
    assert_eq!(server.handled(), 6);
}

#[tokio::test]
async fn a_dial_that_fails_names_every_address_with_its_reason() {
    let (one, other) = (nobody().await, nobody().await);
    let supervisor = supervise(&format!("ipv4:{one},{other}"));
    let failure = first(&mut supervisor.events(), |fact| match fact {
        Fact::DialFailed { failure, .. } => Some(failure.clone()),
        _ => None,
    })
    .await;
    assert_eq!(failure.step, DialStep::Connect);
    for address in [one, other] {
        assert!(
            failure.reason.contains(&format!("{address}: Connection refused")),
            "{}",
            failure.reason
        );
    }
    let supervisor = supervise("dns:///nowhere.invalid:1");
    let failure = first(&mut supervisor.events(), |fact| match fact {
        Fact::DialFailed { failure, .. } => Some(failure.clone()),
        _ => None,
    })
    .await;
    assert_eq!(failure.step, DialStep::Resolve);
    assert!(failure.reason.starts_with("cannot resolve nowhere.invalid:1: "), "{}", failure.reason);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use crate::support::TonicServer;
    use std::path::Path;
    use tokio::{
        net::{TcpStream, UnixListener},
        sync::watch,
        task::JoinSet,
    };
    use tonic_supervisor::ConnectivityState::Ready;

    /// A Unix socket before a server. Frozen, it passes nothing on; dropped, it takes its links
    /// along.
    struct Front {
        frozen: watch::Sender<bool>,
        _tasks: JoinSet<()>,
    }

    impl Front {
        /// `path` beginning with NUL is an abstract name.
        fn start(path: &Path, upstream: String) -> Self {
            let listener = UnixListener::bind(path).expect("the path is free");
            let frozen = watch::Sender::new(false);
            let mut tasks = JoinSet::new();
            let watched = frozen.subscribe();
            tasks.spawn(async move {
                let mut links = JoinSet::new();
                while let Ok((mut client, _)) = listener.accept().await {
                    let (upstream, mut watched) = (upstream.clone(), watched.clone());
                    links.spawn(async move {
                        let mut server =
                            TcpStream::connect(upstream).await.expect("the server listens");
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                            () = async { drop(watched.wait_for(|frozen| *frozen).await) } => {
                                std::future::pending().await
                            }
                        }
                    });
                }
            });
            Self { frozen, _tasks: tasks }
        }
    }

    #[tokio::test]
    async fn a_unix_socket_lives_as_tcp_does() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("queue.sock");
        let server = ScriptedServer::on_tcp().await;
        let supervisor = supervise(&format!("unix://{}", path.display()));
        let mut events = supervisor.events();
        let failed = |fact: &Fact| match fact {
            Fact::DialFailed { failure, .. } => Some(failure.reason.clone()),
            _ => None,
        };
        let reason = first(&mut events, failed).await;
        let words = format!("cannot connect to unix:{}: No such file", path.display());
        assert!(reason.starts_with(&words), "{reason}");
        assert_eq!(&*supervisor.snapshot().target, format!("unix:{}", path.display()));

        let front = Front::start(&path, server.address());
        call_empty(&supervisor).await.expect("answered");
        front.frozen.send_replace(true);
        let lost = |fact: &Fact| matches!(fact, Fact::KeepaliveLost { .. }).then_some(());
        first(&mut events, lost).await;
        front.frozen.send_replace(false);
        let ready =
            |fact: &Fact| matches!(fact, Fact::StateChanged { to: Ready, .. }).then_some(());
        first(&mut events, ready).await;

        drop(front);
        std::fs::remove_file(&path).expect("there");
        let lost = |fact: &Fact| matches!(fact, Fact::LinkLost { .. }).then_some(());
        first(&mut events, lost).await;
        let _front = Front::start(&path, server.address());
        call_empty(&supervisor).await.expect("answered");
        server.goaway().await;
        call_empty(&supervisor).await.expect("answered");
        assert_eq!(server.handled(), 3);
    }

    #[tokio::test]
    async fn a_relative_path_is_relative_to_where_the_program_runs() {
        let here = std::env::current_dir().expect("somewhere");
        let folder = tempfile::tempdir_in(&here).expect("folder");
        let relative = folder.path().strip_prefix(&here).expect("below").join("q");
        let server = ScriptedServer::on_tcp().await;
        let _front = Front::start(&folder.path().join("q"), server.address());
        let supervisor = supervise(&format!("unix:{}", relative.display()));
        call_empty(&supervisor).await.expect("answered");
    }

    /// How long one call takes, in microseconds: the median of 1,000.
    async fn median(supervisor: &Supervisor) -> u128 {
        let mut times = Vec::new();
        for _ in 0..1_000 {
            let began = std::time::Instant::now();
            let request = Request::new("hello".to_owned());
            supervisor
                .channel()
                .unary::<String, String>("/test.Echo/Say", request)
                .await
                .expect("answered");
            times.push(began.elapsed().as_micros());
        }
        times.sort_unstable();
        times[500]
    }

    /// For people:
    /// `cargo test --release --features test-util -- --ignored --nocapture price_of_a_call`
    #[ignore = "prints a measurement and asserts nothing"]
    #[tokio::test]
    async fn the_price_of_a_call_over_a_unix_socket_and_over_tcp() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("echo.sock");
        let (local, remote) = (TonicServer::on_unix(&path), TonicServer::start().await);
        let unix = supervise(&format!("unix:{}", path.display()));
        let tcp = supervise(&format!("127.0.0.1:{}", remote.port));
        for _ in 0..5 {
            println!("unix {} us, tcp {} us", median(&unix).await, median(&tcp).await);
        }
        drop(local);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_abstract_socket_needs_no_file() {
        let name = format!("tonic-supervisor-test-{}", std::process::id());
        let server = ScriptedServer::on_tcp().await;
        let _front = Front::start(Path::new(&format!("\0{name}")), server.address());
        let supervisor = supervise(&format!("unix-abstract:{name}"));
        call_empty(&supervisor).await.expect("answered");
    }
}

/// An address of this machine that means nothing without its zone, and the zone.
#[cfg(target_os = "linux")]
fn link_local() -> Option<(std::net::Ipv6Addr, String, u32)> {
    let all = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let local = all.lines().find(|line| line.starts_with("fe80"))?;
    let fields: Vec<_> = local.split_whitespace().collect();
    let [address, number, _, _, _, name] = fields[..] else { return None };
    let address = u128::from_str_radix(address, 16).ok()?;
    Some((address.into(), name.to_owned(), u32::from_str_radix(number, 16).ok()?))
}

/// Runs where the machine has a network interface with IPv6; elsewhere it has nothing to dial.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_in_a_zone_is_dialled_through_its_interface_and_the_zone_is_not_sent() {
    let Some((address, zone, number)) = link_local() else { return };
    let listener = TcpListener::bind(std::net::SocketAddrV6::new(address, 0, 0, number))
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (authorities, mut sent_to) = tokio::sync::mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let authorities = authorities.clone();
            tokio::spawn(async move {
                let mut link = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((request, mut answer))) = link.accept().await {
                    let authority = request.uri().authority().map(ToString::to_string);
                    authorities.send(authority.unwrap_or_default()).unwrap_or_default();
                    let head = http::Response::builder().header("content-type", "application/grpc");
                    let head = head.header("grpc-status", "12").body(()).expect("a head");
                    answer.send_response(head, true).expect("sent");
                }
            });
        }
    });
    for target in [
        format!("[{address}%{zone}]:{port}"),
        format!("[{address}%{number}]:{port}"),
        format!("dns:///[{address}%25{zone}]:{port}"),
        format!("ipv6:[{address}%{zone}]:{port}"),
        format!("ipv6:[{address}%nowhere0]:{port},[{address}%{zone}]:{port}"),
        format!("ipv6:[{address}%{number}]:{port}"),
        format!("http://[{address}%25{zone}]:{port}"),
    ] {
        let supervisor = supervise(&target);
        assert!(supervisor.wait_ready(Duration::from_secs(10)).await.is_ok(), "{target}");
        let status = call_empty(&supervisor).await.expect_err("the server knows no method");
        assert_eq!(status.code(), tonic::Code::Unimplemented, "{target}: {status}");
        assert_eq!(sent_to.recv().await, Some(format!("[{address}]:{port}")), "{target}");
    }
    let config =
        Config::builder().host(format!("{address}%{zone}")).port(port).build().expect("valid");
    Supervisor::spawn(config).wait_ready(Duration::from_secs(10)).await.expect("host and port");
    serving.abort();
}

#[tokio::test]
async fn a_zone_without_an_interface_is_a_failure_of_the_step_resolve() {
    let supervisor = supervise("[fe80::1%nowhere0]:7");
    let failure = first(&mut supervisor.events(), |fact| match fact {
        Fact::DialFailed { failure, .. } => Some(failure.clone()),
        _ => None,
    })
    .await;
    assert_eq!(failure.step, DialStep::Resolve);
    assert!(failure.reason.starts_with("cannot resolve [fe80::1%nowhere0]:7: "), "{failure}");
    assert!(
        failure.reason.contains("is there an interface nowhere0 on this machine?"),
        "{failure}"
    );
}

/// Key, value, place and what to write, for each way to say where the server is.
#[test]
fn a_host_that_cannot_stand_in_an_authority_is_refused_by_the_configuration() {
    for (yaml, says) in [
        (
            "host: 'my queue'",
            ["grpc.host is \"my queue\"", "must not have spaces", "queue.internal"],
        ),
        (
            "host: user@queue",
            ["grpc.host is \"user@queue\"", "must not name a user", "behind the @"],
        ),
        ("host: a..b", ["grpc.host is \"a..b\"", "empty part", "queue.internal"]),
        ("host: \"que\\tue\"", ["grpc.host is ", "control characters", "queue.internal"]),
        ("host: bücher", ["grpc.host is ", "must not have 'ü'", "xn--"]),
        ("host: '[queue]'", ["grpc.host is \"[queue]\"", "must have an IPv6 address", "brackets"]),
        (
            "host: 10.0.0.1%eth0",
            ["grpc.host is \"10.0.0.1%eth0\"", "must not have a %", "fe80::1%eth0"],
        ),
        (
            "target: 'my queue:1'",
            ["grpc.target is \"my queue:1\"", "its host must not have spaces", "queue.internal"],
        ),
        (
            "target: 'dns:///user@queue:1'",
            ["grpc.target is ", "must not name a user", "behind the @"],
        ),
        (
            "target: 'http://a..b:1'",
            ["grpc.target is ", "its host must not have an empty part", "queue.internal"],
        ),
    ] {
        let error = Config::from_yaml(&format!("grpc:\n  {yaml}\n")).expect_err(yaml).to_string();
        assert!(error.contains(":2:"), "the place: {error}");
        for part in says {
            assert!(error.contains(part), "{yaml}: {error}");
        }
    }
    for (host, port) in [("my_queue", 1), ("queue.", 1), ("fe80::1%eth0", 1)] {
        assert!(Config::builder().host(host).port(port).build().is_ok(), "{host}");
    }
    let error = Config::builder().target("user@queue:1").build().expect_err("a user").to_string();
    assert!(
        error.starts_with(
            "builder method target(..): grpc.target is \"user@queue:1\", but its host must not \
             name a user"
        ),
        "{error}"
    );
}
