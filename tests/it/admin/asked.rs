//! A request to the admin pages, written by hand, and its answer.

use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic_supervisor::admin::{Admin, AdminHandle};

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Pages on a port of their own.
pub(super) async fn admin(admin: Admin) -> AdminHandle {
    admin.listen("127.0.0.1:0").spawn().await.expect("it listens")
}

/// Asks with these header lines. The connection closes behind the answer.
pub(super) async fn ask(to: SocketAddr, line: &str, headers: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        request.push_str("Host: localhost\r\n");
    }
    headers.iter().for_each(|header| request.push_str(&format!("{header}\r\n")));
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("answered");
    let text = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub(super) async fn get(to: SocketAddr, path: &str) -> Answer {
    ask(to, &format!("GET {path}"), &[]).await
}

pub(super) async fn get_json(to: SocketAddr, path: &str) -> serde_json::Value {
    ask(to, &format!("GET {path}"), &["Accept: application/json"]).await.json()
}

/// The channel of this name in a snapshot.
pub(super) fn channel(snapshot: &serde_json::Value, name: &str) -> serde_json::Value {
    let channels = snapshot["channels"].as_array().expect("channels");
    let one = channels.iter().find(|one| one["name"] == name);
    one.unwrap_or_else(|| panic!("no channel {name}: {snapshot}")).clone()
}
