//! What values a key takes: defined once in the table, and used to read a value, to explain the key
//! and to write the JSON schema.

use crate::{
    config::{
        balancing::Balancing,
        resolve::{Period, Shuffle},
        value::{Value, size_text},
    },
    model::CallKind,
    policy::RetryLimit,
};
use std::time::Duration;

/// The values of a key.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Kind {
    pub(in crate::config) shape: Shape,
    /// Whether it may also be `none`.
    pub(in crate::config) none: bool,
}

/// The values of a key, other than `none`. Units and words are read by the tests that write pages.
#[allow(dead_code)]
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum Shape {
    /// True or false.
    Switch,
    /// A whole number of things.
    Whole { least: u64, most: u64, unit: &'static str },
    /// A whole number of retries, or `unlimited`.
    Retries,
    /// A number; `f64::MAX` as `most` means any finite one.
    Number { least: f64, most: f64, unit: &'static str },
    /// A time.
    Time { least: Duration },
    /// A number of bytes; `usize::MAX` as `most` means any.
    Size { least: usize, most: usize },
    /// Text with rules of its own.
    Text,
    /// The path of a file.
    File,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of status codes.
    Codes,
    /// A list of addresses.
    Addresses,
    /// A time, or `auto`.
    Period { least: Duration },
    /// True, false or `auto`.
    Shuffle,
}

/// What must take time takes at least this: with less, something would spin.
const LEAST: Duration = Duration::from_millis(1);

pub(super) const SWITCH: Kind = Kind::of(Shape::Switch);
pub(super) const RETRIES: Kind = Kind::of(Shape::Retries);
pub(super) const TIME: Kind = Kind::of(Shape::Time { least: LEAST });
pub(super) const TIME_OR_ZERO: Kind = Kind::of(Shape::Time { least: Duration::ZERO });
pub(super) const SIZE: Kind = sizes(0, usize::MAX);
pub(super) const TEXT: Kind = Kind::of(Shape::Text);
pub(super) const FILE: Kind = Kind::of(Shape::File);
pub(super) const CODES: Kind = Kind::of(Shape::Codes);
pub(super) const ADDRESSES: Kind = Kind::of(Shape::Addresses);
pub(super) const PERIOD: Kind =
    Kind { shape: Shape::Period { least: Duration::from_secs(1) }, none: true };
pub(super) const SHUFFLE: Kind = Kind::of(Shape::Shuffle);
pub(super) const FACTOR: Kind = numbers(1.0, f64::MAX, "factor");
pub(super) const SHARE: Kind = numbers(0.0, 1.0, "share");

pub(super) const fn times_from(least: Duration) -> Kind {
    Kind::of(Shape::Time { least })
}

pub(super) const fn whole(least: u64, most: u64, unit: &'static str) -> Kind {
    Kind::of(Shape::Whole { least, most, unit })
}

pub(super) const fn numbers(least: f64, most: f64, unit: &'static str) -> Kind {
    Kind::of(Shape::Number { least, most, unit })
}

pub(super) const fn sizes(least: usize, most: usize) -> Kind {
    Kind::of(Shape::Size { least, most })
}

pub(super) const fn one_of(words: &'static [&'static str]) -> Kind {
    Kind::of(Shape::Word(words))
}

impl Kind {
    const fn of(shape: Shape) -> Self {
        Self { shape, none: false }
    }

    pub(super) const fn or_none(self) -> Self {
        Self { none: true, ..self }
    }

    /// Reads `value`; the error is the rule that it breaks, to follow "is ..., but".
    pub(in crate::config) fn read<T: Read>(&self, value: &Value) -> Result<T, String> {
        match T::none() {
            Some(none) if self.none && value.is_none() => Ok(none),
            Some(_) => T::read(self.shape, value).map_err(|rule| format!("{rule}, or `none`")),
            None => T::read(self.shape, value),
        }
    }
}

/// A type that values are read as. A shape that has nothing to do with the type is a mistake in the
/// table; reading the defaults, which every test does, would find it.
pub(in crate::config) trait Read: Sized {
    fn read(shape: Shape, value: &Value) -> Result<Self, String>;

    /// What `none` is read as, where the type has it.
    fn none() -> Option<Self> {
        None
    }
}

impl<T: Read> Read for Option<T> {
    fn read(shape: Shape, value: &Value) -> Result<Self, String> {
        T::read(shape, value).map(Some)
    }

    fn none() -> Option<Self> {
        Some(None)
    }
}

macro_rules! read {
    ($($type:ty: $value:ident, { $($shape:pat => $read:expr),+ $(,)? })+) => {
        $(impl Read for $type {
            fn read(shape: Shape, $value: &Value) -> Result<Self, String> {
                match shape {
                    $($shape => $read,)+
                    other => unreachable!("{other:?} is not read as {}", stringify!($type)),
                }
            }
        })+
    };
}

read! {
    bool: value, { Shape::Switch => value.bool() }
    u16: value, { Shape::Whole { least, most, .. } => value.whole(least, most).map(|n| n as Self) }
    u32: value, { Shape::Whole { least, most, .. } => value.whole(least, most).map(|n| n as Self) }
    usize: value, {
        Shape::Whole { least, most, .. } => value.whole(least, most).map(|n| n as Self),
        Shape::Size { least, most } => in_range(value.size()?, least, most),
    }
    RetryLimit: value, { Shape::Retries => value.retry_limit() }
    f64: value, { Shape::Number { least, most, .. } => value.number(least, most) }
    Duration: value, { Shape::Time { least } => match value.time()? {
        time if time < least => Err(format!("must be at least {least:?}")),
        time => Ok(time),
    } }
    CallKind: value, { Shape::Word(_) => value.call_kind() }
    String: value, { Shape::Text => value.text().map(str::to_owned) }
    // A list of what is to be read one by one.
    Vec<Value>: value, {
        Shape::Codes => value.list("gRPC status codes"),
        Shape::Addresses => value.list("addresses"),
    }
    Shuffle: value, { Shape::Shuffle => match value.is_auto() {
        true => Ok(Self::Auto),
        false => {
            let always = value.bool().map_err(|_| "must be true, false or `auto`".to_owned())?;
            Ok(always.into())
        }
    } }
    Balancing: value, { Shape::Word(words) => value.balancing(words) }
}

impl Read for Period {
    fn read(shape: Shape, value: &Value) -> Result<Self, String> {
        let Shape::Period { least } = shape else { unreachable!("{shape:?} is not a period") };
        if value.is_auto() {
            return Ok(Self::Auto);
        }
        match value.time() {
            Ok(time) if time < least => Err(format!("must be at least {least:?}, or `auto`")),
            Ok(time) => Ok(Self::Every(time)),
            Err(rule) => Err(format!("{rule}, or `auto`")),
        }
    }

    fn none() -> Option<Self> {
        Some(Self::Never)
    }
}

fn in_range(bytes: usize, least: usize, most: usize) -> Result<usize, String> {
    match bytes {
        bytes if (least..=most).contains(&bytes) => Ok(bytes),
        _ if most == usize::MAX => Err(format!("must be at least {}", size_text(least))),
        _ => Err(format!("must be from {} to {}", size_text(least), size_text(most))),
    }
}
