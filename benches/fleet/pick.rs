//! What it costs to pick a link among many, in nanoseconds, with the place on it that is taken and
//! given back. The links are up, and nothing is sent on them.
//!
//! `cargo bench --bench pick -- [--quick] [--json]`

#[path = "../common/mod.rs"]
mod common;

/// As the crate has it at its root.
#[allow(unused_macros, reason = "only TLS logs here")]
macro_rules! log_line {
    ($level:ident, $($rest:tt)+) => {
        tracing::$level!(target: "tonic_supervisor", $($rest)+)
    };
}

// The chapters that links are made of, compiled as part of this bench: what they have is not
// public.
#[allow(dead_code, unused_imports)]
#[path = "../../src/call/avoid.rs"]
mod avoid;
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../../src/clock.rs"]
mod clock;
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../../src/config/mod.rs"]
mod config;
#[cfg(feature = "tls")]
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../../src/crypto.rs"]
mod crypto;
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../../src/model/mod.rs"]
mod model;
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../../src/policy/mod.rs"]
mod policy;
#[allow(dead_code, unused_imports)]
#[path = "../../src/call/several.rs"]
mod several;
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../../src/transport/mod.rs"]
mod transport;
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../../src/unwind.rs"]
mod unwind;

use avoid::Wish;
use common::{Run, row::Row, server};
use config::Config;
use model::{Address, Endpoint, EndpointId, Incarnation};
use rand::{SeedableRng as _, rngs::SmallRng};
use several::{By, Member, Several};
use std::{
    hint::black_box,
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use transport::{Dial, Link, LinkEvent, LinkListener, Stats, TcpConnector};

/// Endpoints, with the links to each.
const SIZES: [(usize, usize); 5] = [(5, 1), (100, 1), (1_000, 1), (1, 2), (1, 4)];

/// The policies, as the configuration calls them, with the default number of choices.
const POLICIES: [(&str, By); 3] =
    [("round_robin", By::Turn), ("least_request", By::Streams(3)), ("peak_ewma", By::Time(3))];

/// Hears nothing: nothing happens to these links.
struct Deaf;

impl LinkListener for Deaf {
    fn on_event(&self, _: LinkEvent) {}
}

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let server = server::Child::start();
    let mut rows = Vec::new();
    for (endpoints, each) in SIZES {
        let mut links = Vec::new();
        for number in 0..endpoints * each {
            links.push(link(server.address, number as u64 + 1, (number / each) as u32 + 1).await);
        }
        // Counted, as wherever the breaker is on.
        let rule = Config::default().ejection();
        let about = |link: &Link| {
            let stats = Stats::new(link.endpoint(), rule, Arc::new(|_| {}));
            (Some(Arc::new(stats)), 0)
        };
        for (policy, by) in POLICIES {
            let picker = Several::new(by, [Member::group(&links, about)], Vec::new(), 0);
            let name = format!("{policy}_of_{endpoints}_endpoints_with_{each}_links");
            rows.push(row(name, &picker, how.quick));
        }
    }
    rows
}

/// A link to the server, which takes it for one to this endpoint.
async fn link(address: SocketAddr, incarnation: u64, endpoint: u32) -> Arc<Link> {
    let dial = Dial {
        shuffle: None,
        unread_answers: None,
        name: "the server".into(),
        endpoint: Endpoint::from(Address::from(address)),
        id: EndpointId(endpoint),
        user_timeout: None,
        incarnation: Incarnation(incarnation),
        timeout: Duration::from_secs(10),
        keepalive: None,
        window: 100,
        max_header_bytes: 16 << 10,
        #[cfg(feature = "tls")]
        tls: None,
    };
    let dialled = dial.run(Arc::new(TcpConnector), Arc::new(Deaf)).await;
    let Ok(dialled) = dialled else { panic!("the server listens") };
    tokio::spawn(dialled.driver);
    dialled.link
}

/// The median of some batches.
fn row(name: String, picker: &Several, quick: bool) -> Row {
    let (batches, size) = if quick { (3, 1_000) } else { (31, 100_000) };
    let mut dice = SmallRng::seed_from_u64(1);
    let batch = |_| {
        let start = now();
        (0..size).for_each(|_| {
            drop(black_box(picker.pick(&mut dice, black_box(Wish::default()))));
        });
        start.elapsed().as_nanos() as f64 / f64::from(size)
    };
    let times: Vec<f64> = (0..batches).map(batch).collect();
    Row::new("pick", name, "ns", &times)
}

#[allow(clippy::disallowed_methods, reason = "what runs here takes nanoseconds, and never waits")]
fn now() -> Instant {
    Instant::now()
}
