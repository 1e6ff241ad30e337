//! Several servers with the list of those that are to be called, for tests of channels with many
//! endpoints.

use super::{
    MemoryNetwork, Misbehaviour, PlayingPeer, RawPeer, ScriptedServer, ScriptedServerBuilder,
    fleet_names::{FleetNames, NameAnswer},
};
use crate::{
    model::{Address, Endpoint},
    transport::{Connector, Resolver},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Several [`ScriptedServer`]s, and the list of endpoints that a supervisor is given. They end when
/// it is dropped.
///
/// ```
/// use tonic_supervisor::{Config, Supervisor, config::Balancing, testing::Fleet};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fleet = Fleet::on_tcp(3).await;
/// let config = Config::builder().balancing_policy(Balancing::RoundRobin).build()?;
/// let supervisor = Supervisor::builder(config).endpoints(fleet.endpoints()).spawn();
/// supervisor.wait_ready(std::time::Duration::from_secs(5)).await?;
/// fleet.server(0).kill().await; // calls go on to the others
/// fleet.list([1, 2]); // and it is listed no more
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Fleet {
    servers: Vec<ScriptedServer>,
    /// None: they listen on TCP.
    network: Option<MemoryNetwork>,
    options: ScriptedServerBuilder,
    lists: watch::Sender<Arc<[Endpoint]>>,
    names: FleetNames,
}

impl Fleet {
    /// So many servers on free ports of 127.0.0.1, all of them listed.
    pub async fn on_tcp(servers: usize) -> Self {
        Self::start(servers, None, ScriptedServer::builder()).await
    }

    /// So many servers on a network in memory, all of them listed: `server-1:50051`,
    /// `server-2:50051` and so on.
    pub async fn on_memory(network: &MemoryNetwork, servers: usize) -> Self {
        Self::with_options(network, servers, ScriptedServer::builder()).await
    }

    /// The same with servers that are all made of `options`.
    pub async fn with_options(
        network: &MemoryNetwork,
        servers: usize,
        options: ScriptedServerBuilder,
    ) -> Self {
        Self::start(servers, Some(network.clone()), options).await
    }

    async fn start(
        servers: usize,
        network: Option<MemoryNetwork>,
        options: ScriptedServerBuilder,
    ) -> Self {
        let lists = watch::Sender::new([].into());
        let names = FleetNames::new(lists.subscribe());
        let mut fleet = Self { servers: Vec::new(), network, options, lists, names };
        for _ in 0..servers {
            fleet.grow().await;
        }
        fleet.list(0..servers);
        fleet
    }

    /// Starts one more server, which is not listed yet; its place.
    pub async fn grow(&mut self) -> usize {
        let place = self.servers.len();
        let options = self.options.clone();
        self.servers.push(match &self.network {
            None => options.on_tcp().await,
            Some(network) => options.on_memory(network, &address(place)).await,
        });
        place
    }

    /// The servers, by their places.
    pub fn servers(&self) -> &[ScriptedServer] {
        &self.servers
    }

    /// The server at a place, from 0.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn server(&self, place: usize) -> &ScriptedServer {
        &self.servers[place]
    }

    /// How many calls each has processed.
    pub fn handled(&self) -> Vec<usize> {
        self.servers.iter().map(ScriptedServer::handled).collect()
    }

    /// The endpoint of the server at a place.
    pub fn endpoint(&self, place: usize) -> Endpoint {
        self.address(place).into()
    }

    /// The address of the server at a place.
    pub fn address(&self, place: usize) -> Address {
        self.servers[place].dial_address()
    }

    /// Lists the servers at these places, and no others.
    pub fn list(&self, places: impl IntoIterator<Item = usize>) {
        self.list_endpoints(places.into_iter().map(|place| self.endpoint(place)));
    }

    /// Lists these endpoints, and no others: for those with several addresses.
    pub fn list_endpoints(&self, endpoints: impl IntoIterator<Item = Endpoint>) {
        self.lists.send_replace(endpoints.into_iter().collect());
    }

    /// The lists, for [`SupervisorBuilder::endpoints`](crate::SupervisorBuilder::endpoints).
    pub fn endpoints(&self) -> watch::Receiver<Arc<[Endpoint]>> {
        self.lists.subscribe()
    }

    /// A resolver whose answer is what is listed, for
    /// [`SupervisorBuilder::resolver`](crate::SupervisorBuilder::resolver).
    pub fn resolver(&self) -> impl Resolver {
        self.names.clone()
    }

    /// From now on lookups by [`resolver`](Self::resolver) end so.
    pub fn name_answers(&self, answer: NameAnswer) {
        self.names.answer_with(answer);
    }

    /// When each lookup by [`resolver`](Self::resolver) began, counted from the fleet's start.
    pub fn lookups(&self) -> Vec<Duration> {
        self.names.asked()
    }

    /// What to dial them with.
    ///
    /// # Panics
    ///
    /// There is no server.
    pub fn connector(&self) -> Arc<dyn Connector> {
        self.servers[0].connector()
    }

    /// Kills the server at a place, and has a peer listen there in its stead that misbehaves at
    /// every call, or at the beginning of every connection.
    ///
    /// # Panics
    ///
    /// They listen on TCP.
    pub async fn misbehave(&self, place: usize, fault: Misbehaviour) -> PlayingPeer {
        let network = self.network.as_ref().expect("the fleet is on a network in memory");
        self.servers[place].kill().await;
        RawPeer::on_memory(network, &address(place)).await.misbehave(fault, usize::MAX)
    }
}

fn address(place: usize) -> String {
    format!("server-{}:50051", place + 1)
}
