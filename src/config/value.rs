//! A value as it was given, before anyone knows what it should be, and what it can be read as.
//!
//! Every reader answers with the value or with the rule that was broken, worded to follow "`key` is
//! `value`, but ".

use super::{
    balancing::Balancing,
    resolve::{Period, Shuffle},
    suggest::did_you_mean,
};
use crate::{
    model::CallKind,
    policy::{RetryLimit, code_name},
};
use std::{fmt, time::Duration};
use tonic::Code;

/// What was written in a file or variable, or handed to the builder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Time(Duration),
    List(Vec<Value>),
    #[cfg(feature = "yaml")]
    Map(Vec<(String, Value)>),
}

/// Nobody waits longer: what is longer still counts as this, so that no sum of times overflows. 100
/// years.
pub(super) const MAX_TIME: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const TIME: &str = "must be a time: seconds (10 or 0.5) or text such as \"250ms\" or \"1m30s\"";
const SIZE: &str = "must be a size: bytes (65536) or text such as \"64KiB\" or \"4MiB\"";

const TIME_UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
];
const SIZE_UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];

impl Value {
    /// Whether it is `none`.
    pub(super) fn is_none(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.trim().eq_ignore_ascii_case("none"),
            _ => false,
        }
    }

    /// Whether it is `auto`.
    pub(super) fn is_auto(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().eq_ignore_ascii_case("auto"))
    }

    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            _ => Err("must be text".into()),
        }
    }

    pub(super) fn bool(&self) -> Result<bool, String> {
        let word = match self {
            Self::Bool(value) => return Ok(*value),
            Self::Text(text) => text.trim().to_ascii_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".into()),
        }
    }

    /// A whole number of `least` to `most`.
    pub(super) fn whole(&self, least: u64, most: u64) -> Result<u64, String> {
        let number = match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let allowed = number
            .and_then(|number| u64::try_from(number).ok())
            .filter(|n| (least..=most).contains(n));
        allowed.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
    }

    pub(super) fn retry_limit(&self) -> Result<RetryLimit, String> {
        if matches!(self, Self::Text(text) if text.trim().eq_ignore_ascii_case("unlimited")) {
            return Ok(RetryLimit::Unlimited);
        }
        let count =
            self.whole(0, u32::MAX.into()).map_err(|rule| format!("{rule}, or `unlimited`"))?;
        Ok(RetryLimit::AtMost(u32::try_from(count).unwrap_or(u32::MAX)))
    }

    /// A finite number of `least` to `most`.
    pub(super) fn number(&self, least: f64, most: f64) -> Result<f64, String> {
        let number = match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|n| n.is_finite() && (least..=most).contains(n)).ok_or_else(|| match most {
            f64::MAX => format!("must be a finite number of at least {least}"),
            _ => format!("must be a number from {least} to {most}"),
        })
    }

    /// A time from 0 on; no longer than [`MAX_TIME`].
    pub(super) fn time(&self) -> Result<Duration, String> {
        match self {
            Self::Time(time) => Ok((*time).min(MAX_TIME)),
            Self::Integer(seconds) => seconds_to_time(*seconds as f64),
            Self::Float(seconds) => seconds_to_time(*seconds),
            Self::Text(text) => time_from_text(text),
            _ => Err(TIME.into()),
        }
    }

    pub(super) fn size(&self) -> Result<usize, String> {
        let bytes = match self {
            Self::Integer(bytes) => u64::try_from(*bytes).ok(),
            Self::Text(text) => size_from_text(text),
            _ => None,
        };
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| SIZE.into())
    }

    pub(super) fn call_kind(&self) -> Result<CallKind, String> {
        match self {
            Self::Text(text) if text.trim().eq_ignore_ascii_case("unary") => Ok(CallKind::Unary),
            Self::Text(text) if text.trim().eq_ignore_ascii_case("streaming") => {
                Ok(CallKind::Streaming)
            }
            Self::Text(text) if text.trim().eq_ignore_ascii_case("auto") => Ok(CallKind::Auto),
            _ => Err("must be `unary`, `streaming` or `auto`".into()),
        }
    }

    pub(super) fn balancing(&self, words: &[&str]) -> Result<Balancing, String> {
        let word = match self {
            Self::Text(text) => text.trim().to_ascii_lowercase(),
            _ => String::new(),
        };
        if let Some(policy) = Balancing::ALL.into_iter().find(|one| one.as_str() == word) {
            return Ok(policy);
        }
        let hint = match word.as_str() {
            // Other programs' names.
            "p2c"
            | "least_request_experimental"
            | "least_requests"
            | "least_conn"
            | "least_connections"
            | "leastconn" => "; did you mean `least_request`?".to_owned(),
            "ewma" | "peakewma" | "p2c_ewma" | "p2c_peak_ewma" => {
                "; did you mean `peak_ewma`?".to_owned()
            }
            "random" | "rr" => "; did you mean `round_robin`?".to_owned(),
            other => did_you_mean(other, words.iter().copied()),
        };
        Err(format!("must be `{}`{hint}", words.join("`, `")))
    }

    /// The items of a list; text is a list with commas.
    pub(super) fn list(&self, of: &str) -> Result<Vec<Value>, String> {
        match self {
            Self::List(items) => Ok(items.clone()),
            Self::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Self::Text(text) => {
                Ok(text.split(',').map(|item| Self::Text(item.trim().to_owned())).collect())
            }
            _ => Err(format!("must be a list of {of}")),
        }
    }
}

