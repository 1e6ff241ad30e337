//! What others may ask of a channel: its links, and whether news about one of them come late.

use super::{Channel, Stage, about};
use crate::{
    model::{EndpointId, Incarnation},
    policy::subchannel::Input,
};

impl Channel {
    /// The link or dial that the state is about, the newest link of several; after a shutdown, one
    /// that there was then.
    pub fn subject(&self) -> Option<Incarnation> {
        match self.stage {
            Stage::Shutdown { link } => link,
            _ => {
                let dial = || self.subchannels.iter().filter_map(|(_, it)| it.subchannel.subject());
                self.links().map(|(_, link)| link).max().or_else(|| dial().max())
            }
        }
    }

    /// Whether a link or dial is still this channel's.
    pub fn owns(&self, link: Incarnation) -> bool {
        self.owner(link).is_some()
    }

    /// Whether an input is about a link that is no longer this channel's.
    pub fn is_late(&self, input: Input) -> bool {
        about(input).is_some_and(|link| {
            self.owner(link).is_none_or(|place| self.subchannels[place].1.subchannel.is_late(input))
        })
    }

    /// The links to send calls on, with their endpoints, in the order of the endpoints.
    pub fn links(&self) -> impl Iterator<Item = (EndpointId, Incarnation)> {
        self.subchannels
            .iter()
            .flat_map(|(id, record)| record.subchannel.links().map(move |link| (*id, link)))
    }

    /// An endpoint's count of failures.
    pub fn failures(&self, id: EndpointId) -> u32 {
        self.place(id).map_or(0, |place| self.subchannels[place].1.subchannel.failures())
    }

    /// How many links of an endpoint are to be replaced.
    pub fn replacements(&self, id: EndpointId) -> usize {
        self.place(id).map_or(0, |place| self.subchannels[place].1.subchannel.replacements())
    }

    /// Whether this link has answered a call or lived long enough.
    pub fn is_proven(&self, link: Incarnation) -> bool {
        self.subchannels.iter().any(|(_, record)| record.subchannel.is_proven(link))
    }

    /// Whether it is Idle: it has not been told to connect, or was told to rest.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Whether all calls go to one endpoint.
    pub fn has_one_endpoint(&self) -> bool {
        self.subchannels.len() == 1
    }
}
