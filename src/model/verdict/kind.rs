//! What can be said of a channel in one word, with what a person in charge does about it: the table
//! of `docs/operations.md`, as code.

/// What is the matter with a channel, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerdictKind {
    /// It was shut down, or has ended by itself.
    Closed,
    /// Actors failed more often than `intensity` allows.
    ActorsFailing,
    /// There are no endpoints to connect to.
    NoEndpoints,
    /// The name cannot be looked up.
    Resolve,
    /// No connection can be opened.
    Connect,
    /// No agreement on TLS.
    Tls,
    /// What answers speaks no HTTP/2, or not in time.
    Handshake,
    /// The peer was silent for too long.
    KeepaliveLost,
    /// The server accepts connections and ends them before it has answered anything.
    HangsUp,
    /// The link was lost, and no dial has failed since.
    LinkLost,
    /// The server says that it does not serve, or its health cannot be had.
    Unhealthy,
    /// A server is connected, and gets no calls because they failed there.
    Ejected,
    /// Calls wait although there is a link: it has no room.
    NoRoom,
    /// Calls are refused.
    CallsRefused,
    /// Retries are at their share of the calls.
    RetriesThrottled,
    /// Calls of one method fail.
    CallsFail,
    /// Many attempts are made for the calls there are.
    ManyRetries,
    /// Some of several servers take no calls.
    ServersOut,
    /// An actor failed and was restarted.
    ActorFailed,
    /// The TLS files cannot be used as they are now.
    TlsFilesRejected,
    /// Lookups of the name fail; its last addresses stay in use.
    LookupsFail,
    /// The server wants fewer keepalive pings.
    TooManyPings,
    /// It is shutting down.
    Draining,
    /// It is connecting, and nothing has failed.
    Connecting,
    /// Nobody has called for `idle_timeout`.
    Idle,
    /// All is well.
    Healthy,
}

impl VerdictKind {
    /// All of them, what is worse first.
    pub const ALL: [Self; 26] = [
        Self::Closed,
        Self::ActorsFailing,
        Self::NoEndpoints,
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Handshake,
        Self::KeepaliveLost,
        Self::HangsUp,
        Self::LinkLost,
        Self::Unhealthy,
        Self::Ejected,
        Self::NoRoom,
        Self::CallsRefused,
        Self::RetriesThrottled,
        Self::CallsFail,
        Self::ManyRetries,
        Self::ServersOut,
        Self::ActorFailed,
        Self::TlsFilesRejected,
        Self::LookupsFail,
        Self::TooManyPings,
        Self::Draining,
        Self::Connecting,
        Self::Idle,
        Self::Healthy,
    ];

    /// Its name, as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ActorsFailing => "actors_failing",
            Self::NoEndpoints => "no_endpoints",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::KeepaliveLost => "keepalive_lost",
            Self::HangsUp => "hangs_up",
            Self::LinkLost => "link_lost",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::NoRoom => "no_room",
            Self::CallsRefused => "calls_refused",
            Self::RetriesThrottled => "retries_throttled",
            Self::CallsFail => "calls_fail",
            Self::ManyRetries => "many_retries",
            Self::ServersOut => "servers_out",
            Self::ActorFailed => "actor_failed",
            Self::TlsFilesRejected => "tls_files_rejected",
            Self::LookupsFail => "lookups_fail",
            Self::TooManyPings => "too_many_pings",
            Self::Draining => "draining",
            Self::Connecting => "connecting",
            Self::Idle => "idle",
            Self::Healthy => "healthy",
        }
    }

    /// Whether nobody need do anything.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Healthy | Self::Idle | Self::Connecting | Self::Draining)
    }

    /// What to do about it.
    pub fn action(self) -> &'static str {
        match self {
            Self::Closed => {
                "if nobody shut it down, look at the log: the reason is in its last line"
            }
            Self::ActorsFailing => {
                "a bug, and urgent: please report it with the log lines \"an actor failed\"; \
                 restarts go on, slowly"
            }
            Self::NoEndpoints => {
                "give a list with a server in it (SupervisorBuilder::endpoints), or look at the \
                 name's addresses; calls wait meanwhile"
            }
            Self::Resolve => "is the name right, and does the name server answer?",
            Self::Connect => "is the server running, its port open, and the firewall?",
            Self::Tls => "look at the certificates, names and authorities; the sentence says which",
            Self::Handshake => {
                "is this the right port? What answers there speaks no HTTP/2, or not in time"
            }
            Self::KeepaliveLost => {
                "the peer or the network was silent for keepalive_time + keepalive_timeout: if the \
                 server has long pauses, raise keepalive_timeout"
            }
            Self::HangsUp => "look at the server's log: it accepts connections and closes them",
            Self::LinkLost => "nothing yet: it is dialled again, and calls wait",
            Self::Unhealthy => "look at that server: it is connected, and does not serve",
            Self::Ejected => {
                "look at that server: it is connected, and calls fail there; it is asked again by \
                 one call at a time"
            }
            Self::NoRoom => {
                "raise the server's limit of streams, max_in_flight or connections, or make fewer \
                 calls at once"
            }
            Self::CallsRefused => {
                "more calls are made than the server answers or the queue holds: make fewer at \
                 once, or raise queue.max_calls, queue.max_bytes or the server's limit"
            }
            Self::RetriesThrottled => {
                "look at the server's log: it answers so many calls with errors that retries would \
                 not help"
            }
            Self::CallsFail => "look at the server's log; /calls has each call's story",
            Self::ManyRetries => {
                "look at the server's log: calls succeed only when they are sent again"
            }
            Self::ServersOut => "look at the servers that are out; the others have their calls",
            Self::ActorFailed => {
                "a bug: please report it with the log line \"an actor failed\"; no call was lost"
            }
            Self::TlsFilesRejected => {
                "make the files whole; the former ones stay in use until then"
            }
            Self::LookupsFail => "look at the name server; links stay open meanwhile",
            Self::TooManyPings => {
                "raise keepalive_time (grpc servers allow a ping every 300 s by default), or the \
                 server's limit"
            }
            Self::Draining | Self::Connecting | Self::Idle | Self::Healthy => "nothing",
        }
    }
}
