//! The pages: the sick first, the same facts as JSON, and whatever a server says shown as text.

use super::asked::{admin, ask, channel, get, get_json};
use crate::support::{ADDRESS, LONG, Rig, config, generated_stream, settle, start};
use std::time::Duration;
use tonic::Code;
use tonic_supervisor::{
    CallKind, CallOptions, Supervisor,
    admin::Admin,
    testing::{Answer, Frame, MemoryNetwork, RawPeer, Script, ScriptedServer},
};

fn named(network: &MemoryNetwork, name: &str) -> Supervisor {
    let config = config().build().expect("valid");
    Supervisor::builder(config).connector(network.connector()).name(name).spawn()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sick_come_first_with_what_is_the_matter_and_what_to_do() {
    let network = MemoryNetwork::new();
    let well = named(&network, "a well one");
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    well.wait_ready(LONG).await.expect("Ready");
    let sick = named(&MemoryNetwork::new(), "the sick one");
    let handle = admin(Admin::new()).await;
    let failing = async {
        while sick.snapshot().endpoints[0].failed_dials == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failing).await.expect("a dial fails");
    let page = get(handle.address(), "/").await.body;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(place("the sick one") < place("a well one"));
    assert!(page.contains("cannot connect to server:50051"), "the reason");
    assert!(page.contains("is the server running, its port open"), "what to do");
    let snapshot = get_json(handle.address(), "/snapshot").await;
    let (sick, well) = (channel(&snapshot, "the sick one"), channel(&snapshot, "a well one"));
    assert_eq!((&sick["verdict"]["kind"], &sick["well"]), (&"connect".into(), &false.into()));
    assert_eq!((&well["verdict"]["kind"], &well["state"]), (&"healthy".into(), &"READY".into()));
    assert_eq!(well["endpoints"][0]["links"][0]["remote"], "server:50051");
    assert_eq!(get_json(handle.address(), "/").await["schema"], 1);
}

/// D1, D2, D3, D4, D8: what open calls wait for, and what became of those that were worth a look.
#[tokio::test(flavor = "multi_thread")]
async fn calls_say_what_they_wait_for_and_what_became_of_them() {
    let handle = admin(Admin::new()).await;
    let rig = Rig::with_script(Script::hang(), config().max_in_flight(1)).await.ready().await;
    let _first = start(&rig.channel(), "hello", CallOptions::new());
    rig.server.arrived(1).await;
    let _second = start(&rig.channel(), "hello", CallOptions::new());
    let waits = async {
        while rig.supervisor.snapshot().calls_waiting == 0 {
            settle().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("it waits");
    let page = get(handle.address(), "/calls").await.body;
    for words in ["on the wire for", "waits for room", "1 of 1 streams are open (max_in_flight)"] {
        assert!(page.contains(words), "{words}");
    }

    let rig = Rig::with_script(
        Script::new(|_| Answer::status(Code::Unavailable).text("not today").pushback("5")),
        config().max_retry_attempts(1),
    );
    let rig = rig.await.ready().await;
    rig.call(CallOptions::new()).await.expect_err("unavailable");
    rig.server.script(Script::always(Code::NotFound));
    rig.call(CallOptions::new().idempotent(false)).await.expect_err("not found");
    let page = get(handle.address(), "/calls").await.body;
    for words in [
        "UNAVAILABLE",
        "“not today” (the server)",
        "not retried: all 1 retries were made",
        "not retried: NOT_FOUND is not one of retryable_status_codes",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let calls = get_json(handle.address(), "/calls").await;
    let stories = calls["stories"].as_array().expect("stories");
    let said = stories.iter().any(|story| story["failed_attempts"][0]["said"] == "not today");
    assert!(said, "{stories:?}");
}

/// Streams have stories like other calls, and the channel's page says where its dial's time went.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_broke_off_and_the_steps_of_a_dial_are_shown() {
    let handle = admin(Admin::new()).await;
    let answer = Answer::stream(["\n\u{1}a"], Code::DataLoss).text("the disk is full");
    let rig = Rig::with_script(answer, config()).await.ready().await;
    let streaming = CallOptions::new().kind(CallKind::Streaming);
    let mut stream = generated_stream(&rig.channel(), streaming).await.expect("it begins");
    while let Ok(Some(_)) = stream.message().await {}
    let page = get(handle.address(), "/calls").await.body;
    for words in ["“the disk is full” (the server)", "not retried: the method streams"] {
        assert!(page.contains(words), "{words}");
    }
    let calls = get_json(handle.address(), "/calls").await;
    let stories = calls["stories"].as_array().expect("stories");
    let story = stories.iter().find(|story| story["words"] == "the disk is full");
    let story = story.unwrap_or_else(|| panic!("{stories:?}"));
    assert!(story["head_ms"].is_u64(), "{story}");
    assert_eq!(story["failed_attempts"].as_array().map(Vec::len), Some(1), "{story}");

    let id = rig.supervisor.observer().id();
    let page = get(handle.address(), &format!("/channel/{id}")).await.body;
    let up = page.split("is up after ").nth(1).unwrap_or_else(|| panic!("{page}"));
    let steps = up.split(['(', ')']).nth(1).unwrap_or_default();
    assert!(steps.starts_with("connect ") && steps.contains(", handshake "), "{steps}");
    let path = format!("/events?channel={id}&name=LinkEstablished");
    let events = get_json(handle.address(), &path).await;
    let event = &events[0];
    assert!(event["connect_ms"].is_u64() && event["handshake_ms"].is_u64(), "{event}");
    assert!(event["tls_ms"].is_null() && event["resolve_ms"].is_null(), "{event}");
}

/// A name, a status, a GOAWAY and a path that would like to be more than text.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_words_are_shown_as_text() {
    let handle = admin(Admin::new()).await;
    let rig = Rig::new(config()).await.ready().await;
    rig.server.script(Script::new(|_| {
        Answer::status(Code::Internal).text("<script>alert(1)</script>%1B[2J%0A&amp;")
    }));
    let options = CallOptions::new().retry(false);
    rig.call(options).await.expect_err("internal");
    let path = "/<img src=x onerror=alert(2)>/Say";
    let request = tonic::Request::new(String::new());
    let _ = rig.channel().unary::<String, String>(path, request).await;

    let network = MemoryNetwork::new();
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_settings(&[]).await;
        // The link is up by then, so that its end is told in the peer's words.
        tokio::time::sleep(Duration::from_millis(100)).await;
        link.send(Frame::goaway(0, 2, b"<script>alert(3)</script>\x1b]0;title\x07")).await;
        link.close().await;
    });
    let hostile = Supervisor::builder(config().build().expect("valid"))
        .connector(network.connector())
        .name("<script>alert(4)</script>\u{1b}[31m")
        .spawn();
    let mut events = hostile.events();
    let lost = async {
        while let Some(item) = events.next().await {
            if format!("{item:?}").contains("alert(3)") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), lost).await.expect("it hangs up");
    let id = hostile.observer().id();
    let own = format!("/channel/{}", rig.supervisor.observer().id());
    for path in ["/", "/calls", "/events", "/config", &own, &format!("/channel/{id}")] {
        let page = get(handle.address(), path).await.body;
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{path}: {page}");
        assert!(!page.contains('\u{1b}') && !page.contains('\u{7}'), "{path}");
    }
    // Channels of other tests may have so many stories that this one is on the page no more.
    let mut shown = false;
    for _ in 0..100 {
        rig.call(options).await.expect_err("internal");
        let page = get(handle.address(), "/calls").await.body;
        shown |= page.contains("&lt;script&gt;alert(1)&lt;/script&gt;");
        if shown {
            break;
        }
    }
    assert!(shown, "it is shown");
}

