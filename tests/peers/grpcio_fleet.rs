//! Three servers of grpcio as `endpoints`. The same as a name is a test of `tests/chaos/dns`, where
//! names can be served.

use super::fleet::{End, Fleet, round_robin};

const ANY: [&str; 3] = ["127.0.0.1:0"; 3];

#[tokio::test]
async fn three_grpcio_servers_share_calls_and_one_killed_at_a_time_costs_no_call() {
    let mut fleet = Fleet::start(ANY);
    let config = round_robin().endpoints(fleet.addresses.clone());
    fleet.play(config, End::Killed).await;
}

#[tokio::test]
async fn three_grpcio_servers_that_stop_gracefully_cost_no_call_where_cancelled_is_retried() {
    let mut fleet = Fleet::start(ANY);
    let config = round_robin().endpoints(fleet.addresses.clone());
    fleet.play(config, End::Stopped).await;
}
