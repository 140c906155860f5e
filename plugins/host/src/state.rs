//! The seam to stored state: one plugin's key-value space in one stream, as of one moment.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::id::{PluginId, Stream};

/// State could not be read; the text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StateError(pub String);

/// A row: key and value.
pub type Row = (Bytes, Bytes);

/// One plugin's own space in one stream, as of one moment: what it reads never changes.
pub trait StateView: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The state could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError>;

    /// At most `limit` rows of `start..end` in key order, or from the end backwards; without `end`, to the last key.
    ///
    /// # Errors
    /// The state could not be read.
    fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Row>, StateError>;

    /// Bytes of all keys and values. Reads the whole space where nobody counted: apply does, in the standing.
    ///
    /// # Errors
    /// The state could not be read.
    fn bytes(&self) -> Result<u64, StateError> {
        let (mut bytes, mut start) = (0_u64, Bytes::new());
        loop {
            let rows = self.range(&start, None, SCAN_ROWS, false)?;
            for (key, value) in &rows {
                bytes = bytes.saturating_add((key.len() + value.len()) as u64);
            }
            match rows.last() {
                // The next key in order is this one with a zero behind it.
                Some((key, _)) if rows.len() == SCAN_ROWS => start = Bytes::from([key, &[0][..]].concat()),
                _ => return Ok(bytes),
            }
        }
    }
}

/// Rows of a page of [`StateView::bytes`].
const SCAN_ROWS: usize = 1_024;

/// The spaces of all plugins in all streams, as of one moment: that before a range.
pub trait States {
    /// A plugin's space in a stream; an empty one if it has no state there.
    ///
    /// # Errors
    /// The state could not be opened.
    fn view(&self, stream: &Stream, plugin: &PluginId) -> Result<Arc<dyn StateView>, StateError>;
}

impl StateView for std::collections::BTreeMap<Bytes, Bytes> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(std::collections::BTreeMap::get(self, key).cloned())
    }

    fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Row>, StateError> {
        use std::ops::Bound;
        if end.is_some_and(|end| end <= start) {
            return Ok(Vec::new());
        }
        let rows = self.range::<[u8], _>((Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded)));
        let row = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
        Ok(if reverse { rows.rev().take(limit).map(row).collect() } else { rows.take(limit).map(row).collect() })
    }
}
