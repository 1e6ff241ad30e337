//! A network namespace, reached over a pair of virtual wires, in which packets can be dropped. Gone
//! when dropped.

use std::{
    net::Ipv4Addr,
    process::{self, Command},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

pub(crate) struct Namespace {
    name: String,
    /// The address inside.
    pub(crate) far: Ipv4Addr,
}

impl Namespace {
    /// Addresses are of 198.18.0.0/15, which is for tests of networks (RFC 2544).
    pub(crate) fn new() -> Self {
        static MADE: AtomicU8 = AtomicU8::new(0);
        let (id, number) = (process::id(), MADE.fetch_add(1, Relaxed));
        let name = format!("chaos-{id}-{number}");
        let (near_end, far_end) = (format!("ch{id}n{number}"), "far");
        let at = |host: u8| Ipv4Addr::new(198, 18, id as u8, number * 4 + host);
        let (near, far) = (at(1), at(2));
        run(&["ip", "netns", "add", &name]);
        // From here on it is taken down whatever happens.
        let made = Self { name, far };
        let name = &*made.name;
        run(&[
            "ip", "link", "add", &near_end, "type", "veth", "peer", "name", far_end, "netns", name,
        ]);
        run(&["ip", "address", "add", &format!("{near}/30"), "dev", &near_end]);
        run(&["ip", "link", "set", &near_end, "up"]);
        run(&["ip", "-netns", name, "address", "add", &format!("{far}/30"), "dev", far_end]);
        run(&["ip", "-netns", name, "link", "set", far_end, "up"]);
        made
    }

    /// Runs what is added to it inside.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command
    }

    /// Drops every packet, either way.
    pub(crate) fn cut(&self) {
        for chain in ["INPUT", "OUTPUT"] {
            run(&["ip", "netns", "exec", &self.name, "iptables", "-w", "-A", chain, "-j", "DROP"]);
        }
    }

    /// Drops nothing any more.
    pub(crate) fn heal(&self) {
        run(&["ip", "netns", "exec", &self.name, "iptables", "-w", "-F"]);
    }
}

impl Drop for Namespace {
    /// Its wires go with it.
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn run(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{words:?} cannot be run: {error}"));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
