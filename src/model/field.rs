//! The fields of a fact as names and values, for logs and programs.
//!
//! A name carries its unit (`took_ms`), and a value is one of four types: so a log line, a line of
//! JSON and a page can be made of any fact without knowing which it is.

use super::{
    cause::ShedReason,
    code::code_name,
    endpoint::EndpointId,
    ends::LinkEnds,
    health::Health,
    ids::Incarnation,
    link::{DialFailure, GoAway, LinkEnd},
    state::ConnectivityState,
    step_times::StepTimes,
    text::printable,
};
use std::{borrow::Cow, fmt, sync::Arc, time::Duration};
use tonic::Code;

/// One field of a [`Fact`](crate::Fact).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field of the Rust type that it is made of.
    pub(crate) of: &'static str,
    name: &'static str,
    value: FieldValue<'a>,
}

/// The value of a [`Field`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// There is none this time: `null` in JSON, left out of log lines.
    None,
    /// Yes or no.
    Flag(bool),
    /// A number, in the unit that the field's name says.
    Number(u64),
    /// Text, printable and in one line.
    Text(Cow<'a, str>),
}

impl<'a> Field<'a> {
    /// Its name, as it stands in log lines and in JSON.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its value.
    pub fn value(&self) -> &FieldValue<'a> {
        &self.value
    }
}

impl fmt::Display for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// The names that a Rust field can have: its own, and that of a number of milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Names {
    pub(super) plain: &'static str,
    pub(super) ms: &'static str,
}

/// What a fact's Rust fields are made of: each knows its names and values.
pub(super) trait AsFields {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>);
}

/// One value under the field's own name.
fn one<'a>(names: Names, value: FieldValue<'a>, all: &mut Vec<Field<'a>>) {
    all.push(Field { of: names.plain, name: names.plain, value });
}

fn text(text: &str) -> FieldValue<'_> {
    FieldValue::Text(Cow::Borrowed(text))
}

fn ms(time: Duration) -> FieldValue<'static> {
    FieldValue::Number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Several values under names of their own.
fn several<'a, const N: usize>(
    names: Names,
    values: [(&'static str, FieldValue<'a>); N],
    all: &mut Vec<Field<'a>>,
) {
    all.extend(values.map(|(name, value)| Field { of: names.plain, name, value }));
}

impl AsFields for bool {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, FieldValue::Flag(*self), all);
    }
}

impl AsFields for u32 {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, FieldValue::Number((*self).into()), all);
    }
}

impl AsFields for Incarnation {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, FieldValue::Number(self.0), all);
    }
}

impl AsFields for EndpointId {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, FieldValue::Number(self.0.into()), all);
    }
}

impl AsFields for &'static str {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, text(self), all);
    }
}

impl AsFields for Arc<str> {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, text(self), all);
    }
}

impl AsFields for ConnectivityState {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, text(self.as_str()), all);
    }
}

impl AsFields for Health {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, text(self.as_str()), all);
    }
}

impl AsFields for ShedReason {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, text(self.label()), all);
    }
}

impl AsFields for Duration {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        several(names, [(names.ms, ms(*self))], all);
    }
}

/// What is not there has the name that it would have.
impl AsFields for Option<u32> {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, self.map_or(FieldValue::None, |number| FieldValue::Number(number.into())), all);
    }
}

impl AsFields for Option<Arc<str>> {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        one(names, self.as_deref().map_or(FieldValue::None, text), all);
    }
}

impl AsFields for Option<Duration> {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        several(names, [(names.ms, self.map_or(FieldValue::None, ms))], all);
    }
}

/// gRPC's number and name.
impl AsFields for Code {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        let number = FieldValue::Number(*self as u64);
        several(names, [("code", number), ("code_name", text(code_name(*self)))], all);
    }
}

/// HTTP/2's number and name.
impl AsFields for GoAway {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        let values = [
            ("last_stream_id", FieldValue::Number(self.last_stream_id.into())),
            ("code", FieldValue::Number(self.code.into())),
            ("code_name", text(self.code_name())),
            ("debug", text(&self.debug)),
        ];
        several(names, values, all);
    }
}

impl AsFields for LinkEnds {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        let words = |text: String| FieldValue::Text(Cow::Owned(text));
        let local = self.local.as_ref().map(|local| words(printable(&local.to_string()).into()));
        let tls = self.tls.as_ref();
        let until = tls.and_then(|tls| tls.certificate_until_unix());
        let values = [
            ("local", local.unwrap_or(FieldValue::None)),
            ("remote", words(printable(&self.remote.to_string()).into())),
            ("tls", tls.map_or(FieldValue::None, |tls| words(tls.to_string()))),
            ("certificate_until_unix", until.map_or(FieldValue::None, FieldValue::Number)),
        ];
        several(names, values, all);
    }
}

impl AsFields for Box<StepTimes> {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        let [resolve, connect, tls, handshake] =
            self.by_step().map(|(_, time)| time.map_or(FieldValue::None, ms));
        let values = [
            ("resolve_ms", resolve),
            ("connect_ms", connect),
            ("tls_ms", tls),
            ("handshake_ms", handshake),
        ];
        several(names, values, all);
    }
}

impl AsFields for DialFailure {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        let values = [
            ("step", text(self.step.as_str())),
            ("cause", text(&self.reason)),
            ("timed_out", FieldValue::Flag(self.timed_out)),
            ("refused", FieldValue::Flag(self.refused)),
        ];
        several(names, values, all);
    }
}

impl AsFields for LinkEnd {
    fn put<'a>(&'a self, names: Names, all: &mut Vec<Field<'a>>) {
        let values = [
            ("cause", FieldValue::Text(self.to_string().into())),
            ("disconnect_error", FieldValue::Text(self.label().into())),
        ];
        several(names, values, all);
    }
}
