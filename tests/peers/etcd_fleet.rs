//! Three single etcds behind one channel. Each has a value of its own under one key, so that an
//! answer says who gave it.

use super::{
    etcd::{free_port, get, put, serve},
    fleet::{Tally, assert_even, assert_none_failed, links_up, round_robin},
    load::Load,
    wire::{config, spawn},
};

#[tokio::test]
async fn three_etcds_share_reads_and_one_killed_at_a_time_costs_no_read() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("folder"));
    let ports = [(); 3].map(|()| free_port());
    let start = |place: usize| serve(folders[place].path(), &ports[place], &[]);
    let mut servers = [0, 1, 2].map(start);
    for port in &ports {
        put(&spawn(config(port)), "who", port.clone().into()).await.expect("put");
    }
    let endpoints = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let supervisor = spawn(round_robin().endpoints(endpoints));
    links_up(&supervisor, 3).await;
    let caller = supervisor.clone();
    let read = move |tally: Tally| {
        let supervisor = caller.clone();
        async move {
            let who = get(&supervisor, "who").await?;
            tally.count(String::from_utf8(who).expect("a port"));
            Ok(())
        }
    };
    assert_even(read.clone()).await;
    let tally = Tally::default();
    let counted = tally.clone();
    let load = Load::start(8, move || read(counted.clone()));
    for (place, port) in ports.iter().enumerate() {
        load.worked(300).await;
        servers[place].kill();
        load.worked(300).await;
        let before = tally.of(port);
        servers[place] = start(place);
        links_up(&supervisor, 3).await;
        load.worked(300).await;
        let since = tally.of(port) - before;
        assert!(since >= 80, "{since} of 300 reads went to the etcd that is back");
    }
    assert_none_failed(load, &supervisor).await;
}
