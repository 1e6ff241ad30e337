//! The dials before the first link: whether it is worth waiting for one. A server that is down
//! comes back; a wrong certificate, or another service on the port, is a mistake that people have
//! to put right. They hear of it soonest if calls say so, rather than wait.
//!
//! | a dial ends | before the first link | after it |
//! |---|---|---|
//! | a wrong peer, at every address, of every endpoint | from the second in a row of each on: the calls that wait end | - |
//! | anything else | the count starts over | - |
//!
//! One alone may be a server that is being replaced. Once there was a link, the target is known to
//! be right, and calls wait whatever comes.

use crate::model::EndpointId;
use std::collections::BTreeMap;

/// So many in a row are a mistake, and no accident.
const IN_A_ROW: u32 = 2;

/// What is remembered of a channel's dials until the first of them gives a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstDials {
    /// Of endpoints whose last dial found a wrong peer.
    wrong_in_a_row: BTreeMap<EndpointId, u32>,
    over: bool,
}

impl FirstDials {
    /// A dial of one of the `listed` endpoints failed; `wrong_peer`: at every address somebody
    /// answered who cannot be the server that was meant. Whether the calls that wait now shall end.
    pub fn failed(
        &mut self,
        endpoint: EndpointId,
        wrong_peer: bool,
        listed: &[EndpointId],
    ) -> bool {
        if self.over {
            return false;
        }
        if !wrong_peer {
            self.wrong_in_a_row.remove(&endpoint);
            return false;
        }
        let count = self.wrong_in_a_row.entry(endpoint).or_default();
        *count = count.saturating_add(1);
        self.wrong_in_a_row.retain(|one, _| listed.contains(one));
        listed
            .iter()
            .all(|one| self.wrong_in_a_row.get(one).is_some_and(|count| *count >= IN_A_ROW))
    }

    /// A dial gave a link.
    pub fn succeeded(&mut self) {
        self.over = true;
        self.wrong_in_a_row.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EndpointId = EndpointId(1);

    /// What each of these dials, in order, means for the calls that wait; none: it gave a link.
    fn ends(dials: &[Option<bool>]) -> Vec<bool> {
        let mut first = FirstDials::default();
        let one = |dial: &Option<bool>| match dial {
            Some(wrong_peer) => first.failed(ONE, *wrong_peer, &[ONE]),
            None => {
                first.succeeded();
                false
            }
        };
        dials.iter().map(one).collect()
    }

    #[test]
    fn the_second_dial_in_a_row_to_a_wrong_peer_ends_the_calls_and_so_does_each_further_one() {
        let wrong = Some(true);
        assert_eq!(ends(&[wrong; 4]), [false, true, true, true]);
    }

    #[test]
    fn a_dial_that_fails_otherwise_starts_the_count_over() {
        let (wrong, down) = (Some(true), Some(false));
        let dials = [wrong, down, wrong, wrong, down, wrong];
        assert_eq!(ends(&dials), [false, false, false, true, false, false]);
    }

    #[test]
    fn after_the_first_link_no_dial_ends_calls_that_wait() {
        let wrong = Some(true);
        assert_eq!(ends(&[wrong, None, wrong, wrong, wrong]), [false; 5]);
    }

    #[test]
    fn of_several_endpoints_each_must_have_found_a_wrong_peer_twice_in_a_row() {
        let (mut first, two) = (FirstDials::default(), EndpointId(2));
        let mut failed = |endpoint, wrong| first.failed(endpoint, wrong, &[ONE, two]);
        let ends = [(ONE, true), (two, true), (ONE, true), (two, false), (two, true), (two, true)]
            .map(|(endpoint, wrong)| failed(endpoint, wrong));
        assert_eq!(ends, [false, false, false, false, false, true]);
    }
}
