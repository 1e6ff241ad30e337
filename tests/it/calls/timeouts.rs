//! Which of several timeouts holds: the one stated nearest to the call. What its options or its
//! `grpc-timeout` say, of these the shorter; else the method's; else the file's. The last two are
//! for unary calls only.

use crate::support::{Rig, SAY, config, report, say, secs, timed};
use http::uri::PathAndQuery;
use ractor::call;
use std::time::Duration;
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, UnaryCall,
    config::MethodOptions,
    testing::{Answer, Script},
};

/// After so many seconds the server answers: only a call without a deadline lives to see it.
const ANSWERED: u64 = 4_000;

/// What is said about one call, and by whom, in seconds.
#[derive(Clone, Copy, Debug)]
struct Said {
    options: Option<Duration>,
    header: Option<&'static str>,
    method: Option<Option<Duration>>,
    file: Option<Duration>,
    wait: Duration,
}

/// The file says 60 s; nobody else says anything.
const FILE: Said = Said::nothing(Some(secs(60)));

impl Said {
    const fn nothing(file: Option<Duration>) -> Self {
        Self { options: None, header: None, method: None, file, wait: Duration::ZERO }
    }

    const fn options(self, seconds: u64) -> Self {
        Self { options: Some(secs(seconds)), ..self }
    }

    const fn header(self, text: &'static str) -> Self {
        Self { header: Some(text), ..self }
    }

    const fn method(self, seconds: u64) -> Self {
        Self { method: Some(Some(secs(seconds))), ..self }
    }

    const fn waits(self, seconds: u64) -> Self {
        Self { wait: secs(seconds), ..self }
    }

    async fn rig(self) -> Rig {
        let mut config = config().timeout(self.file);
        if let Some(timeout) = self.method {
            config = config.method("test.Echo/Say", MethodOptions::new().timeout(timeout));
        }
        let rig = Rig::new(config).await;
        rig.server.script(Script::delay(secs(ANSWERED)));
        rig
    }

    fn request(self) -> Request<String> {
        let mut request = Request::new("x".to_owned());
        if let Some(text) = self.header {
            request.metadata_mut().insert("grpc-timeout", text.parse().expect("ascii"));
        }
        let options = CallOptions::new().long_poll(self.wait);
        let options = self.options.map_or(options, |timeout| options.timeout(timeout));
        request.extensions_mut().insert(options);
        request
    }
}

