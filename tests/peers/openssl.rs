//! `openssl s_server` with every fault: UNAVAILABLE, words for an operator, and no hang.

use super::{
    Foreign, World,
    certificates::{FUTURE, Identity, NOW, PAST},
};
use std::{process::Command, time::Duration};
use tonic::{Code, Request};
use tonic_supervisor::{ConfigBuilder, DialFailure, DialStep, EventItem, Fact, Supervisor};

/// Serves with `identity` and these options; where it listens.
fn serve(world: &World, identity: &Identity, options: &[&str]) -> (Foreign, String) {
    identity.write(world.path(), "server");
    let mut command = Command::new("openssl");
    command.current_dir(world.path()).args(["s_server", "-accept", "127.0.0.1:0"]);
    command.args(["-cert", "server.pem", "-key", "server.key"]).args(options);
    let server = Foreign::start(command, |line| {
        line.strip_prefix("ACCEPT ").map(|place| place.trim().to_owned())
    });
    let target = format!("https://{}", server.said);
    (server, target)
}

/// Why the first dial failed; a call must have failed of it, with UNAVAILABLE.
async fn failure(config: ConfigBuilder) -> DialFailure {
    let supervisor = Supervisor::spawn(config.wait_for_ready(false).build().expect("valid"));
    let mut events = supervisor.events();
    let call =
        async { supervisor.channel().unary::<(), ()>("/test.Echo/Say", Request::new(())).await };
    let status = tokio::time::timeout(Duration::from_secs(20), call)
        .await
        .expect("no hang")
        .expect_err("no server");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    loop {
        match events.next().await.expect("a dial fails") {
            EventItem::Event(event) => {
                if let Fact::DialFailed { failure, .. } = event.fact {
                    assert!(status.message().contains(&failure.reason), "{status}");
                    return failure;
                }
            }
            _ => continue,
        }
    }
}

#[tokio::test]
async fn each_fault_of_an_openssl_server_is_named() {
    let world = World::new();
    let good = world.ours.server("127.0.0.1", NOW);
    let h2: &[&str] = &["-alpn", "h2"];
    let verify = &["-alpn", "h2", "-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"][..];
    let verify12 = &[
        "-alpn",
        "h2",
        "-tls1_2",
        "-Verify",
        "1",
        "-verify_return_error",
        "-CAfile",
        "ca.pem",
    ][..];
    let own = |identity: Identity| Some(identity);
    let (stranger, stale) = (world.theirs.client("agent", NOW), world.ours.client("agent", PAST));
    let requires = "requires a client certificate";
    let cases: Vec<(&str, Identity, &[&str], Option<Identity>, &str)> = vec![
        (
            "wrong name",
            world.ours.server("other.example", NOW),
            h2,
            None,
            "is not for \"127.0.0.1\"",
        ),
        (
            "unknown authority",
            world.theirs.server("127.0.0.1", NOW),
            h2,
            None,
            "signed by an unknown authority",
        ),
        (
            "expired",
            world.ours.server("127.0.0.1", PAST),
            h2,
            None,
            "the server's certificate expired",
        ),
        ("not yet valid", world.ours.server("127.0.0.1", FUTURE), h2, None, "not valid yet"),
        ("no ALPN", good.clone(), &[], None, "by ALPN"),
        ("HTTP/1 ALPN", good.clone(), &["-alpn", "http/1.1"], None, "by ALPN"),
        ("no certificate", good.clone(), verify, None, requires),
        ("no certificate, TLS 1.2", good.clone(), verify12, None, requires),
        (
            "unknown client",
            good.clone(),
            verify,
            own(stranger.clone()),
            "refused our client certificate",
        ),
        (
            "unknown client, TLS 1.2",
            good.clone(),
            verify12,
            own(stranger),
            "refused our client certificate",
        ),
        ("expired client", good.clone(), verify, own(stale), "refused our client certificate"),
        (
            "no cipher in common",
            good.clone(),
            &["-alpn", "h2", "-tls1_2", "-cipher", "AES128-SHA"],
            None,
            "no cipher in common",
        ),
    ];
    for (fault, identity, options, client, words) in cases {
        let (_server, target) = serve(&world, &identity, options);
        let mut config = world.config(&*target);
        if let Some(client) = client {
            client.write(world.path(), "client");
            config = world.showing(config);
        }
        let failure = failure(config).await;
        assert!(failure.reason.contains(words), "{fault}: {}", failure.reason);
        assert_eq!(failure.step, DialStep::Tls, "{fault}: {}", failure.reason);
    }
}

#[tokio::test]
async fn a_server_that_agrees_on_h2_and_says_nothing_is_given_up_in_time() {
    let world = World::new();
    let (_server, target) = serve(&world, &world.ours.server("127.0.0.1", NOW), &["-alpn", "h2"]);
    let failure = failure(world.config(target).connect_timeout(Duration::from_secs(1))).await;
    assert!(failure.timed_out && failure.step == DialStep::Handshake, "{}", failure.reason);
}

#[tokio::test]
async fn a_server_that_speaks_old_tls_only_is_refused() {
    let world = World::new();
    let good = world.ours.server("127.0.0.1", NOW);
    let (_server, target) =
        serve(&world, &good, &["-alpn", "h2", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    let failure = failure(world.config(target)).await;
    let said = ["supports no TLS version", "TLS version or cipher"];
    assert!(said.iter().any(|words| failure.reason.contains(words)), "{}", failure.reason);
}
