//! The details of a status (`grpc-status-details-bin`, a `google.rpc.Status`), as JSON where their
//! messages are known.

use super::{
    any::ANY,
    explain::counted,
    json,
    schema::{Schema, Symbol},
    session::Session,
};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use tonic::Status;
use tonic_supervisor::printable;

/// How many are shown.
const DETAILS: usize = 16;

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// A line for each of them.
pub(super) async fn lines(session: &Session<'_>, schema: &Schema, status: &Status) -> Vec<String> {
    // What is no such message is the server's own affair.
    let details = RpcStatus::decode(status.details()).unwrap_or_default().details;
    let mut lines = Vec::new();
    for detail in details.iter().take(DETAILS) {
        let known = as_json(session, schema, detail).await;
        let text = known.unwrap_or_else(|| {
            let bytes = counted(detail.value.len(), "byte");
            format!("{}, {bytes}", detail.type_url)
        });
        lines.push(format!("detail: {}", printable(&text)));
    }
    if details.len() > DETAILS {
        lines.push(format!("and {} more", counted(details.len() - DETAILS, "detail")));
    }
    lines
}

/// None where nobody knows what it is.
async fn as_json(
    session: &Session<'_>,
    schema: &Schema,
    detail: &prost_types::Any,
) -> Option<String> {
    let Some(Symbol::Message(kind)) = schema.symbol(ANY) else { return None };
    let mut any = DynamicMessage::new(kind);
    any.set_field_by_name("type_url", Value::String(detail.type_url.clone()));
    any.set_field_by_name("value", Value::Bytes(detail.value.clone().into()));
    let (_, any) = session.known(schema.clone(), any).await;
    json::line(&any).ok()
}