fn seconds_to_time(seconds: f64) -> Result<Duration, String> {
    if !seconds.is_finite() {
        return Err("must be finite".into());
    }
    if seconds < 0.0 {
        return Err("must not be negative".into());
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(MAX_TIME).min(MAX_TIME))
}

/// `10`, `0.5`, `250ms`, `1m30s`.
fn time_from_text(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return seconds_to_time(seconds);
    }
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit =
            rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let count: f64 = rest[..digits].parse().map_err(|_| TIME)?;
        let name = rest[digits..unit].trim();
        let (_, scale) = TIME_UNITS.iter().find(|(known, _)| *known == name).ok_or(TIME)?;
        seconds += count * scale;
        rest = rest[unit..].trim_start();
    }
    match text.chars().next() {
        None => Err(TIME.into()),
        Some('-') => Err("must not be negative".into()),
        Some(_) => seconds_to_time(seconds),
    }
}

/// `65536`, `64KiB`, `4 MiB`.
fn size_from_text(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let name = text[digits..].trim().to_ascii_lowercase();
    let (_, scale) = SIZE_UNITS.iter().find(|(known, _)| *known == name)?;
    text[..digits].parse::<u64>().ok()?.checked_mul(*scale)
}

/// Whether text looks like a bearer token, which nobody shall read in an error.
pub(super) fn is_token(text: &str) -> bool {
    let text = text.trim();
    let begins = |scheme: &str| {
        text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    text.contains("aqt_") || text.starts_with("eyJ") || begins("bearer ") || begins("basic ")
}

/// Whether text looks like an address with a name and a password: `http://name:password@host`.
fn has_password(text: &str) -> bool {
    let before =
        text.split_once("://").and_then(|(_, rest)| rest.split_once('@')).map(|(before, _)| before);
    before.is_some_and(|before| before.contains(':') && !before.contains('/'))
}

/// As people write it: `16KiB` rather than 16384.
pub(super) fn size_text(bytes: usize) -> String {
    match bytes {
        1 => "1 byte".into(),
        bytes if bytes > 0 && bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes if bytes > 0 && bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

impl fmt::Display for Value {
    /// As an error shows it: short, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("empty"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Text(text) if text.contains("-----BEGIN") => {
                f.write_str("the contents of a PEM file")
            }
            Self::Text(text) if is_token(text) => f.write_str("a token"),
            Self::Text(text) if has_password(text) => f.write_str("an address with a password"),
            Self::Text(text) if text.chars().count() > 60 => {
                write!(f, "{:?}...", text.chars().take(60).collect::<String>())
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Time(time) => write!(f, "{time:?}"),
            Self::List(_) => f.write_str("a list"),
            #[cfg(feature = "yaml")]
            Self::Map(_) => f.write_str("a section"),
        }
    }
}

macro_rules! into_value {
    ($($type:ty: $value:ident => $into:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $into
            }
        })*
    };
}

