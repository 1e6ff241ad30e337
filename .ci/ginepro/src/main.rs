//! ginepro over three servers with 128 calls of 64 B in flight, against tonic's bare channel to one
//! of them and tonic's `Channel::balance_list` over the three. The servers are processes of their
//! own; the sides take turns, and every ratio is between neighbours in time.
//!
//! `.ci/ginepro/run [--quick]`

mod echo;

use ginepro::{LoadBalancedChannel, LookupService, ServiceDefinition};
use std::{
    collections::HashSet,
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tonic::{
    Request, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codec::ProstCodec,
    codegen::{Bytes, StdError, http::uri::PathAndQuery},
    transport::{Channel, Endpoint},
};

const PAYLOAD: usize = 64;
const IN_FLIGHT: usize = 128;

/// Finds the servers, as a name would be found.
struct Known(HashSet<SocketAddr>);

#[async_trait::async_trait]
impl LookupService for Known {
    async fn resolve_service_endpoints(
        &self,
        _: &ServiceDefinition,
    ) -> Result<HashSet<SocketAddr>, anyhow::Error> {
        Ok(self.0.clone())
    }
}

/// A server's process, which ends with this.
struct Server(Child, SocketAddr);

impl Server {
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        let piped = command.arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.spawn().expect("the server starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        Self(process, line.trim().parse().expect("an address"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() {
    let has = |name: &str| env::args().any(|argument| argument == name);
    if has("--serve") {
        return echo::serve().await;
    }
    let (rounds, window) = match has("--quick") {
        true => (2, Duration::from_millis(100)),
        false => (45, Duration::from_millis(140)),
    };
    let servers = [(); 3].map(|()| Server::start());
    let addresses = servers.each_ref().map(|server| server.1);
    let endpoint =
        |address| Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let bare = endpoint(addresses[0]).connect().await.expect("the server listens");
    let balanced = Channel::balance_list(addresses.into_iter().map(endpoint));
    let ginepro = LoadBalancedChannel::builder(("servers", 1))
        .lookup_service(Known(addresses.into()))
        .channel()
        .await
        .expect("a channel");
    let mut samples: [Vec<f64>; 3] = Default::default();
    for round in 0..=rounds {
        let neighbours = [
            calls(&ginepro, window).await,
            calls(&bare, window).await,
            calls(&balanced, window).await,
        ];
        // The first round warms up.
        if round > 0 {
            samples.iter_mut().zip(neighbours).for_each(|(all, one)| all.push(one));
        }
    }
    let [ginepro, bare, balanced] = &samples;
    println!("ginepro: {:.0} calls/s", median(ginepro.clone()));
    for (name, theirs) in [("tonic 0.13", bare), ("its balance_list", balanced)] {
        let ratios = ginepro.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
        println!("ginepro: {:.2} x {name}", median(ratios.collect()));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Calls a second while so many are kept in flight.
async fn calls<C>(channel: &C, window: Duration) -> f64
where
    C: GrpcService<Body, Future: Send> + Clone + Send + Sync + 'static,
    C::ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    C::Error: Into<StdError>,
{
    let start = Instant::now();
    let workers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let mut client = Grpc::new(channel.clone());
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while start.elapsed() < window {
                    call(&mut client).await.expect("OK");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0.0;
    for worker in workers {
        calls += f64::from(worker.await.expect("every call is answered"));
    }
    calls / start.elapsed().as_secs_f64()
}

async fn call<C>(client: &mut Grpc<C>) -> Result<(), Status>
where
    C: GrpcService<Body>,
    C::ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    C::Error: Into<StdError>,
{
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let codec = ProstCodec::<Vec<u8>, Vec<u8>>::default();
    let path = PathAndQuery::from_static(echo::PATH);
    client.unary(Request::new(vec![7; PAYLOAD]), path, codec).await.map(drop)
}