/// D5: what is in force, and who said so.
#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_with_who_said_it() {
    let handle = admin(Admin::new()).await;
    let config = config().max_retry_attempts(7).build().expect("a valid configuration");
    let builder = Supervisor::builder(config).connector(MemoryNetwork::new().connector());
    let supervisor = builder.name("configured").spawn();
    let shown = get_json(handle.address(), "/config").await;
    let channels = shown["channels"].as_array().expect("channels");
    let name = supervisor.observer().name().to_owned();
    let ours = channels.iter().find(|one| one["channel"] == *name).expect("ours");
    let settings = ours["settings"].as_array().expect("settings");
    let value = |key: &str| settings.iter().find(|one| one["key"] == key).expect("a key").clone();
    assert_eq!(value("grpc.max_retry_attempts")["value"], "7");
    assert_eq!(value("grpc.max_retry_attempts")["from"], "builder method max_retry_attempts(..)");
    assert_eq!(value("grpc.timeout")["from"], "default");
    let page = get(handle.address(), "/config").await.body;
    // Channels of other tests are on the page, too.
    let page = page.split(&name).last().expect("ours");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(place("max_retry_attempts(..)") < place(">default<"), "what was said comes first");
}

/// A thousand channels: one page, in a time that a person waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_channels_stand_on_one_page() {
    let network = MemoryNetwork::new();
    let all: Vec<_> = (0..1_000).map(|n| named(&network, &format!("many-{n}"))).collect();
    let handle = admin(Admin::new()).await;
    let page = get(handle.address(), "/").await;
    assert_eq!(page.status, 200);
    assert!((0..1_000).all(|n| page.body.contains(&format!(">many-{n}<"))));
    drop(all);
}

/// What a page shows without scripts is what it shows with them: the script only loads it anew.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_whole_without_scripts_and_link_to_nothing_elsewhere() {
    let handle = admin(Admin::new()).await;
    for path in ["/", "/calls", "/events", "/config", "/help"] {
        let page = ask(handle.address(), &format!("GET {path}"), &["Accept: text/html"]).await;
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(!page.body.contains("style="), "{path}: inline style");
        for link in page.body.split("href=\"").chain(page.body.split("src=\"")).skip(1) {
            let link = link.split('"').next().unwrap_or_default();
            let inside = link.starts_with('/') || link == "data:,";
            assert!(inside || link.starts_with("<!DOCTYPE"), "{path}: {link}");
        }
        assert!(page.body.contains("<html lang=\"en\">") && page.body.contains("<h1>"), "{path}");
    }
}
