//! Targets as gRPC names them, over real sockets: many addresses in one dial, and Unix sockets with the same life as TCP's.

use std::time::Duration;
use tokio::net::TcpListener;
use tonic::{Request, Status};
use tonic_supervisor::{Config, DialStep, EventItem, EventStream, Fact, Supervisor, testing::ScriptedServer};

async fn call(supervisor: &Supervisor) -> Result<(), Status> {
    supervisor.channel().unary::<(), ()>("/test.Echo/Say", Request::new(())).await.map(drop)
}

fn supervise(target: &str) -> Supervisor {
    let config = Config::builder().target(target).keepalive_floor(Duration::from_millis(100));
    let config = config.keepalive_time(Duration::from_millis(200)).keepalive_timeout(Duration::from_millis(300));
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
        call(&supervisor).await.expect(&target);
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
        assert!(failure.reason.contains(&format!("{address}: Connection refused")), "{}", failure.reason);
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
    use crate::tonic_echo::TonicServer;
    use std::path::Path;
    use tokio::{
        net::{TcpStream, UnixListener},
        sync::watch,
        task::JoinSet,
    };
    use tonic_supervisor::ConnectivityState::Ready;

    /// A Unix socket before a server. Frozen, it passes nothing on; dropped, it takes its links along.
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
                        let mut server = TcpStream::connect(upstream).await.expect("the server listens");
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
        call(&supervisor).await.expect("answered");
        front.frozen.send_replace(true);
        let lost = |fact: &Fact| matches!(fact, Fact::KeepaliveLost { .. }).then_some(());
        first(&mut events, lost).await;
        front.frozen.send_replace(false);
        let ready = |fact: &Fact| matches!(fact, Fact::StateChanged { to: Ready, .. }).then_some(());
        first(&mut events, ready).await;

        drop(front);
        std::fs::remove_file(&path).expect("there");
        let lost = |fact: &Fact| matches!(fact, Fact::LinkLost { .. }).then_some(());
        first(&mut events, lost).await;
        let _front = Front::start(&path, server.address());
        call(&supervisor).await.expect("answered");
        server.goaway().await;
        call(&supervisor).await.expect("answered");
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
        call(&supervisor).await.expect("answered");
    }

    /// How long one call takes, in microseconds: the median of 1,000.
    async fn median(supervisor: &Supervisor) -> u128 {
        let mut times = Vec::new();
        for _ in 0..1_000 {
            let began = std::time::Instant::now();
            let request = Request::new("hello".to_owned());
            supervisor.channel().unary::<String, String>("/stage.Echo/Say", request).await.expect("answered");
            times.push(began.elapsed().as_micros());
        }
        times.sort_unstable();
        times[500]
    }

    /// For people: `cargo test --release --features test-util -- --ignored --nocapture price_of_a_call`
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
        call(&supervisor).await.expect("answered");
    }
}
