//! The admin pages of a program with several channels: one is well, one has three servers of which
//! one is gone, one cannot connect, and the server of one answers with words that would like to be
//! more than text.
//!
//! `cargo run --example admin --features admin,test-util [ADDRESS [TOKEN_FILE]]`, then open
//! <http://127.0.0.1:9911/>.

use std::{env, error::Error, time::Duration};
use tokio::time::{interval, sleep};
use tonic::{Code, Request};
use tonic_supervisor::{
    Config, SupervisedChannel, Supervisor,
    admin::{Admin, install_recorder},
    config::Balancing,
    testing::{Answer, Fleet, MemoryNetwork, Script, ScriptedServer},
};

/// A call every so often.
fn call(channel: SupervisedChannel, path: &'static str, every: Duration) {
    tokio::spawn(async move {
        let mut beat = interval(every);
        loop {
            beat.tick().await;
            let (channel, request) = (channel.clone(), Request::new("hello".to_owned()));
            tokio::spawn(async move { channel.unary::<String, String>(path, request).await });
        }
    });
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Before the first supervisor: it counts from the beginning.
    install_recorder()?;
    let mut arguments = env::args().skip(1);
    let mut admin = Admin::new().listen(arguments.next().unwrap_or("127.0.0.1:9911".into()));
    if let Some(path) = arguments.next() {
        admin = admin.token_file(path);
    }
    let admin = admin.spawn().await?;
    println!("http://{}/", admin.address());

    let well = ScriptedServer::on_tcp().await;
    well.on("/users.v1.Users/Get", Script::delay(Duration::from_millis(4)));
    well.on("/users.v1.Users/Find", Script::fail_times(1_000_000, Code::NotFound));
    let users = Supervisor::builder(to(&well)?).name("users").spawn();
    call(users.channel(), "/users.v1.Users/Get", Duration::from_millis(20));

    let fleet = Fleet::on_tcp(3).await;
    let config = Config::builder().balancing_policy(Balancing::RoundRobin).build()?;
    let orders = Supervisor::builder(config)
        .connector(fleet.connector())
        .endpoints(fleet.endpoints())
        .name("orders")
        .spawn();
    call(orders.channel(), "/orders.v1.Orders/Place", Duration::from_millis(50));

    let nowhere = Config::builder().host("127.0.0.1").port(1).timeout(Duration::from_secs(20));
    let billing = Supervisor::builder(nowhere.build()?).name("billing").spawn();
    call(billing.channel(), "/billing.v1.Billing/Charge", Duration::from_millis(500));

    let network = MemoryNetwork::new();
    let hostile = ScriptedServer::on_memory(&network, "hostile:50051").await;
    let words = "<script>alert(1)</script> %1B[31m <img src=x onerror=alert(2)>";
    hostile.script(Script::new(move |_| Answer::status(Code::Internal).text(words)));
    let config = Config::builder().host("hostile").port(50_051).max_retry_attempts(1).build()?;
    let strange = Supervisor::builder(config)
        .connector(network.connector())
        .name("<script>alert(3)</script>")
        .spawn();
    call(strange.channel(), "/strange.v1.Strange/Say", Duration::from_millis(700));

    sleep(Duration::from_secs(3)).await;
    fleet.server(1).kill().await;
    std::future::pending().await
}

fn to(server: &ScriptedServer) -> Result<Config, Box<dyn Error>> {
    let address = server.dial_address();
    Ok(Config::builder().host(address.host()).port(address.port()).build()?)
}
