//! What a call waits for, in words: a call whose deadline or whose supervisor's end comes while it
//! waits says so. The words are made only then, of what the call and the core know already, so that
//! they are the same whoever notices the end first, and cost a call that does not wait nothing.

use super::{
    attempts::came_somewhere,
    shared::Calls,
    state::{Call, CallState, Stage},
};
use crate::{
    clock,
    model::{AttemptReport, code_name},
    transport::{Link, Room},
};
use std::{fmt::Write as _, sync::Arc, time::Duration};

impl Calls {
    /// What `call` is waiting for, "for a link: ..." and the like; none if an attempt is under way.
    pub(crate) fn waits_for(&self, call: &Call, state: &CallState) -> Option<Arc<str>> {
        let now = clock::now();
        let mut words = match &state.stage {
            Stage::Waiting { until: Some(at) } if *at > now => {
                format!("for {}, which was due in {}", retry(call, state), seconds(*at - now))
            }
            Stage::Waiting { .. } if state.retried_after.is_some() => {
                format!("{}; it was to be {}", self.no_attempt(), retry(call, state))
            }
            Stage::Beginning | Stage::Waiting { .. } => self.no_attempt(),
            Stage::Fetching { since, .. } => {
                let before = seconds(now.saturating_duration_since(*since));
                let hook = "the CallCredentials hook (Builder::call_credentials)";
                let asked = format!("was asked {before} before, and has not answered");
                format!("for its credentials: {hook} {asked}")
            }
            Stage::Running | Stage::Failed(_) | Stage::Answered => return None,
        };
        let last = state.history.iter().rfind(|attempt| came_somewhere(&attempt.failure));
        if let Some(AttemptReport { failure, .. }) = last.or(state.history.last()) {
            let code = code_name(failure.code);
            let _ = match &state.retried_after {
                Some(said) => write!(words, "; its last attempt failed with {code}: {said}"),
                None => write!(words, "; its last attempt failed with {code}: {failure}"),
            };
        }
        Some(words.into())
    }

    /// Why no attempt of a call that may start has started.
    fn no_attempt(&self) -> String {
        // A link that is being drained is shown for as long as calls are told why they waited.
        let open = |link: &&Arc<Link>| self.shutdown.drain().is_some() || link.is_accepting();
        let picker = self.picker();
        let rooms: Vec<_> = picker.links().filter(open).map(|link| link.room()).collect();
        match rooms[..] {
            [] => format!("for a link: {}", picker.why_no_link()),
            [room] => no_room(room),
            _ => no_room_on_any(&rooms),
        }
    }
}

/// Why a call that may start has not, where there is one link.
fn no_room(room: Room) -> String {
    let peer = "MAX_CONCURRENT_STREAMS";
    match room {
        Room::Free => "for its turn, which came too late: the link has room".into(),
        Room::PeerAllowsNone => {
            format!("for room: the peer allows no calls on this link (its {peer} is 0)")
        }
        Room::Taken { open, limit, by_peer } => {
            let own = "max_in_flight".to_owned();
            let whose = if by_peer { format!("the peer's {peer}") } else { own };
            if open > limit {
                let may = format!("{limit} may be ({whose})");
                return format!("for room: {open} streams are open, and {may}");
            }
            format!("for room: {open} of {limit} streams are open ({whose})")
        }
    }
}

/// The same where there are several.
fn no_room_on_any(rooms: &[Room]) -> String {
    let (mut open, mut limit, mut by) = (0, 0, (false, false));
    for room in rooms {
        match *room {
            Room::Free => return "for its turn, which came too late: a link has room".into(),
            Room::PeerAllowsNone => by.0 = true,
            Room::Taken { open: taken, limit: of, by_peer } => {
                (open, limit) = (open + taken, limit + of);
                by = (by.0 || by_peer, by.1 || !by_peer);
            }
        }
    }
    let whose = match by {
        (true, false) => "the peers' MAX_CONCURRENT_STREAMS",
        (false, _) => "max_in_flight",
        (true, true) => "the peers' MAX_CONCURRENT_STREAMS and max_in_flight",
    };
    let links = rooms.len();
    format!("for room: {open} of {limit} streams are open on {links} links ({whose})")
}

/// Which retry is next.
fn retry(call: &Call, state: &CallState) -> String {
    let of = call.retry.limit.count().map_or_else(String::new, |limit| format!(" of {limit}"));
    format!("retry {}{of}", state.machine.retries())
}

/// In whole milliseconds.
fn seconds(time: Duration) -> String {
    format!("{} s", Duration::from_millis(time.as_millis() as u64).as_secs_f64())
}
