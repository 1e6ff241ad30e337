//! The codec of calls whose messages are known by their descriptors only: it encodes what the user
//! gave, and decodes answers as the method's output.

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// For one method, whose answers are messages of this kind.
#[derive(Clone, Debug)]
pub(super) struct DynamicCodec(pub(super) MessageDescriptor);

/// An answer, and how many bytes it had.
pub(super) struct Answer {
    pub(super) message: DynamicMessage,
    pub(super) bytes: usize,
}

pub(super) struct DynamicEncoder;

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = Answer;
    type Encoder = DynamicEncoder;
    type Decoder = Self;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for DynamicCodec {
    type Item = Answer;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Answer>, Status> {
        use bytes::Buf as _;
        let bytes = buffer.remaining();
        let message = DynamicMessage::decode(self.0.clone(), buffer).map_err(|error| {
            Status::internal(format!("the answer is not a {}: {error}", self.0.full_name()))
        })?;
        Ok(Some(Answer { message, bytes }))
    }
}
