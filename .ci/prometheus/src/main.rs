//! A channel and a server of the agent queue live through a little of everything, with the recorder
//! of `docs/metrics.md` installed; what Prometheus would scrape then is printed.

use std::{error::Error, time::Duration};
use tonic::{Code, Request};
use tonic_supervisor::{
    CallOptions, Config, Supervisor,
    agent_queue::server::{MemoryStore, Service, Settings},
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

include!("exporter.rs");

/// What stands in the page.
const PAGE: &str = include_str!("../../../docs/metrics.md");
const CODE: &str = include_str!("exporter.rs");

fn main() -> Result<(), Box<dyn Error>> {
    if !PAGE.contains(CODE) {
        return Err("docs/metrics.md has other code than src/exporter.rs".into());
    }
    let scrape = exporter()?.install_recorder()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(scene())?;
    print!("{}", scrape.render());
    Ok(())
}

/// Retries, transparent retries, a failure, a refused call, a lost link, failed dials, a GOAWAY.
async fn scene() -> Result<(), Box<dyn Error>> {
    let _service = Service::new(MemoryStore::new(Settings::default()));
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, "queue:50051").await;
    let config = Config::builder().host("queue").port(50_051).queue_max_calls(1).build()?;
    let supervisor = Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn();
    let call = async || {
        let channel = supervisor.channel();
        let request = Request::new("hello".to_owned());
        channel.unary::<String, String>("/test.Echo/Say", request).await
    };
    let busy = Answer::status(Code::Unavailable);
    server.script(Script::sequence(vec![busy.clone(), Answer::reset(7), busy], Answer::echo()));
    call().await?;
    server.script(Script::always(Code::NotFound));
    call().await.expect_err("nothing is there");
    server.kill().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    server.restart().await;
    supervisor.wait_ready(Duration::from_secs(100)).await?;
    server.goaway().await;
    server.script(Script::hang());
    let mut patient = Request::new("hello".to_owned());
    patient.extensions_mut().insert(CallOptions::new().timeout(Duration::from_secs(5)));
    let channel = supervisor.channel();
    let waits = channel.unary::<String, String>("/test.Echo/Say", patient);
    let (late, refused) = tokio::join!(waits, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        call().await
    });
    late.expect_err("its deadline");
    refused.expect_err("no room");
    supervisor.shutdown(Duration::ZERO).await;
    Ok(())
}
