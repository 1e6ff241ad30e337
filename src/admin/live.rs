//! Events as they come: a page of the last ones, or for whoever asks for it a stream of them, as
//! server-sent events or as lines of JSON.
//!
//! A stream begins with what is kept (not with `?kept=no`) and goes on with what comes. A reader
//! that comes again says what it had last (`Last-Event-ID`), and hears the rest; what is not kept
//! any more is told as `lagged`, as everywhere. What it had of a former process counts for nothing.

use super::{look::Admin, pages, routes::accepts, wire};
use crate::{
    client::{Observer, supervisors},
    clock,
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
use rand::RngExt as _;
use serde_json::json;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

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
    /// `no`: only what comes.
    #[serde(default)]
    kept: Option<String>,
}

/// No page and no answer has more events.
const MOST: usize = 512;

impl Wanted {
    fn is_of(&self, one: &Observer) -> bool {
        self.channel.as_deref().is_none_or(|wanted| {
            wanted.is_empty() || wanted == one.name() || wanted.parse() == Ok(one.id())
        })
    }

    fn is_wanted(&self, event: &Event) -> bool {
        let name = self.name.as_deref().filter(|name| !name.is_empty());
        let bounded = self.from.is_some() || self.to.is_some();
        let in_time = || {
            let at = wire::timestamp(event.at);
            self.from.as_deref().is_none_or(|from| is_from(&at, from))
                && self.to.as_deref().is_none_or(|to| is_up_to(&at, to))
        };
        name.is_none_or(|name| name.eq_ignore_ascii_case(event.fact.name()))
            && self.since.is_none_or(|since| event.seq > since)
            && (!bounded || in_time())
    }

    /// The newest of what is kept and wanted, oldest first, with the channels' names.
    pub(super) fn kept(&self) -> Vec<(Arc<str>, Arc<Event>)> {
        let mut all = Vec::new();
        for one in supervisors().into_iter().filter(|one| self.is_of(one)) {
            let name: Arc<str> = one.name().into();
            let wanted = one.history().into_iter().filter(|event| self.is_wanted(event));
            all.extend(wanted.map(|event| (name.clone(), event)));
        }
        all.sort_by_key(|(_, event)| event.at);
        all.split_off(all.len().saturating_sub(MOST))
    }
}

/// Whether a time is not before another; one without a date is that time of any day.
fn is_from(at: &str, from: &str) -> bool {
    from.is_empty() || as_precise(at, from) >= from
}

/// Whether it is not after it: `02:50` has all of its minute.
fn is_up_to(at: &str, to: &str) -> bool {
    let at = as_precise(at, to);
    to.is_empty() || &at[..at.len().min(to.len())] <= to
}

fn as_precise<'a>(at: &'a str, bound: &str) -> &'a str {
    let time = at.find('T').map_or(at, |place| &at[place + 1..]);
    if bound.contains('-') { at } else { time }
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

/// A number of this process: those of its channels and events begin at 1 in each.
fn process() -> u32 {
    static NUMBER: OnceLock<u32> = OnceLock::new();
    *NUMBER.get_or_init(|| rand::rng().random())
}

/// What a reader had last of each channel of this process: `b7f3;1:42,2:17`.
fn positions(text: &str) -> BTreeMap<u64, u64> {
    let of_process = text.split_once(';').filter(|(of, _)| *of == format!("{:x}", process()));
    let pairs = of_process.map_or("", |(_, pairs)| pairs);
    let pairs = pairs.split(',').filter_map(|pair| pair.split_once(':'));
    pairs.filter_map(|(id, seq)| Some((id.parse().ok()?, seq.parse().ok()?))).collect()
}

/// The same, written; none where it would be longer than a request's head.
fn written(had: &BTreeMap<u64, u64>) -> Option<String> {
    if had.len() > POSITIONS {
        return None;
    }
    let pairs: Vec<_> = had.iter().map(|(id, seq)| format!("{id}:{seq}")).collect();
    Some(format!("{:x};{}", process(), pairs.join(",")))
}

/// Of so many channels a reader is told where it is.
const POSITIONS: usize = 64;

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
        known: HashSet::new(),
        streams: stream::SelectAll::new(),
        looked: None,
        told: clock::now(),
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
    known: HashSet<u64>,
    streams: stream::SelectAll<OfOne>,
    /// When it was looked last whether there are other channels.
    looked: Option<Instant>,
    /// When the last piece went out.
    told: Instant,
}