/// Ends with the deadline after so many seconds, or is answered.
async fn ends(asking: impl Future<Output = Result<(), Status>>, expected: Option<u64>, said: Said) {
    let (took, outcome) = timed(asking).await;
    let end = (took, outcome.err().map(|status| status.code()));
    match expected {
        Some(seconds) => assert_eq!(end, (secs(seconds), Some(Code::DeadlineExceeded)), "{said:?}"),
        None => assert_eq!(end, (secs(ANSWERED), None), "{said:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_stated_nearest_to_a_unary_call_holds_be_it_longer_or_shorter() {
    let bare = Said::nothing(None);
    let unlimited = Said { method: Some(None), ..FILE };
    for (said, expected) in [
        (FILE, Some(60)),
        (bare, None),
        // The method's, not the file's.
        (FILE.method(90), Some(90)),
        (FILE.method(20), Some(20)),
        (unlimited, None),
        (bare.method(20), Some(20)),
        // The header, not what is configured.
        (FILE.header("300S"), Some(300)),
        (FILE.header("5S"), Some(5)),
        (FILE.method(20).header("300S"), Some(300)),
        (unlimited.header("5S"), Some(5)),
        // The options, not what is configured.
        (FILE.options(300), Some(300)),
        (FILE.options(5), Some(5)),
        (FILE.method(20).options(300), Some(300)),
        (FILE.method(20).options(5), Some(5)),
        (unlimited.options(300), Some(300)),
        // Of the two that the call states, the shorter.
        (FILE.options(300).header("200S"), Some(200)),
        (FILE.options(200).header("300S"), Some(200)),
        (FILE.method(20).options(960).header("15M"), Some(900)),
        // What cannot be read says nothing.
        (FILE.header("5x"), Some(60)),
        (FILE.method(20).header(""), Some(20)),
        (FILE.options(300).header("123456789S"), Some(300)),
        // A time beyond the clock's end is said, too: it is none.
        (FILE.options(u64::MAX), None),
        (FILE.options(u64::MAX).header("5S"), Some(5)),
        (FILE.options(5).header("99999999H"), Some(5)),
        // The server's own wait lengthens what is configured, and nothing else.
        (FILE.waits(10), Some(70)),
        (FILE.method(20).waits(10), Some(30)),
        (FILE.options(300).waits(10), Some(300)),
        (FILE.header("5S").waits(10), Some(5)),
    ] {
        let rig = said.rig().await;
        let (channel, mailbox) = (rig.supervisor.channel(), rig.supervisor.mailbox());
        let typed = async { channel.unary::<String, String>(SAY, said.request()).await.map(drop) };
        let message = async {
            let (metadata, extensions, text) = said.request().into_parts();
            let options = *extensions.get::<CallOptions>().expect("just put there");
            let ask = |port| UnaryCall::new(SAY, &text, port).with_metadata(metadata);
            call!(mailbox, |port| ask(port).with_options(options)).expect("an answer").map(drop)
        };
        tokio::join!(ends(typed, expected, said), ends(message, expected, said));
        let arrivals = rig.server.arrivals();
        let told: Vec<_> = arrivals.into_iter().map(|arrival| arrival.grpc_timeout).collect();
        let expected = expected.map(|seconds| format!("{seconds}000m"));
        assert_eq!(told, [expected.clone(), expected], "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_the_timeout_that_it_states_itself_and_no_other() {
    for (said, expected) in [
        (FILE, None),
        (FILE.method(20).waits(10), None),
        (FILE.options(300), Some(300)),
        (FILE.options(5), Some(5)),
        (FILE.method(20).header("300S"), Some(300)),
        (FILE.options(300).header("200S"), Some(200)),
        (FILE.options(200).header("300S"), Some(200)),
    ] {
        let rig = said.rig().await;
        let mut grpc = Grpc::new(rig.supervisor.channel());
        let path = PathAndQuery::from_static(SAY);
        let codec = ProstCodec::<String, String>::default();
        let begun = async { grpc.server_streaming(said.request(), path, codec).await.map(drop) };
        ends(begun, expected, said).await;
    }
}

/// The same order for one attempt's time: the options, else the method's, else the file's.
#[tokio::test(start_paused = true)]
async fn the_attempt_timeout_stated_nearest_to_a_call_holds() {
    let none = None::<u64>;
    let options = |seconds| CallOptions::new().attempt_timeout(secs(seconds));
    for (call, method, file, attempts) in [
        (CallOptions::new(), none, Some(2), 2),
        (CallOptions::new(), Some(20), Some(2), 1),
        (CallOptions::new(), Some(2), none, 2),
        (options(20), Some(2), Some(2), 1),
        (options(2), Some(20), none, 2),
        (CallOptions::new().long_poll(secs(9)), Some(2), none, 1),
        (options(2).long_poll(secs(9)), Some(20), none, 2),
    ] {
        let mut config = config().attempt_timeout(file.map(secs));
        if let Some(seconds) = method {
            let rule = MethodOptions::new().attempt_timeout(secs(seconds));
            config = config.method("test.Echo/Say", rule);
        }
        let rig = Rig::new(config).await;
        rig.server.script(Script::sequence(vec![Answer::echo().after(secs(10))], Answer::echo()));
        say(&rig.supervisor.channel(), "x", call).await.expect("echoed");
        assert_eq!(rig.server.arrivals().len(), attempts, "{call:?}, {method:?}, {file:?}");
    }
    // However long an attempt may take, the call ends at its deadline.
    let rig = Rig::new(config()).await;
    rig.server.script(Script::hang());
    let call = options(300).timeout(secs(5));
    let (took, outcome) = timed(say(&rig.supervisor.channel(), "x", call)).await;
    let status = outcome.expect_err("no answer");
    assert_eq!((took, status.code()), (secs(5), Code::DeadlineExceeded));
    assert_eq!(report(&status).attempts_made, 1);
}
