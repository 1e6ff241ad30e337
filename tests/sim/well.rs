//! What has to be well again once all faults are over: calls succeed, every link is up, and calls
//! go to all servers alike.

use crate::{
    client::Client,
    fleet::SERVERS,
    script::{ms, secs},
    shared::SHARE,
};
use futures::future::join_all;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Request};
use tonic_supervisor::{
    CallOptions, ConnectivityState, Incarnation, SupervisedChannel, Supervisor, config::Balancing,
};

/// So many calls for each server show how they are shared.
const FOR_EACH: usize = 10;

impl Client {
    /// With all faults over, calls have to succeed again within the time that the configuration
    /// promises.
    pub(crate) async fn get_well(&self) {
        let Some(supervisor) = self.supervisor.borrow().clone() else { return };
        supervisor.panics().disarm();
        self.connector.disarm();
        let config = &self.script.config;
        // A call may meet one dead link after another.
        let links = (self.script.servers * config.connections()) as u32;
        let patience = self.longest_wait() + self.silence() * (links - 1);
        // Where there is little room, calls that hang may take it until their deadlines.
        let tight = config.max_in_flight().min(config.queue().max_calls()) <= 10;
        let patience = patience + if tight { self.longest() } else { Duration::ZERO };
        let well = is_served(supervisor.channel(), patience).await;
        self.shared.require(well, || {
            format!("no call succeeded within {patience:?} after all faults were over")
        });
    }

    /// A dead link is noticed, a dial that hangs is cut off, a wait that is on ends, and what it
    /// takes to do things once more.
    fn longest_wait(&self) -> Duration {
        let (config, reconnect) = (&self.script.config, self.script.config.reconnect());
        let wait = reconnect.idle().max.mul_f64(1.0 + reconnect.jitter());
        self.silence() + config.connect_timeout() + wait + secs(4)
    }

    /// Without calls that end links, all links come up again. Then calls go to the endpoints in
    /// turn.
    pub(crate) async fn get_whole(&self) {
        let Some(supervisor) = self.supervisor.borrow().clone() else { return };
        // Messages that nobody waits for may go on for long.
        let until = Instant::now() + self.longest();
        while supervisor.snapshot().calls_open > 0 && Instant::now() < until {
            self.rest().await;
        }
        let until = Instant::now() + self.longest_wait();
        while self.links(&supervisor).is_none() && Instant::now() < until {
            self.rest().await;
        }
        self.shared.require(self.links(&supervisor).is_some(), || {
            let now = supervisor.snapshot();
            format!("not all links are up, {:?} after the last call: {now:#?}", self.longest_wait())
        });
        self.get_back(&supervisor).await;
        let config = &self.script.config;
        let in_turn = config.balancing() == Balancing::RoundRobin && self.script.servers > 1;
        // Credentials that fail take their turn, and go nowhere.
        if in_turn && self.script.credentials.is_none() {
            self.share(&supervisor).await;
        }
    }

    /// Whoever is ejected is in use again when calls there are answered: each probation takes the
    /// next call.
    async fn get_back(&self, supervisor: &Supervisor) {
        let ejected = || {
            let endpoints = supervisor.snapshot().endpoints;
            endpoints.iter().filter(|endpoint| endpoint.ejected_for.is_some()).count()
        };
        // A link that is dead may be found to be so only now.
        let longest = self.script.config.ejection().max + self.longest_wait();
        let until = Instant::now() + longest;
        while ejected() > 0 && Instant::now() < until {
            let _ = ask(supervisor.channel(), "/sim.Calls/Probe", self.silence() + secs(5)).await;
            self.rest().await;
        }
        let shut = supervisor.snapshot().state == ConnectivityState::Shutdown;
        self.shared.require(shut || ejected() == 0, || {
            let now = supervisor.snapshot();
            format!("an ejected endpoint is not in use again after {longest:?}: {now:#?}")
        });
    }

    async fn rest(&self) {
        tokio::time::sleep(self.script.tick).await;
        self.look();
    }

