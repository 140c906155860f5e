//! The log of outcomes as the world sees it: its name, and its checkpoints with the state root beside the tree head.
//!
//! Takes a ledger's origin and a tree head, gives a checkpoint; takes a checkpoint, gives the state root it commits.
//! Fails for a checkpoint with other extension lines. Signing and opening are [`crate::checkpoint`]'s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError, hash_line};
use crate::hash::{RootHash, StatesRoot};
use crate::id::TreeSize;

/// What stands behind the ledger's origin in the name of its log of outcomes.
pub const ORIGIN_SUFFIX: &str = "/outcomes";
/// What the line with the state root begins with.
const STATE_LINE: &str = "tally-state/v1 ";

/// The name of a ledger's log of outcomes: its own, so that no signature under one log speaks for the other.
#[must_use]
pub fn origin(ledger_origin: &str) -> String {
    format!("{ledger_origin}{ORIGIN_SUFFIX}")
}

/// A tree head of the log of outcomes, with the root over what plugins hold after its last event.
#[must_use]
pub fn checkpoint(ledger_origin: &str, size: TreeSize, root: RootHash, states: Option<StatesRoot>) -> Checkpoint {
    let mut checkpoint = Checkpoint::new(&origin(ledger_origin), size, root);
    let line = states.map(|states| format!("{STATE_LINE}{}", STANDARD.encode(states.as_bytes())));
    checkpoint.extensions.extend(line);
    checkpoint
}

/// The state root that a checkpoint commits, if it commits one.
///
/// # Errors
/// It has extension lines other than that one.
pub fn states_root(checkpoint: &Checkpoint) -> Result<Option<StatesRoot>, CheckpointError> {
    match checkpoint.extensions.as_slice() {
        [] => Ok(None),
        [line] => {
            let root = line.strip_prefix(STATE_LINE).and_then(hash_line);
            root.map(|root| Some(StatesRoot::from_bytes(root))).ok_or(CheckpointError::Extension)
        }
        _ => Err(CheckpointError::Extension),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::SignedCheckpoint;
    use crate::key::SigningKey;
    use crate::note::VerifierKey;

    fn head(states: Option<StatesRoot>) -> Checkpoint {
        checkpoint("tally.example/log", TreeSize::new(5), RootHash::from_bytes([1; 32]), states)
    }

    #[test]
    fn the_state_root_reads_back_through_the_note_and_nothing_else_is_taken_for_one() {
        for states in [None, Some(StatesRoot::from_bytes([2; 32]))] {
            let read = Checkpoint::parse(&head(states).encode()).unwrap();
            assert_eq!((states_root(&read), &read), (Ok(states), &head(states)));
        }
        let line = head(Some(StatesRoot::ZERO)).extensions[0].clone();
        for lines in [
            vec![line.clone(), line.clone()],
            vec!["other".to_owned()],
            vec![line.replace("v1", "v2")],
            vec![format!("{line}=")],
            vec![line.trim_end_matches('=').to_owned()],
        ] {
            let other = Checkpoint { extensions: lines, ..head(None) };
            assert_eq!(states_root(&other), Err(CheckpointError::Extension));
        }
    }

    #[test]
    fn a_signature_under_one_log_does_not_speak_for_the_other() {
        let key = SigningKey::from_seed([3; 32]);
        let outcomes = VerifierKey::new("tally.example/log/outcomes", key.public_key()).unwrap();
        let events = VerifierKey::new("tally.example/log", key.public_key()).unwrap();
        let signed = SignedCheckpoint::sign(head(Some(StatesRoot::ZERO)), &[&key]).unwrap();
        assert_eq!(SignedCheckpoint::open(&signed.note, &[outcomes]).unwrap(), signed);
        assert!(SignedCheckpoint::open(&signed.note, &[events]).is_err());
    }
}
