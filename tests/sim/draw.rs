//! Draws a fault script from a seed.

use crate::{
    draw_fleet::Fleet,
    fleet::Whom,
    script::{
        Call, Credentials, End, Ending, Fate, Fault, Happening, Kind, Script, ServerFault, checked,
        config, ms, secs,
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::time::Duration;
use tonic::Code;
use tonic_supervisor::{Child, ConfigBuilder, testing::PanicSpot};

/// The script of a seed.
pub(crate) fn script(seed: u64) -> Script {
    let mut draw = Draw(StdRng::seed_from_u64(seed));
    let mut fleet = Fleet::of(seed);
    let fastest = draw.one(&[Duration::ZERO, ms(1), ms(5)]);
    let slowest = fastest + draw.one(&[Duration::ZERO, ms(2), ms(20), ms(100)]);
    // Most lives are short, so that there can be many.
    let healed = secs(draw.one(&[3, 5, 8, 12, 20, 40]));
    let tick = if healed < secs(10) {
        draw.one(&[ms(1), ms(2), ms(5)])
    } else {
        draw.one(&[ms(5), ms(10)])
    };
    let (calls, episodes) = (draw.up_to(40), draw.up_to(6));
    let mut script = Script {
        seed,
        tick,
        latency: [fastest, slowest],
        config: checked(fleet.config(draw.config())),
        servers: fleet.servers,
        list: fleet.list,
        credentials: draw.credentials(),
        calls: (0..calls).map(|_| draw.call(healed)).collect(),
        faults: (0..episodes).flat_map(|_| draw.trouble(healed, fleet.whom())).collect(),
        healed,
        end: draw.end(),
        mutation: None,
    };
    if draw.happens(0.35) {
        let fault = match draw.end() {
            End::Shutdown { grace } => Fault::Shutdown { grace },
            End::DropHandles => Fault::DropHandles,
        };
        let at = draw.time(Duration::ZERO, healed);
        script.faults.push(Happening { at, whom: Whom::All, fault });
    }
    // Last, so that nothing else depends on it.
    let (calls, troubles) = (fleet.more_calls(), fleet.more_troubles());
    script.calls.extend((0..calls).map(|_| draw.call(healed)));
    script.faults.extend((0..troubles).flat_map(|_| draw.trouble(healed, fleet.whom())));
    script.faults.extend(fleet.lists(healed));
    if draw.happens(0.3) {
        draw.clump(&mut script);
    }
    script.faults.sort_by_key(|happening| happening.at);
    script
}

pub(crate) struct Draw(pub(crate) StdRng);

impl Draw {
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())]
    }

    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        self.0.random_range(0..=most)
    }

    pub(crate) fn happens(&mut self, how_often: f64) -> bool {
        self.0.random_bool(how_often)
    }

    /// Whole milliseconds, as often short as long.
    pub(crate) fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let most = if self.happens(0.5) { least + (most - least) / 10 } else { most };
        ms(self.0.random_range(least.as_millis() as u64..=most.as_millis() as u64))
    }

    fn config(&mut self) -> ConfigBuilder {
        let mut config = config()
            .max_retry_attempts(self.one(&[0, 1, 3, 3, 5]))
            .initial_backoff(self.one(&[Duration::ZERO, ms(50), secs(1)]))
            .max_backoff(self.one(&[secs(1), secs(3)]))
            .keepalive_time(self.one(&[ms(500), secs(1), secs(3)]))
            .keepalive_timeout(self.one(&[ms(500), secs(1)]))
            .keepalive_permit_without_calls(self.happens(0.7))
            .connect_timeout(self.one(&[ms(500), secs(2), secs(5)]))
            .credentials_timeout(secs(1))
            .timeout(self.one(&[secs(2), secs(10), secs(60)]))
            .max_in_flight(self.one(&[1, 3, 100]))
            .request_actors(self.one(&[1, 1, 2, 3]))
            .reconnect_stable_after(self.one(&[ms(200), secs(2), secs(10)]))
            .reconnect_initial_backoff(self.one(&[ms(100), secs(1)]))
            .reconnect_max_backoff(self.one(&[secs(1), secs(4)]))
            .reconnect_refused_max_backoff(self.one(&[ms(50), ms(250), secs(1)]))
            .intensity_restarts(self.one(&[0, 1, 5]))
            .retry_throttle_enabled(self.happens(0.5));
        if self.happens(0.2) {
            config = config.queue_max_calls(self.one(&[2, 5, 10]));
        }
        if self.happens(0.2) {
            config = config.max_replay_bytes(100);
        }
        config
    }

    fn credentials(&mut self) -> Option<Credentials> {
        let after = self.one(&[Duration::ZERO, ms(30), ms(600)]);
        let (fails, hangs) = (self.one(&[2, 5, u32::MAX]), self.one(&[7, u32::MAX]));
        let panics = self.one(&[3, u32::MAX]);
        self.happens(0.2).then_some(Credentials { after, fails, hangs, panics })
    }

    fn call(&mut self, before: Duration) -> Call {
        use Kind::*;
        let chat = Chat { every: self.one(&[ms(1), ms(200)]) };
        let kind =
            self.one(&[Unary, Unary, Unary, Auto, Auto, Message, Message, OneWay, Stream, chat]);
        let mut call = Call::of(kind, self.time(Duration::ZERO, before));
        call.idempotent = self.happens(0.6);
        call.wait_for_ready = self.happens(0.8);
        call.timeout = self.one(&[ms(5), ms(300), secs(2), secs(5), secs(15)]);
        call.attempt_timeout = self.happens(0.2).then(|| self.one(&[ms(100), secs(1)]));
        call.no_retry = self.happens(0.1);
        call.size = self.one(&[16, 16, 200, 40_000]);
        call.odd = self.happens(0.1);
        call.patience = self.happens(0.2).then(|| self.time(Duration::ZERO, secs(3)));
        let arrivals = self.one(&[0, 1, 1, 2, 6]);
        // Without a deadline nothing ends an answer that hangs after its begin.
        call.states_timeout = kind != Auto || self.happens(0.5);
        if !call.states_timeout {
            call.attempt_timeout = Some(self.one(&[ms(100), secs(1)]));
        }
        let ends = call.is_unary() || !call.states_timeout;
        call.fates =
            (0..arrivals).map(|_| if ends { self.fate() } else { self.stream() }).collect();
        if self.happens(0.05) {
            // The server's connection dies of it, each time.
            call.fates = vec![Fate::Cut; 20];
        }
        call
    }

    fn fate(&mut self) -> Fate {
        let after = self.time(Duration::ZERO, secs(4));
        match self.up_to(10) {
            0..=2 => Fate::Echo { after },
            3 | 4 => Fate::Status {
                after: self.one(&[Duration::ZERO, after]),
                code: self.code(),
                pushback: None,
            },
            5 => Fate::Status {
                after: Duration::ZERO,
                code: self.code(),
                pushback: Some(self.one(&[-1, 0, 70, 700])),
            },
            6 if self.happens(0.2) => Fate::Big(3 << 20),
            6 => Fate::HeadersThenError(self.code()),
            7 => Fate::Refuse,
            8 => Fate::Reset(self.one(&[2, 8, 11])),
            9 => Fate::Cut,
            _ => Fate::Hang,
        }
    }

    fn stream(&mut self) -> Fate {
        let ending = match self.up_to(6) {
            0..=2 => Ending::Status(Code::Ok),
            3 => Ending::Status(self.code()),
            4 => Ending::Reset(self.one(&[2, 8])),
            5 => Ending::Cut,
            _ => Ending::Hang,
        };
        match self.up_to(5) {
            0 => self.fate(),
            1 => Fate::Converse,
            _ => Fate::Stream {
                messages: self.up_to(10),
                every: self.time(Duration::ZERO, secs(1)),
                ending,
            },
        }
    }

    fn code(&mut self) -> Code {
        self.one(&[
            Code::Unavailable,
            Code::Unavailable,
            Code::Internal,
            Code::NotFound,
            Code::DeadlineExceeded,
        ])
    }

    fn end(&mut self) -> End {
        match self.happens(0.7) {
            true => {
                End::Shutdown { grace: self.one(&[Duration::ZERO, ms(100), secs(1), secs(10)]) }
            }
            false => End::DropHandles,
        }
    }

    /// Has most things happen at few moments: what comes together is what goes wrong.
    fn clump(&mut self, script: &mut Script) {
        let moments = [0; 3].map(|_| self.time(Duration::ZERO, script.healed));
        let calls = script.calls.iter_mut().map(|call| &mut call.at);
        for at in calls.chain(script.faults.iter_mut().map(|happening| &mut happening.at)) {
            if self.happens(0.8) {
                *at = self.one(&moments);
            }
        }
    }

    /// A trouble of these servers, and its end.
    fn trouble(&mut self, before: Duration, whom: Whom) -> Vec<Happening> {
        let episode = self.episode(before).into_iter();
        episode.map(|(at, fault)| Happening { at, whom, fault }).collect()
    }

    /// A trouble, and its end.
    fn episode(&mut self, before: Duration) -> Vec<(Duration, Fault)> {
        let begin = self.time(Duration::ZERO, before);
        let end = begin + self.time(ms(1), secs(10));
        let then = |fault, cure| vec![(begin, fault), (end, cure)];
        let server = Fault::Server;
        match self.up_to(24) {
            0 | 1 => then(Fault::BlackHole, Fault::Mend),
            2 => then(self.one(&[Fault::Partition, Fault::Clog]), Fault::Mend),
            3 => then(self.one(&[Fault::Deaf, Fault::Dumb]), Fault::Mend),
            4 | 5 => then(Fault::Crash, Fault::Boot),
            6 => vec![(begin, Fault::Boot)],
            7 => vec![(begin, Fault::Latency(self.one(&[ms(50), ms(400)])))],
            8 | 9 => {
                // A rolling one, too.
                let (times, every) = (self.one(&[1, 1, 5]), self.time(ms(1), secs(2)));
                (0..times).map(|n| (begin + every * n, server(ServerFault::GoAway))).collect()
            }
            10 => vec![(begin, server(ServerFault::GoAwayAndCut))],
            11 => then(
                server(self.one(&[ServerFault::Refuse, ServerFault::Kill])),
                server(ServerFault::Well),
            ),
            12 => {
                let door = self.one(&[ServerFault::Mute, ServerFault::Slam, ServerFault::Babble]);
                // It is met only by those who have to dial.
                vec![
                    (begin, server(door)),
                    (begin, server(ServerFault::GoAway)),
                    (end, server(ServerFault::Well)),
                ]
            }
            13 => {
                let limit = server(ServerFault::Limit(self.one(&[0, 1, 2])));
                vec![
                    (begin, limit),
                    (begin, server(ServerFault::GoAway)),
                    (end, server(ServerFault::Well)),
                    (end, server(ServerFault::GoAway)),
                ]
            }
            14 => then(
                server(ServerFault::Slow(self.time(ms(1), secs(3)))),
                server(ServerFault::Well),
            ),
            15 => then(server(ServerFault::Burst(self.code())), server(ServerFault::Well)),
            16 => vec![(begin, Fault::ReconnectNow)],
            17 | 18 => {
                let door = self.one(&[
                    ServerFault::Exclude(0),
                    ServerFault::Exclude(11),
                    ServerFault::Hasty,
                ]);
                // Links that are up go away, so that the door is met.
                vec![
                    (begin, server(door)),
                    (begin, server(ServerFault::GoAway)),
                    (end, server(ServerFault::Well)),
                ]
            }
            19 | 20 => {
                vec![(begin, Fault::Unruly(self.one(PanicSpot::all()), self.one(&[1, 1, 3])))]
            }
            _ => {
                let child =
                    self.one(&[Child::Supervisor, Child::Connection, Child::Request, Child::Task]);
                let message = self.one(child.messages());
                vec![(begin, Fault::Panic(child, message, self.one(&[1, 1, 1, 2, 10])))]
            }
        }
    }
}
