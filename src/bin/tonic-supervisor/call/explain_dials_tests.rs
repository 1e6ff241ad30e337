//! `--explain` of dials, word for word: each step with its time, also of a dial that fails.

use super::explain_tests::{HEALTH, QUEUE, Said, assert_explained, call_over, explained};
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tonic_supervisor::{
    DialFailure, DialStep,
    testing::{MemoryNetwork, RawPeer, ScriptedServer},
    transport::{BoxedIo, ConnectRequest, Connector},
};

/// A connector that looks a name up, connects and speaks TLS by itself, and reports it.
struct Tunnel {
    network: MemoryNetwork,
    /// What its TLS fails with, if it fails.
    fails: Option<&'static str>,
}

impl Connector for Tunnel {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let (request, fails) = (request.clone(), self.fails);
        let connecting = self.network.connector().connect(&request);
        Box::pin(async move {
            request.report_step(DialStep::Resolve);
            sleep(Duration::from_millis(30)).await;
            request.report_step(DialStep::Connect);
            sleep(Duration::from_millis(200)).await;
            let io = connecting.await?;
            request.report_step(DialStep::Tls);
            sleep(Duration::from_millis(600)).await;
            match fails {
                Some(words) => Err(DialFailure::new(DialStep::Tls, words)),
                None => Ok(io),
            }
        })
    }
}

async fn tunnelled(network: &MemoryNetwork, fails: Option<&'static str>) -> Said {
    let tunnel = Arc::new(Tunnel { network: network.clone(), fails });
    let arguments = [HEALTH, "--explain"];
    call_over(tunnel, &arguments, true, std::future::pending()).await
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_dial_has_its_time() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, QUEUE).await;
    assert_explained(
        &tunnelled(&network, None).await,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.830  resolve    done in 30.0 ms
  0.830  connect    queue:50051 in 200.0 ms
  0.830  tls        done in 600.0 ms
  0.830  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.830  connected  link #1 in 830.0 ms
  0.830  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  0.830  answer     0 bytes
  0.830  ended      OK after 0.000 s, 1 answer
                    total 0.000 s: wire 0.000; 1 attempt, 0 retries
"#,
    );
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_fails_tells_the_step_and_those_before_it() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, QUEUE).await;
    let said = tunnelled(&network, Some("the tunnel's certificate has expired")).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.830  resolve    done in 30.0 ms
  0.830  connect    done in 200.0 ms
  0.830  tls        the tunnel's certificate has expired, after 600.0 ms
  0.830  wait       0.170 s until the next dial
"#,
    );
    assert_eq!(said.end().0, 4);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_no_settings_is_told_with_how_long_it_was_waited_for() {
    let network = MemoryNetwork::new();
    network.dial_takes(Duration::from_millis(250));
    let _peer = RawPeer::on_memory(&network, QUEUE).await.play(|link| async move {
        sleep(Duration::from_millis(700)).await;
        link.close().await;
    });
    let said = explained(&network, &[]).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.950  connect    done in 250.0 ms
  0.950  http/2     cannot speak HTTP/2 with queue:50051: the peer closed the connection, before \
                    its HTTP/2 SETTINGS; does it expect TLS?, after 700.0 ms
  0.950  wait       0.050 s until the next dial
"#,
    );
    assert_eq!(said.end().0, 4);
}
