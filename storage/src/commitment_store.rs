//! VES commitments: which range of a stream was committed under which batch id. Truth: where a range was cut cannot
//! be computed again.
//!
//! Takes commitments into a batch, gives them by range and by id. That ranges follow each other without gap is the
//! caller's law (the cut is made in one place); the store keeps one commitment per first sequence.

use std::sync::Arc;

use tally_protocol::batch::Commitment;
use tally_protocol::id::{Index, Sequence, Stream};

use crate::batch::{Batch, Engine, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{CommitmentKey, Key, MetaKey};

/// The commitments.
#[derive(Clone)]
pub struct CommitmentStore {
    engine: Arc<dyn Engine>,
}

impl CommitmentStore {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Puts a commitment into the batch.
    pub fn put(&self, batch: &mut Batch, commitment: &Commitment) {
        let range = key_of(commitment);
        batch.put(Family::Commitments, range.clone(), commitment.encode());
        let id = CommitmentKey::Batch(commitment.batch_id).encode();
        batch.put(Family::Commitments, id, range.as_slice().to_vec());
    }

    /// The first log position that is in no commitment yet; 0 if there is no commitment.
    ///
    /// # Errors
    /// The engine failed or the value is damaged.
    pub fn cursor(&self) -> Result<Index, StorageError> {
        let key = MetaKey::CommitCursor.encode();
        let Some(value) = self.engine.get(Family::Meta, &key)? else { return Ok(Index::new(0)) };
        let value: [u8; 8] = value
            .as_ref()
            .try_into()
            .map_err(|_| StorageError::bad_value(Family::Meta, key.as_slice(), "not a log position"))?;
        Ok(Index::new(u64::from_be_bytes(value)))
    }

    /// Puts the cursor into the batch, beside the commitments that move it.
    pub fn set_cursor(&self, batch: &mut Batch, cursor: Index) {
        batch.put(Family::Meta, MetaKey::CommitCursor.encode(), cursor.get().to_be_bytes().to_vec());
    }

    /// The commitment of a stream's newest range.
    ///
    /// # Errors
    /// The engine failed or a value is damaged.
    pub fn latest(&self, stream: Stream) -> Result<Option<Commitment>, StorageError> {
        self.last_before(stream, CommitmentKey::of_stream(&stream).prefix_end())
    }

    /// The commitment with this id.
    ///
    /// # Errors
    /// The engine failed, a value is damaged or the id leads nowhere.
    pub fn by_id(&self, batch_id: [u8; 16]) -> Result<Option<Commitment>, StorageError> {
        let id = CommitmentKey::Batch(batch_id).encode();
        let Some(value) = self.engine.get(Family::Commitments, &id)? else {
            return Ok(None);
        };
        let bad = |reason| StorageError::bad_value(Family::Commitments, id.as_slice(), reason);
        let key = Key::from_slice(&value).ok_or_else(|| bad("names no range"))?;
        let value =
            self.engine.get(Family::Commitments, &key)?.ok_or_else(|| bad("names a range that is not there"))?;
        let commitment = decode(&Row { key: key.as_slice().to_vec().into(), value })?;
        if commitment.batch_id != batch_id {
            return Err(bad("names another commitment's range"));
        }
        Ok(Some(commitment))
    }

    /// At most `limit` commitments of a stream in order, those that start behind `after` if given.
    ///
    /// # Errors
    /// The engine failed or a value is damaged.
    pub fn page(&self, stream: Stream, after: Option<Sequence>, limit: usize) -> Result<Vec<Commitment>, StorageError> {
        let prefix = CommitmentKey::of_stream(&stream);
        let to = prefix.prefix_end();
        let from = after.map_or(prefix, |first| CommitmentKey::Range { stream, first }.encode().just_after());
        let range = ScanRange { family: Family::Commitments, from, to, reverse: false, limit };
        self.engine.scan(&range)?.iter().map(decode).collect()
    }

    /// The commitment whose range holds a sequence.
    ///
    /// # Errors
    /// The engine failed or a value is damaged.
    pub fn covering(&self, stream: Stream, sequence: Sequence) -> Result<Option<Commitment>, StorageError> {
        let to = CommitmentKey::Range { stream, first: sequence }.encode().just_after();
        Ok(self.last_before(stream, Some(to))?.filter(|commitment| sequence <= commitment.sequence_end))
    }

    fn last_before(&self, stream: Stream, to: Option<Key>) -> Result<Option<Commitment>, StorageError> {
        let from = CommitmentKey::of_stream(&stream);
        let range = ScanRange { family: Family::Commitments, from, to, reverse: true, limit: 1 };
        self.engine.scan(&range)?.first().map(decode).transpose()
    }
}

fn key_of(commitment: &Commitment) -> Key {
    CommitmentKey::Range { stream: commitment.stream, first: commitment.sequence_start }.encode()
}

fn decode(row: &Row) -> Result<Commitment, StorageError> {
    let bad = |reason: &str| StorageError::bad_value(Family::Commitments, &row.key, reason);
    let commitment = Commitment::decode(&row.value).map_err(|error| bad(&error.to_string()))?;
    if key_of(&commitment).as_slice() != row.key.as_ref() {
        return Err(bad("belongs under another key"));
    }
    Ok(commitment)
}
