//! The details of a status (`grpc-status-details-bin`, a `google.rpc.Status`), as JSON where their
//! messages are known.

use super::{
    any::ANY,
    explain::counted,
    json,
    schema::{Schema, Symbol},
};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use std::borrow::Cow;
use tonic::Status;
use tonic_supervisor::printable;

/// How many are shown.
const DETAILS: usize = 16;

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// Each of them, an `Any`.
pub(super) fn of(schema: &Schema, status: &Status) -> Vec<DynamicMessage> {
    let Some(Symbol::Message(kind)) = schema.symbol(ANY) else { return Vec::new() };
    // What is no such message is the server's own affair.
    let details = RpcStatus::decode(status.details()).unwrap_or_default().details;
    let any = |detail: prost_types::Any| {
        let mut any = DynamicMessage::new(kind.clone());
        any.set_field_by_name("type_url", Value::String(detail.type_url));
        any.set_field_by_name("value", Value::Bytes(detail.value.into()));
        any
    };
    details.into_iter().take(DETAILS).map(any).collect()
}

/// What one of them says; where nobody knows what it is, its name and its size.
pub(super) fn line(any: &DynamicMessage) -> String {
    let text = json::line(any).unwrap_or_else(|_| {
        let field = |name| any.get_field_by_name(name).map(Cow::into_owned);
        let name = field("type_url").and_then(|name| Some(name.as_str()?.to_owned()));
        let size = field("value").and_then(|value| Some(value.as_bytes()?.len()));
        let size = counted(size.unwrap_or_default(), "byte");
        format!("{}, {size}", name.unwrap_or_default())
    });
    format!("detail: {}", printable(&text))
}
