//! TLS over a Unix socket: the server is verified by the name that the configuration gives.

use super::{
    certificates::{Authority, NOW},
    refused,
    terminator::{Offer, TlsTerminator},
    trusting,
};
use crate::support::call_empty;
use std::{fs, path::Path};
use tokio::{
    net::{TcpStream, UnixListener},
    task::JoinSet,
};
use tonic_supervisor::{Supervisor, testing::ScriptedServer};

/// Passes what comes to the socket at `path` on to `upstream`. Ends when dropped.
fn socket(path: &Path, upstream: String) -> JoinSet<()> {
    let listener = UnixListener::bind(path).expect("the path is free");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut links = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let upstream = upstream.clone();
            links.spawn(async move {
                let mut server =
                    TcpStream::connect(upstream).await.expect("the terminator listens");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    tasks
}

#[tokio::test]
async fn a_unix_socket_speaks_tls_and_the_servers_name_is_checked() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("queue.sock");
    let authority = Authority::new("our authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    let server = ScriptedServer::on_tcp().await;
    let identity = authority.server("queue.internal", NOW);
    let terminator = TlsTerminator::start(server.address(), Offer::of(&identity).config()).await;
    let _socket = socket(&path, terminator.address.to_string());
    let config = trusting(folder.path(), format!("unix:{}", path.display()));

    let supervisor =
        Supervisor::spawn(config.clone().tls_server_name("queue.internal").build().expect("valid"));
    call_empty(&supervisor).await.expect("answered");
    assert_eq!(server.handled(), 1);

    let (status, failure) = refused(config.tls_server_name("another.internal")).await;
    assert!(failure.reason.contains("another.internal"), "{} / {status}", failure.reason);
    assert_eq!(server.handled(), 1);
}
