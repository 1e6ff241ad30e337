//! Looking names up on threads that nothing waits for. The system's lookup cannot be stopped, and
//! one that hangs would hold up the end of a runtime on whose threads it ran; each redial would add
//! another.
//!
//! Of each name at most one lookup is under way: who asks meanwhile waits for the same answer. An
//! answer that came too late for its dial serves the next one, if the question is less than a
//! minute old; a failure that came too late is forgotten.

use crate::clock;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The age of a question up to which its answer is used.
const FRESH: Duration = Duration::from_secs(60);

/// How a name becomes addresses, with any port; blocking.
type Resolve = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The addresses, or why there are none.
type Answer = Result<Vec<SocketAddr>, String>;

/// The lookups under way.
pub(super) struct Lookups {
    resolve: Resolve,
    under_way: Mutex<BTreeMap<String, Lookup>>,
}

#[derive(Clone)]
struct Lookup {
    asked: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

impl Default for Lookups {
    /// The system's lookup.
    fn default() -> Self {
        Self::new(|host| Ok((host, 0).to_socket_addrs()?.collect()))
    }
}

impl Lookups {
    pub(super) fn new(
        resolve: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { resolve: Arc::new(resolve), under_way: Mutex::default() }
    }

    /// The addresses of `host`, each with `port`; never none. Dropped, it leaves the lookup to
    /// whoever asks next.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Answer {
        if let Some(address) = literal(host, port) {
            return Ok(vec![address]);
        }
        let mut lookup = self.join(host)?;
        let answer = match lookup.answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Ok(Vec::new())),
            Err(_) => Err("the lookup's thread ended without an answer".into()),
        };
        self.forget(host, &lookup);
        let mut addresses = answer.map_err(|cause| explained(host, cause))?;
        addresses.iter_mut().for_each(|address| address.set_port(port));
        if addresses.is_empty() { Err("the name has no address".into()) } else { Ok(addresses) }
    }

    /// Since when the lookup of `host` has not answered, if one is under way.
    pub(super) fn unanswered(&self, host: &str) -> Option<Duration> {
        let under_way = self.under_way.lock();
        let lookup = under_way.get(host).filter(|lookup| lookup.is_under_way())?;
        Some(clock::now().saturating_duration_since(lookup.asked))
    }

    /// The lookup under way, or its answer, or a new one.
    fn join(&self, host: &str) -> Result<Lookup, String> {
        let now = clock::now();
        let mut under_way = self.under_way.lock();
        under_way.retain(|_, lookup| lookup.is_under_way() || lookup.is_of_use(now));
        if let Some(lookup) = under_way.get(host) {
            return Ok(lookup.clone());
        }
        let (told, answer) = watch::channel(None);
        let (resolve, name) = (self.resolve.clone(), host.to_owned());
        // The thread holds the name and a sender, no more: whatever else ends, it harms nobody.
        let ask =
            move || told.send_replace(Some(resolve(&name).map_err(|error| error.to_string())));
        let thread = thread::Builder::new().name("grpc-lookup".into()).spawn(ask);
        thread.map_err(|error| format!("no thread can be started for the lookup: {error}"))?;
        let lookup = Lookup { asked: now, answer };
        under_way.insert(host.to_owned(), lookup.clone());
        Ok(lookup)
    }

    /// The answer has served.
    fn forget(&self, host: &str, lookup: &Lookup) {
        let mut under_way = self.under_way.lock();
        if under_way.get(host).is_some_and(|kept| kept.answer.same_channel(&lookup.answer)) {
            under_way.remove(host);
        }
    }
}

/// An address that needs no lookup: without a zone, or with the number of one.
pub(super) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let plain = host.parse::<IpAddr>().map(|address| SocketAddr::new(address, port));
    plain.or_else(|_| format!("[{host}]:{port}").parse()).ok()
}

/// The system's words for a zone without an interface are those for a name without an address.
fn explained(host: &str, cause: String) -> String {
    match host.split_once('%') {
        Some((_, zone)) => format!("{cause} (is there an interface {zone} on this machine?)"),
        None => cause,
    }
}

impl Lookup {
    fn is_under_way(&self) -> bool {
        self.answer.borrow().is_none() && self.answer.has_changed().is_ok()
    }

    fn is_of_use(&self, now: Instant) -> bool {
        let fresh = now.saturating_duration_since(self.asked) < FRESH;
        fresh && matches!(&*self.answer.borrow(), Some(Ok(_)))
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::{Sender, channel},
    };

    /// A name server that answers each question when the test says how.
    struct NameServer {
        lookups: Arc<Lookups>,
        answers: Sender<io::Result<Vec<SocketAddr>>>,
        asked: Arc<AtomicUsize>,
        answered: Arc<AtomicUsize>,
    }

