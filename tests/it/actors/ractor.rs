//! Facts about ractor that the design leans on: what a death looks like from above, what it takes
//! with it, and what goes first.

use parking_lot::Mutex;
use ractor::{
    Actor, ActorCell, ActorProcessingErr, ActorRef, MessagingErr, SupervisionEvent,
    concurrency::JoinHandle,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};

use crate::support::{config, hide_injected_panics, ms, secs, supervise};
use tonic_supervisor::testing::MemoryNetwork;

/// What an actor is told.
#[derive(Debug)]
enum Order {
    Panic,
    Fail,
    Sleep(Duration),
    Answer(oneshot::Sender<()>),
}

#[cfg(feature = "ractor-cluster")]
impl ractor::Message for Order {}

/// Obeys.
struct Worker {
    /// Whether it fails when it has just started.
    fails_at_start: bool,
}

/// Says when it is dropped.
struct State(Arc<Mutex<bool>>);

impl Drop for State {
    fn drop(&mut self) {
        *self.0.lock() = true;
    }
}

impl Actor for Worker {
    type Msg = Order;
    type State = State;
    type Arguments = Arc<Mutex<bool>>;

    async fn pre_start(
        &self,
        _: ActorRef<Order>,
        dropped: Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State(dropped))
    }

    async fn post_start(
        &self,
        _: ActorRef<Order>,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if self.fails_at_start { Err("no good start".into()) } else { Ok(()) }
    }

    async fn handle(
        &self,
        _: ActorRef<Order>,
        order: Order,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Panic => panic!("injected by a test into a worker"),
            Order::Fail => return Err("injected by a test".into()),
            Order::Sleep(time) => tokio::time::sleep(time).await,
            Order::Answer(reply) => reply.send(()).unwrap_or_default(),
        }
        Ok(())
    }
}

/// Keeps what it is told of its children; panics when it is told so.
struct Boss;

type Seen = Arc<Mutex<Vec<String>>>;

impl Actor for Boss {
    type Msg = Order;
    type State = Seen;
    type Arguments = Seen;

    async fn pre_start(&self, _: ActorRef<Order>, seen: Seen) -> Result<Seen, ActorProcessingErr> {
        Ok(seen)
    }

    async fn handle(
        &self,
        _: ActorRef<Order>,
        order: Order,
        seen: &mut Seen,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Sleep(time) => tokio::time::sleep(time).await,
            Order::Answer(_) => seen.lock().push("a message".into()),
            _ => panic!("injected by a test into the boss"),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Order>,
        event: SupervisionEvent,
        seen: &mut Seen,
    ) -> Result<(), ActorProcessingErr> {
        seen.lock().push(match event {
            SupervisionEvent::ActorStarted(_) => return Ok(()),
            SupervisionEvent::ActorTerminated(_, state, reason) => {
                let state = state.is_some_and(|mut state| state.take::<State>().is_ok());
                format!("terminated, with its state: {state}, {}", reason.unwrap_or_default())
            }
            SupervisionEvent::ActorFailed(_, error) => format!("failed: {error}"),
            _ => "other".into(),
        });
        Ok(())
    }
}

/// A boss, and what it has seen.
async fn boss() -> (ActorRef<Order>, JoinHandle<()>, Seen) {
    let seen = Seen::default();
    let (boss, ended) = Actor::spawn(None, Boss, seen.clone()).await.expect("starts");
    (boss, ended, seen)
}

/// A worker, its end, and whether its state is dropped.
async fn worker(boss: ActorCell) -> (ActorRef<Order>, JoinHandle<()>, Arc<Mutex<bool>>) {
    let dropped = Arc::default();
    let worker = Worker { fails_at_start: false };
    let (worker, ended) =
        Actor::spawn_linked(None, worker, Arc::clone(&dropped), boss).await.expect("starts");
    (worker, ended, dropped)
}

