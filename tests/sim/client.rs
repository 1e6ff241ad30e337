//! The client's host: one supervisor, the script's calls, and the laws that are checked all along
//! and at the end.

use crate::{
    calls::Caller,
    events::{GRAIN, Story},
    fleet::List,
    network::Network,
    room::Rooms,
    script::{Credentials, End, Fault, Script, ms, secs},
    shared::{Shared, now},
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    task::{JoinHandle, spawn_local},
};
use tonic::{Status, metadata::MetadataMap};
use tonic_supervisor::{
    CallCredentials, CredentialsRequest, Endpoint, EventItem, Supervisor,
    testing::PanickingConnector,
};

/// What the client is told to do; `None`: all faults are over.
pub(crate) type Orders = UnboundedReceiver<Option<Fault>>;

/// Where a supervisor is held that outlives its runtime, if it is.
pub(crate) type Outside = Option<Rc<RefCell<Option<Supervisor>>>>;

/// So many tasks may be alive, beside those of open calls: actors, their timers, links, dials,
/// request actors.
const TASKS: usize = 64;

/// And so many more for each further link.
const TASKS_OF_A_LINK: usize = 8;

pub(crate) struct Client {
    pub(crate) script: Arc<Script>,
    pub(crate) shared: Shared,
    pub(crate) story: Rc<RefCell<Story>>,
    rooms: Rc<RefCell<Rooms>>,
    pub(crate) supervisor: Rc<RefCell<Option<Supervisor>>>,
    /// Where lists of servers are given.
    lists: watch::Sender<Arc<[Endpoint]>>,
    network: Network,
    pub(crate) connector: PanickingConnector,
    /// Ends with the supervisor's last event.
    events: JoinHandle<()>,
    /// How many looks in a row the counts of calls did not fit together.
    unsound: Cell<u32>,
}

/// The software of the client's host. Its own tasks are local ones: the others are the
/// supervisor's.
pub(crate) async fn run(
    script: Arc<Script>,
    shared: Shared,
    network: Network,
    orders: Orders,
    outside: Outside,
) -> turmoil::Result {
    let connector = PanickingConnector::new(Arc::new(network.clone()));
    let builder = Supervisor::builder(script.config.clone())
        .connector(Arc::new(connector.clone()))
        .rng_seed(script.seed);
    let (lists, given) = watch::channel(script.list.map_or_else(Arc::default, List::endpoints));
    let builder = if script.list.is_some() { builder.endpoints(given) } else { builder };
    let supervisor = match script.credentials {
        Some(credentials) => {
            builder.call_credentials(hook(credentials)).allow_plaintext(true).spawn()
        }
        None => builder.spawn(),
    };
    if let Some(outside) = outside {
        *outside.borrow_mut() = Some(supervisor.clone());
    }
    if let Some(mutation) = script.mutation {
        supervisor.mutations().commit(mutation);
    }
    let story = Rc::new(RefCell::new(Story::new(shared.clone(), script.clone())));
    let events = spawn_local(listen(supervisor.events(), shared.clone(), story.clone()));
    let supervisor = Rc::new(RefCell::new(Some(supervisor)));
    let rooms = Rc::new(RefCell::new(Rooms::new(shared.clone(), script.clone())));
    let client = Client {
        script,
        shared,
        story,
        rooms,
        supervisor,
        lists,
        network,
        connector,
        events,
        unsound: Cell::new(0),
    };
    client.live(orders).await;
    Ok(())
}

/// What gives calls their credentials, or fails to.
fn hook(credentials: Credentials) -> impl CallCredentials {
    let asked = AtomicU32::new(0);
    move |_: CredentialsRequest| {
        let Credentials { after, fails, hangs, panics } = credentials;
        let time = asked.fetch_add(1, Relaxed) + 1;
        async move {
            tokio::time::sleep(after).await;
            if time.is_multiple_of(hangs) {
                std::future::pending::<()>().await;
            }
            assert!(!time.is_multiple_of(panics), "injected by a test into the credentials");
            match time.is_multiple_of(fails) {
                true => Err(Status::unavailable("the issuer is away")),
                false => Ok(MetadataMap::new()),
            }
        }
    }
}

