//! How one anchor of long ago stands now: its transaction on the chain, and what the contract says of it today.
//!
//! The contract remembers the newest [`RING`] heads of a log and the first of each day, and says no to everything else, be it
//! forgotten or disowned (docs/formats/anchor.md). So a no is read together with the event that the transaction left, the
//! log's newest head and its end: forgotten by age is not denied, and everything unexplained is.

use tally_protocol::hash::{LogId, RootHash};
use tally_protocol::id::TreeSize;

use super::{Ethereum, abi};
use crate::chain::{Chain as _, Hash32, Level};
use crate::error::ChainError;

/// How many of a log's newest heads the contract remembers.
pub const RING: u64 = 256;

/// An anchor as somebody claims it.
#[derive(Debug, Clone, Copy)]
pub struct Claimed<'a> {
    /// Its transaction.
    pub tx: Hash32,
    /// Which log.
    pub log_id: LogId,
    /// Which of the log's anchors.
    pub seq: u64,
    /// The anchored size.
    pub size: TreeSize,
    /// The anchored root.
    pub root: RootHash,
    /// Call data of a view that answers with a `bool`: whether something is under that head.
    pub question: &'a [u8],
}

/// What the chain makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The contract answers the question with yes.
    Borne,
    /// The transaction made exactly this anchor; the contract has had so many since that it remembers it no more.
    Forgotten {
        /// The log's anchors by now.
        newest: u64,
    },
    /// The log was ended at an earlier anchor, by supersession.
    Disowned {
        /// The last anchor that counts.
        end: u64,
    },
    /// The chain does not have the transaction.
    Missing,
    /// The transaction failed.
    Reverted,
    /// The transaction succeeded and made no such anchor.
    Other,
    /// The contract answers the question with no, and neither age nor an end explains it.
    Denied,
}

impl Standing {
    /// Whether the chain bears the anchor out.
    #[must_use]
    pub const fn holds(self) -> bool {
        matches!(self, Self::Borne | Self::Forgotten { .. })
    }
}

impl Ethereum {
    /// Asks the chain about an anchor of this contract; gives the block of its transaction too, where there is one.
    ///
    /// # Errors
    /// The chain does not answer, or answers with something else than the contract would.
    pub async fn standing(&self, claimed: &Claimed<'_>) -> Result<(Standing, Option<u64>), ChainError> {
        let Some(receipt) = self.receipt(claimed.tx, Level::Latest).await? else {
            return Ok((Standing::Missing, None));
        };
        let block = receipt.block.number;
        let standing = if receipt.succeeded { self.judged(claimed, block).await? } else { Standing::Reverted };
        Ok((standing, Some(block)))
    }

    async fn judged(&self, claimed: &Claimed<'_>, block: u64) -> Result<Standing, ChainError> {
        let made = self.events(vec![claimed.log_id], block, block).await?;
        let made = made.iter().any(|event| {
            (event.tx_hash, event.seq, event.size, event.root) == (claimed.tx, claimed.seq, claimed.size, claimed.root)
        });
        if !made {
            return Ok(Standing::Other);
        }
        let answer = self.view_of("verifyInclusion", claimed.question, abi::read_bool).await?;
        if answer {
            return Ok(Standing::Borne);
        }
        let end = self.view_of("endOf", &abi::end_of(&claimed.log_id), abi::read_end).await?;
        if end != 0 && claimed.seq > end {
            return Ok(Standing::Disowned { end });
        }
        let newest = self.view_of("headOf", &abi::head_of(&claimed.log_id), abi::read_head).await?.seq;
        let forgotten = newest >= claimed.seq.saturating_add(RING);
        Ok(if forgotten { Standing::Forgotten { newest } } else { Standing::Denied })
    }

    async fn view_of<T>(
        &self,
        name: &'static str,
        call: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, ChainError> {
        read(&self.call(self.contract, call).await?).ok_or(ChainError::Malformed(name))
    }
}
