//! What clients may cost a server at most: the limits of `serve` and `proxy`, and the process's own
//! limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use tonic_supervisor::BridgeLimits;
#[cfg(feature = "serve")]
use tonic_supervisor::agent_queue::server::AnswerLimits;

/// Files that a server needs beside its connections: the store's, the runtime's, the terminal's.
const OTHER_FILES: u64 = 48;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Limits {
    /// How many connections may be open at once; one more is closed at once.
    #[arg(long, default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// How many calls may be under way on one connection; the others wait at the client.
    #[arg(long, default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_streams: u32,
    /// How many seconds a new connection has for TLS and for HTTP/2's first words.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    handshake_timeout: f64,
    /// A connection that has said nothing for so many seconds is asked whether it is there.
    #[arg(long, default_value_t = 60.0, value_parser = seconds)]
    keepalive_time: f64,
    /// A connection that has not answered that for so many seconds is closed.
    #[arg(long, default_value_t = 20.0, value_parser = seconds)]
    keepalive_timeout: f64,
    /// How many bytes of answers may wait to be read, all together; one connection has half of it.
    #[arg(long, default_value_t = 134_217_728)]
    #[arg(value_parser = clap::value_parser!(u64).range(8_388_608..=1_099_511_627_776))]
    max_answer_bytes: u64,
    /// How many seconds a large answer may remain unread before it is thrown away.
    #[arg(long, default_value_t = 60.0, value_parser = seconds)]
    answer_timeout: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    if !(0.1..=86400.0).contains(&seconds) {
        return Err("must be 0.1 to 86400 seconds".into());
    }
    Ok(seconds)
}

impl Limits {
    /// As many connections as are allowed, and as the process can have files for; the limit of
    /// files is raised where it may be.
    pub(crate) fn connections(&self) -> usize {
        let wanted = u64::from(self.max_connections);
        let files = files_for(wanted.saturating_add(OTHER_FILES));
        let possible = files.saturating_sub(OTHER_FILES).max(1);
        if possible < wanted {
            tracing::warn!(
                target: "tonic_supervisor",
                "max-connections is {wanted}, and this process may open {files} files: it takes \
                 {possible} connections; raise the limit of files (ulimit -n) or lower \
                 max-connections"
            );
        }
        usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX)
    }

    /// What they come to for a bridge, all but the number of connections.
    pub(crate) fn bridge(&self) -> BridgeLimits {
        let (time, timeout) = self.keepalive();
        BridgeLimits::default()
            .streams(self.max_streams)
            .handshake(self.handshake())
            .keepalive(time, timeout)
            .answer_bytes(self.answer_bytes())
            .answer_timeout(Duration::from_secs_f64(self.answer_timeout))
    }

    #[cfg(feature = "serve")]
    pub(crate) fn streams(&self) -> u32 {
        self.max_streams
    }

    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_secs_f64(self.handshake_timeout)
    }

    /// After how long a silent connection is asked, and how long it has to answer.
    pub(crate) fn keepalive(&self) -> (Duration, Duration) {
        (
            Duration::from_secs_f64(self.keepalive_time),
            Duration::from_secs_f64(self.keepalive_timeout),
        )
    }

    pub(crate) fn answer_bytes(&self) -> usize {
        usize::try_from(self.max_answer_bytes).unwrap_or(usize::MAX)
    }

    #[cfg(feature = "serve")]
    pub(crate) fn answers(&self) -> AnswerLimits {
        AnswerLimits::default()
            .with_bytes(self.answer_bytes())
            .with_read_within(Duration::from_secs_f64(self.answer_timeout))
    }
}

/// How many files this process may open, after it has asked for `wanted`.
fn files_for(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(now) = current else { return u64::MAX };
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if raised > now
        && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok()
    {
        return raised;
    }
    now
}