async fn listen(
    mut events: tonic_supervisor::EventStream,
    shared: Shared,
    story: Rc<RefCell<Story>>,
) {
    while let Some(item) = events.next().await {
        match item {
            EventItem::Snapshot(snapshot) => story.borrow_mut().begin(&snapshot),
            EventItem::Event(event) => story.borrow_mut().hear(&event),
            EventItem::Lagged(missed) => {
                shared.violated(format_args!("{missed} events were not read in time"))
            }
            _ => {}
        }
    }
}

impl Client {
    async fn live(self, mut orders: Orders) {
        let caller = Caller {
            script: self.script.clone(),
            shared: self.shared.clone(),
            story: self.story.clone(),
            rooms: self.rooms.clone(),
            supervisor: self.supervisor.clone(),
        };
        let calls: Vec<_> =
            (0..self.script.calls.len()).map(|n| spawn_local(caller.clone().make(n))).collect();
        let mut ended = false;
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order.flatten() {
                    Some(fault) => ended |= self.obey(fault).await,
                    None => break,
                },
                () = tokio::time::sleep(self.script.tick) => self.look(),
            }
        }
        if !ended {
            self.get_well().await;
        }
        for call in calls {
            // While its last calls end, the supervisor is under the same laws.
            while !call.is_finished() {
                tokio::time::sleep(self.script.tick).await;
                self.look();
            }
            call.await.expect("who calls does not panic");
        }
        if !ended {
            self.get_whole().await;
            self.end(self.script.end).await;
        }
        self.look_back(&caller).await;
    }

    /// Does what the script says; whether that was the supervisor's end.
    async fn obey(&self, fault: Fault) -> bool {
        let Some(supervisor) = self.supervisor.borrow().clone() else { return true };
        match fault {
            Fault::Panic(child, message, times) => supervisor.panics().arm(child, message, times),
            Fault::Unruly(spot, times) => self.connector.arm(spot, times),
            Fault::List(list) => {
                self.story.borrow_mut().endpoints.given(list);
                self.lists.send_replace(list.endpoints());
            }
            Fault::ReconnectNow => {
                self.story.borrow_mut().endpoints.asked_to_reconnect();
                supervisor.reconnect_now();
            }
            Fault::Shutdown { grace } => {
                drop(supervisor);
                self.end(End::Shutdown { grace }).await;
                return true;
            }
            Fault::DropHandles => {
                drop(supervisor);
                self.end(End::DropHandles).await;
                return true;
            }
            other => unreachable!("{other:?} is not the client's business"),
        }
        false
    }

    async fn end(&self, end: End) {
        self.shared.note(format_args!("client: {end:?}"));
        let begun = now();
        let supervisor = self.supervisor.borrow().clone();
        let allowed = match end {
            End::Shutdown { grace } => {
                let supervisor = supervisor.expect("it ends once");
                // Links are cut 100 ms after the grace; dead actors may have to be replaced to do
                // so.
                let allowed = grace + ms(100) + GRAIN + self.replacements();
                if tokio::time::timeout(allowed + secs(5), supervisor.shutdown(grace))
                    .await
                    .is_err()
                {
                    self.shared.violated(format_args!(
                        "a shutdown with a grace of {grace:?} does not end"
                    ));
                }
                allowed
            }
            End::DropHandles => {
                drop(supervisor);
                *self.supervisor.borrow_mut() = None;
                // A link that cannot write its goodbye is cut after a second or two.
                let allowed = secs(2)
                    + self.longest()
                    + self.script.config.connect_timeout()
                    + self.silence()
                    + self.replacements();
                if !self.is_over_within(allowed + secs(5)).await {
                    self.shared
                        .violated("the last handle was dropped, and the supervisor does not end");
                }
                allowed
            }
        };
        let took = now() - begun;
        self.shared.require(took <= allowed, || format!("{end:?} took {took:?}"));
    }

    /// Whether the last event is announced within this time.
    async fn is_over_within(&self, patience: Duration) -> bool {
        let until = now() + patience;
        while !self.events.is_finished() && now() < until {
            tokio::time::sleep(ms(1)).await;
        }
        self.story.borrow().closed
    }

    /// The longest that a call may take.
    pub(crate) fn longest(&self) -> Duration {
        self.script.calls.iter().map(|call| self.script.longest_of(call)).max().unwrap_or_default()
    }

    /// How long a dead link is not noticed.
    pub(crate) fn silence(&self) -> Duration {
        let config = &self.script.config;
        config.effective_keepalive_time().unwrap_or_default() + config.keepalive().timeout()
    }

    fn replacements(&self) -> Duration {
        let panics = self
            .script
            .faults
            .iter()
            .map(|one| if let Fault::Panic(.., times) = one.fault { times } else { 0 });
        self.story.borrow().slow_pace() * panics.sum()
    }

    /// The laws of every moment.
    pub(crate) fn look(&self) {
        let (shared, story) = (&self.shared, self.story.borrow());
        let supervisor = self.supervisor.borrow();
        let Some(supervisor) = &*supervisor else { return };
        let (snapshot, config) = (supervisor.snapshot(), &self.script.config);
        if !story.draining && snapshot.seq == story.seq {
            let mut rooms = self.rooms.borrow_mut();
            rooms.look(&snapshot);
            story.endpoints.look(&snapshot, |endpoint| rooms.few_for_long(endpoint));
        }
        let same = snapshot.seq != story.seq || snapshot.state == story.state;
        shared.require(same, || {
            format!("the snapshot says {}, the events say {}", snapshot.state, story.state)
        });
        let calls = [snapshot.calls_waiting, snapshot.calls_open, config.queue().max_calls()];
        // A call that was given up this very moment is open no more, and its actor has yet to hear
        // of it.
        self.unsound.set(if calls.is_sorted() { 0 } else { self.unsound.get() + 1 });
        shared.require(self.unsound.get() < 10, || {
            format!("calls waiting, open and allowed: {calls:?}")
        });
        let links = story.endpoints.listed().max(1) * config.connections();
        let streams = [snapshot.streams, config.max_in_flight() * (links + 1)];
        shared.require(streams.is_sorted(), || format!("streams open and allowed: {streams:?}"));
        let (tasks, further) = (tasks(), self.script.servers * config.connections() - 1);
        let most = TASKS + further * TASKS_OF_A_LINK + 2 * snapshot.calls_open;
        shared.require(tasks <= most, || format!("{tasks} tasks for {calls:?} calls"));
    }

    /// The laws of the end.
    async fn look_back(self, caller: &Caller) {
        let shared = &self.shared;
        shared.require(self.is_over_within(secs(1)).await, || "Closed was never announced".into());
        // A moment, for what was told to end.
        tokio::time::sleep(ms(5)).await;
        if let Some(supervisor) = &*self.supervisor.borrow() {
            let snapshot = supervisor.snapshot();
            let left = (snapshot.calls_open, snapshot.calls_waiting, snapshot.streams);
            shared.require(left == (0, 0, 0), || {
                format!("calls open, waiting and streams after the end: {left:?}")
            });
        }
        let left = (tasks(), self.network.in_use());
        shared.require(left == (0, 0), || format!("tasks and connections after the end: {left:?}"));
        (0..self.script.calls.len()).for_each(|n| caller.judge_arrivals(n));
        caller.judge_reports();
    }
}

/// How many of the supervisor's tasks are alive.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
