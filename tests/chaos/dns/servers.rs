//! The servers: one for each client at each address, so that what a client does is counted apart.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tonic_supervisor::testing::ScriptedServer;

/// All servers of a step.
#[derive(Default)]
pub(super) struct Servers(BTreeMap<(u16, u8), Place>);

struct Place {
    server: Arc<ScriptedServer>,
    address: SocketAddr,
    /// The listener and its connections; none while it is down.
    task: Option<JoinHandle<()>>,
    /// How many connections went down with it.
    killed: usize,
}

impl Servers {
    /// A server at 127.0.0.`host`.
    pub(super) async fn start(&mut self, port: u16, host: u8) {
        let server = ScriptedServer::builder().record_arrivals(false).on_tcp().await;
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), port));
        let mut place = Place { server: server.into(), address, task: None, killed: 0 };
        place.serve().await;
        self.0.insert((port, host), place);
    }

    /// It is gone, and so are its connections.
    pub(super) async fn kill(&mut self, port: u16, host: u8) {
        let place = self.0.get_mut(&(port, host)).expect("started");
        place.killed += place.server.open_connections();
        let task = place.task.take().expect("it serves");
        task.abort();
        assert!(task.await.expect_err("it serves for ever").is_cancelled());
    }

    /// All are gone, and their addresses are free.
    pub(super) async fn end(self) {
        for task in self.0.into_values().filter_map(|place| place.task) {
            task.abort();
            let _ = task.await;
        }
    }

    /// It is back.
    pub(super) async fn restart(&mut self, port: u16, host: u8) {
        self.0.get_mut(&(port, host)).expect("started").serve().await;
    }

    /// It says GOAWAY, as a server does whose connections have come of age.
    pub(super) async fn goaway(&mut self, port: u16, host: u8) {
        let place = self.0.get_mut(&(port, host)).expect("started");
        place.killed += place.server.goaway().await;
    }

    /// The first address with a connection.
    pub(super) fn in_use(&self, port: u16) -> u8 {
        let mut open = self.of(port).filter(|(_, place)| place.server.open_connections() > 0);
        open.next().expect("the client is connected").0
    }

    /// How many addresses have a connection.
    pub(super) fn connected(&self, port: u16) -> usize {
        self.of(port).filter(|(_, place)| place.server.open_connections() > 0).count()
    }

    /// How many calls one server has handled.
    pub(super) fn handled(&self, port: u16, host: u8) -> usize {
        self.0.get(&(port, host)).map_or(0, |place| place.server.handled())
    }

    /// How many servers have handled calls.
    pub(super) fn called(&self, port: u16) -> usize {
        self.of(port).filter(|(_, place)| place.server.handled() > 0).count()
    }

    /// How many connections have ended without our doing.
    pub(super) fn closed(&self, port: u16) -> usize {
        let ended = |place: &Place| place.server.connections() - place.server.open_connections();
        self.of(port).map(|(_, place)| ended(place).saturating_sub(place.killed)).sum()
    }

    fn of(&self, port: u16) -> impl Iterator<Item = (u8, &Place)> {
        self.0.range((port, 0)..=(port, u8::MAX)).map(|((_, host), place)| (*host, place))
    }
}

impl Place {
    async fn serve(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("a free address");
        let server = self.server.clone();
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        connections.spawn(server.serve(accepted.expect("a connection").0));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        }));
    }
}
