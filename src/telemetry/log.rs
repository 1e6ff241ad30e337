//! Facts as log lines: the same lines as [`EventLines`](super::EventLines) makes for programs, with
//! the fact's fields beside the sentence; all other facts at DEBUG.
//!
//! `tracing` wants the names of fields when it is compiled. So all names that facts have stand in
//! `fact_line`, and those that a fact has not stay empty; a test holds that none is missing.

use super::line::{Counts, Line};
use crate::model::{Fact, Field, FieldValue, Level};
use std::{cell::LazyCell, sync::Arc};

/// A line in no span: those of the actor that happens to write it say nothing to whoever reads.
macro_rules! line {
    ($level:ident, $($rest:tt)+) => {
        log_line!($level, parent: None, $($rest)+)
    };
}
pub(super) use line;

/// A line with the fields of any fact, by their types.
macro_rules! fact_line {
    ($level:ident, $fields:ident, $target:ident, $fact:ident, $line:ident) => {
        fact_line!(
            $level, $fields, $target, $fact, $line;
            addresses, from, to, cause, step, code_name, debug, disconnect_error, child, error,
            method, reason, health, local, remote, tls;
            incarnation, endpoint, failures, took_ms, max_concurrent_streams, last_stream_id, code,
            keepalive_time_ms, lived_ms, delay_ms, attempt, period_ms, retry, of, grace_ms,
            ejected_for_ms, certificate_until_unix, endpoints, resolve_ms, connect_ms, tls_ms,
            handshake_ms;
            timed_out, refused, while_idle, current, calls_waiting
        )
    };
    (
        $level:ident, $fields:ident, $target:ident, $fact:ident, $line:ident;
        $($text:ident),+; $($number:ident),+; $($flag:ident),+
    ) => {{
        let Counts { failed_dials, outage_ms, times } = $line.map(Line::counts).unwrap_or_default();
        line!(
            $level, %$target, event = $fact.name(),
            $($text = text(&$fields, stringify!($text)),)+
            $($number = number(&$fields, stringify!($number)),)+
            $($flag = flag(&$fields, stringify!($flag)),)+
            failed_dials, outage_ms, times,
            "{}", sentence($fact, $line)
        );
    }};
}

/// Writes the line for `fact`. Nothing is made of it while nobody listens.
pub(super) fn write(fact: &Fact, line: Option<Line>, target: &Arc<str>) {
    let fields = LazyCell::new(|| fact.fields());
    match line.map_or(Level::Debug, |line| line.level(fact)) {
        Level::Debug => fact_line!(debug, fields, target, fact, line),
        Level::Info => fact_line!(info, fields, target, fact, line),
        Level::Warn => fact_line!(warn, fields, target, fact, line),
        Level::Error => fact_line!(error, fields, target, fact, line),
    }
}

fn sentence(fact: &Fact, line: Option<Line>) -> String {
    line.map_or_else(|| fact.to_string(), |line| line.sentence(fact))
}

fn value<'a>(fields: &'a [Field<'_>], name: &str) -> Option<&'a FieldValue<'a>> {
    fields.iter().find(|field| field.name() == name).map(Field::value)
}

fn text<'a>(fields: &'a [Field<'_>], name: &str) -> Option<tracing::field::DisplayValue<&'a str>> {
    match value(fields, name)? {
        FieldValue::Text(text) => Some(tracing::field::display(text)),
        _ => None,
    }
}

fn number(fields: &[Field<'_>], name: &str) -> Option<u64> {
    match value(fields, name)? {
        FieldValue::Number(number) => Some(*number),
        _ => None,
    }
}

fn flag(fields: &[Field<'_>], name: &str) -> Option<bool> {
    match value(fields, name)? {
        FieldValue::Flag(flag) => Some(*flag),
        _ => None,
    }
}