    impl NameServer {
        fn new() -> Self {
            let (answers, to_give) = channel();
            let to_give = Mutex::new(to_give);
            let (asked, answered) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
            let (begun, ended) = (asked.clone(), answered.clone());
            let resolve = move |_: &str| {
                begun.fetch_add(1, SeqCst);
                let answer = to_give
                    .lock()
                    .recv()
                    .unwrap_or_else(|_| Err(io::Error::other("the test is over")));
                ended.fetch_add(1, SeqCst);
                answer
            };
            Self { lookups: Arc::new(Lookups::new(resolve)), answers, asked, answered }
        }

        /// Asks, but not for longer than a second.
        async fn ask_in_vain(&self) {
            let asking = self.lookups.addresses("queue", 7);
            assert!(tokio::time::timeout(Duration::from_secs(1), asking).await.is_err());
        }

        fn answer(&self, answer: io::Result<Vec<SocketAddr>>) {
            self.answers.send(answer).expect("the lookups are there");
        }

        /// Until the answer is there, without letting the paused clock go on.
        async fn late_answer(&self) {
            while self.lookups.unanswered("queue").is_some() {
                tokio::task::yield_now().await;
            }
        }

        fn asked(&self) -> usize {
            self.asked.load(SeqCst)
        }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_hangs_is_joined_and_its_answer_serves_all_who_wait() {
        let server = NameServer::new();
        for _ in 0..5 {
            server.ask_in_vain().await;
        }
        assert_eq!(server.lookups.unanswered("queue"), Some(Duration::from_secs(5)));
        let (one, other) =
            (server.lookups.addresses("queue", 7), server.lookups.addresses("queue", 8));
        server.answer(Ok(vec![address(0)]));
        assert_eq!(
            futures::future::join(one, other).await,
            (Ok(vec![address(7)]), Ok(vec![address(8)]))
        );
        assert_eq!((server.asked(), server.lookups.unanswered("queue")), (1, None));
        server.answer(Ok(vec![address(0)]));
        assert!(server.lookups.addresses("queue", 7).await.is_ok());
        assert_eq!(server.asked(), 2, "an answer that has served is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_serves_the_next_dial_while_it_is_fresh() {
        for (age, asked) in [(40, 1), (58, 1), (60, 2)] {
            let server = NameServer::new();
            server.ask_in_vain().await;
            server.answer(Ok(vec![address(0)]));
            server.late_answer().await;
            tokio::time::advance(Duration::from_secs(age)).await;
            server.answer(Ok(vec![address(0)]));
            assert_eq!(server.lookups.addresses("queue", 7).await, Ok(vec![address(7)]));
            assert_eq!(server.asked(), asked, "after {age} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_failure_is_forgotten_and_one_in_time_is_told() {
        let server = NameServer::new();
        server.ask_in_vain().await;
        server.answer(Err(io::Error::other("no such name")));
        server.late_answer().await;
        server.answer(Ok(vec![]));
        assert_eq!(
            server.lookups.addresses("queue", 7).await,
            Err("the name has no address".into())
        );
        server.answer(Err(io::Error::other("no such name")));
        assert_eq!(server.lookups.addresses("queue", 7).await, Err("no such name".into()));
        assert_eq!(server.asked(), 3);
    }

    #[test]
    fn the_runtime_ends_while_a_lookup_hangs() {
        let server = NameServer::new();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(server.ask_in_vain());
        // Were the lookup on one of the runtime's threads, this would wait for ever.
        drop(runtime);
        assert_eq!(server.answered.load(SeqCst), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_name_of_a_zone_becomes_the_number_of_its_interface() {
        let lookups = Lookups::default();
        let interface = "lo";
        let number = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))
            .expect("a loopback");
        let address = format!("[fe80::1%{}]:7", number.trim()).parse().expect("an address");
        assert_eq!(lookups.addresses("fe80::1%lo", 7).await, Ok(vec![address]));
        let missing =
            lookups.addresses("fe80::1%nowhere0", 7).await.expect_err("no such interface");
        assert!(missing.contains("is there an interface nowhere0 on this machine?"), "{missing}");
    }

    #[tokio::test]
    async fn an_address_needs_no_lookup_and_a_thread_that_panics_is_an_error() {
        let lookups = Lookups::new(|_| panic!("on purpose"));
        for (host, address) in
            [("10.0.0.1", "10.0.0.1:7"), ("::1", "[::1]:7"), ("fe80::1%3", "[fe80::1%3]:7")]
        {
            let address = address.parse().expect("an address");
            assert_eq!(lookups.addresses(host, 7).await, Ok(vec![address]));
        }
        let words = "the lookup's thread ended without an answer";
        assert_eq!(lookups.addresses("queue", 7).await, Err(words.into()));
        assert_eq!(lookups.addresses("queue", 7).await, Err(words.into()), "it is asked anew");
    }
}
