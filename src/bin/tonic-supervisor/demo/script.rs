//! The chaos script: about fifteen seconds, the same for both agents. Of several servers it harms
//! one after another.

use super::{outages::Outages, report::Report, servers::Servers, tally::Tally};
use crate::CliError;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// The faults, as they are called in the table and in JSON.
pub(super) const FAULTS: [&str; 4] = ["kill", "freeze", "restart", "unavailable"];

const DOWN: Duration = Duration::from_millis(700);
const FROZEN: Duration = Duration::from_millis(2_500);
const REFUSING: u32 = 3;

/// A run of the script: who records what happens.
pub(super) struct ChaosRun<'a> {
    pub(super) report: &'a Report,
    pub(super) tallies: &'a [Arc<Tally>],
    pub(super) outages: Outages,
}

impl ChaosRun<'_> {
    /// Runs the script on the servers, and returns the outages.
    pub(super) async fn run(mut self, servers: &mut Servers) -> Result<Outages, CliError> {
        let [kill, freeze, restart, unavailable] = FAULTS;
        calm(1_000).await;

        let (server, it) = servers.next(0);
        self.begins(kill, &format!("kill -9: {it} is gone, without a goodbye"));
        server.kill().await?;
        sleep(DOWN).await;
        server.start_again().await?;
        self.is_over(kill, &format!("{it} is back, on the same port"));
        calm(2_000).await;

        let (server, it) = servers.next(1);
        self.begins(freeze, &format!("freeze: {it} stands still, connections stay open"));
        server.freeze()?;
        sleep(FROZEN).await;
        server.thaw()?;
        self.is_over(freeze, &format!("{it} goes on"));
        calm(1_500).await;

        let (server, it) = servers.next(2);
        self.begins(restart, &format!("restart: {it} says GOAWAY, its successor listens"));
        server.replace().await?;
        self.is_over(restart, "the successor serves");
        calm(1_500).await;

        let several = servers.addresses().len() > 1;
        let (server, it) = servers.next(3);
        let whose = if several { format!("call of {it}") } else { "call".into() };
        let text = format!("unavailable: for 3 s every {whose} is answered UNAVAILABLE");
        self.begins(unavailable, &text);
        server.refuse_calls(REFUSING).await?;
        sleep(Duration::from_secs(REFUSING.into())).await;
        self.is_over(unavailable, &format!("{it} answers again"));
        calm(2_000).await;
        Ok(self.outages)
    }

    fn begins(&mut self, fault: &'static str, text: &str) {
        self.tallies.iter().for_each(|tally| tally.fault_begins());
        self.outages.begins(fault, self.report.now());
        self.report.chaos(fault, "begins", text);
    }

    fn is_over(&mut self, fault: &'static str, text: &str) {
        let now = self.report.now();
        self.outages.is_over(now);
        self.report.chaos(fault, "over", text);
        self.tallies.iter().for_each(|tally| tally.fault_is_over(now));
    }
}

async fn calm(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}
