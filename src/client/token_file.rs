//! A bearer token from a file: read off the runtime's threads, and again when the file has changed.
//!
//! While the file cannot be used the former token is: whoever replaces a file may need a moment for
//! it.

use crate::{
    call::{CallCredentials, CredentialsRequest},
    clock,
    config::small_file,
    model::Secret,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::task;
use tonic::{
    Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

/// No token is longer, in bytes.
const MOST: u64 = 64 << 10;
/// The file is looked at once in this time, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Call credentials from a file.
#[derive(Clone)]
pub(super) struct TokenFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    kept: Mutex<Kept>,
    /// Held by the one that looks.
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Kept {
    looked: Option<Instant>,
    /// How the file was when the token was read.
    stamp: Option<Stamp>,
    token: Option<Secret<MetadataValue<Ascii>>>,
    /// Why the file cannot be used now.
    trouble: Option<String>,
}

/// By which a change is seen.
type Stamp = (Option<SystemTime>, u64);

impl TokenFile {
    /// It is not read before the first call.
    pub(super) fn new(path: &Path) -> Self {
        let looking = Arc::new(tokio::sync::Mutex::new(()));
        Self(Arc::new(Shared { path: path.to_owned(), kept: Mutex::default(), looking }))
    }

    async fn metadata(self) -> Result<MetadataMap, Status> {
        let token = self.0.token().await.map_err(Status::unavailable)?;
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", token.reveal().clone());
        Ok(metadata)
    }
}

impl CallCredentials for TokenFile {
    fn metadata(&self, _: CredentialsRequest) -> BoxFuture<'static, Result<MetadataMap, Status>> {
        Box::pin(self.clone().metadata())
    }
}

impl Shared {
    /// The present token. Cancel safe.
    ///
    /// A file on a disk that does not answer holds one thread, whatever the calls do: the look has
    /// the lock until it is over, and who has a former token does not wait for it.
    async fn token(self: Arc<Self>) -> Result<Secret<MetadataValue<Ascii>>, String> {
        if let Some(fresh) = self.fresh() {
            return fresh;
        }
        let former = self.kept.lock().token.clone();
        let looking = match (self.looking.clone().try_lock_owned(), &former) {
            (Ok(free), _) => free,
            // While another looks, what there is will do.
            (Err(_), Some(former)) => return Ok(former.clone()),
            (Err(_), None) => self.looking.clone().lock_owned().await,
        };
        if let Some(fresh) = self.fresh() {
            return fresh;
        }
        let looker = self.clone();
        let look = task::spawn_blocking(move || {
            let _until_it_is_over = looking;
            looker.look();
        });
        let looked = match former {
            None => look.await,
            Some(former) => match tokio::time::timeout(LOOK_EVERY, look).await {
                Ok(looked) => looked,
                Err(_) => return Ok(former),
            },
        };
        looked.map_err(|_| "reading the token file was broken off".to_owned())?;
        self.kept.lock().answer()
    }

    /// What is known, if the file was looked at a moment ago.
    fn fresh(&self) -> Option<Result<Secret<MetadataValue<Ascii>>, String>> {
        let (now, kept) = (clock::now(), self.kept.lock());
        let looked =
            kept.looked.filter(|looked| now.saturating_duration_since(*looked) < LOOK_EVERY);
        looked.map(|_| kept.answer())
    }

    /// Looks at the file, and reads it if it has changed. Blocking.
    fn look(&self) {
        let path = &self.path;
        let stamp = fs::metadata(path).ok().map(|found| (found.modified().ok(), found.len()));
        let same = {
            let kept = self.kept.lock();
            stamp.is_some() && kept.stamp == stamp && kept.trouble.is_none()
        };
        let read = (!same).then(|| small_file::read(path, MOST).and_then(|bytes| header(&bytes)));
        let mut kept = self.kept.lock();
        kept.looked = Some(clock::now());
        match read {
            None => {}
            Some(Ok(token)) => {
                *kept = Kept { looked: kept.looked, stamp, token: Some(token), trouble: None };
            }
            Some(Err(rule)) => {
                let trouble = format!(
                    "the token file {} (grpc.credentials.token_file) {rule}",
                    path.display()
                );
                if kept.token.is_some() && kept.trouble.as_ref() != Some(&trouble) {
                    log_line!(warn, "{trouble}; the token that was read before is used");
                }
                kept.trouble = Some(trouble);
            }
        }
    }
}

impl Kept {
    fn answer(&self) -> Result<Secret<MetadataValue<Ascii>>, String> {
        self.token.clone().ok_or_else(|| self.trouble.clone().unwrap_or_default())
    }
}

/// What is sent; white space around the token is not part of it.
fn header(bytes: &[u8]) -> Result<Secret<MetadataValue<Ascii>>, String> {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Err("must have a token, and is empty".into());
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err("must have one token and nothing else: printable ASCII without spaces".into());
    }
    let mut value = MetadataValue::try_from([b"Bearer ", text].concat()).map_err(|_| {
        "must have one token and nothing else: printable ASCII without spaces".to_owned()
    })?;
    value.set_sensitive(true);
    Ok(Secret::new(value))
}

#[cfg(test)]
#[path = "token_file_tests.rs"]
mod tests;
