//! Who is there: every supervisor of the process, by number and name, for as long as it lives.

use crate::support::{config, secs, settle, supervise};
use std::time::Duration;
use tonic_supervisor::{ConnectivityState, Supervisor, supervisors, testing::MemoryNetwork};

fn named(network: &MemoryNetwork, name: &str) -> Supervisor {
    let config = config().build().expect("valid");
    Supervisor::builder(config).connector(network.connector()).name(name).spawn()
}

fn names(begin: &str) -> Vec<String> {
    let all = supervisors();
    let names = all.iter().map(|one| one.name().to_owned());
    names.filter(|name| name.starts_with(begin)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_second_supervisor_of_a_name_gets_a_number_behind_it() {
    let network = MemoryNetwork::new();
    let (one, two) = (named(&network, "twice"), named(&network, "twice"));
    let three = named(&network, "twice-2");
    assert_eq!(names("twice"), ["twice", "twice-2", "twice-2-2"]);
    let ids = [&one, &two, &three].map(|one| one.observer().id());
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!((one.snapshot().id, &*one.snapshot().name), (ids[0], "twice"));
}

#[tokio::test(start_paused = true)]
async fn without_a_name_it_is_called_like_its_target() {
    let supervisor = supervise(&MemoryNetwork::new(), config().host("nameless"));
    let name = supervisor.observer().name().to_owned();
    assert!(name.starts_with("nameless:50051"), "{name}");
    assert_eq!(&*supervisor.snapshot().uri, "dns:///nameless:50051");
}

/// 100 supervisors come and go, whatever ends them, and none is left.
#[tokio::test(start_paused = true)]
async fn an_entry_goes_with_its_supervisor() {
    let network = MemoryNetwork::new();
    let all: Vec<_> = (0..100).map(|n| named(&network, &format!("gone-{n}"))).collect();
    assert_eq!(names("gone").len(), 100);
    for (n, supervisor) in all.into_iter().enumerate() {
        match n % 3 {
            0 => supervisor.shutdown(Duration::ZERO).await,
            1 => drop(supervisor.mailbox()),
            _ => {}
        }
    }
    for _ in 0..100 {
        settle().await;
        tokio::time::sleep(secs(1)).await;
    }
    assert_eq!(names("gone"), Vec::<String>::new());
    // The names are free again.
    assert_eq!(named(&network, "gone-7").observer().name(), "gone-7");
}

/// Whoever looks does not keep it alive, and sees its end.
#[tokio::test(start_paused = true)]
async fn a_look_keeps_nothing_alive() {
    let supervisor = named(&MemoryNetwork::new(), "looked at");
    let observer = supervisor.observer();
    let ends = supervisor.clone();
    drop((supervisor, ends));
    let mut state = observer.events();
    while state.next().await.is_some() {}
    assert_eq!(observer.state(), ConnectivityState::Shutdown);
    assert_eq!(names("looked at"), ["looked at"], "it is shown for as long as somebody looks");
    drop((observer, state));
    assert_eq!(names("looked at"), Vec::<String>::new());
}
