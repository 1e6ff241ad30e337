//! Notifications between the servers of one database, by LISTEN and NOTIFY on a connection of their
//! own.
//!
//! A NOTIFY within a transaction holds a lock of the whole database until its commit is on disk, so
//! that such commits go one by one. This one goes out after the commit, on the listening
//! connection, with all that gathered meanwhile. A notification is lost when a server dies between
//! the two. Then its client, which has no answer, sends its request again; and every server checks
//! everything now and then.

use super::{
    super::{Notifier, QueueChange},
    connect::Database,
    failure::ErrorText,
    tls::Connector,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    future,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, task::JoinHandle, time};
use tokio_postgres::{AsyncMessage, Client, Connection, Error, Socket, tls::MakeTlsConnect};

/// Two messages to the other servers are at least this far apart.
const PAUSE: Duration = Duration::from_millis(5);
/// How long to wait before connecting again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often everything is checked, for changes of which no notification came.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// Changes of more queues than these are sent as a change of any queue.
const MANY: usize = 1000;

const LISTEN: &str = "LISTEN agent_queue";
const NOTIFY: &str = "SELECT pg_notify('agent_queue', word) FROM unnest($1::text[]) AS word";

/// Sends this server's changes to the other servers, and passes theirs to this one's notifier.
/// Dropping it ends that.
#[derive(Debug)]
pub(super) struct NotifyChannel {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    notifier: Notifier,
    unsent: Mutex<Unsent>,
    more: Notify,
}

/// The changes that the other servers have not been notified of yet.
#[derive(Debug, PartialEq)]
enum Unsent {
    /// Changes of these queues.
    Some(HashMap<String, QueueChange>),
    /// Changes of any queue.
    All,
}

impl NotifyChannel {
    /// Starts to listen.
    pub(super) fn start(database: Database) -> Self {
        let shared = Arc::new(Shared::default());
        let (listening, looking) =
            (keep_listening(database, shared.clone()), check_periodically(shared.clone()));
        let task = tokio::spawn(async {
            tokio::join!(listening, looking);
        });
        Self { shared, task }
    }

    pub(super) fn notifier(&self) -> &Notifier {
        &self.shared.notifier
    }

    /// Notifies of a queue's change here, and the other servers soon.
    pub(super) fn notify(&self, agent_id: &str, change: QueueChange) {
        self.shared.notifier.notify(agent_id, change);
        if self.shared.unsent.lock().add(agent_id, change) {
            self.shared.more.notify_one();
        }
    }
}

