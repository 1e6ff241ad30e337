//! One dial to many addresses (happy eyeballs, gRPC A61): one after another, the next when one
//! fails or 250 ms later, families in turn; the first whose whole dial succeeds wins, and the
//! others are dropped.
//!
//! Names are looked up meanwhile, all at once: one that nobody answers for holds up no other
//! address.

use super::{connector::Candidate, dial_record::DialRecord};
use crate::model::{Address, DialFailure};
use futures::{
    FutureExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// So long the next address waits for the one before it.
const HEAD_START: Duration = Duration::from_millis(250);

/// The same addresses, one family after the other in turn, beginning with the first's.
pub(super) fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    by_turns(addresses, SocketAddr::is_ipv4)
}

/// The same for the addresses of an endpoint. Where one is a name, nobody knows its family yet, and
/// they stay as they were written.
pub(super) fn endpoint_in_turn(addresses: &[Address]) -> Vec<Address> {
    let ip = |one: &Address| one.host().split('%').next()?.parse::<IpAddr>().ok();
    if addresses.iter().any(|one| ip(one).is_none()) {
        return addresses.to_vec();
    }
    by_turns(addresses.to_vec(), |one| ip(one).is_some_and(|ip| ip.is_ipv4()))
}

/// The same candidates in a random order, families in turn.
pub(super) fn shuffled(mut candidates: Vec<Candidate>, seed: u64) -> Vec<Candidate> {
    candidates.shuffle(&mut SmallRng::seed_from_u64(seed));
    let is_v4 = |one: &Candidate| {
        let address = one.address.as_deref().and_then(|text| text.parse::<SocketAddr>().ok());
        address.is_some_and(|address| address.is_ipv4())
    };
    by_turns(candidates, is_v4)
}

fn by_turns<T>(addresses: Vec<T>, is_v4: impl Fn(&T) -> bool) -> Vec<T> {
    let first_is_v4 = addresses.first().is_some_and(&is_v4);
    let (ours, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|one| is_v4(one) == first_is_v4);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut all = Vec::new();
    loop {
        match (ours.next(), others.next()) {
            (None, None) => return all,
            (one, other) => all.extend(one.into_iter().chain(other)),
        }
    }
}

/// What a lookup of an endpoint's address, by its place among them, gives.
type Lookup = BoxFuture<'static, (usize, Result<Vec<Candidate>, DialFailure>)>;

/// The candidates of one dial: those that are known, and the lookups that go on.
pub(super) struct Found {
    known: BTreeMap<usize, VecDeque<Candidate>>,
    lookups: FuturesUnordered<Lookup>,
}

impl Found {
    /// These, and no others.
    pub(super) fn all(candidates: Vec<Candidate>) -> Self {
        Self { known: BTreeMap::from([(0, candidates.into())]), lookups: FuturesUnordered::new() }
    }

    /// What these lookups will give, one for each address of an endpoint.
    pub(super) fn of(
        lookups: impl Iterator<Item = BoxFuture<'static, Result<Vec<Candidate>, DialFailure>>>,
    ) -> Self {
        let numbered =
            |(n, lookup): (usize, BoxFuture<'static, _>)| async move { (n, lookup.await) }.boxed();
        Self { known: BTreeMap::new(), lookups: lookups.enumerate().map(numbered).collect() }
    }

    /// Takes in what has been found by now.
    fn look(&mut self, record: &DialRecord) {
        while let Some(Some(answer)) = self.lookups.next().now_or_never() {
            self.add(answer, record);
        }
    }

    fn add(
        &mut self,
        (server, answer): (usize, Result<Vec<Candidate>, DialFailure>),
        record: &DialRecord,
    ) {
        record.looked_up(server);
        match answer {
            Ok(candidates) => {
                let of = |candidate| Candidate { server, ..candidate };
                self.known.insert(server, candidates.into_iter().map(of).collect());
            }
            Err(failure) => record.not_found(server, failure),
        }
    }

    /// The next candidate to be tried: those of an earlier address go first.
    fn next(&mut self) -> Option<Candidate> {
        self.known.retain(|_, candidates| !candidates.is_empty());
        self.known.first_entry()?.get_mut().pop_front()
    }

    /// How many are known and were not tried.
    fn left(&self) -> usize {
        self.known.values().map(VecDeque::len).sum()
    }
}

/// Tries the candidates with `dial`, which is told each one's number on the record. None: all
/// failed, and `record` says how. Cancel safe, if `dial` is.
pub(super) async fn race<T, F>(
    mut found: Found,
    dial: impl Fn(usize, Candidate) -> F,
    record: &DialRecord,
) -> Option<T>
where
    F: Future<Output = Result<T, DialFailure>>,
{
    let mut running = FuturesUnordered::new();
    // From when on the next one may start.
    let mut next_at = Instant::now();
    loop {
        found.look(record);
        if next_at <= Instant::now()
            && let Some(candidate) = found.next()
        {
            next_at = Instant::now() + HEAD_START;
            let (address, server) = (candidate.address.clone(), candidate.server);
            let number = record.begin(address, server, found.left());
            let dialling = dial(number, candidate);
            running.push(async move { (number, dialling.await) });
        }
        let (lookups, left) = (!found.lookups.is_empty(), found.left() > 0);
        if running.is_empty() && !lookups && !left {
            return None;
        }
        tokio::select! {
            // Where an address fails just when the next one's turn comes, that one is tried.
            biased;
            Some(ended) = running.next() => match ended {
                (_, Ok(won)) => return Some(won),
                (number, Err(failure)) => {
                    record.failed(number, failure);
                    next_at = Instant::now();
                }
            },
            Some(answer) = found.lookups.next() => found.add(answer, record),
            () = sleep_until(next_at), if left => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::DialStep,
        transport::{connect_request::ConnectRequest, connector::failure},
    };
    use parking_lot::Mutex;
    use tokio::time::sleep;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|one| one.parse().expect("an address")).collect()
    }

