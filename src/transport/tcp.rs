//! The plain TCP connector, for users who connect by themselves or wrap one around it.

use super::{
    connect_request::ConnectRequest,
    connector::{BoxedIo, Candidate, Connector},
    lookup::Lookups,
    net,
};
use crate::model::DialFailure;
use futures::future::BoxFuture;
use std::sync::{Arc, LazyLock};

/// The lookups of all plain TCP connectors.
static LOOKUPS: LazyLock<Arc<Lookups>> = LazyLock::new(Arc::default);

/// Plain TCP: looks the host up anew at each dial and tries all its addresses within one dial, 250
/// ms apart, families in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        Box::pin(net::connect_to_any(request.clone(), self.candidates(request)))
    }

    fn candidates(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<Vec<Candidate>, DialFailure>> {
        let (request, lookups) = (request.clone(), LOOKUPS.clone());
        Box::pin(async move {
            let address = request.address();
            net::named(&lookups, address.host(), address.port(), &request).await
        })
    }
}