impl Drop for NotifyChannel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens for as long as the store lives, over one connection after the other.
async fn keep_listening(database: Database, shared: Arc<Shared>) {
    let mut backoff = BACKOFF.0;
    let mut warned = false;
    loop {
        let session = AtomicI32::new(0);
        let why = listen(&database, &shared, &session).await;
        if session.into_inner() != 0 {
            (backoff, warned) = (BACKOFF.0, false);
        }
        if !warned {
            log_line!(
                warn,
                why,
                "PostgreSQL: news of other servers do not come in; connecting again"
            );
        }
        warned = true;
        time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Listens over one connection until it fails, and returns why. `session` is its number, once it
/// listens.
///
/// The two halves run in one task, one at a time, so the order of memory between them is that of
/// the program: `Relaxed` is enough. `session` is atomic because both borrow it.
async fn listen(database: &Database, shared: &Shared, session: &AtomicI32) -> String {
    let (client, connection) = match database.config.connect(database.tls()).await {
        Ok(connected) => connected,
        Err(error) => return ErrorText(&error).to_string(),
    };
    let publishing = async {
        // Known before LISTEN, so that `receive` can tell which notifications are this server's.
        let number: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
        session.store(number, Ordering::Relaxed);
        client.batch_execute(LISTEN).await?;
        // Nobody was notified of what happened before, here and elsewhere. Only from here on can
        // nothing be missed, so everybody looks now and not earlier: a change that comes between
        // the LISTEN and this is told twice. What `publish` had taken when its connection broke is
        // sent again by this, too.
        *shared.unsent.lock() = Unsent::All;
        shared.more.notify_one();
        shared.notifier.notify_all();
        publish(&client, shared).await
    };
    let ended = tokio::select! {
        ended = publishing => ended,
        ended = receive(connection, session, &shared.notifier) => ended,
    };
    ended.map_or_else(|error| ErrorText(&error).to_string(), |()| "the connection closed".into())
}

/// Sends the gathered changes to the other servers.
///
/// What comes while it sends, or pauses, is gathered and leaves one permit in `more`, which lets
/// the next wait return at once: no change stays behind.
async fn publish(client: &Client, shared: &Shared) -> Result<(), Error> {
    loop {
        shared.more.notified().await;
        let words = shared.unsent.lock().take();
        client.execute(NOTIFY, &[&words]).await?;
        time::sleep(PAUSE).await;
    }
}

/// Receives the changes of the other servers, and drives the connection.
async fn receive(
    mut connection: Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>,
    session: &AtomicI32,
    notifier: &Notifier,
) -> Result<(), Error> {
    while let Some(message) = future::poll_fn(|context| connection.poll_message(context)).await {
        // What this server sent comes back too.
        if let AsyncMessage::Notification(notification) = message?
            && notification.process_id() != session.load(Ordering::Relaxed)
        {
            match read(notification.payload()) {
                Some((agent_id, change)) => notifier.notify(agent_id, change),
                None => notifier.notify_all(),
            }
        }
    }
    Ok(())
}

/// Checks everything now and then, for changes without a notification.
async fn check_periodically(shared: Arc<Shared>) {
    loop {
        time::sleep(CHECK_EVERY).await;
        shared.notifier.notify_all();
    }
}

impl Default for Unsent {
    fn default() -> Self {
        Self::Some(HashMap::new())
    }
}

impl Unsent {
    /// Returns whether there is something new to send.
    fn add(&mut self, agent_id: &str, change: QueueChange) -> bool {
        let Self::Some(queues) = self else { return false };
        match queues.get_mut(agent_id) {
            Some(known) if known.merge(change) == *known => return false,
            Some(known) => *known = known.merge(change),
            None => drop(queues.insert(agent_id.to_owned(), change)),
        }
        if queues.len() > MANY {
            *self = Self::All;
        }
        true
    }

    /// Takes everything, in words.
    fn take(&mut self) -> Vec<String> {
        let word = |(agent_id, change): (String, QueueChange)| match change {
            QueueChange::Any => format!("+{agent_id}"),
            // Older servers take this for a change of any queue.
            QueueChange::Claimable(count) => format!("{count} {agent_id}"),
            QueueChange::Changed => format!("={agent_id}"),
        };
        match std::mem::take(self) {
            Self::All => vec!["*".into()],
            Self::Some(queues) => queues.into_iter().map(word).collect(),
        }
    }
}

/// A word of [`Unsent::take`]; none where it means any queue.
fn read(word: &str) -> Option<(&str, QueueChange)> {
    let any = word.strip_prefix('+').map(|agent_id| (agent_id, QueueChange::Any));
    let changed = || Some((word.strip_prefix('=')?, QueueChange::Changed));
    let counted = || {
        word.split_once(' ')
            .and_then(|(count, id)| Some((id, QueueChange::Claimable(count.parse().ok()?))))
    };
    any.or_else(changed).or_else(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(unsent: &mut Unsent) -> Vec<String> {
        let mut words = unsent.take();
        words.sort();
        words
    }

    #[test]
    fn news_of_one_queue_are_told_as_one_and_the_stronger_counts() {
        let mut unsent = Unsent::default();
        assert!(
            unsent.add("a", QueueChange::Changed) && unsent.add("b c", QueueChange::Claimable(1))
        );
        assert!(
            unsent.add("a", QueueChange::Any)
                && unsent.add("b c", QueueChange::Claimable(2))
                && unsent.add("d", QueueChange::Changed)
        );
        assert!(
            !unsent.add("a", QueueChange::Changed) && !unsent.add("a", QueueChange::Claimable(1)),
            "nothing new"
        );
        let words = told(&mut unsent);
        assert_eq!(words, ["+a", "3 b c", "=d"]);
        let changes = [
            ("a", QueueChange::Any),
            ("b c", QueueChange::Claimable(3)),
            ("d", QueueChange::Changed),
        ];
        assert_eq!(words.iter().filter_map(|word| read(word)).collect::<Vec<_>>(), changes);
        assert!(told(&mut unsent).is_empty());
    }

    #[test]
    fn news_of_very_many_queues_are_told_as_news_of_any() {
        let mut unsent = Unsent::default();
        for number in 0..MANY {
            assert!(unsent.add(&number.to_string(), QueueChange::Changed));
        }
        assert!(unsent.add("one more", QueueChange::Changed));
        assert!(!unsent.add("and another", QueueChange::Any));
        assert_eq!(told(&mut unsent), ["*"]);
        assert_eq!(read("*"), None);
    }
}
