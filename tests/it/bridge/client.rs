//! A client that shows everything: which frames an answer came in, and every field of them.

use crate::support::bounded;
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request};
use tokio::{io::duplex, task::JoinHandle};
use tonic_supervisor::Bridge;

/// One connection to a bridge. Its end is the client's.
pub(super) struct Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
    pub(super) served: JoinHandle<std::io::Result<()>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) http: u16,
    pub(super) head: HeaderMap,
    /// Without gRPC's prefixes.
    pub(super) messages: Vec<Bytes>,
    /// None: the head was all.
    pub(super) trailers: Option<HeaderMap>,
}

/// A message with gRPC's prefix.
pub(super) fn framed(text: &str) -> Bytes {
    let message = prost::Message::encode_to_vec(&text.to_owned());
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// A request's head.
pub(super) fn post(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://client.example{path}"))
        .version(http::Version::HTTP_2)
        .header("te", "trailers");
    if !fields.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

impl Client {
    pub(super) async fn of(bridge: &Bridge) -> Self {
        Self::with_window(bridge, 1 << 20).await
    }

    /// Whose streams take so many bytes before they are read.
    pub(super) async fn with_window(bridge: &Bridge, window: u32) -> Self {
        let (near, far) = duplex(1 << 16);
        let bridge = bridge.clone();
        let served = tokio::spawn(async move { bridge.serve(far).await });
        let mut builder = h2::client::Builder::new();
        let (requests, connection) =
            builder.initial_window_size(window).handshake(near).await.expect("HTTP/2");
        let connection = tokio::spawn(async move { drop(connection.await) });
        Self { requests, connection, served }
    }

    /// Begins a call whose request goes on.
    pub(super) async fn begin(
        &mut self,
        request: Request<()>,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = self.requests.clone().ready().await.expect("the connection is there");
        ready.send_request(request, false).expect("sent")
    }

    /// One call with one message, whole.
    pub(super) async fn call(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let (response, mut body) = self.begin(post(path, fields)).await;
        body.send_data(framed("hello"), true).expect("sent");
        Answer::read(response).await.expect("an answer, and no reset")
    }

    /// The client goes.
    pub(super) fn leave(self) -> JoinHandle<std::io::Result<()>> {
        self.connection.abort();
        self.served
    }
}

impl Answer {
    pub(super) async fn read(response: ResponseFuture) -> Result<Self, h2::Error> {
        let response = bounded("the answer's head", response).await?;
        let (head, body) = response.into_parts();
        let (messages, trailers) = if body.is_end_stream() {
            (Vec::new(), None)
        } else {
            bounded("the answer's end", read_body(body)).await?
        };
        Ok(Self { http: head.status.as_u16(), head: head.headers, messages, trailers })
    }

    /// Where its status stands.
    pub(super) fn last(&self) -> &HeaderMap {
        self.trailers.as_ref().unwrap_or(&self.head)
    }

    #[track_caller]
    pub(super) fn code(&self) -> i32 {
        let code = self.last().get("grpc-status").unwrap_or_else(|| panic!("no status: {self:?}"));
        code.to_str().expect("text").parse().expect("a number")
    }

    pub(super) fn words(&self) -> String {
        tonic::Status::from_header_map(self.last()).expect("a status").message().to_owned()
    }

    /// All values of a field of its last headers.
    pub(super) fn field(&self, name: &str) -> Vec<&str> {
        self.last().get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
    }
}

async fn read_body(mut body: RecvStream) -> Result<(Vec<Bytes>, Option<HeaderMap>), h2::Error> {
    let mut data = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        data.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await?;
    let mut messages = Vec::new();
    while data.len() >= 5 {
        let length = u32::from_be_bytes(data[1..5].try_into().expect("four bytes")) as usize;
        let mut message = data.split_to((5 + length).min(data.len()));
        messages.push(message.split_off(5).freeze());
    }
    Ok((messages, trailers))
}