/// How often it is looked whether there are other channels,
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// and how often a quiet stream shows that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

impl Merged {
    async fn next(&mut self) -> Bytes {
        loop {
            self.look();
            let heard = async {
                match self.streams.next().await {
                    Some(heard) => heard,
                    None => std::future::pending().await,
                }
            };
            let heard = tokio::time::timeout(LOOK_EVERY, heard).await;
            let piece = heard.ok().and_then(|(id, name, heard)| self.tell(id, &name, heard));
            let now = clock::now();
            let quiet = now.saturating_duration_since(self.told) >= ALIVE_EVERY;
            let alive = match self.form {
                Form::Sse => &b": nothing happens\n\n"[..],
                Form::Lines => b"\n",
            };
            if let Some(piece) = piece.or_else(|| quiet.then(|| Bytes::from_static(alive))) {
                self.told = now;
                return piece;
            }
        }
    }

    fn look(&mut self) {
        let now = clock::now();
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let live: Vec<_> = supervisors().into_iter().filter(|one| self.wanted.is_of(one)).collect();
        let ids: HashSet<u64> = live.iter().map(Observer::id).collect();
        self.known.retain(|id| ids.contains(id));
        self.had.retain(|id, _| ids.contains(id));
        for one in live {
            if self.known.insert(one.id()) {
                let since = self.had.get(&one.id()).copied();
                let only_new = self.wanted.kept.as_deref() == Some("no");
                self.streams.push(follow(&one, since, only_new));
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
                let had = written(&self.had);
                let had = had.map_or_else(String::new, |had| format!("id: {had}\n"));
                format!("{had}event: {kind}\ndata: {value}\n\n").into()
            }
        })
    }
}

/// What is kept of one channel after `since`, and then what comes.
fn follow(one: &Observer, since: Option<u64>, only_new: bool) -> OfOne {
    let (id, name) = (one.id(), one.name().to_owned());
    // In this order nothing falls between the two; what is in both is told once.
    let (coming, kept) = (one.events(), one.history());
    let now = coming.opened_at();
    let wanted = |event: &Arc<Event>| match since {
        Some(since) => event.seq > since,
        None => !only_new,
    };
    let kept: Vec<_> = kept.into_iter().filter(wanted).collect();
    let last = kept.last().map_or(since.unwrap_or(if only_new { now } else { 0 }), |last| last.seq);
    // The first that is kept of what the reader has not had; all of it may be gone.
    let first = kept.first().map_or(now + 1, |first| first.seq);
    let missed = since.map_or(0, |since| first.saturating_sub(since.saturating_add(1)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_holds_with_a_date_and_without() {
        let at = "2026-11-29T02:45:10.120Z";
        for (bound, from, to) in [
            ("", true, true),
            ("02:40", true, false),
            ("02:45", true, true),
            ("02:50", false, true),
            ("02:45:10.12", true, true),
            ("2026-11-29", true, true),
            ("2026-11-29T02:44", true, false),
            ("2026-11-29T02:45", true, true),
            ("2026-11-29T02:46", false, true),
            ("2026-11-30", false, true),
            ("é", false, true),
            ("9999999999999999999999999999999999", false, true),
        ] {
            assert_eq!((is_from(at, bound), is_up_to(at, bound)), (from, to), "{bound}");
        }
    }

    #[test]
    fn what_a_reader_had_of_this_process_is_read_from_whatever_it_says() {
        let had = BTreeMap::from([(1, 42), (2, 17)]);
        let text = written(&had).expect("short");
        assert_eq!(positions(&text), had);
        let (of, _) = text.split_once(';').expect("two parts");
        let odd = format!("{of};x,1:,:2,3:4:5,18446744073709551616:1,7:9");
        assert_eq!(positions(&odd), BTreeMap::from([(7, 9)]));
        for other in ["", "1:42", "zz;1:42", &format!("1{of};1:42")] {
            assert!(positions(other).is_empty(), "{other}");
        }
        let many = (0..65).map(|id| (id, 1)).collect();
        assert_eq!(written(&many), None);
    }
}
