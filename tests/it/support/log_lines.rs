//! Listens to the log lines of this thread, and knows the spans that they stand in. On a
//! current-thread runtime these are all that the supervisor writes.

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
pub(crate) struct LogLine {
    pub(crate) level: Level,
    /// What filters go by.
    pub(crate) target: String,
    /// The spans that it stands in, the innermost last.
    pub(crate) spans: Vec<&'static str>,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl LogLine {
    /// The field's text; empty where it is missing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// While tracing knows one listener alone, a line that some other thread is the first to write is
/// taken to be for nobody, on all threads and for good. So it knows this one, too, which hears
/// nothing.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Listener::default()));

/// From now on tracing knows one listener more than it is told of.
pub(super) fn know_a_second() {
    LazyLock::force(&SECOND);
}

/// All lines since this was made, until it is dropped.
pub(crate) struct LogLines {
    lines: Arc<Mutex<Vec<LogLine>>>,
    _listening: DefaultGuard,
}

impl LogLines {
    pub(crate) fn listen() -> Self {
        know_a_second();
        let lines = Arc::default();
        let listener = Listener { lines: Arc::clone(&lines), ..Listener::default() };
        Self { lines, _listening: tracing::subscriber::set_default(listener) }
    }

    /// The lines whose text contains `text`.
    pub(crate) fn saying(&self, text: &str) -> Vec<LogLine> {
        let lines = self.lines.lock().expect("no reader panics");
        lines.iter().filter(|line| line.field("message").contains(text)).cloned().collect()
    }
}

#[derive(Default)]
struct Listener {
    lines: Arc<Mutex<Vec<LogLine>>>,
    /// The names of all spans, by their ids.
    spans: Mutex<Vec<&'static str>>,
    /// Those that are entered now.
    entered: Mutex<Vec<u64>>,
}

impl Listener {
    fn name(&self, id: u64) -> &'static str {
        self.spans.lock().expect("no reader panics")[usize::try_from(id).expect("few") - 1]
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut spans = self.spans.lock().expect("no reader panics");
        spans.push(span.metadata().name());
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let entered = self.entered.lock().expect("no reader panics");
        let spans = match (event.is_contextual(), event.parent()) {
            (true, _) => entered.iter().map(|id| self.name(*id)).collect(),
            (false, parent) => parent.map(|id| self.name(id.into_u64())).into_iter().collect(),
        };
        let (level, target) = (*event.metadata().level(), event.metadata().target().to_owned());
        let mut line = LogLine { level, target, spans, fields: BTreeMap::new() };
        event.record(&mut line);
        self.lines.lock().expect("no reader panics").push(line);
    }

    fn enter(&self, id: &span::Id) {
        self.entered.lock().expect("no reader panics").push(id.into_u64());
    }

    fn exit(&self, id: &span::Id) {
        let mut entered = self.entered.lock().expect("no reader panics");
        if let Some(at) = entered.iter().rposition(|entered| *entered == id.into_u64()) {
            entered.remove(at);
        }
    }
}

impl Visit for LogLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}
