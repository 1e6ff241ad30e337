//! What a generated client does by itself, for calls that do not come through one: the method's
//! path, and gRPC's message framing (five bytes of prefix, then the message).

use crate::{call::no_such_method, transport::PREFIX};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::Status;

/// Reads `/pkg.Service/Method`.
pub(super) fn path(path: &str) -> Result<PathAndQuery, Status> {
    PathAndQuery::try_from(path)
        .map_err(|error| no_such_method(path, format!("the path {path:?} is not valid: {error}")))
}

/// Reads the answer's message.
pub(super) fn decode<M: Message + Default>(message: Bytes) -> Result<M, String> {
    M::decode(message).map_err(|error| format!("the answer is not the message expected: {error}"))
}

/// Frames `message`, uncompressed, in a buffer of its exact size.
pub(crate) fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode(&mut frame).expect("the buffer grows");
    frame.freeze()
}
