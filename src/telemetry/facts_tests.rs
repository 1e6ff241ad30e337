//! A walk over all facts: what the table says of each is what the log, the lines for people and the
//! fields say.

use super::{EventLines, line::Line, log};
use crate::model::{Fact, FieldValue, Level, every_fact};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// A variant without an example is found here: the names come from the table, which has a row for
/// each variant or does not compile.
#[test]
fn every_fact_has_one_example() {
    let examples: Vec<_> = every_fact().iter().map(Fact::name).collect();
    assert_eq!(examples, Fact::NAMES);
}

#[test]
fn every_fact_has_the_name_of_its_variant_and_a_sentence_in_one_line() {
    for fact in every_fact() {
        let variant = format!("{fact:?}");
        assert_eq!(variant.split([' ', '{']).next(), Some(fact.name()));
        let sentence = fact.to_string();
        assert!(sentence.len() > 5 && !sentence.contains('\n'), "{sentence}");
    }
}

#[test]
fn every_fact_has_fields_and_no_two_of_one_name() {
    for fact in every_fact() {
        let fields = fact.fields();
        let names: BTreeSet<_> = fields.iter().map(|field| field.name()).collect();
        assert!(!fields.is_empty() && names.len() == fields.len(), "{fact:?}: {fields:?}");
    }
}

/// Programs may rely on the names: they are there whether or not there is a value.
#[test]
fn a_fact_has_the_same_fields_with_and_without_its_optional_values() {
    let names = |fact: &Fact| fact.fields().iter().map(|field| field.name()).collect::<Vec<_>>();
    let pairs = [
        (
            Fact::Closed { cause: Some("the actor above ended".into()) },
            Fact::Closed { cause: None },
        ),
        (
            Fact::DrainStarted { grace: Some(Duration::from_secs(1)) },
            Fact::DrainStarted { grace: None },
        ),
    ];
    for (with, without) in pairs {
        assert_eq!(names(&with), names(&without));
        assert_eq!(without.fields()[0].value(), &FieldValue::None);
    }
}

/// One log line: its level, and its fields as text.
type Written = (tracing::Level, BTreeMap<&'static str, String>);

fn written(fact: &Fact, line: Option<Line>) -> Written {
    // With one listener alone, tracing may take a line to be for nobody for good.
    static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Listener::default()));
    LazyLock::force(&SECOND);
    let listener = Listener::default();
    let lines = Arc::clone(&listener.0);
    tracing::subscriber::with_default(listener, || {
        log::write(fact, line, &"queue:50051".into());
    });
    let mut lines = std::mem::take(&mut *lines.lock().expect("no panic"));
    assert_eq!(lines.len(), 1, "{fact:?}");
    lines.remove(0)
}

fn level(level: Level) -> tracing::Level {
    match level {
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Warn => tracing::Level::WARN,
        Level::Error => tracing::Level::ERROR,
    }
}

/// The line has all fields and no others; a field that is `none` is left out.
#[test]
fn the_log_line_of_every_fact_has_its_level_sentence_and_fields() {
    for fact in every_fact() {
        let (at, mut fields) = written(&fact, Some(Line::Plain));
        assert_eq!(at, level(fact.level()), "{fact:?}");
        assert_eq!(fields.remove("message"), Some(fact.to_string()));
        assert_eq!(fields.remove("event").as_deref(), Some(fact.name()));
        assert_eq!(fields.remove("target").as_deref(), Some("queue:50051"));
        let all = fact.fields();
        let there = all.iter().filter(|field| *field.value() != FieldValue::None);
        let expected: BTreeMap<_, _> =
            there.map(|field| (field.name(), field.value().to_string())).collect();
        assert_eq!(fields, expected, "{fact:?}");
    }
}

#[test]
fn a_fact_that_is_worth_no_line_is_written_at_debug_with_its_fields() {
    for fact in every_fact() {
        let (at, fields) = written(&fact, None);
        assert_eq!(at, tracing::Level::DEBUG);
        assert_eq!(fields["message"], fact.to_string());
        assert!(fields.len() >= 3, "{fields:?}");
    }
}

/// The first of its kind, as the first fact of a channel.
#[test]
fn the_line_for_people_is_the_log_line() {
    for fact in every_fact() {
        let line = EventLines::default().choose(&fact, Duration::ZERO);
        let (at, fields) = written(&fact, line);
        match line {
            None => assert!(fact.level() == Level::Debug, "{fact:?}"),
            Some(line) => {
                assert_eq!(fields["message"], line.sentence(&fact));
                assert!(at <= tracing::Level::INFO, "{fact:?}");
            }
        }
    }
}

#[test]
fn a_line_about_an_outage_or_a_repeat_has_its_numbers_beside_the_facts_fields() {
    let all = every_fact();
    let named = |name| all.iter().find(|fact| fact.name() == name).expect("an example of it");
    let (changed, shed) = (named("StateChanged"), named("CallShed"));
    let outage = Duration::from_millis(2_500);
    let (at, fields) = written(changed, Some(Line::ConnectedAgain { failed_dials: 2, outage }));
    assert_eq!(at, tracing::Level::INFO);
    assert_eq!((&*fields["failed_dials"], &*fields["outage_ms"]), ("2", "2500"));
    assert_eq!(fields["message"], "connected again after 2.5 s and 2 failed dials");
    let (at, fields) = written(shed, Some(Line::Repeated { times: 4 }));
    assert_eq!((at, &*fields["times"]), (tracing::Level::WARN, "4"));
    assert!(fields["message"].ends_with(" (4 times by now)"), "{fields:?}");
}

#[derive(Default)]
struct Listener(Arc<Mutex<Vec<Written>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().expect("no panic").push((*event.metadata().level(), fields.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
