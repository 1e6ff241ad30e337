//! News between the servers of one database, by LISTEN and NOTIFY on a connection of their own.
//!
//! A NOTIFY within a transaction holds a lock of the whole database until its commit is on disk, so
//! that such commits go one by one. This one goes out after the commit, on the listening
//! connection, with all that gathered meanwhile. What is lost when a server dies between the two is
//! told by its client, which submits again; and everybody looks by himself now and then.

use super::{
    super::{Board, Mark},
    connect::Target,
    failure::Sentence,
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
/// The longest that news which no server told stays unknown.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);
/// More queues than these are told as all.
const MANY: usize = 1000;

const LISTEN: &str = "LISTEN agent_queue";
const NOTIFY: &str = "SELECT pg_notify('agent_queue', word) FROM unnest($1::text[]) AS word";

/// Tells this server's news to the others, and theirs to this one's board. Dropping it ends that.
#[derive(Debug)]
pub(super) struct News {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    board: Board,
    untold: Mutex<Untold>,
    more: Notify,
}

/// What the others have not been told yet.
#[derive(Debug, PartialEq)]
enum Untold {
    /// News of these queues.
    Some(HashMap<String, Mark>),
    /// News of any queue.
    All,
}

impl News {
    /// Starts to listen.
    pub(super) fn start(target: Target) -> Self {
        let shared = Arc::new(Shared::default());
        let (listening, looking) =
            (keep_listening(target, shared.clone()), keep_looking(shared.clone()));
        let task = tokio::spawn(async {
            tokio::join!(listening, looking);
        });
        Self { shared, task }
    }

    pub(super) fn board(&self) -> &Board {
        &self.shared.board
    }

    /// Marks a queue's news here, and tells the others soon.
    pub(super) fn tell(&self, agent_id: &str, mark: Mark) {
        self.shared.board.mark(agent_id, mark);
        if self.shared.untold.lock().add(agent_id, mark) {
            self.shared.more.notify_one();
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens for as long as the store lives, over one connection after the other.
async fn keep_listening(target: Target, shared: Arc<Shared>) {
    let mut backoff = BACKOFF.0;
    let mut said = false;
    loop {
        let heard = AtomicI32::new(0);
        let why = listen(&target, &shared, &heard).await;
        if heard.into_inner() != 0 {
            (backoff, said) = (BACKOFF.0, false);
        }
        if !said {
            log_line!(
                warn,
                why,
                "PostgreSQL: news of other servers do not come in; connecting again"
            );
        }
        said = true;
        time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Listens over one connection until it fails, and says why. `session` is its number, once it
/// listens.
async fn listen(target: &Target, shared: &Shared, session: &AtomicI32) -> String {
    let (client, connection) = match target.config.connect(target.tls()).await {
        Ok(connected) => connected,
        Err(error) => return Sentence(&error).to_string(),
    };
    let telling = async {
        let number: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
        session.store(number, Ordering::Relaxed);
        client.batch_execute(LISTEN).await?;
        // What happened before, here and elsewhere, was told to nobody.
        *shared.untold.lock() = Untold::All;
        shared.more.notify_one();
        shared.board.mark_all();
        tell(&client, shared).await
    };
    let ended = tokio::select! {
        ended = telling => ended,
        ended = hear(connection, session, &shared.board) => ended,
    };
    ended.map_or_else(|error| Sentence(&error).to_string(), |()| "the connection closed".into())
}

/// Tells the others what gathers.
async fn tell(client: &Client, shared: &Shared) -> Result<(), Error> {
    loop {
        shared.more.notified().await;
        let words = shared.untold.lock().take();
        client.execute(NOTIFY, &[&words]).await?;
        time::sleep(PAUSE).await;
    }
}

/// Hears what the others tell, and drives the connection.
async fn hear(
    mut connection: Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>,
    session: &AtomicI32,
    board: &Board,
) -> Result<(), Error> {
    while let Some(message) = future::poll_fn(|context| connection.poll_message(context)).await {
        // What this server said itself comes back too.
        if let AsyncMessage::Notification(news) = message?
            && news.process_id() != session.load(Ordering::Relaxed)
        {
            match read(news.payload()) {
                Some((agent_id, mark)) => board.mark(agent_id, mark),
                None => board.mark_all(),
            }
        }
    }
    Ok(())
}

/// Looks by itself, for what nobody told.
async fn keep_looking(shared: Arc<Shared>) {
    loop {
        time::sleep(LOOK_ANYWAY).await;
        shared.board.mark_all();
    }
}

impl Default for Untold {
    fn default() -> Self {
        Self::Some(HashMap::new())
    }
}

impl Untold {
    /// Returns whether there is something new to tell.
    fn add(&mut self, agent_id: &str, mark: Mark) -> bool {
        let Self::Some(queues) = self else { return false };
        match queues.get_mut(agent_id) {
            Some(known) if known.and(mark) == *known => return false,
            Some(known) => *known = known.and(mark),
            None => drop(queues.insert(agent_id.to_owned(), mark)),
        }
        if queues.len() > MANY {
            *self = Self::All;
        }
        true
    }

    /// Takes everything, in words.
    fn take(&mut self) -> Vec<String> {
        let word = |(agent_id, mark): (String, Mark)| match mark {
            Mark::Any => format!("+{agent_id}"),
            // Older servers take this for news of any queue.
            Mark::Claimable(count) => format!("{count} {agent_id}"),
            Mark::Changed => format!("={agent_id}"),
        };
        match std::mem::take(self) {
            Self::All => vec!["*".into()],
            Self::Some(queues) => queues.into_iter().map(word).collect(),
        }
    }
}

/// A word of [`Untold::take`]; none where it means any queue.
fn read(word: &str) -> Option<(&str, Mark)> {
    let any = word.strip_prefix('+').map(|agent_id| (agent_id, Mark::Any));
    let changed = || Some((word.strip_prefix('=')?, Mark::Changed));
    let counted = || {
        word.split_once(' ')
            .and_then(|(count, id)| Some((id, Mark::Claimable(count.parse().ok()?))))
    };
    any.or_else(changed).or_else(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(untold: &mut Untold) -> Vec<String> {
        let mut words = untold.take();
        words.sort();
        words
    }

    #[test]
    fn news_of_one_queue_are_told_as_one_and_the_stronger_counts() {
        let mut untold = Untold::default();
        assert!(untold.add("a", Mark::Changed) && untold.add("b c", Mark::Claimable(1)));
        assert!(
            untold.add("a", Mark::Any)
                && untold.add("b c", Mark::Claimable(2))
                && untold.add("d", Mark::Changed)
        );
        assert!(
            !untold.add("a", Mark::Changed) && !untold.add("a", Mark::Claimable(1)),
            "nothing new"
        );
        let words = told(&mut untold);
        assert_eq!(words, ["+a", "3 b c", "=d"]);
        let marks = [("a", Mark::Any), ("b c", Mark::Claimable(3)), ("d", Mark::Changed)];
        assert_eq!(words.iter().filter_map(|word| read(word)).collect::<Vec<_>>(), marks);
        assert!(told(&mut untold).is_empty());
    }

    #[test]
    fn news_of_very_many_queues_are_told_as_news_of_any() {
        let mut untold = Untold::default();
        for number in 0..MANY {
            assert!(untold.add(&number.to_string(), Mark::Changed));
        }
        assert!(untold.add("one more", Mark::Changed));
        assert!(!untold.add("and another", Mark::Any));
        assert_eq!(told(&mut untold), ["*"]);
        assert_eq!(read("*"), None);
    }
}
