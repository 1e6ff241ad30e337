//! The token, and the sessions of those who have shown it.
//!
//! A token is compared in a time that does not tell how much of it was right. A session is a random
//! number in a cookie that no script can read; it is kept in memory, for eight hours.

use super::guard::Shown;
use crate::model::Secret;
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use rand::RngExt as _;
use std::{
    collections::VecDeque,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq as _;

/// How long a session lasts.
const LASTS: Duration = Duration::from_secs(8 * 3_600);
/// How many there are at most; the oldest goes.
const MOST: usize = 64;
/// A token is at least so long, in bytes: a shorter one can be guessed.
const SHORTEST: usize = 16;
/// And at most so long.
const LONGEST: usize = 4_096;
/// After a wrong token the next one is looked at so much later.
const AFTER_A_WRONG_ONE: Duration = Duration::from_secs(1);

/// The token, and who has shown it.
pub(super) struct Sessions {
    token: Option<Secret<Vec<u8>>>,
    open: Mutex<VecDeque<(String, Instant)>>,
    /// The cookie's name: cookies know no ports, and others may have pages on this machine, too.
    cookie: String,
    last_wrong: Mutex<Option<Instant>>,
}

impl Sessions {
    /// Without a token nobody can do anything.
    pub(super) fn new(token: Option<Vec<u8>>) -> Self {
        let cookie = format!("tonic-supervisor-admin-{:08x}", rand::rng().random::<u32>());
        let (open, last_wrong) = (Mutex::default(), Mutex::default());
        Self { token: token.map(Secret::new), open, cookie, last_wrong }
    }

    /// Reads a token from a file: one line.
    pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
        let invalid = |rule: &str| io::Error::new(io::ErrorKind::InvalidData, rule.to_owned());
        if fs::metadata(path)?.len() > LONGEST as u64 {
            return Err(invalid("it is longer than 4096 bytes, and a token is one line"));
        }
        let text = fs::read(path)?;
        let token = text.trim_ascii();
        if token.len() < SHORTEST {
            return Err(invalid("a token has at least 16 characters, or it could be guessed"));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(invalid("a token is one line of printable ASCII without spaces"));
        }
        Ok(token.to_vec())
    }

    /// What a request shows.
    pub(super) fn shown(&self, headers: &HeaderMap, now: Instant) -> Shown {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.split_once(' '));
        if bearer.is_some_and(|(kind, token)| {
            kind.eq_ignore_ascii_case("bearer") && self.is_token(token.trim())
        }) {
            return Shown::Token;
        }
        match self.cookies(headers).any(|shown| self.is_open(shown, now)) {
            true => Shown::Session,
            false => Shown::Nothing,
        }
    }

    /// Whether this is the token.
    fn is_token(&self, shown: &str) -> bool {
        self.token.as_ref().is_some_and(|token| bool::from(token.reveal().ct_eq(shown.as_bytes())))
    }

    /// What comes of an attempt to log in: whether it was the token; none if the last wrong one was
    /// a moment ago.
    pub(super) fn log_in(&self, shown: &str, now: Instant) -> Option<bool> {
        let mut last = self.last_wrong.lock();
        if last.is_some_and(|last| now.saturating_duration_since(last) < AFTER_A_WRONG_ONE) {
            return None;
        }
        let right = self.is_token(shown);
        if !right {
            *last = Some(now);
        }
        Some(right)
    }

    /// Begins a session; the cookie that carries it. `secure`: it shall go out over TLS only.
    pub(super) fn begin(&self, now: Instant, secure: bool) -> HeaderValue {
        let number: u128 = rand::rng().random();
        let name = format!("{number:032x}");
        let mut open = self.open.lock();
        if open.len() == MOST {
            open.pop_front();
        }
        open.push_back((name.clone(), now));
        let secure = if secure { "; Secure" } else { "" };
        let cookie = format!(
            "{}={name}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{secure}",
            self.cookie,
            LASTS.as_secs()
        );
        HeaderValue::try_from(cookie).expect("made of ASCII")
    }

    fn is_open(&self, shown: &str, now: Instant) -> bool {
        let mut open = self.open.lock();
        open.retain(|(_, began)| now.saturating_duration_since(*began) < LASTS);
        open.iter().any(|(name, _)| bool::from(name.as_bytes().ct_eq(shown.as_bytes())))
    }

    /// All cookies of our name: another's of the same name may stand before it.
    fn cookies<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
        let ours =
            |(name, value): (&str, &'a str)| (name.trim() == self.cookie).then_some(value.trim());
        pairs.filter_map(ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("a value"))])
    }

    #[test]
    fn the_token_and_a_session_are_told_from_everything_else() {
        let (sessions, now) = (Sessions::new(Some(TOKEN.into())), Instant::now());
        let bearer = |token: &str| with(header::AUTHORIZATION, &format!("Bearer {token}"));
        assert_eq!(sessions.shown(&bearer(TOKEN), now), Shown::Token);
        for wrong in ["", "0123456789abcde", "0123456789abcdeff", "0123456789abcdeF"] {
            assert_eq!(sessions.shown(&bearer(wrong), now), Shown::Nothing, "{wrong}");
        }
        let begun = sessions.begin(now, false);
        let pair = begun.to_str().expect("ASCII").split(';').next().expect("a pair");
        let cookie = with(header::COOKIE, &format!("other=1; {pair}"));
        assert_eq!(sessions.shown(&cookie, now), Shown::Session);
        let made_up = format!("{}={}", sessions.cookie, "0".repeat(32));
        assert_eq!(sessions.shown(&with(header::COOKIE, &made_up), now), Shown::Nothing);
        let both = with(header::COOKIE, &format!("{made_up}; {pair}"));
        assert_eq!(sessions.shown(&both, now), Shown::Session, "another's stands before it");
        let elsewhere = Sessions::new(Some(TOKEN.into()));
        assert_eq!(elsewhere.shown(&cookie, now), Shown::Nothing, "another port's");
        assert_eq!(sessions.shown(&cookie, now + LASTS), Shown::Nothing, "it is over");
        assert_eq!(Sessions::new(None).shown(&bearer(""), now), Shown::Nothing);
    }

    #[test]
    fn after_a_wrong_token_the_next_one_has_to_wait() {
        let (sessions, now) = (Sessions::new(Some(TOKEN.into())), Instant::now());
        assert_eq!(sessions.log_in("wrong", now), Some(false));
        assert_eq!(sessions.log_in(TOKEN, now), None);
        assert_eq!(sessions.log_in(TOKEN, now + AFTER_A_WRONG_ONE), Some(true));
        assert_eq!(sessions.log_in(TOKEN, now + AFTER_A_WRONG_ONE), Some(true));
    }

    #[test]
    fn there_are_no_more_than_64_sessions() {
        let (sessions, now) = (Sessions::new(Some(TOKEN.into())), Instant::now());
        (0..100).for_each(|_| drop(sessions.begin(now, true)));
        assert_eq!(sessions.open.lock().len(), MOST);
    }

    #[test]
    fn a_token_file_has_one_line_that_cannot_be_guessed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let read = |text: &str| {
            fs::write(&path, text).expect("written");
            Sessions::read(&path).ok()
        };
        assert_eq!(read("0123456789abcdef\n").as_deref(), Some(TOKEN.as_bytes()));
        for wrong in ["", "short\n", "two lines of a token\nand more\n", &"x".repeat(5_000)] {
            assert_eq!(read(wrong), None, "{wrong:.20}");
        }
    }
}
