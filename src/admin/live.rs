//! Events as they come: a page of the last ones, or for whoever asks for it a stream of them, as
//! server-sent events or as lines of JSON.
//!
//! A stream begins with what is kept and goes on with what comes. A reader that comes again says
//! what it had last (`Last-Event-ID`), and hears the rest; what is not kept any more is told as
//! `lagged`, as everywhere.

use super::{look::Admin, pages, routes::accepts, wire};
use crate::{
    client::{Observer, supervisors},
    model::Event,
    telemetry::{EventItem, EventStream},
};
use axum::{
    body::Body,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Which events are asked for.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub(super) struct Wanted {
    /// Of one channel, by its number or its name.
    #[serde(default)]
    pub(super) channel: Option<String>,
    /// Of this kind.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Later than this number.
    #[serde(default)]
    pub(super) since: Option<u64>,
    /// Not earlier and not later than these times, as `2026-11-29T02:40` or `02:40`, in UTC.
    #[serde(default)]
    pub(super) from: Option<String>,
    #[serde(default)]
    pub(super) to: Option<String>,
}

impl Wanted {
    fn is_of(&self, one: &Observer) -> bool {
        self.channel.as_deref().is_none_or(|wanted| {
            wanted.is_empty() || wanted == one.name() || wanted.parse() == Ok(one.id())
        })
    }

    fn is_wanted(&self, event: &Event) -> bool {
        let name = self.name.as_deref().filter(|name| !name.is_empty());
        let at = wire::timestamp(event.at);
        // A time without a date is one of any day.
        let shown =
            |bound: &str| if bound.contains('T') { at.clone() } else { at[11..].to_owned() };
        let bound = |bound: &Option<String>| bound.clone().filter(|bound| !bound.is_empty());
        name.is_none_or(|name| name.eq_ignore_ascii_case(event.fact.name()))
            && self.since.is_none_or(|since| event.seq > since)
            && bound(&self.from).is_none_or(|from| shown(&from) >= from)
            && bound(&self.to).is_none_or(|to| shown(&to)[..to.len().min(12)] <= to[..])
    }

    /// What is kept of what is wanted, oldest first, with the channels' names.
    pub(super) fn kept(&self) -> Vec<(String, Arc<Event>)> {
        let of = supervisors().into_iter().filter(|one| self.is_of(one));
        let mut all: Vec<_> = of
            .flat_map(|one| {
                let name = one.name().to_owned();
                one.history().into_iter().map(move |event| (name.clone(), event))
            })
            .filter(|(_, event)| self.is_wanted(event))
            .collect();
        all.sort_by_key(|(_, event)| event.at);
        all
    }
}

pub(super) async fn events(
    State(admin): State<Arc<Admin>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let form = match () {
        () if accepts(&headers, "text/event-stream") => Form::Sse,
        () if accepts(&headers, "application/x-ndjson") => Form::Lines,
        () if accepts(&headers, "application/json") => {
            let kept = wanted.kept();
            let kept = kept.iter().map(|(name, event)| wire::event(name, event));
            return super::routes::json_answer(&kept.collect());
        }
        () => return pages::events(&admin, &wanted).into_response(),
    };
    let had = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(positions);
    let readers: Arc<Admin> = admin.clone();
    let Ok(permit) = readers.readers.try_acquire() else {
        let words = "32 readers of events are here already\n";
        return (StatusCode::SERVICE_UNAVAILABLE, words).into_response();
    };
    permit.forget();
    let place = Place(admin);
    let stream = merged(wanted, had, form).map(move |piece| {
        let _held = &place;
        Ok::<_, std::convert::Infallible>(piece)
    });
    let kind = match form {
        Form::Sse => "text/event-stream",
        Form::Lines => "application/x-ndjson",
    };
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)).into_response()
}

/// One reader's place; it is free again when this is dropped.
struct Place(Arc<Admin>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.readers.add_permits(1);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Sse,
    Lines,
}

/// What a reader had last of each channel: `1:42,2:17`.
fn positions(text: &str) -> BTreeMap<u64, u64> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once(':'));
    pairs.filter_map(|(id, seq)| Some((id.parse().ok()?, seq.parse().ok()?))).collect()
}

