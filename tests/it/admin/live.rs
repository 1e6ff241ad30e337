//! Events as they come: each once, in order, from where a reader left off.

use super::asked::{admin, get_json};
use crate::support::{LONG, Rig, config};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{TcpStream, tcp::OwnedReadHalf},
};
use tonic_supervisor::admin::Admin;

/// A stream of events of one channel.
struct Reader {
    lines: Lines<BufReader<OwnedReadHalf>>,
    _half: tokio::net::tcp::OwnedWriteHalf,
}

impl Reader {
    async fn open(to: SocketAddr, query: &str, accept: &str, had: Option<&str>) -> Self {
        let stream = TcpStream::connect(to).await.expect("connected");
        let (read, mut write) = stream.into_split();
        let had = had.map_or_else(String::new, |had| format!("Last-Event-ID: {had}\r\n"));
        let request = format!(
            "GET /events{query} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n{had}\r\n"
        );
        write.write_all(request.as_bytes()).await.expect("sent");
        Self { lines: BufReader::new(read).lines(), _half: write }
    }

    /// The next line that begins so, without that.
    async fn next(&mut self, begin: &str) -> String {
        let next = async {
            loop {
                let line = self.lines.next_line().await.expect("readable").expect("a line");
                if let Some(rest) = line.strip_prefix(begin) {
                    return rest.to_owned();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), next).await.expect("in time")
    }
}

fn numbers(event: &str) -> (u64, String) {
    let event: serde_json::Value = serde_json::from_str(event).expect("JSON");
    (event["seq"].as_u64().expect("a number"), event["event"].as_str().unwrap_or("").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_hears_what_is_kept_and_what_comes_and_goes_on_where_it_left_off() {
    let handle = admin(Admin::new()).await;
    let rig = Rig::new(config()).await.ready().await;
    let id = rig.supervisor.observer().id();
    let query = format!("?channel={id}");
    let mut reader = Reader::open(handle.address(), &query, "text/event-stream", None).await;
    let mut last = 0;
    let had = loop {
        let event_id = reader.next("id: ").await;
        let (seq, name) = numbers(&reader.next("data: ").await);
        assert_eq!(seq, last + 1, "each once, in order");
        assert!(event_id.ends_with(&format!(";{id}:{seq}")), "{event_id}");
        last = seq;
        if name == "StateChanged" && seq == rig.supervisor.snapshot().seq {
            break event_id;
        }
    };
    drop(reader);
    rig.supervisor.reconnect_now();
    let more = rig.supervisor.snapshot().seq;
    let mut again = Reader::open(handle.address(), &query, "text/event-stream", Some(&had)).await;
    let (seq, _) = numbers(&again.next("data: ").await);
    assert!(seq == last + 1 && more >= last, "without a gap");
    // What somebody had of a former process says nothing of this one.
    let former = format!("ffffffffff;{id}:999999");
    let mut anew = Reader::open(handle.address(), &query, "text/event-stream", Some(&former)).await;
    assert_eq!(numbers(&anew.next("data: ").await).0, 1);
    let only_new = format!("{query}&kept=no");
    let mut new = Reader::open(handle.address(), &only_new, "text/event-stream", None).await;
    new.next("HTTP/1.1 200").await;
    let before = rig.supervisor.snapshot().seq;
    rig.supervisor.reconnect_now();
    assert!(numbers(&new.next("data: ").await).0 > last.min(before), "nothing that is kept");
}

/// A connection that says nothing, and one that reads nothing, do not keep their places.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_lose_their_places() {
    let handle = admin(Admin::new()).await;
    let silent: Vec<TcpStream> = {
        let mut silent = Vec::new();
        for _ in 0..64 {
            silent.push(TcpStream::connect(handle.address()).await.expect("connected"));
        }
        silent
    };
    let answered = async {
        loop {
            let mut stream = TcpStream::connect(handle.address()).await.expect("connected");
            let request = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let _ = stream.write_all(request).await;
            let line = BufReader::new(stream).lines().next_line().await;
            if line.ok().flatten().is_some_and(|line| line.starts_with("HTTP/1.1 200")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), answered).await.expect("within 10 s or so");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_are_there_for_who_wants_them_and_a_filter_holds() {
    let handle = admin(Admin::new()).await;
    let rig = Rig::new(config()).await.ready().await;
    let query = format!("?channel={}&name=LinkEstablished", rig.supervisor.observer().id());
    let mut reader = Reader::open(handle.address(), &query, "application/x-ndjson", None).await;
    let line = format!("{{{}", reader.next("{").await);
    assert_eq!(numbers(&line).1, "LinkEstablished");
    let kept = get_json(handle.address(), &format!("/events{query}")).await;
    assert_eq!(kept.as_array().map(Vec::len), Some(1), "{kept}");
    assert_eq!(kept[0]["remote"], "server:50051");
}

/// O6: what happened between two times.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_of_time_can_be_asked_for() {
    let handle = admin(Admin::new()).await;
    let rig = Rig::new(config()).await.ready().await;
    let id = rig.supervisor.observer().id();
    let all = get_json(handle.address(), &format!("/events?channel={id}")).await;
    let count = |events: &serde_json::Value| events.as_array().map_or(0, Vec::len);
    assert!(count(&all) >= 3, "{all}");
    let at = all[0]["at"].as_str().expect("a time");
    let (from, minute) = (&at[..16], &at[11..16]);
    for (query, some) in [
        (format!("from={from}"), true),
        (format!("from={minute}"), true),
        ("from=2999-01-01T00:00".to_owned(), false),
        ("to=1999-01-01T00:00".to_owned(), false),
    ] {
        let found = get_json(handle.address(), &format!("/events?channel={id}&{query}")).await;
        assert_eq!(count(&found) > 0, some, "{query}: {found}");
    }
}

/// 32 readers that read nothing cost no call anything, and one more is refused.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_slow_no_call_and_there_are_no_more_than_32() {
    let handle = admin(Admin::new()).await;
    let rig = Rig::new(config()).await;
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    let mut readers = Vec::new();
    for _ in 0..32 {
        let mut reader = Reader::open(handle.address(), "", "text/event-stream", None).await;
        reader.next("HTTP/1.1 200").await;
        readers.push(reader);
    }
    let mut late = Reader::open(handle.address(), "", "text/event-stream", None).await;
    late.next("HTTP/1.1 503").await;
    for _ in 0..600 {
        rig.call(tonic_supervisor::CallOptions::new()).await.expect("answered");
    }
    drop(readers);
    let place = async {
        loop {
            let mut reader = Reader::open(handle.address(), "", "text/event-stream", None).await;
            if reader.next("HTTP/1.1 ").await.starts_with("200") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), place).await.expect("places are free again");
}
