//! Without the feature `tls`: connections that are not encrypted, and no others.

use super::{super::OpenError, TlsOptions};

pub(in super::super) type Connector = tokio_postgres::NoTls;

/// What opens connections, and whether they are encrypted.
pub(in super::super) fn connector(asked: &TlsOptions) -> Result<(Connector, bool), OpenError> {
    if asked.encrypted()? {
        return Err(OpenError::refused(
            "this program was built without TLS (features `tls` and `tls-ring`)".into(),
        ));
    }
    Ok((tokio_postgres::NoTls, false))
}
