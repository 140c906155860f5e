//! What a plugin's state holds, and what it does not: under the root over all states, for one key.
//!
//! Takes the root ([`StatesRoot`], out of what the ledger signed), where the key is, and a [`StateAnswer`]; gives
//! nothing or why not. The key and value are hashed here, never taken from the prover. "Licence 7 is not revoked" is
//! the absence of the plugin's key that a revocation would write.

use tally_merkle::sparse::{StateAnswer, StateProofError, StatesRoot};
use tally_protocol::hash::{state_key, state_value};
use tally_protocol::id::{PluginId, Stream};

/// Where a plugin keeps a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateAt<'a> {
    /// The stream the plugin's state belongs to.
    pub stream: Stream,
    /// The plugin's id.
    pub plugin: &'a PluginId,
    /// The key, as the plugin writes it.
    pub key: &'a [u8],
}

/// Checks that under this root the key has exactly this value.
///
/// # Errors
/// See [`StateProofError`].
pub fn verify_state_value(
    root: &StatesRoot,
    at: &StateAt<'_>,
    value: &[u8],
    answer: &StateAnswer,
) -> Result<(), StateProofError> {
    answer.verify(root, &at.stream, at.plugin, &state_key(at.key), Some(&state_value(value)))
}

/// Checks that under this root there is no such key: the plugin has no state in the stream, or not this key in it.
///
/// # Errors
/// See [`StateProofError`].
pub fn verify_state_absent(root: &StatesRoot, at: &StateAt<'_>, answer: &StateAnswer) -> Result<(), StateProofError> {
    answer.verify(root, &at.stream, at.plugin, &state_key(at.key), None)
}
