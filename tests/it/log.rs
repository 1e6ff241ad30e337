//! Listens to the log lines of this thread. On a current-thread runtime these are all that the supervisor writes.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, LazyLock, Mutex},
};
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};

/// One line: its level, and its fields as text; the text itself is `message`.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Line {
    /// The field's text; empty where it is missing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// While tracing knows one listener alone, a line that some other thread is the first to write is
/// taken to be for nobody, on all threads and for good. So it knows this one, too, which hears
/// nothing.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Listener::default()));

/// All lines since this was made, until it is dropped.
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    _listening: DefaultGuard,
}

impl Log {
    pub(crate) fn listen() -> Self {
        LazyLock::force(&SECOND);
        let lines = Arc::default();
        let listener = Listener { lines: Arc::clone(&lines) };
        Self { lines, _listening: tracing::subscriber::set_default(listener) }
    }

    /// The lines whose text contains `text`.
    pub(crate) fn saying(&self, text: &str) -> Vec<Line> {
        let lines = self.lines.lock().expect("no reader panics");
        lines.iter().filter(|line| line.field("message").contains(text)).cloned().collect()
    }
}

#[derive(Default)]
struct Listener {
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { level: *event.metadata().level(), fields: BTreeMap::new() };
        event.record(&mut line);
        self.lines.lock().expect("no reader panics").push(line);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}
