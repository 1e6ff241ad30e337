//! The steps: what happens to the names and the servers, what is timed, and what must hold for this
//! crate's clients.

use super::{
    clients::{KINDS, Kind},
    name_server::NameServer,
    stage::{Seen, Stage},
};
use std::time::Duration;

/// The servers that a name begins with.
const BEGIN: [u8; 3] = [2, 3, 4];
/// The one that comes.
const NEW: u8 = 5;
/// So many records are more than a UDP answer holds.
const MANY: usize = 40;
/// And so many are given at a time.
const TURN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Added,
    AddedAndAged,
    Removed,
    Moved,
    /// The name server's mode.
    Trouble(&'static str),
    Slow,
    Truncated,
    Rotating,
}

pub(super) const STEPS: [Step; 10] = [
    Step::Added,
    Step::AddedAndAged,
    Step::Removed,
    Step::Moved,
    Step::Trouble("servfail"),
    Step::Trouble("empty"),
    Step::Trouble("mute"),
    Step::Slow,
    Step::Truncated,
    Step::Rotating,
];

/// What a client did, and the time that the step is about.
pub(super) struct Outcome {
    pub(super) time: Option<Duration>,
    pub(super) seen: Seen,
}

impl Step {
    /// What happens, and what is timed.
    pub(super) fn title(self) -> (&'static str, &'static str) {
        let back = "first call to the server that is back";
        match self {
            Self::Added => ("a fourth record", "first call to the new server"),
            Self::AddedAndAged => (
                "a fourth record, and a second later one server says GOAWAY",
                "first call to the new server after the GOAWAY",
            ),
            Self::Removed => {
                ("the record of a server in use goes; it serves on", "last call to it")
            }
            Self::Moved => (
                "a server in use is killed; the name has another in its place",
                "first call to the other",
            ),
            Self::Trouble("servfail") => {
                ("SERVFAIL; after 3 s a server in use is gone for 1 s", back)
            }
            Self::Trouble("empty") => {
                ("no error and no record; after 3 s a server in use is gone for 1 s", back)
            }
            Self::Trouble(_) => {
                ("the name server is mute; after 3 s a server in use is gone for 1 s", back)
            }
            Self::Slow => (
                "answers come after 5 s; a server in use is killed, another has its place",
                "first call to the other",
            ),
            Self::Truncated => (
                "40 records, too many for UDP; one server says GOAWAY",
                "first call to the last of them",
            ),
            Self::Rotating => ("40 records, each answer has the next 8", "-"),
        }
    }

