//! How much one answer tells of a list of tasks or changes: a page. It stays below the 4 MiB that
//! gRPC clients accept by default; the rest is asked for again.

/// The longest page of tasks or changes, in encoded bytes; one task always fits.
pub(super) const MAX_PAGE: usize = 3 * 1024 * 1024;
/// How many changes [`Store::changes`](super::Store::changes) tells at once.
pub(super) const MAX_CHANGES: usize = 1000;

/// The room on a page: what comes first always fits.
#[derive(Debug)]
pub(super) struct PageRoom(Option<usize>);

impl PageRoom {
    /// An empty page.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Takes so many bytes, if they fit.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let used = self.0.unwrap_or(0) + bytes;
        let fits = self.0.is_none() || used <= MAX_PAGE;
        if fits {
            self.0 = Some(used);
        }
        fits
    }
}