into_value! {
    bool: value => Self::Bool(value);
    u16: value => Self::Integer(value.into());
    u32: value => Self::Integer(value.into());
    u64: value => Self::Integer(value.into());
    usize: value => Self::Integer(value as i128);
    f64: value => Self::Float(value);
    String: value => Self::Text(value);
    Duration: value => Self::Time(value);
    Option<f64>: value => value.map_or(Self::Null, Self::Float);
    Option<Duration>: value => value.map_or(Self::Null, Self::Time);
    Option<usize>: value => value.map_or(Self::Null, Self::from);
    RetryLimit: value => value.count().map_or(Self::Text("unlimited".into()), Self::from);
    Vec<Code>: value => {
        Self::List(value.into_iter().map(|code| Self::Text(code_name(code).into())).collect())
    };
    Period: value => match value {
        Period::Auto => Self::Text("auto".into()),
        Period::Never => Self::Null,
        Period::Every(time) => Self::Time(time),
    };
    Shuffle: value => match value {
        Shuffle::Auto => Self::Text("auto".into()),
        Shuffle::Always => Self::Bool(true),
        Shuffle::Never => Self::Bool(false),
    };
    Balancing: value => Self::Text(value.as_str().into());
    CallKind: value => Self::Text(format!("{value:?}").to_lowercase());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn time(text: &str) -> Result<Duration, String> {
        Value::Text(text.into()).time()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let written = ["10", "0.5", "250ms", "1m30s", "2h", "1.5 s", "1d 1h", "20us", "0", ".5s"];
        let millis: Vec<f64> =
            written.iter().map(|text| time(text).unwrap().as_secs_f64() * 1e3).collect();
        assert_eq!(
            millis,
            [10e3, 500.0, 250.0, 90e3, 7_200e3, 1_500.0, 90_000e3, 0.02, 0.0, 500.0]
        );
    }

    #[test]
    fn what_is_no_time_says_why() {
        for text in ["", "ten", "10x", "s", "5 5", "1..2s", "ms5", "--1s"] {
            assert!(time(text).is_err(), "{text}");
        }
        for (value, rule) in [(f64::NAN, "finite"), (f64::INFINITY, "finite"), (-0.1, "negative")] {
            assert!(Value::Float(value).time().unwrap_err().contains(rule));
        }
        assert!(
            time("-5s").unwrap_err().contains("negative")
                && time("inf").unwrap_err().contains("finite")
        );
    }

    #[test]
    fn times_without_end_count_as_a_hundred_years() {
        let long = [
            Value::Float(1e300),
            Value::Time(Duration::MAX),
            Value::Integer(i128::MAX),
            Value::Text("9e99".into()),
        ];
        assert!(long.iter().all(|value| value.time() == Ok(MAX_TIME)));
    }

    #[test]
    fn sizes_know_their_units() {
        let written = ["0", "512", "512B", "64KiB", "4 MiB", "1gib", "2kB"];
        let bytes: Vec<usize> =
            written.iter().map(|text| Value::Text((*text).into()).size().unwrap()).collect();
        assert_eq!(bytes, [0, 512, 512, 65_536, 4 << 20, 1 << 30, 2_000]);
        for text in ["", "-1", "MiB", "4 bits", "1.5MiB", "99999999999GiB"] {
            assert!(Value::Text(text.into()).size().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        assert!(Value::Float(f64::NAN).number(0.0, f64::MAX).is_err());
        assert!(Value::Float(f64::INFINITY).number(1.0, f64::MAX).is_err());
        assert!(Value::Float(1.5).number(0.0, 1.0).is_err());
        assert!(Value::Float(3.0).whole(0, 9).is_err());
        assert!(Value::Integer(-1).whole(0, 9).is_err());
        assert_eq!(Value::Text("7".into()).whole(0, 9), Ok(7));
    }
}
