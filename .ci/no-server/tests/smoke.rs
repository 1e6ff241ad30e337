//! The codes of the faults that tonic itself maps differently with and without its `server` feature.

use std::{net::TcpListener, time::Duration};
use tonic::{Code, Request, Status};
use tonic_supervisor::{
    CallOptions, CallReport, Cause, Config, SupervisedChannel, Supervisor,
    testing::{Answer, ScriptedServer},
};

fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("host:port")
}

fn supervise(port: u16) -> Supervisor {
    Supervisor::spawn(Config::builder().port(port).max_retry_attempts(0).build().expect("a valid configuration"))
}

async fn fail(channel: &SupervisedChannel, options: CallOptions) -> Status {
    let mut request = Request::new(());
    request.extensions_mut().insert(options);
    channel.unary::<(), ()>("/svc/Method", request).await.expect_err("it fails")
}

#[tokio::test]
async fn a_refused_port_is_unavailable_to_a_call_that_fails_fast() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let supervisor = supervise(port);
    let status = fail(&supervisor.channel(), CallOptions::new().wait_for_ready(false)).await;
    let report = CallReport::of(&status).expect("a report");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(matches!(report.outcome.cause, Cause::NotConnected(_)) && !report.maybe_processed, "{report}");
}

#[tokio::test]
async fn a_refused_port_is_deadline_exceeded_to_a_call_that_waits() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let supervisor = supervise(port);
    let status = fail(&supervisor.channel(), CallOptions::new().timeout(Duration::from_millis(300))).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn a_reset_stream_has_the_code_of_grpcs_table() {
    let server = ScriptedServer::on_tcp().await;
    let supervisor = supervise(port_of(&server.address()));
    for (reason, code) in [
        (0x1, Code::Internal),
        (0x2, Code::Internal),
        (0x7, Code::Unavailable),
        (0x8, Code::Cancelled),
        (0xb, Code::ResourceExhausted),
        (0xc, Code::PermissionDenied),
    ] {
        server.script(Answer::reset(reason));
        let status = fail(&supervisor.channel(), CallOptions::new()).await;
        assert_eq!(status.code(), code, "RST_STREAM {reason:#x}: {status}");
    }
}

#[tokio::test]
async fn a_connection_cut_after_processing_is_unavailable_and_maybe_processed() {
    let server = ScriptedServer::on_tcp().await;
    let supervisor = supervise(port_of(&server.address()));
    server.script(Answer::cut_after_processing());
    let status = fail(&supervisor.channel(), CallOptions::new().idempotent(false)).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(CallReport::of(&status).expect("a report").maybe_processed);
}
