//! gRPC's message framing, for calls that do not come through a generated client: five bytes of prefix, then the message.

use crate::transport::PREFIX;
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;

/// Frames `message`, uncompressed, in a buffer of its exact size.
pub(super) fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode(&mut frame).expect("the buffer grows");
    frame.freeze()
}
