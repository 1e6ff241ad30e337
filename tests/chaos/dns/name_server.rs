//! The name server, and what it says about a name.

use super::process::Process;
use serde_json::json;

pub(super) struct NameServer(Process);

impl NameServer {
    pub(super) fn start() -> Self {
        let mut process = Process::start("name_server.py", &[]);
        process.ready();
        Self(process)
    }

    /// `name` has these addresses of 127.0.0.0/24; `mode` is one of the program's.
    pub(super) fn say(&mut self, name: &str, mode: &str, hosts: &[u8]) {
        self.say_in_turn(name, mode, hosts, 0);
    }

    /// Each answer has the next `take` of them.
    pub(super) fn say_in_turn(&mut self, name: &str, mode: &str, hosts: &[u8], take: usize) {
        let records: Vec<_> = hosts.iter().map(|host| format!("127.0.0.{host}")).collect();
        let order = json!({ "name": name, "mode": mode, "records": records, "take": take });
        assert_eq!(self.0.ask(&order.to_string()), "ok");
    }

    /// How often `name` has been asked for since the last time.
    pub(super) fn count(&mut self, name: &str) -> u64 {
        self.0.ask(&json!({ "count": name }).to_string()).parse().expect("a number")
    }
}
