//! A peer that speaks HTTP/2 frame by frame, so that a test can break any rule.

use super::{
    Frame, FrameKind, MemoryNetwork,
    frame::PREFACE,
    socket::{Acceptor, ListenAddress, Socket},
};
use crate::{
    model::Address,
    transport::{Connector, frame},
};
use bytes::{Buf, Bytes, BytesMut};
use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

/// A listening peer whose every frame is yours to choose.
///
/// ```
/// use tonic_supervisor::testing::{FrameKind, RawPeer};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let mut peer = RawPeer::on_tcp().await;
/// let address = peer.address();
/// let client = tokio::spawn(async move {
///     let stream = tokio::net::TcpStream::connect(address).await.unwrap();
///     let (_send, connection) = h2::client::handshake(stream).await.unwrap();
///     connection.await.unwrap_err()
/// });
/// let mut link = peer.accept().await;
/// link.send_settings(&[(3, 100)]).await;
/// assert_eq!(link.next_frame().await.unwrap().unwrap().kind, FrameKind::Settings);
/// link.goaway(0, 11, "too_many_pings").await;
/// assert_eq!(client.await.unwrap().reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
/// # });
/// ```
#[derive(Debug)]
pub struct RawPeer {
    pub(super) listen_address: ListenAddress,
    pub(super) acceptor: Acceptor,
}

impl RawPeer {
    /// Listens on some free port of 127.0.0.1.
    pub async fn on_tcp() -> Self {
        Self::at(ListenAddress::any_port()).await
    }

    /// Listens at this address (`host:port`) of a network in memory.
    pub async fn on_memory(network: &MemoryNetwork, address: &str) -> Self {
        Self::at(ListenAddress::Memory(network.clone(), address.to_owned())).await
    }

    async fn at(listen_address: ListenAddress) -> Self {
        let (acceptor, listen_address) = listen_address.listen().await;
        Self { listen_address, acceptor }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.listen_address.address()
    }

    /// What to dial.
    pub fn dial_address(&self) -> Address {
        self.listen_address.to_dial()
    }

    /// What to dial it with.
    pub fn connector(&self) -> Arc<dyn Connector> {
        self.listen_address.connector()
    }

    /// Waits for the next connection. Nothing is sent or read of its own accord.
    pub async fn accept(&mut self) -> RawLink {
        RawLink {
            socket: self.acceptor.accept().await,
            born: Instant::now(),
            buffer: BytesMut::new(),
            preface_due: true,
            ack_settings: true,
            ack_pings: true,
            pings: Vec::new(),
            first_room: 65_535,
            room: HashMap::new(),
            passed_over: VecDeque::new(),
        }
    }
}

/// One accepted connection of a [`RawPeer`]. Dropping it closes it.
///
/// What is sent to a client that has gone is lost without a word, as on a real wire; reading says
/// that it has gone.
#[derive(Debug)]
pub struct RawLink {
    socket: Socket,
    born: Instant,
    buffer: BytesMut,
    preface_due: bool,
    ack_settings: bool,
    ack_pings: bool,
    pings: Vec<Duration>,
    /// The client's INITIAL_WINDOW_SIZE.
    first_room: i64,
    /// By how much WINDOW_UPDATE and DATA have changed the room of the connection (0) and of
    /// streams.
    room: HashMap<u32, i64>,
    /// Frames of other streams that came while a body was sent.
    passed_over: VecDeque<Frame>,
}

impl RawLink {
    /// Whether SETTINGS are acknowledged when read (they are, until told otherwise).
    pub fn acknowledge_settings(&mut self, on: bool) -> &mut Self {
        self.ack_settings = on;
        self
    }

    /// Whether PINGs are acknowledged when read (they are, until told otherwise).
    pub fn acknowledge_pings(&mut self, on: bool) -> &mut Self {
        self.ack_pings = on;
        self
    }

    /// When each PING (no acknowledgement) was read, counted from the accept.
    pub fn pings(&self) -> &[Duration] {
        &self.pings
    }

