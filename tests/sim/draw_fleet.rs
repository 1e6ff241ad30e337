//! Draws how many servers there are, how they are called, and which lists of them are given.
//!
//! It has random numbers of its own. So the life of a seed with one server and no lists is the same
//! whatever is drawn here.

use crate::{
    draw::Draw,
    fleet::{List, SERVERS, Whom},
    script::{Fault, Happening, ms, secs},
};
use rand::{SeedableRng as _, rngs::StdRng};
use std::time::Duration;
use tonic_supervisor::{ConfigBuilder, config::Balancing};

/// What is drawn of the servers.
pub(crate) struct Fleet {
    draw: Draw,
    /// Draws policies, and nothing else depends on that.
    policies: Draw,
    pub(crate) servers: usize,
    /// The first list; none: no list is ever given.
    pub(crate) list: Option<List>,
}

impl Fleet {
    pub(crate) fn of(seed: u64) -> Self {
        let mut draw = Draw(StdRng::seed_from_u64(seed ^ 0x00f1_ee70_0000_0000));
        let policies = Draw(StdRng::seed_from_u64(seed ^ 0x00f1_ee71_0000_0000));
        // Four in ten have one server.
        let servers = draw.one(&[1, 1, 1, 1, 2, 2, 3, 3, 4, 5]);
        let given = servers > 1 || draw.happens(0.4);
        let all = List::first(servers);
        let first = if draw.happens(0.7) { all } else { draw.list(servers) };
        Self { draw, policies, servers, list: given.then_some(first) }
    }

    /// How they are called, where lists are given.
    pub(crate) fn config(&mut self, config: ConfigBuilder) -> ConfigBuilder {
        if self.list.is_none() {
            return config;
        }
        let policies = [
            Balancing::RoundRobin,
            Balancing::LeastRequest,
            Balancing::PeakEwma,
            Balancing::PickFirst,
        ];
        let config = config.connections(self.draw.one(&[1, 1, 2, 3]));
        let draw = &mut self.policies;
        let policy = policies[[0, 0, 1, 2, 3][draw.up_to(4)]];
        let ejected_for = draw.one(&[ms(100), ms(300), secs(1)]);
        config
            .balancing_policy(policy)
            .ejection_consecutive_failures(draw.one(&[0, 1, 2, 7]))
            .ejection_base(ejected_for)
            .ejection_max(ejected_for * draw.one(&[1, 4]))
            .ejection_max_share(draw.one(&[0.5, 1.0]))
    }

    /// How many calls there are on top of those that one server has to answer.
    pub(crate) fn more_calls(&mut self) -> usize {
        if self.list.is_some() { self.draw.up_to(40) } else { 0 }
    }

    /// The same of troubles.
    pub(crate) fn more_troubles(&mut self) -> usize {
        if self.list.is_some() { self.draw.up_to(2 * self.servers) } else { 0 }
    }

    /// Whom a trouble befalls.
    pub(crate) fn whom(&mut self) -> Whom {
        if self.servers == 1 || self.draw.happens(0.2) {
            return Whom::All;
        }
        let server = self.draw.up_to(self.servers - 1);
        Whom::One(server)
    }

    /// The lists that are given on the way.
    pub(crate) fn lists(&mut self, before: Duration) -> Vec<Happening> {
        if self.list.is_none() {
            return Vec::new();
        }
        let episodes = self.draw.up_to(3);
        (0..episodes).flat_map(|_| self.listing(before)).collect()
    }

    fn listing(&mut self, before: Duration) -> Vec<Happening> {
        let (draw, servers) = (&mut self.draw, self.servers);
        let begin = draw.time(Duration::ZERO, before);
        let end = begin + draw.time(ms(1), secs(10));
        let (one, other) = (draw.list(servers), draw.list(servers));
        let lists = match draw.up_to(4) {
            0 | 1 => vec![(begin, one)],
            2 => vec![(begin, one), (end, other)],
            // For a while there is none.
            3 => vec![(begin, List::EMPTY), (end, List::first(servers))],
            _ => {
                let (times, every) = (draw.one(&[2, 5, 20]), draw.time(ms(1), ms(500)));
                let lists = [one, other].into_iter().cycle();
                lists
                    .take(times)
                    .enumerate()
                    .map(|(n, list)| (begin + every * n as u32, list))
                    .collect()
            }
        };
        let happening = |(at, list)| Happening { at, whom: Whom::All, fault: Fault::List(list) };
        lists.into_iter().map(happening).collect()
    }
}

impl Draw {
    /// Some of the servers, seldom none.
    fn list(&mut self, servers: usize) -> List {
        let some = (0..servers.min(SERVERS.len())).filter(|_| self.happens(0.6));
        let list = List::of(some.collect::<Vec<_>>());
        if list == List::EMPTY && self.happens(0.8) { List::first(servers) } else { list }
    }
}
