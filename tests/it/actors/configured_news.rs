//! The messages that come only where it is configured: of health, of suspicion, of age and of
//! idleness. A panic at each of them loses no call, either.

use crate::support::*;
use tonic_supervisor::{
    CallOptions, Child, Fact,
    testing::{HealthAnswer, MemoryNetwork, ScriptedServer},
};

/// These messages.
pub(super) const MESSAGES: [&str; 5] =
    ["HealthHeard", "LinkSuspect", "LinkAged", "IdleDue", "LeaveIdle"];

/// Those that come where one of several servers fails (`endpoints::ejection`).
pub(super) const OF_EJECTIONS: [&str; 2] = ["EndpointJudged", "ProbationDue"];

#[tokio::test(start_paused = true)]
async fn a_panic_at_news_of_health_suspicion_age_or_idleness_loses_no_call() {
    hide_injected_panics();
    for message in MESSAGES {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, ADDRESS).await;
        server.health(HealthAnswer::Serving);
        let config = config().keepalive_time(secs(10));
        let supervisor = supervise(
            &network,
            match message {
                "HealthHeard" => config.health_service(""),
                "LinkAged" => config.max_connection_age(secs(60)),
                "IdleDue" | "LeaveIdle" => config.idle_timeout(secs(60)),
                _ => config,
            },
        );
        let log = EventLog::of(&supervisor);
        supervisor.panics().arm(Child::Supervisor, message, 1);
        say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered");
        if message == "LinkSuspect" {
            network.freeze_all();
            tokio::time::sleep(secs(13)).await;
            network.thaw_all();
        }
        // One that goes on while time passes, unless that is what keeps it from going idle.
        let wait = if message == "LeaveIdle" { secs(80) } else { secs(0) };
        tokio::time::sleep(wait).await;
        supervisor.wait_ready(secs(5)).await.unwrap_or_else(|why| panic!("{message}: {why}"));
        let calls: Vec<_> = (0..70)
            .map(|n| {
                let channel = supervisor.channel();
                tokio::spawn(async move {
                    tokio::time::sleep(secs(n)).await;
                    say(&channel, "x", CallOptions::new()).await
                })
            })
            .collect();
        for call in join(calls).await {
            call.unwrap_or_else(|status| panic!("{message}: {status:?}"));
        }
        let expected = format!("injected by a test into Supervisor at {message}");
        let struck = |fact: &Fact| match fact {
            Fact::ChildFailed { error, .. } => error.contains(&expected),
            _ => false,
        };
        assert_eq!(log.count(struck), 1, "{message}");
        assert_eq!(supervisor.snapshot().calls_open, 0, "{message}");
    }
}
