//! etcd-client takes the supervised channel itself, as its `Channel::Custom`: calls go on over a
//! `kill -9` of etcd. Needs Debian's etcd.

use etcd_client::{Channel, Client};
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tonic_supervisor::{Config, Supervisor};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

/// etcd; killed when dropped.
struct Etcd(Child);

impl Etcd {
    fn start(folder: &Path, port: u16, peers: u16) -> Self {
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder).args(["--name", "one"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("one={peer}")]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("etcd starts"))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn etcds_client_goes_on_over_a_kill_of_etcd() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, peers) = (port(), port());
    let config = Config::builder().host("127.0.0.1").port(port).build().expect("valid");
    let supervisor = Supervisor::spawn(config);
    let channel = BoxCloneSyncService::new(supervisor.channel().map_err(Into::into));
    let client = Client::from_channel(Channel::Custom(channel), None).await;
    let mut client = client.expect("a client, although there is no etcd yet");
    let mut etcd = Etcd::start(folder.path(), port, peers);
    client.put("key", "value", None).await.expect("put when etcd is there");
    for kill in 0..3 {
        drop(etcd);
        let mut waiting = client.clone();
        let call = tokio::spawn(async move { waiting.get("key", None).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!call.is_finished(), "kill {kill}: it waits");
        etcd = Etcd::start(folder.path(), port, peers);
        let answer = call.await.expect("no panic").expect("answered when etcd is back");
        assert_eq!(answer.kvs()[0].value(), b"value", "kill {kill}");
    }
}