    /// The links in use, if each endpoint has all that it shall have.
    fn links(&self, supervisor: &Supervisor) -> Option<Vec<Incarnation>> {
        let (now, wanted) = (supervisor.snapshot(), self.script.config.connections());
        let whole = |links: usize| links == wanted;
        // The links of an ejected one are not in use.
        let all = now.endpoints.len() == self.story.borrow().endpoints.listed()
            && now
                .endpoints
                .iter()
                .all(|endpoint| whole(endpoint.links.len()) || endpoint.ejected_for.is_some());
        let links = now.endpoints.iter().flat_map(|endpoint| &endpoint.links);
        let shut = now.state == ConnectivityState::Shutdown;
        (all && !shut).then(|| links.map(|link| link.incarnation).collect())
    }

    /// How often a link was suspect so far; none while one is, since calls go around it.
    fn suspicions(&self, supervisor: &Supervisor) -> Option<usize> {
        let now = supervisor.snapshot();
        let mut links = now.endpoints.iter().flat_map(|endpoint| &endpoint.links);
        (!links.any(|link| link.suspect)).then(|| self.story.borrow().endpoints.suspicions)
    }

    /// Calls are shared evenly, wherever no link is lost or suspect meanwhile: one that is dead
    /// already, and of which nobody knows, may be.
    async fn share(&self, supervisor: &Supervisor) {
        let until = Instant::now() + self.longest_wait() * 2;
        while Instant::now() < until {
            if self.is_short_of_room(supervisor) {
                return;
            }
            let (before, _) = (self.links(supervisor), self.shared.take_shares());
            let suspicions = self.suspicions(supervisor);
            let answered = self.ask_all(supervisor.channel()).await;
            let shares = &self.shared.take_shares()[..self.script.servers];
            let unshaken = suspicions.is_some() && suspicions == self.suspicions(supervisor);
            if answered && unshaken && before.is_some() && before == self.links(supervisor) {
                // Each request actor goes round all links, and its last round may not be whole:
                // with several links to a server their order is that of their dials.
                let config = &self.script.config;
                let unfinished = (config.connections() - 1) * config.request_actors();
                let even = |share: &usize| share.abs_diff(FOR_EACH) <= FOR_EACH / 10 + unfinished;
                return self.shared.require(shares.iter().all(even), || {
                    format!("calls are not shared evenly: {shares:?} of {SERVERS:?}")
                });
            }
            self.rest().await;
        }
        self.shared.violated("links are lost again and again, long after all faults were over");
    }

    /// Whether a peer allows so few streams that its calls go elsewhere.
    fn is_short_of_room(&self, supervisor: &Supervisor) -> bool {
        let now = supervisor.snapshot();
        let mut links = now.endpoints.iter().flat_map(|endpoint| &endpoint.links);
        links.any(|link| link.max_concurrent_streams.is_some_and(|most| (most as usize) < FOR_EACH))
    }

    /// Makes the calls, all at once where there is room for them; whether all were answered.
    async fn ask_all(&self, channel: SupervisedChannel) -> bool {
        let (config, calls) = (&self.script.config, FOR_EACH * self.script.servers);
        let one = || ask(channel.clone(), SHARE, self.silence() + secs(5));
        if calls <= config.max_in_flight().min(config.queue().max_calls()) {
            let all = join_all((0..calls).map(|_| one())).await;
            return all.iter().all(Result::is_ok);
        }
        for _ in 0..calls {
            if one().await.is_err() {
                return false;
            }
        }
        true
    }
}

async fn ask(channel: SupervisedChannel, path: &str, timeout: Duration) -> Result<(), Code> {
    let mut request = Request::new("probe".to_owned());
    let options = CallOptions::new().timeout(timeout).wait_for_ready(true);
    request.extensions_mut().insert(options);
    match channel.unary::<String, String>(path, request).await {
        Ok(_) => Ok(()),
        Err(status) => Err(status.code()),
    }
}

/// Asks until a server answers, for at most `patience`: whether one did.
async fn is_served(channel: SupervisedChannel, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        match ask(channel.clone(), "/sim.Calls/Probe", patience).await {
            Ok(()) => return true,
            Err(Code::Cancelled) => return false,
            Err(_) => tokio::time::sleep(ms(100)).await,
        }
    }
    false
}