    /// What is said where there is no such time.
    pub(super) fn without_time(self) -> &'static str {
        match self {
            Self::Removed => "goes on",
            Self::Rotating => "-",
            _ => "never",
        }
    }

    /// Plays it to all clients at once.
    pub(super) async fn play(self, names: &mut NameServer) -> Vec<Outcome> {
        let many: Vec<u8> = (2..).take(MANY).collect();
        let rotating = self == Self::Rotating;
        let served = match self {
            Self::Truncated | Self::Rotating => many.clone(),
            _ => vec![2, 3, 4, NEW],
        };
        let listed = if rotating { &*many } else { &BEGIN };
        let mut stage = Stage::set(names, &served, listed, if rotating { TURN } else { 0 }).await;
        let (closed, in_use) = (stage.begin(), stage.in_use());
        let each = |host: u8| vec![host; KINDS.len()];
        let watched = match self {
            Self::Added => {
                tell(&mut stage, |_| ("answer", vec![2, 3, 4, NEW]));
                stage.watch(&each(NEW), secs(8)).await
            }
            Self::AddedAndAged => {
                tell(&mut stage, |_| ("answer", vec![2, 3, 4, NEW]));
                tokio::time::sleep(secs(1)).await;
                goaway(&mut stage, &in_use).await;
                stage.watch(&each(NEW), secs(8)).await
            }
            Self::Removed => {
                tell(&mut stage, |place| ("answer", without(in_use[place])));
                stage.watch(&in_use, secs(10)).await
            }
            Self::Moved | Self::Slow => {
                let mode = if self == Self::Slow { "slow" } else { "answer" };
                tell(&mut stage, |place| (mode, [without(in_use[place]), vec![NEW]].concat()));
                kill(&mut stage, &in_use).await;
                stage.watch(&each(NEW), secs(if self == Self::Slow { 16 } else { 8 })).await
            }
            Self::Trouble(mode) => {
                tell(&mut stage, |_| (mode, Vec::new()));
                tokio::time::sleep(secs(3)).await;
                kill(&mut stage, &in_use).await;
                tokio::time::sleep(secs(1)).await;
                for (kind, host) in KINDS.iter().zip(&in_use) {
                    stage.servers.restart(kind.port, *host).await;
                }
                stage.watch(&in_use, secs(10)).await
            }
            Self::Truncated => {
                tell(&mut stage, |_| ("answer", many.clone()));
                goaway(&mut stage, &in_use).await;
                stage.watch(&each(many[MANY - 1]), secs(8)).await
            }
            Self::Rotating => stage.watch(&each(0), secs(20)).await,
        };
        let seen = stage.end(&closed).await;
        let time = |calls: super::stage::Calls| match self {
            // Calls that go on have no last one.
            Self::Removed => calls.last.filter(|last| *last < secs(9)),
            _ => calls.first,
        };
        watched
            .into_iter()
            .zip(seen)
            .map(|(calls, seen)| Outcome { time: time(calls), seen })
            .collect()
    }

    /// What must hold.
    pub(super) fn judge(self, kind: &Kind, outcome: &Outcome) {
        let Outcome { time, seen } = outcome;
        let who = format!("{self:?}, {}", kind.title);
        assert!(seen.met.ok > 100, "{who}: {:?}", seen.met);
        let Some(absent) = kind.ours else { return };
        assert!(seen.met.failed.is_empty(), "{who}: {:?}", seen.met);
        // A fifth more than the period, a dial, and what a busy machine adds.
        let (answers, busy) = (|count: u32| secs(1).mul_f64(1.2) * count, secs(1));
        let within = match self {
            Self::Removed => Some(answers(absent) + busy),
            _ if !kind.round_robin => None,
            Self::Added | Self::AddedAndAged | Self::Moved | Self::Truncated => {
                Some(answers(1) + busy)
            }
            // Its redial is refused once, and waits for at most 1.6 s and a fifth.
            Self::Trouble(_) => Some(secs(2) + busy),
            // A lookup that began before may be under way.
            Self::Slow => Some(2 * secs(5) + answers(1) + busy),
            Self::Rotating => None,
        };
        if let Some(within) = within {
            assert!(time.is_some_and(|time| time <= within), "{who}: {time:?}, not {within:?}");
        }
        if let Self::Trouble(_) = self {
            assert_eq!(seen.closed, 0, "{who}");
        }
        if self == Self::Truncated && kind.round_robin {
            assert_eq!(seen.called, MANY, "{who}");
        }
        if self == Self::Rotating && absent as usize == MANY / TURN {
            assert_eq!((seen.called, seen.closed), (MANY, 0), "{who}");
        }
    }
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn without(host: u8) -> Vec<u8> {
    BEGIN.into_iter().filter(|one| *one != host).collect()
}

/// Gives each client's name a mode and records.
fn tell(stage: &mut Stage<'_>, say: impl Fn(usize) -> (&'static str, Vec<u8>)) {
    for (place, kind) in KINDS.iter().enumerate() {
        let (mode, hosts) = say(place);
        stage.names.say(kind.name, mode, &hosts);
    }
}

async fn kill(stage: &mut Stage<'_>, hosts: &[u8]) {
    for (kind, host) in KINDS.iter().zip(hosts) {
        stage.servers.kill(kind.port, *host).await;
    }
}

async fn goaway(stage: &mut Stage<'_>, hosts: &[u8]) {
    for (kind, host) in KINDS.iter().zip(hosts) {
        stage.servers.goaway(kind.port, *host).await;
    }
}