    fn candidates(all: &[&str]) -> Found {
        let one = |one: &&str| Candidate::new(one.to_string(), std::future::pending());
        Found::all(all.iter().map(one).collect())
    }

    fn record() -> DialRecord {
        let record = record_of(&["queue"]);
        record.looked_up(0);
        record
    }

    fn record_of(hosts: &[&str]) -> DialRecord {
        let requests = hosts.iter().map(|host| ConnectRequest::new(Address::new(*host, 1)));
        DialRecord::new("queue:1".into(), requests.collect())
    }

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        let all = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let turns = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(in_turn(all), turns);
        assert_eq!(in_turn(Vec::new()), []);
    }

    /// Time line: 0 ms the first (hangs), 250 ms the second (refuses at 300), 300 ms the third
    /// (answers at 400).
    #[tokio::test(start_paused = true)]
    async fn the_next_starts_after_250_ms_or_when_one_fails_and_the_first_answer_wins() {
        let (start, record) = (Instant::now(), record());
        let begun = Mutex::new(Vec::new());
        let won = race(
            candidates(&["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "4.4.4.4:1"]),
            |number, candidate| {
                begun.lock().push(start.elapsed().as_millis());
                async move {
                    match number {
                        0 => candidate.connect.await.map(|_| String::new()),
                        1 => {
                            sleep(Duration::from_millis(50)).await;
                            Err(failure(DialStep::Connect, &"2.2.2.2:1", &"refused"))
                        }
                        _ => {
                            sleep(Duration::from_millis(100)).await;
                            Ok(candidate.address.unwrap_or_default())
                        }
                    }
                }
            },
            &record,
        );
        assert_eq!(won.await.expect("one answers"), "3.3.3.3:1");
        assert_eq!(*begun.lock(), [0, 250, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_each_is_named_with_its_reason() {
        let record = record();
        let refuse = |_, candidate: Candidate| async move {
            Err::<(), _>(failure(
                DialStep::Connect,
                &candidate.address.unwrap_or_default(),
                &"refused",
            ))
        };
        assert_eq!(race(candidates(&["[::1]:7", "1.1.1.1:7"]), refuse, &record).await, None);
        let words = "cannot dial queue:1: cannot connect to [::1]:7: refused; cannot connect to \
                     1.1.1.1:7: refused";
        assert_eq!(record.all_failed().reason, words);
    }

    #[test]
    fn an_endpoints_families_take_turns_unless_one_of_its_addresses_is_a_name() {
        let of = |all: &[&str]| -> Vec<Address> {
            all.iter().map(|one| Address::new(*one, 1)).collect()
        };
        let turns = endpoint_in_turn(&of(&["fe80::1%eth0", "::2", "1.1.1.1"]));
        assert_eq!(turns, of(&["fe80::1%eth0", "1.1.1.1", "::2"]));
        let named = of(&["::1", "::2", "queue"]);
        assert_eq!(endpoint_in_turn(&named), named);
    }

    /// Time line: the first name is never answered for; the second has an address after 100 ms,
    /// which is tried when its turn comes, at 250; the third is an address, which hangs.
    #[tokio::test(start_paused = true)]
    async fn a_name_that_nobody_answers_for_holds_up_no_other_address() {
        let record = record_of(&["a", "b", "3.3.3.3"]);
        let one = |text: &'static str| Ok(vec![Candidate::new(text, std::future::pending())]);
        let lookups = [
            std::future::pending().boxed(),
            sleep(Duration::from_millis(100)).map(move |()| one("2.2.2.2:1")).boxed(),
            std::future::ready(one("3.3.3.3:1")).boxed(),
        ];
        let (start, begun) = (Instant::now(), Mutex::new(Vec::new()));
        let won = race(
            Found::of(lookups.into_iter()),
            |_, candidate| {
                begun.lock().push((start.elapsed().as_millis(), candidate.server));
                async move {
                    match candidate.server {
                        1 => Ok(()),
                        _ => candidate.connect.await.map(drop),
                    }
                }
            },
            &record,
        );
        assert_eq!(won.await, Some(()));
        assert_eq!(*begun.lock(), [(0, 2), (250, 1)]);
        let words = record.cut_off(Duration::from_secs(1), None).reason;
        let mute = "cannot resolve a:1: the lookup has not answered within connect_timeout (1 s)";
        assert!(words.contains(mute), "{words}");
    }
}
