//! What a caller may say about one call: its kind, and options that ride on the request.

use std::time::Duration;

/// Whether a call is one message each way, which decides how far it is retried by policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// One request message, one response message: retried until its status is known (seed).
    Unary,
    /// At least one side streams: passed through, never retried by policy (seed).
    Streaming,
    /// Nobody said. A request that is whole, one message and its end, is retried until its answer
    /// begins (gRPC A6's commit point), and the answer is passed on as it comes. A method that was
    /// seen to stream is [`Streaming`](Self::Streaming) from then on.
    #[default]
    Auto,
}

/// Options for one call, as an extension of its request.
///
/// ```
/// use tonic_supervisor::CallOptions;
/// let mut request = tonic::Request::new(());
/// request.extensions_mut().insert(CallOptions::new().unary().idempotent(false));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until they are in a request's extensions"]
pub struct CallOptions {
    pub(crate) kind: Option<CallKind>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) wait_for_ready: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) long_poll: Duration,
    pub(crate) no_retry: bool,
    /// Where nobody says whether the call may run twice, it may not.
    pub(crate) unsaid_is_harmful: bool,
    /// Whether the answer tells the call's story.
    pub(crate) tells: bool,
    /// So many attempts were made by whoever passes the call on.
    pub(crate) attempts_before: u32,
    /// How long a request that nobody described may take to show that it is whole.
    pub(crate) whole_within: Option<Duration>,
}

impl CallOptions {
    /// No options: configuration decides everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks the call as unary. Descriptors win where they say it streams.
    pub fn unary(self) -> Self {
        self.kind(CallKind::Unary)
    }

    /// Says what kind of call it is, where neither descriptors nor configuration do:
    /// [`CallKind::Streaming`] is never retried by policy.
    pub fn kind(mut self, kind: CallKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Says whether running the call twice does no harm. `false`: it is repeated only when the
    /// server certainly did not process it, and otherwise fails with `maybe_processed` set.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// `true`: wait for a link until the deadline. `false`: fail with UNAVAILABLE while the channel
    /// is failing (gRPC wait-for-ready).
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = Some(wait);
        self
    }

    /// The time the whole call may take, from now: queueing, dials, attempts and waits included. It
    /// holds in place of the configured `timeout`, be it longer or shorter, and for streams, too.
    /// Of this and the request's own `grpc-timeout` the shorter holds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The time one attempt may take before it is abandoned with DEADLINE_EXCEEDED and retried;
    /// never beyond the call's time. In place of the configured `attempt_timeout`; of kind `auto`
    /// up to the answer's head, and not for streams.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// Says that the server may wait this long of its own accord before it answers. The configured
    /// `timeout` and `attempt_timeout` count from then on: they grow by `wait`, for this call. What
    /// the call itself says does not.
    pub fn long_poll(mut self, wait: Duration) -> Self {
        self.long_poll = wait;
        self
    }

    /// Puts the call's [`Story`](crate::Story) into the extensions of its answer: what it waited
    /// for, and every attempt. A call that fails has a [`CallReport`](crate::CallReport) in any
    /// case. The call of an answer that is passed on as it comes, a stream's say, is not over then:
    /// there it is a [`StreamStory`](crate::StreamStory), which has the story in the end, also of a
    /// stream that fails. The answer to a message ([`Mailbox`](crate::Mailbox)) has none.
    ///
    /// ```no_run
    /// # async fn example(mut client: tonic::client::Grpc<tonic_supervisor::SupervisedChannel>) {
    /// use tonic_supervisor::{CallOptions, Story};
    /// let mut request = tonic::Request::new(());
    /// request.extensions_mut().insert(CallOptions::new().story());
    /// # let response = tonic::Response::new(());
    /// // let response = client.say(request).await?;
    /// if let Some(story) = response.extensions().get::<Story>() {
    ///     println!("{story}");
    /// }
    /// # }
    /// ```
    pub fn story(mut self) -> Self {
        self.tells = true;
        self
    }

    /// `false`: no policy retries for this call; transparent retries stay. `true`: as configured.
    pub fn retry(mut self, retry: bool) -> Self {
        self.no_retry = !retry;
        self
    }
}