    /// How long ago it was accepted.
    pub fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// The client's next frame; `None` when it has closed the connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, but an acknowledgement may be lost.
    ///
    /// # Errors
    ///
    /// When the connection fails, or the client speaks no HTTP/2.
    pub async fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        match self.passed_over.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.read_frame().await,
        }
    }

    async fn read_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if self.preface_due && self.buffer.len() >= PREFACE.len() {
                if !self.buffer.starts_with(PREFACE) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the client speaks no HTTP/2",
                    ));
                }
                self.buffer.advance(PREFACE.len());
                self.preface_due = false;
            }
            if let Some(frame) =
                (!self.preface_due).then(|| Frame::take(&mut self.buffer)).flatten()
            {
                self.react(&frame).await;
                return Ok(Some(frame));
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn react(&mut self, frame: &Frame) {
        if frame.is_ack() {
            return;
        }
        match frame.kind {
            FrameKind::Settings => {
                if let Some(room) = frame.setting(4) {
                    self.first_room = room.into();
                }
                if self.ack_settings {
                    self.ack_settings_now().await;
                }
            }
            FrameKind::WindowUpdate if frame.payload.len() == 4 => {
                *self.room.entry(frame.stream).or_default() +=
                    i64::from(frame.payload.clone().get_u32());
            }
            FrameKind::Ping => {
                self.pings.push(self.born.elapsed());
                if self.ack_pings {
                    self.send(Frame::new(FrameKind::Ping, Frame::ACK, 0, frame.payload.clone()))
                        .await;
                }
            }
            _ => {}
        }
    }

    /// Skips to the next HEADERS frame: a call begins on its `stream`. `None` when the client has
    /// gone.
    pub async fn next_request(&mut self) -> Option<Frame> {
        self.skip_to(|frame| frame.kind == FrameKind::Headers).await
    }

    /// Skips to the first frame that is `wanted`. `None` when the client has gone.
    pub async fn skip_to(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next_frame().await.ok().flatten()?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// Skips to the end of the next request, and gives its stream and body. Frames of other streams
    /// are lost on the way.
    pub async fn next_whole_request(&mut self) -> Option<(u32, Bytes)> {
        let mut frame = self.next_request().await?;
        let (stream, mut body) = (frame.stream, BytesMut::new());
        while !frame.is_end_stream() {
            frame = self.skip_to(|frame| frame.stream == stream).await?;
            if frame.kind == FrameKind::Data {
                body.extend_from_slice(&frame.payload);
            }
        }
        Some((stream, body.freeze()))
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Frame) {
        self.send_bytes(&frame.to_bytes()).await;
    }

    /// Sends bytes as they are: garbage, half a frame, another protocol.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap_or_default();
    }

    /// Sends SETTINGS, for example `&[(3, 100)]` for 100 concurrent streams or `&[(4, 0)]` for a
    /// window of zero.
    pub async fn send_settings(&mut self, settings: &[(u16, u32)]) {
        self.send(Frame::settings(settings)).await;
    }

    /// Acknowledges the client's SETTINGS.
    pub async fn ack_settings_now(&mut self) {
        self.send(Frame::new(FrameKind::Settings, Frame::ACK, 0, Bytes::new())).await;
    }

    /// Sends a PING.
    pub async fn ping(&mut self, payload: [u8; 8]) {
        self.send(Frame::ping(payload)).await;
    }

    /// Sends GOAWAY.
    pub async fn goaway(&mut self, last_stream: u32, code: u32, debug: &str) {
        self.send(Frame::goaway(last_stream, code, debug.as_bytes())).await;
    }

    /// Sends RST_STREAM.
    pub async fn reset_stream(&mut self, stream: u32, code: u32) {
        self.send(Frame::reset(stream, code)).await;
    }

    /// Sends the headers a gRPC answer begins with.
    pub async fn answer_head(&mut self, stream: u32) {
        self.send(Frame::headers(stream, GRPC_HEAD, false)).await;
    }

    /// Sends any number of bytes of a body, as the client gives room for them, unless it resets the
    /// stream. Frames of other streams that come meanwhile are read next.
    pub async fn body(&mut self, stream: u32, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let room = |link: &Self, stream, first| {
                first + link.room.get(&stream).copied().unwrap_or_default()
            };
            let room = room(self, 0, 65_535)
                .min(room(self, stream, self.first_room))
                .clamp(0, 1 << 14) as usize;
            if room == 0 {
                let Ok(Some(frame)) = self.read_frame().await else { return };
                match frame.stream {
                    0 => {}
                    same if same == stream && frame.kind == FrameKind::RstStream => return,
                    same if same == stream => {}
                    _ => self.passed_over.push_back(frame),
                }
                continue;
            }
            let piece = bytes.split_to(room.min(bytes.len()));
            for id in [0, stream] {
                *self.room.entry(id).or_default() -= piece.len() as i64;
            }
            self.send(Frame::data(stream, piece, false)).await;
        }
    }

    /// Sends one message, length prefix and all, as the client gives room for it.
    pub async fn message(&mut self, stream: u32, message: &[u8]) {
        self.body(stream, frame(message)).await;
    }

    /// Sends a message that ends after `sent` bytes, its prefix included, and ends the stream or
    /// not.
    pub async fn truncated_message(
        &mut self,
        stream: u32,
        message: &[u8],
        sent: usize,
        end_stream: bool,
    ) {
        self.send(Frame::data(stream, frame(message).slice(..sent), end_stream)).await;
    }

    /// Sends trailers. Without `grpc-status` among them the status is missing.
    pub async fn trailers(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.room.remove(&stream);
        self.send(Frame::headers(stream, fields, true)).await;
    }

    /// Sends a whole good answer: headers, one message, status 0.
    pub async fn answer(&mut self, stream: u32, message: &[u8]) {
        self.answer_head(stream).await;
        self.message(stream, message).await;
        self.trailers(stream, &[("grpc-status", "0")]).await;
    }

    /// Sends a status as servers send errors: headers and trailers in one frame.
    pub async fn answer_status(&mut self, stream: u32, code: u32, text: &str) {
        let code = code.to_string();
        let fields = [GRPC_HEAD[0], GRPC_HEAD[1], ("grpc-status", &code), ("grpc-message", text)];
        self.send(Frame::headers(stream, &fields, true)).await;
    }

    /// Answers as a proxy does that knows nothing of gRPC: an HTTP status and perhaps a text.
    pub async fn answer_http(&mut self, stream: u32, status: u16, content_type: &str, text: &str) {
        let status = status.to_string();
        let fields = [(":status", status.as_str()), ("content-type", content_type)];
        self.send(Frame::headers(stream, &fields, text.is_empty())).await;
        if !text.is_empty() {
            self.send(Frame::data(stream, text.as_bytes().to_vec(), true)).await;
        }
    }

    /// Answers in HTTP/1.1.
    pub async fn answer_http1(&mut self, status: &str) {
        self.send_bytes(
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await;
    }

    /// Ends this side of the connection (FIN) and goes on reading.
    pub async fn half_close(&mut self) {
        self.socket.shutdown().await.unwrap_or_default();
    }

    /// Closes the connection (FIN).
    pub async fn close(mut self) {
        self.half_close().await;
    }

    /// Resets the connection (RST).
    pub fn reset(self) {
        self.socket.reset();
    }
}

const GRPC_HEAD: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
