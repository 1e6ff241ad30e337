//! One dial to a name with many addresses (happy eyeballs, gRPC A61): one after another, the next when one fails or 250 ms
//! later, families in turn; the first to answer wins and the others are dropped.

use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

/// So long the next address waits for the one before it.
const HEAD_START: Duration = Duration::from_millis(250);

/// What came of each address of the dial under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail(Arc<Mutex<Vec<(SocketAddr, Option<String>)>>>);

impl Trail {
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    fn begin(&self, address: SocketAddr) {
        self.0.lock().push((address, None));
    }

    fn failed(&self, address: SocketAddr, error: &io::Error) {
        if let Some((_, outcome)) = self.0.lock().iter_mut().find(|(tried, _)| *tried == address) {
            *outcome = Some(error.to_string());
        }
    }

    /// Which address failed how, if any was tried. A lone address that is named in the sentence already goes without its own.
    pub(super) fn words(&self, named: &str) -> Option<String> {
        let tried = self.0.lock();
        let outcome = |outcome: &Option<String>| outcome.clone().unwrap_or_else(|| "no answer".into());
        match &tried[..] {
            [] => None,
            [(address, how)] if address.to_string() == named => Some(outcome(how)),
            all => {
                let each: Vec<_> = all.iter().map(|(address, how)| format!("{address}: {}", outcome(how))).collect();
                Some(each.join("; "))
            }
        }
    }
}

/// The same addresses, one family after the other in turn, beginning with the first's.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (ours, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|one| one.is_ipv4() == first_is_v4);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut all = Vec::new();
    loop {
        match (ours.next(), others.next()) {
            (None, None) => return all,
            (one, other) => all.extend(one.into_iter().chain(other)),
        }
    }
}

/// Tries the addresses with `dial`; none if all failed, and `trail` says how. Cancel safe.
pub(super) async fn race<T, F>(addresses: Vec<SocketAddr>, dial: impl Fn(SocketAddr) -> F, trail: &Trail) -> Option<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut next = in_turn(addresses).into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        if let Some(address) = next.next() {
            trail.begin(address);
            let dialling = dial(address);
            running.push(async move { (address, dialling.await) });
        }
        tokio::select! {
            ended = running.next() => match ended? {
                (_, Ok(io)) => return Some(io),
                (address, Err(error)) => trail.failed(address, &error),
            },
            () = tokio::time::sleep(HEAD_START), if next.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|one| one.parse().expect("an address")).collect()
    }

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        let all = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let turns = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(in_turn(all), turns);
        assert_eq!(in_turn(Vec::new()), []);
    }

    /// Time line: 0 ms the first (hangs), 250 ms the second (refuses at 300), 300 ms the third (answers at 400).
    #[tokio::test(start_paused = true)]
    async fn the_next_starts_after_250_ms_or_when_one_fails_and_the_first_answer_wins() {
        let (start, trail) = (Instant::now(), Trail::default());
        let begun = Mutex::new(Vec::new());
        let all = addresses(&["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "4.4.4.4:1"]);
        let won = race(
            all,
            |address| {
                begun.lock().push(start.elapsed().as_millis());
                async move {
                    match address.to_string().as_bytes()[0] {
                        b'1' => std::future::pending().await,
                        b'2' => {
                            sleep(Duration::from_millis(50)).await;
                            Err(io::ErrorKind::ConnectionRefused.into())
                        }
                        _ => {
                            sleep(Duration::from_millis(100)).await;
                            Ok(address)
                        }
                    }
                }
            },
            &trail,
        );
        assert_eq!(won.await.expect("one answers").to_string(), "3.3.3.3:1");
        assert_eq!(*begun.lock(), [0, 250, 300]);
        let words = trail.words("queue:1").expect("tried");
        assert_eq!(words, "1.1.1.1:1: no answer; 2.2.2.2:1: connection refused; 3.3.3.3:1: no answer");
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_each_is_named_with_its_reason() {
        let trail = Trail::default();
        let refuse = |_| async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) };
        assert_eq!(race(addresses(&["[::1]:7", "1.1.1.1:7"]), refuse, &trail).await, None);
        let words = trail.words("queue:7").expect("tried");
        assert_eq!(words, "[::1]:7: connection refused; 1.1.1.1:7: connection refused");
        trail.clear();
        assert_eq!(race(addresses(&["1.1.1.1:7"]), refuse, &trail).await, None);
        assert_eq!(trail.words("1.1.1.1:7").as_deref(), Some("connection refused"));
    }
}
