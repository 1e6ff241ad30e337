//! One dial to a name with many addresses (happy eyeballs, gRPC A61): one after another, the next
//! when one fails or 250 ms later, families in turn; the first whose whole dial succeeds wins, and
//! the others are dropped.

use super::{connector::Candidate, dial_record::DialRecord};
use crate::model::DialFailure;
use futures::stream::{FuturesUnordered, StreamExt};
use std::{future::Future, net::SocketAddr, time::Duration};

/// So long the next address waits for the one before it.
const HEAD_START: Duration = Duration::from_millis(250);

/// The same addresses, one family after the other in turn, beginning with the first's.
pub(super) fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (ours, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|one| one.is_ipv4() == first_is_v4);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut all = Vec::new();
    loop {
        match (ours.next(), others.next()) {
            (None, None) => return all,
            (one, other) => all.extend(one.into_iter().chain(other)),
        }
    }
}

/// Tries the candidates with `dial`, which is told each one's number on the record. None: all
/// failed, and `record` says how. Cancel safe, if `dial` is.
pub(super) async fn race<T, F>(
    candidates: Vec<Candidate>,
    dial: impl Fn(usize, Candidate) -> F,
    record: &DialRecord,
) -> Option<T>
where
    F: Future<Output = Result<T, DialFailure>>,
{
    let mut next = candidates.into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        if let Some(candidate) = next.next() {
            let number = record.begin(candidate.address.clone(), next.len());
            let dialling = dial(number, candidate);
            running.push(async move { (number, dialling.await) });
        }
        tokio::select! {
            ended = running.next() => match ended? {
                (_, Ok(won)) => return Some(won),
                (number, Err(failure)) => record.failed(number, failure),
            },
            () = tokio::time::sleep(HEAD_START), if next.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::DialStep,
        transport::{connect_request::Endpoint, connector::failure},
    };
    use parking_lot::Mutex;
    use tokio::time::{Instant, sleep};

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|one| one.parse().expect("an address")).collect()
    }

    fn candidates(all: &[&str]) -> Vec<Candidate> {
        let one = |one: &&str| Candidate::new(one.to_string(), std::future::pending());
        all.iter().map(one).collect()
    }

    fn record() -> DialRecord {
        DialRecord::new(&Endpoint::new("queue", 1))
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
}
