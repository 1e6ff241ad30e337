//! Turns one behind the other, by hand and between threads.

use super::*;
use futures::FutureExt as _;
use std::{
    future::poll_fn,
    sync::{
        atomic::AtomicUsize,
        mpsc::{Sender, channel},
    },
    thread::ThreadId,
    time::Duration,
};
use tokio::sync::Notify;

/// Tells how often the runtime was asked to poll its task.
#[derive(Default)]
struct Task(AtomicUsize);

impl Task {
    fn wakes(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A chained future, polled by hand, and its task.
struct ByHand<F: Future, A> {
    chained: Chained<F, A>,
    task: Arc<Task>,
}

impl<F, A> ByHand<F, A>
where
    F: Future + Send + 'static,
    F::Output: Send,
    A: Fn() -> bool,
{
    fn new(work: F, leads: A) -> Self {
        Self { chained: Chained::new(work, leads), task: Arc::default() }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(self.task.clone());
        self.chained.poll_unpin(&mut Context::from_waker(&waker))
    }
}

/// Waits for `own` again and again; each time it says so and notifies `next`.
async fn hand_on(name: u8, own: Arc<Notify>, next: Arc<Notify>, told: Sender<(u8, ThreadId)>) {
    loop {
        own.notified().await;
        let _ = told.send((name, std::thread::current().id()));
        next.notify_one();
    }
}

fn notifies<const N: usize>() -> [Arc<Notify>; N] {
    std::array::from_fn(|_| Arc::default())
}

#[test]
fn what_a_task_wakes_has_its_turn_behind_it_and_the_runtime_is_not_told() {
    let ([a, b, c, end], (tell, told)) = (notifies(), channel());
    let mut first = ByHand::new(hand_on(1, a.clone(), b.clone(), tell.clone()), || true);
    let mut second = ByHand::new(hand_on(2, b, c.clone(), tell.clone()), || true);
    let mut third = ByHand::new(hand_on(3, c, end.clone(), tell), || true);
    assert!(first.poll().is_pending() && second.poll().is_pending() && third.poll().is_pending());
    a.notify_one();
    assert_eq!(first.task.wakes(), 1, "woken from elsewhere, it is the runtime's to poll");
    assert!(first.poll().is_pending());
    assert_eq!(told.try_iter().map(|(name, _)| name).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!([&second.task, &third.task].map(|task| task.wakes()), [0, 0]);
    assert!(end.notified().now_or_never().is_some());
}

#[test]
fn where_a_task_does_not_lead_the_runtime_is_told_of_what_it_wakes() {
    let ([a, b, end], (tell, told)) = (notifies(), channel());
    let mut first = ByHand::new(hand_on(1, a.clone(), b.clone(), tell.clone()), || false);
    let mut second = ByHand::new(hand_on(2, b, end, tell), || false);
    assert!(first.poll().is_pending() && second.poll().is_pending());
    a.notify_one();
    assert!(first.poll().is_pending());
    assert_eq!(told.try_iter().map(|(name, _)| name).collect::<Vec<_>>(), [1]);
    assert_eq!(second.task.wakes(), 1);
    assert!(second.poll().is_pending());
    assert_eq!(told.try_iter().map(|(name, _)| name).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_task_that_ends_in_a_turn_behind_another_ends_with_what_it_gave() {
    let [a, b] = notifies();
    let (started, woken) = (a.clone(), b.clone());
    let lead = async move {
        started.notified().await;
        woken.notify_one();
    };
    let follow = async move {
        b.notified().await;
        7
    };
    let (mut lead, mut follow) = (ByHand::new(lead, || true), ByHand::new(follow, || true));
    assert!(lead.poll().is_pending() && follow.poll().is_pending());
    a.notify_one();
    assert!(lead.poll().is_ready());
    assert_eq!(follow.task.wakes(), 1, "its task is to end");
    assert_eq!(follow.poll(), Poll::Ready(7));
}

#[test]
fn a_panic_in_a_turn_behind_another_is_that_tasks_own() {
    let [a, b, c] = notifies();
    let (started, wakes) = (a.clone(), [b.clone(), c.clone()]);
    let lead = async move {
        started.notified().await;
        wakes.iter().for_each(|it| it.notify_one());
    };
    let broken = async move {
        b.notified().await;
        resume_unwind(Box::new("broken"));
    };
    let whole = async move {
        c.notified().await;
        7
    };
    let (mut lead, mut broken) = (ByHand::new(lead, || true), ByHand::new(broken, || true));
    let mut whole = ByHand::new(whole, || true);
    assert!(lead.poll().is_pending() && broken.poll().is_pending() && whole.poll().is_pending());
    a.notify_one();
    assert!(lead.poll().is_ready(), "it knows nothing of it");
    assert_eq!(whole.poll(), Poll::Ready(7));
    assert_eq!(crate::unwind::caught(|| broken.poll()), Err("broken".to_owned()));
}

#[test]
fn tasks_that_wake_each_other_without_end_leave_room_for_others() {
    let ([a, b], (tell, told)) = (notifies(), channel());
    let mut first = ByHand::new(hand_on(1, a.clone(), b.clone(), tell.clone()), || true);
    let mut second = ByHand::new(hand_on(2, b, a.clone(), tell), || true);
    assert!(first.poll().is_pending() && second.poll().is_pending());
    a.notify_one();
    assert!(first.poll().is_pending());
    assert_eq!(told.try_iter().count(), TURNS + 1);
    assert_eq!(first.task.wakes() + second.task.wakes(), 2, "the first, and the one that is next");
}

#[test]
fn a_dropped_task_drops_its_future_though_wakers_of_it_are_left() {
    let (kept, (tell, told)) = (Arc::new(()), channel());
    let inside = kept.clone();
    let work = poll_fn(move |cx| {
        let _inside = &inside;
        let _ = tell.send(cx.waker().clone());
        Poll::<()>::Pending
    });
    let mut task = ByHand::new(work, || true);
    assert!(task.poll().is_pending());
    drop(task);
    assert_eq!(Arc::strong_count(&kept), 1);
    told.recv().expect("left").wake();
}

#[test]
fn a_task_that_wakes_itself_is_left_to_the_runtime() {
    let mut polls = 0;
    let work = poll_fn(move |cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls < 3 { Poll::Pending } else { Poll::Ready(polls) }
    });
    let mut task = ByHand::new(work, || true);
    assert!(task.poll().is_pending());
    assert_eq!(task.task.wakes(), 1);
    assert!(task.poll().is_pending());
    assert_eq!(task.poll(), Poll::Ready(3));
}

#[test]
fn a_task_of_another_runtime_is_left_to_that() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (one, other) = (runtime(), runtime());
    let ([a, b, end], (tell, told)) = (notifies(), channel());
    let mut first = ByHand::new(hand_on(1, a.clone(), b.clone(), tell.clone()), || true);
    let mut second = ByHand::new(hand_on(2, b, end, tell), || true);
    {
        let _inside = other.enter();
        assert!(second.poll().is_pending());
    }
    let _inside = one.enter();
    assert!(first.poll().is_pending());
    a.notify_one();
    assert!(first.poll().is_pending());
    assert_eq!(told.try_iter().map(|(name, _)| name).collect::<Vec<_>>(), [1]);
    assert_eq!(second.task.wakes(), 1);
}

#[test]
fn who_comes_while_another_thread_has_the_turn_is_not_forgotten() {
    let ((tell, told), (go_on, may_go_on)) = (channel(), channel::<()>());
    let waits = move |_: &mut Context<'_>| {
        let _ = tell.send(());
        // Ends the second time, when nobody is there to go on.
        may_go_on.recv().map_or(Poll::Ready(7), |()| Poll::Pending)
    };
    let mut task = ByHand::new(poll_fn(waits), || true);
    let own = task.chained.own.clone();
    let elsewhere = std::thread::spawn(move || own.turn());
    told.recv().expect("its turn");
    assert!(task.poll().is_pending());
    assert_eq!(task.task.wakes(), 0, "the other's turn is not over");
    go_on.send(()).expect("it waits");
    elsewhere.join().expect("no panic");
    assert_eq!(task.task.wakes(), 1);
    assert!(told.try_recv().is_err(), "it was polled once so far");
    drop(go_on);
    assert_eq!(task.poll(), Poll::Ready(7));
}

/// Three tokens go round in a ring of tasks, from one thread to another or not, as it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_is_lost_between_threads() {
    const TASKS: usize = 5;
    const ROUNDS: usize = 20_000;
    for leads in [true, false] {
        let (ports, mailboxes): (Vec<_>, Vec<_>) =
            (0..TASKS).map(|_| tokio::sync::mpsc::unbounded_channel()).unzip();
        (0..3).for_each(|token| ports[0].send(token).expect("open"));
        let tasks: Vec<_> = mailboxes
            .into_iter()
            .enumerate()
            .map(|(at, mut mailbox)| {
                let next = ports[(at + 1) % TASKS].clone();
                let work = async move {
                    for _ in 0..ROUNDS {
                        // The first has ended when the last tokens come round.
                        let _ = next.send(mailbox.recv().await.expect("open"));
                    }
                };
                tokio::spawn(Chained::new(work, move || leads))
            })
            .collect();
        for task in tasks {
            let ended = tokio::time::timeout(Duration::from_secs(60), task).await;
            ended.expect("it does not wait for ever").expect("no panic");
        }
    }
}

/// Two tasks ask a third, each for its answer before it asks again: a wake of the third that is
/// lost leaves both waiting. They meet it in its turn on any thread, and it is woken from outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_that_is_woken_while_it_has_its_turn_elsewhere_has_another() {
    const QUESTIONS: usize = 30_000;
    let (ask, mut questions) = tokio::sync::mpsc::unbounded_channel::<Arc<Notify>>();
    let answers = async move {
        while let Some(asker) = questions.recv().await {
            asker.notify_one();
        }
    };
    let answering = tokio::spawn(Chained::new(answers, || true));
    let asking: Vec<_> = (0..2)
        .map(|_| {
            let (ask, answered) = (ask.clone(), Arc::new(Notify::new()));
            let asks = async move {
                for _ in 0..QUESTIONS {
                    ask.send(answered.clone()).expect("open");
                    answered.notified().await;
                }
            };
            tokio::spawn(Chained::new(asks, || true))
        })
        .collect();
    let outside = std::thread::spawn(move || {
        for _ in 0..QUESTIONS {
            ask.send(Arc::default()).expect("open");
            std::thread::yield_now();
        }
    });
    for task in asking.into_iter().chain([answering]) {
        let ended = tokio::time::timeout(Duration::from_secs(60), task).await;
        ended.expect("it does not wait for ever").expect("no panic");
    }
    outside.join().expect("no panic");
}
