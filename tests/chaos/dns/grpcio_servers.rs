//! Three servers of grpcio behind one name, as `tests/peers` has them behind a list.

use super::{NameServer, inside};
use crate::fleet::{End, Fleet, round_robin};
use std::time::Duration;

#[test]
#[ignore = "needs grpcio: .ci/dns"]
fn three_grpcio_servers_behind_a_name_share_calls_and_cost_none_when_they_end() {
    inside::run("dns::grpcio_servers::inside_with_grpcio_servers");
}

#[tokio::test]
#[ignore = "runs inside a namespace"]
async fn inside_with_grpcio_servers() {
    let mut names = NameServer::start();
    names.say("fleet.test", "answer", &[2, 3, 4]);
    let mut fleet = Fleet::start(["127.0.0.2:50051", "127.0.0.3:50051", "127.0.0.4:50051"]);
    for end in [End::Killed, End::Stopped] {
        let config = round_robin().target("dns:///fleet.test:50051");
        fleet.play(config.resolve_period(Duration::from_secs(1)), end).await;
    }
}