/// What one channel's reader hears.
enum Heard {
    Event(Arc<Event>),
    Lagged(u64),
}

type OfOne = stream::BoxStream<'static, (u64, String, Heard)>;

/// The events of all channels that are wanted, also of those that come later.
fn merged(
    wanted: Wanted,
    had: Option<BTreeMap<u64, u64>>,
    form: Form,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let state = Merged {
        wanted,
        had: had.unwrap_or_default(),
        form,
        known: Vec::new(),
        streams: stream::SelectAll::new(),
    };
    stream::unfold(state, |mut state| async move {
        let piece = state.next().await;
        Some((piece, state))
    })
}

struct Merged {
    wanted: Wanted,
    had: BTreeMap<u64, u64>,
    form: Form,
    known: Vec<u64>,
    streams: stream::SelectAll<OfOne>,
}

/// How often it is looked whether there are other channels; and a quiet stream shows that it lives.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const ALIVE_EVERY: u32 = 15;

impl Merged {
    async fn next(&mut self) -> Bytes {
        let mut quiet = 0;
        loop {
            self.look();
            let heard = async {
                match self.streams.next().await {
                    Some(heard) => heard,
                    None => std::future::pending().await,
                }
            };
            match tokio::time::timeout(LOOK_EVERY, heard).await {
                Ok((id, name, heard)) => {
                    if let Some(piece) = self.tell(id, &name, heard) {
                        return piece;
                    }
                }
                Err(_) => quiet += 1,
            }
            if quiet == ALIVE_EVERY {
                return match self.form {
                    Form::Sse => Bytes::from_static(b": nothing happens\n\n"),
                    Form::Lines => Bytes::from_static(b"\n"),
                };
            }
        }
    }

    fn look(&mut self) {
        for one in supervisors() {
            if self.wanted.is_of(&one) && !self.known.contains(&one.id()) {
                self.known.push(one.id());
                let since = self.had.get(&one.id()).copied();
                self.streams.push(follow(&one, since));
            }
        }
    }

    fn tell(&mut self, id: u64, name: &str, heard: Heard) -> Option<Bytes> {
        let (value, kind) = match heard {
            Heard::Lagged(missed) => (json!({ "channel": name, "lagged": missed }), "lagged"),
            Heard::Event(event) => {
                self.had.insert(id, event.seq);
                if !self.wanted.is_wanted(&event) {
                    return None;
                }
                (wire::event(name, &event), "event")
            }
        };
        Some(match self.form {
            Form::Lines => format!("{value}\n").into(),
            Form::Sse => {
                let had: Vec<_> = self.had.iter().map(|(id, seq)| format!("{id}:{seq}")).collect();
                let had = had.join(",");
                format!("id: {had}\nevent: {kind}\ndata: {value}\n\n").into()
            }
        })
    }
}

/// What is kept of one channel after `since`, and then what comes.
fn follow(one: &Observer, since: Option<u64>) -> OfOne {
    let (id, name) = (one.id(), one.name().to_owned());
    // In this order nothing falls between the two; what is in both is told once.
    let (coming, kept) = (one.events(), one.history());
    let kept: Vec<_> =
        kept.into_iter().filter(|event| since.is_none_or(|since| event.seq > since)).collect();
    let last = kept.last().map_or(since.unwrap_or(0), |last| last.seq);
    let missed = match (since, kept.first()) {
        (Some(since), Some(first)) => first.seq.saturating_sub(since + 1),
        _ => 0,
    };
    let lagged = (missed > 0).then_some(Heard::Lagged(missed));
    let before = stream::iter(lagged.into_iter().chain(kept.into_iter().map(Heard::Event)));
    let after = after(coming, last);
    before.chain(after).map(move |heard| (id, name.clone(), heard)).boxed()
}

fn after(coming: EventStream, last: u64) -> impl Stream<Item = Heard> + Send {
    coming.filter_map(move |item| {
        let heard = match item {
            EventItem::Event(event) if event.seq > last => Some(Heard::Event(Arc::new(event))),
            EventItem::Lagged(missed) => Some(Heard::Lagged(missed)),
            _ => None,
        };
        std::future::ready(heard)
    })
}
