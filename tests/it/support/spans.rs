//! Listens to the spans that are made on this thread: their parents, their fields, what was said in
//! them, and whether they have ended.

use super::log_lines::know_a_second;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::DefaultGuard,
};
use tracing_core::span::Current;

/// One span.
#[derive(Clone, Debug)]
pub(crate) struct SpanSeen {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) level: Level,
    pub(crate) parent: Option<u64>,
    /// What each field was set to, one value after the other.
    pub(crate) fields: BTreeMap<&'static str, Vec<String>>,
    /// The texts that were said in it.
    pub(crate) events: Vec<String>,
    pub(crate) began: Duration,
    /// When nobody had it any more.
    pub(crate) ended: Option<Duration>,
    handles: usize,
    meta: &'static Metadata<'static>,
}

impl SpanSeen {
    /// The field's one value; empty where it has none.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        match self.fields.get(name).map(Vec::as_slice) {
            None => "",
            Some([value]) => value,
            Some(values) => panic!("{name} was set more than once: {values:?}"),
        }
    }
}

/// All spans since this was made, until it is dropped.
pub(crate) struct SpansSeen {
    seen: Arc<Mutex<Seen>>,
    dispatch: Dispatch,
    _listening: DefaultGuard,
}

impl SpansSeen {
    /// Of all levels.
    pub(crate) fn listen() -> Self {
        Self::listen_to(LevelFilter::TRACE)
    }

    /// Of this level and those above it.
    pub(crate) fn listen_to(level: LevelFilter) -> Self {
        know_a_second();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let dispatch = Dispatch::new(Listener { level, seen: seen.clone(), start: Instant::now() });
        let listening = tracing::dispatcher::set_default(&dispatch);
        Self { seen, dispatch, _listening: listening }
    }

    /// The listener, for another thread.
    pub(crate) fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// Those with this name, in the order in which they began.
    pub(crate) fn named(&self, name: &str) -> Vec<SpanSeen> {
        let seen = self.seen.lock().expect("no reader panics");
        seen.spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    /// The one call, which has ended, and its attempts, which have ended below it.
    #[track_caller]
    pub(crate) fn one_call(&self) -> (SpanSeen, Vec<SpanSeen>) {
        let (mut calls, attempts) = (self.named("call"), self.named("attempt"));
        assert_eq!(calls.len(), 1, "{calls:#?}");
        let call = calls.remove(0);
        for span in attempts.iter().chain([&call]) {
            assert!(span.ended.is_some(), "not ended: {span:#?}");
            assert_eq!((span.target, span.level), ("tonic_supervisor::call", Level::DEBUG));
        }
        for attempt in &attempts {
            assert_eq!(attempt.parent, Some(call.id));
            assert!(attempt.ended <= call.ended);
        }
        (call, attempts)
    }
}

#[derive(Default)]
struct Seen {
    spans: Vec<SpanSeen>,
    entered: Vec<u64>,
}

impl Seen {
    fn get(&mut self, id: &span::Id) -> &mut SpanSeen {
        let place = usize::try_from(id.into_u64()).expect("few") - 1;
        self.spans.get_mut(place).expect("a span of this listener")
    }
}

struct Listener {
    level: LevelFilter,
    seen: Arc<Mutex<Seen>>,
    start: Instant,
}

impl Listener {
    fn with<T>(&self, what: impl FnOnce(&mut Seen) -> T) -> T {
        what(&mut self.seen.lock().expect("no reader panics"))
    }
}

impl Subscriber for Listener {
    fn enabled(&self, meta: &Metadata<'_>) -> bool {
        *meta.level() <= self.level
    }

    fn new_span(&self, new: &span::Attributes<'_>) -> span::Id {
        let meta = new.metadata();
        let mut fields = Fields::default();
        new.record(&mut fields);
        self.with(|seen| {
            let parent = match new.is_contextual() {
                true => seen.entered.last().copied(),
                false => new.parent().map(span::Id::into_u64),
            };
            let id = seen.spans.len() as u64 + 1;
            seen.spans.push(SpanSeen {
                id,
                name: meta.name(),
                target: meta.target(),
                level: *meta.level(),
                parent,
                fields: fields.0,
                events: Vec::new(),
                began: self.start.elapsed(),
                ended: None,
                handles: 1,
                meta,
            });
            span::Id::from_u64(id)
        })
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.with(|seen| {
            let span = seen.get(id);
            assert!(span.ended.is_none(), "it has ended: {span:#?}");
            for (name, more) in fields.0 {
                span.fields.entry(name).or_default().extend(more);
            }
        });
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let said = fields.0.remove("message").and_then(|mut said| said.pop()).unwrap_or_default();
        self.with(|seen| {
            let inner = match event.is_contextual() {
                true => seen.entered.last().map(|id| span::Id::from_u64(*id)),
                false => event.parent().cloned(),
            };
            if let Some(id) = inner {
                seen.get(&id).events.push(said);
            }
        });
    }

    fn enter(&self, id: &span::Id) {
        self.with(|seen| seen.entered.push(id.into_u64()));
    }

    fn exit(&self, id: &span::Id) {
        self.with(|seen| {
            let place = seen.entered.iter().rposition(|entered| *entered == id.into_u64());
            seen.entered.remove(place.expect("entered before"));
        });
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        self.with(|seen| seen.get(id).handles += 1);
        id.clone()
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.with(|seen| {
            let span = seen.get(&id);
            span.handles -= 1;
            if span.handles == 0 {
                assert!(span.ended.is_none(), "it ends twice: {span:#?}");
                span.ended = Some(self.start.elapsed());
            }
            span.handles == 0
        })
    }

    fn current_span(&self) -> Current {
        self.with(|seen| match seen.entered.last().map(|id| span::Id::from_u64(*id)) {
            Some(id) => {
                let meta = seen.get(&id).meta;
                Current::new(id, meta)
            }
            None => Current::none(),
        })
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, Vec<String>>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.entry(field.name()).or_default().push(value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.entry(field.name()).or_default().push(format!("{value:?}"));
    }
}
