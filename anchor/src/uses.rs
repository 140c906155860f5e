//! The record of every use of a key (S-123): append-only JSON lines, written and synced before the key is asked.
//!
//! A use is two lines: the intent (time, purpose, digest, key) and what came of it (transaction hash, or the error). A device's
//! own record must match the intents; the chain's transactions must match the hashes. [`reconcile`] finds what nobody
//! logged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::chain::{Chain, Hash32, Level};
use crate::error::{AnchorError, ChainError};
use crate::files;
use crate::signer::{Address, Purpose, Signature, Signer, SignerError};

/// A line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "use", deny_unknown_fields)]
pub enum Line {
    /// The key is about to be asked.
    Intent {
        /// Wall time.
        at_ms: u64,
        /// "transaction" or "authority".
        purpose: String,
        /// What is signed.
        #[serde(with = "files::bytes32")]
        digest: [u8; 32],
        /// Whose key.
        #[serde(with = "files::address")]
        key: Address,
    },
    /// It signed an authority's word.
    Signed {
        /// Wall time.
        at_ms: u64,
        /// The intent's digest.
        #[serde(with = "files::bytes32")]
        digest: [u8; 32],
    },
    /// It signed a transaction, which will be sent.
    Transaction {
        /// Wall time.
        at_ms: u64,
        /// The intent's digest.
        #[serde(with = "files::bytes32")]
        digest: [u8; 32],
        /// The account's nonce.
        nonce: u64,
        /// The signed transaction's hash.
        #[serde(with = "files::hash32")]
        tx_hash: Hash32,
    },
    /// It did not sign.
    Failed {
        /// Wall time.
        at_ms: u64,
        /// The intent's digest.
        #[serde(with = "files::bytes32")]
        digest: [u8; 32],
        /// Why.
        why: String,
    },
}

/// The record's file.
#[derive(Debug, Clone)]
pub struct UseLog {
    file: PathBuf,
}

impl UseLog {
    /// The record in a journal's folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { file: folder.join("uses.jsonl") }
    }

    /// Asks a key, with the intent on disk before and the outcome after; an authority's outcome is written here, a
    /// transaction's by [`UseLog::transaction`], because its hash comes later.
    ///
    /// # Errors
    /// The disk's (the key is then not asked), or the signer's.
    pub async fn sign(
        &self,
        signer: &dyn Signer,
        purpose: Purpose,
        digest: [u8; 32],
        at_ms: u64,
    ) -> Result<Signature, AnchorError> {
        let name = match purpose {
            Purpose::Transaction => "transaction",
            Purpose::Authority => "authority",
        };
        self.append(&Line::Intent { at_ms, purpose: name.to_owned(), digest, key: signer.address() })?;
        let signature = signer.sign(purpose, digest).await;
        let checked = signature.and_then(|signature| {
            crate::ethereum::envelope::check_signature(digest, &signature, signer.address()).map(|()| signature)
        });
        match &checked {
            Err(error) => self.append(&Line::Failed { at_ms, digest, why: error.to_string() })?,
            Ok(_) if purpose == Purpose::Authority => self.append(&Line::Signed { at_ms, digest })?,
            Ok(_) => {}
        }
        Ok(checked.map_err(|error: SignerError| error)?)
    }

    /// Records a signed transaction, before it is sent.
    ///
    /// # Errors
    /// The disk's.
    pub fn transaction(&self, digest: [u8; 32], nonce: u64, tx_hash: Hash32, at_ms: u64) -> Result<(), AnchorError> {
        self.append(&Line::Transaction { at_ms, digest, nonce, tx_hash })
    }

    /// All lines, oldest first.
    ///
    /// # Errors
    /// `Damaged`, `Disk`.
    pub fn read(&self) -> Result<Vec<Line>, AnchorError> {
        let damaged = |_| AnchorError::Damaged { file: self.file.clone(), why: "a line is not a use of a key" };
        files::whole_lines(&self.file)?.iter().map(|line| serde_json::from_str(line).map_err(damaged)).collect()
    }

    fn append(&self, line: &Line) -> Result<(), AnchorError> {
        let damaged = |_| AnchorError::Damaged { file: self.file.clone(), why: "a use cannot be written as JSON" };
        files::append_line(&self.file, &serde_json::to_string(line).map_err(damaged)?)
    }
}

/// A transaction of the account that the record does not explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// Its nonce.
    pub nonce: u64,
    /// What was logged for the nonce; none of it is on the chain.
    pub logged: Vec<Hash32>,
}

/// Transactions of `account` on chain, from nonce `from` on, that are not in the record. The chain says how many there are by
/// the nonce at `latest`; each must be explained by a logged transaction that has a receipt.
///
/// # Errors
/// The chain's or the disk's.
pub async fn reconcile(
    record: &UseLog,
    chain: &dyn Chain,
    account: Address,
    from: u64,
) -> Result<Vec<Unexplained>, AnchorError> {
    let mut logged: BTreeMap<u64, Vec<Hash32>> = BTreeMap::new();
    for line in record.read()? {
        if let Line::Transaction { nonce, tx_hash, .. } = line {
            logged.entry(nonce).or_default().push(tx_hash);
        }
    }
    let until = chain.view(Level::Latest, account, Vec::new()).await?.nonce;
    let mut unexplained = Vec::new();
    for nonce in from..until {
        let candidates = logged.remove(&nonce).unwrap_or_default();
        if !any_landed(chain, &candidates).await? {
            unexplained.push(Unexplained { nonce, logged: candidates });
        }
    }
    Ok(unexplained)
}

async fn any_landed(chain: &dyn Chain, candidates: &[Hash32]) -> Result<bool, ChainError> {
    for candidate in candidates.iter().rev() {
        if chain.receipt(*candidate, Level::Latest).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
