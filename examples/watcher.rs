//! A watcher that lives longer than its server: one loop subscribes again on every new link, and on
//! nothing else.
//!
//! `cargo run --features test-util --example watcher`: a server of the stage is restarted three
//! times, and the watcher prints its four subscriptions.

use std::{ops::ControlFlow, time::Duration};
use tonic::{Request, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallKind, CallOptions, Config, Incarnation, SupervisedChannel, Supervisor,
    testing::ScriptedServer,
};

/// A method that answers with a stream.
pub(crate) const WATCH: &str = "/example.News/Watch";

/// Reads the stream, on each link anew, until the supervisor is shut down.
pub(crate) async fn watch(supervisor: &Supervisor, told: impl Fn(Incarnation, String)) {
    let (channel, told) = (&supervisor.channel(), &told);
    let end: Option<()> = supervisor
        .for_each_incarnation(|incarnation| async move {
            if let Ok(mut news) = subscribe(channel.clone()).await {
                while let Ok(Some(text)) = news.message().await {
                    told(incarnation, text);
                }
            }
            ControlFlow::Continue(())
        })
        .await;
    assert_eq!(end, None);
}

/// What a generated client does.
async fn subscribe(channel: SupervisedChannel) -> Result<tonic::Streaming<String>, tonic::Status> {
    let path = http::uri::PathAndQuery::from_static(WATCH);
    let codec = ProstCodec::<String, String>::default();
    let mut request = Request::new("all".to_owned());
    // As descriptors would say: it is not retried by itself, the loop asks again.
    request.extensions_mut().insert(CallOptions::new().kind(CallKind::Streaming));
    Grpc::new(channel).server_streaming(request, path, codec).await.map(|news| news.into_inner())
}

#[allow(dead_code)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = ScriptedServer::on_tcp().await;
    server.script(news());
    let target = server.dial_address();
    let supervisor =
        Supervisor::spawn(Config::builder().host(target.host()).port(target.port()).build()?);
    let watched = supervisor.clone();
    let watching = tokio::spawn(async move {
        watch(&watched, |incarnation, text| println!("link {incarnation}: {text}")).await
    });
    for _ in 0..3 {
        let seen = server.handled();
        server.arrived(seen + 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.restart().await;
    }
    server.arrived(4).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    supervisor.shutdown(Duration::ZERO).await;
    watching.await?;
    println!("{} subscriptions over {} links", server.handled(), server.connections());
    Ok(())
}

/// One message, and then a stream that stays open.
pub(crate) fn news() -> tonic_supervisor::testing::Answer {
    use prost::Message;
    tonic_supervisor::testing::Answer::message("subscribed".to_owned().encode_to_vec()).then_hang()
}
