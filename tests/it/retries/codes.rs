//! Which codes are retried: those of the list, where the peer said them.

use crate::support::{Rig, config, echo, report};
use tonic::Code;
use tonic_supervisor::{
    MethodOptions, Origin,
    testing::{Answer, Script},
};

/// Scenario 15: a handler that panics (UNKNOWN, INTERNAL): four attempts under the seed's list; one
/// where the list, or the method's own, omits the code.
#[tokio::test(start_paused = true)]
async fn scenario_15_a_handlers_bug_is_retried_where_the_list_says_so_and_nowhere_else() {
    let network = [Code::Unavailable];
    let for_method = MethodOptions::new().retryable_status_codes(network);
    for code in [Code::Unknown, Code::Internal] {
        for (config, attempts) in [
            (config(), 4),
            (config().retryable_status_codes(network), 1),
            (config().method("test.Echo/Say", for_method.clone()), 1),
            (config().method("test.Other/*", for_method.clone()), 4),
        ] {
            let rig = Rig::new(config).await;
            rig.server.script(Script::always(code));
            let status =
                echo(&rig.supervisor.channel(), "x").await.expect_err("the handler panics");
            assert_eq!((status.code(), rig.server.handled()), (code, attempts));
        }
    }
}

/// Scenario 15, the reverse: what breaks on this side or on the way is never UNKNOWN, and follows
/// its phase, not the handler's list: certainly unprocessed is sent again even where nothing may be
/// retried; maybe processed is UNAVAILABLE, and in the list or not.
#[tokio::test(start_paused = true)]
async fn scenario_15_a_local_fault_is_never_unknown_and_follows_its_phase() {
    let rig = Rig::new(config().retryable_status_codes([Code::Unknown, Code::Internal])).await;
    let channel = rig.supervisor.channel();
    rig.server.script(Answer::cut_after_processing());
    let status = echo(&channel, "x").await.expect_err("lost, and UNAVAILABLE is not in the list");
    assert_eq!((status.code(), report(&status).attempts_made), (Code::Unavailable, 1));
    assert_eq!(report(&status).outcome.origin, Origin::Local);
    let once = Answer::reset(7);
    rig.server.script(Script::sequence(vec![once], Answer::echo()));
    assert_eq!(echo(&channel, "x").await.expect("refused, so sent again"), "x");
    assert_eq!((rig.server.refused(), rig.supervisor.snapshot().retries), (1, 0));
}
