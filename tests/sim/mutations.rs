//! The net catches fish: with a deliberate bug in the supervisor, the simulation finds a law that
//! is broken.

use crate::{
    draw,
    panic_hook::hide_injected_panics,
    run::run,
    script::{Call, Fate, Fault, Script, ms, secs},
    seeds::say,
};
use std::time::Duration;
use tonic_supervisor::Mutation;

/// So many seeds are enough to find any of them.
const SEEDS: u64 = 300;

/// Runs the scripts of seeds until a law is broken, in one of these words.
fn is_found(mutation: Mutation, words: &[&str]) {
    is_found_by((0..SEEDS).map(draw::script), mutation, words);
}

fn is_found_by(mut scripts: impl Iterator<Item = Script>, mutation: Mutation, words: &[&str]) {
    hide_injected_panics();
    let found = scripts.find_map(|script| Some((script.seed, run(script.with(mutation)).broken?)));
    let (seed, law) = found.unwrap_or_else(|| panic!("{mutation:?} is not found"));
    say(&format!("{mutation:?} is found by seed {seed}: {law}"));
    assert!(
        words.iter().any(|words| law.contains(words)),
        "{mutation:?} breaks another law than expected: {law}"
    );
}

#[test]
fn a_dropped_reply_is_found() {
    is_found(Mutation::DropReply, &["answer"]);
}

#[test]
fn a_forgotten_redial_timer_is_found() {
    is_found(Mutation::ForgetRedialTimer, &["stuck: "]);
}

#[test]
fn a_forgotten_timer_of_calls_is_found() {
    // Callers hear deadlines by themselves; what came as a message is late or never answered.
    is_found(Mutation::ForgetCallTimer, &["no answer", "ended after"]);
}

#[test]
fn a_second_send_of_what_a_goaway_left_in_flight_is_found() {
    // Its report says as well that no server processed it.
    is_found(
        Mutation::DoubleSendOnGoAway,
        &["was executed 2 times", "links with", "the server did process it"],
    );
}

#[test]
fn a_call_that_is_sent_again_for_free_without_end_is_found() {
    is_found(Mutation::ResendWithoutEnd, &["orderly GOAWAYs"]);
}

#[test]
fn a_retry_that_is_hidden_is_found() {
    is_found(Mutation::HideRetries, &["which nobody announced", "were announced"]);
}

#[test]
fn a_repetition_of_what_must_run_once_is_found() {
    is_found(Mutation::RetryNotIdempotent, &["was executed 2 times"]);
}

#[test]
fn a_retry_of_a_stream_is_found() {
    is_found(Mutation::RetryStreams, &["is retried, being Stream", "is retried, being Chat"]);
}

#[test]
fn a_retry_that_does_not_wait_is_found() {
    is_found(Mutation::ForgetRetryWait, &["came at"]);
}

#[test]
fn a_removed_endpoint_that_still_gets_calls_is_found() {
    let found = ["which is not listed", "its endpoints add up to"];
    is_found(Mutation::KeepRemovedEndpoints, &found);
}

#[test]
fn a_list_that_is_applied_in_part_is_found() {
    is_found(Mutation::ForgetLastAddition, &["stuck: endpoint"]);
}

#[test]
fn room_on_one_of_several_links_that_nobody_hears_of_is_found() {
    is_found(Mutation::ForgetRoom, &["has room"]);
}

#[test]
fn a_retry_where_the_call_had_failed_while_another_endpoint_has_room_is_found() {
    is_found(Mutation::ForgetFailedEndpoints, &["had room"]);
}

#[test]
fn a_further_link_that_is_never_dialled_again_is_found() {
    is_found(Mutation::ForgetFurtherLinks, &["stuck: ", "not all links are up"]);
    // Where the other link stays, nothing but the law about links finds it.
    let lost = Call::unary(secs(1)).answered([Fate::Cut]);
    let story = Script::quiet(1).with_servers(2, 2).call(lost);
    assert_eq!(run(story.clone()).broken, None, "without the bug");
    is_found_by([story].into_iter(), Mutation::ForgetFurtherLinks, &["has too few links"]);
}

#[test]
fn an_ejection_that_never_ends_is_found() {
    is_found(Mutation::EjectForEver, &["is not in use again"]);
}

#[test]
fn a_link_left_open_by_a_shutdown_is_found() {
    // Such a moment is too rare to wait for: what there is to say cannot be written just when the
    // end is asked for.
    let story = Script::quiet(1)
        .at(secs(1), Fault::Clog)
        .at(ms(1_010), Fault::Shutdown { grace: Duration::ZERO });
    assert_eq!(run(story.clone()).broken, None, "without the bug");
    is_found_by([story].into_iter(), Mutation::LeaveLinksOpen, &["Shutdown { grace: 0ns } took"]);
}