#[tokio::test(start_paused = true)]
async fn panics_and_errors_are_failures_stops_and_kills_hand_the_state_over() {
    hide_injected_panics();
    let (boss, _, seen) = boss().await;
    for order in [Order::Panic, Order::Fail] {
        let (worker, ended, dropped) = worker(boss.get_cell()).await;
        worker.cast(order).expect("it lives");
        ended.await.expect("ractor catches panics");
        assert!(*dropped.lock(), "nobody can look at the state of one that failed");
    }
    let (stopped, ended, _) = worker(boss.get_cell()).await;
    stopped.stop(Some("enough".into()));
    ended.await.expect("ended");
    let (killed, ended, _) = worker(boss.get_cell()).await;
    // One that is killed before its first message has no state to hand over.
    tokio::time::sleep(ms(1)).await;
    killed.kill();
    ended.await.expect("ended");
    tokio::time::sleep(ms(1)).await;
    let seen = seen.lock().clone();
    assert!(
        seen[0].starts_with("failed: ") && seen[0].contains("injected by a test into a worker"),
        "{seen:?}"
    );
    assert_eq!(seen[1], "failed: injected by a test");
    assert_eq!(seen[2], "terminated, with its state: true, enough");
    assert!(seen[3].starts_with("terminated, with its state: true"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_after_pre_start_fails_the_child_and_not_the_spawn() {
    let (boss, _, seen) = boss().await;
    let failing = Worker { fails_at_start: true };
    let spawned = Actor::spawn_linked(None, failing, Arc::default(), boss.get_cell()).await;
    spawned.expect("the spawn waits for pre_start only").1.await.expect("ended");
    tokio::time::sleep(ms(1)).await;
    assert_eq!(seen.lock()[..], ["failed: no good start"]);
}

#[tokio::test(start_paused = true)]
async fn a_death_takes_the_mailbox_with_it_and_later_messages_come_back_to_the_sender() {
    hide_injected_panics();
    let (boss, _, _) = boss().await;
    for order in [Some(Order::Panic), None] {
        let (worker, ended, _) = worker(boss.get_cell()).await;
        let (reply, answer) = oneshot::channel();
        match order {
            Some(order) => worker.cast(order).expect("it lives"),
            None => worker.stop(None),
        }
        worker.cast(Order::Answer(reply)).expect("it still takes messages");
        ended.await.expect("ended");
        assert!(answer.await.is_err(), "the message behind the end was dropped unread");
        let returned = worker.cast(Order::Sleep(secs(7)));
        assert!(
            matches!(returned, Err(MessagingErr::SendErr(Order::Sleep(time))) if time == secs(7))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_interrupts_a_handler_and_a_stop_waits_for_it() {
    let (boss, _, _) = boss().await;
    for (kill, expected) in [(true, ms(0)), (false, secs(3_600) - ms(1))] {
        let (worker, ended, _) = worker(boss.get_cell()).await;
        worker.cast(Order::Sleep(secs(3_600))).expect("it lives");
        tokio::time::sleep(ms(1)).await;
        let asked = Instant::now();
        if kill {
            worker.kill()
        } else {
            worker.stop(None)
        }
        ended.await.expect("ended");
        assert_eq!(asked.elapsed(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_children_of_one_that_panics_or_is_killed_end_with_it() {
    hide_injected_panics();
    for kill in [false, true] {
        let (boss, ended, _) = boss().await;
        let (child, child_ended, dropped) = worker(boss.get_cell()).await;
        child.cast(Order::Sleep(secs(3_600))).expect("it lives");
        if kill {
            boss.kill()
        } else {
            boss.cast(Order::Panic).expect("it lives")
        }
        ended.await.expect("ended");
        tokio::time::timeout(ms(1), child_ended).await.expect("at once").expect("ended");
        assert!(*dropped.lock());
    }
}

/// How the supervisor actor ends the children of a life that failed.
#[tokio::test(start_paused = true)]
async fn of_a_child_that_is_unlinked_and_killed_nothing_is_heard() {
    let (boss, _, seen) = boss().await;
    let (child, ended, dropped) = worker(boss.get_cell()).await;
    child.cast(Order::Sleep(secs(3_600))).expect("it lives");
    tokio::time::sleep(ms(1)).await;
    child.unlink(boss.get_cell());
    child.kill();
    tokio::time::timeout(ms(1), ended).await.expect("at once").expect("ended");
    tokio::time::sleep(ms(1)).await;
    assert!(*dropped.lock() && seen.lock().is_empty(), "{:?}", seen.lock());
    assert!(boss.get_children().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_children_is_heard_before_messages_but_not_within_a_handler() {
    let (boss, _, seen) = boss().await;
    let (child, ended, _) = worker(boss.get_cell()).await;
    boss.cast(Order::Sleep(ms(300))).expect("it lives");
    boss.cast(Order::Answer(oneshot::channel().0)).expect("it lives");
    tokio::time::sleep(ms(1)).await;
    child.stop(None);
    ended.await.expect("ended");
    tokio::time::sleep(ms(200)).await;
    assert!(seen.lock().is_empty(), "it is busy: that is why no handler here waits for anything");
    tokio::time::sleep(ms(200)).await;
    let seen = seen.lock().clone();
    assert!(seen[0].starts_with("terminated") && seen[1] == "a message", "{seen:?}");
}

/// ractor's own handler of supervision events ends the supervisor with its first child, so all of
/// ours have one.
#[tokio::test(start_paused = true)]
async fn a_supervisor_that_leaves_it_to_ractor_ends_with_its_first_child() {
    struct Careless;
    impl Actor for Careless {
        type Msg = ();
        type State = ();
        type Arguments = ();
        async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }
    let (careless, ended) = Actor::spawn(None, Careless, ()).await.expect("starts");
    let (child, _, _) = worker(careless.get_cell()).await;
    child.stop(None);
    tokio::time::timeout(secs(1), ended).await.expect("at once").expect("ended");
}

#[tokio::test(start_paused = true)]
async fn a_timer_outlives_the_actor_it_is_for_unless_it_is_aborted() {
    let (boss, _, _) = boss().await;
    let (worker, ended, _) = worker(boss.get_cell()).await;
    let timer = worker.send_after(secs(10), || Order::Panic);
    worker.stop(None);
    ended.await.expect("ended");
    tokio::time::sleep(secs(9)).await;
    assert!(!timer.is_finished(), "so whoever arms a timer aborts it");
    assert!(timer.await.expect("not aborted").is_err(), "its message has nowhere to go");
}

/// Names are global to the process, so a supervisor uses none: any number may run beside each
/// other.
#[tokio::test(start_paused = true)]
async fn names_are_global_and_a_supervisor_uses_none() {
    let name = || Some("the only one".to_owned());
    let worker = || Worker { fails_at_start: false };
    let (first, _) = Actor::spawn(name(), worker(), Arc::default()).await.expect("starts");
    assert!(Actor::spawn(name(), worker(), Arc::default()).await.is_err());
    first.stop(None);

    let network = MemoryNetwork::new();
    let supervisors = [(); 3].map(|()| supervise(&network, config()));
    tokio::time::sleep(ms(10)).await;
    assert!(
        supervisors.iter().all(|supervisor| supervisor.snapshot().dials == 1),
        "all three are at work"
    );
    let names = ractor::registry::registered();
    assert!(names.iter().all(|name| name == "the only one"), "{names:?}");
}
