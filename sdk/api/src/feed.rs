//! The live feed: one JSON object per line (NDJSON), or one server-sent event each.
//!
//! A client keeps the newest `token` it has worked through and resumes with `?from=<token>`; nothing is skipped and
//! nothing repeated. Heartbeats carry a token too, because a filtered feed moves on past events of others.

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{LedgerId, TransactionHash};
use tally_protocol::id::{Index, TreeSize};

use crate::anchor::AnchorLevel;
use crate::event::EventRecord;
use crate::text;

/// One line of the feed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FeedLine {
    /// An event, in order of index.
    Event {
        /// Resume after this event.
        token: String,
        /// The event.
        record: Box<EventRecord>,
    },
    /// Nothing new.
    Heartbeat {
        /// Resume here.
        token: String,
        /// How far the log is readable.
        #[serde(with = "text::number")]
        size: TreeSize,
    },
    /// A chain holds more of the log of events, or holds it for surer; only in a feed that asked for it
    /// (`?anchors=true`). Below `finalized` a later line may say less again.
    Anchored {
        /// Resume here.
        token: String,
        /// The chain (EIP-155).
        chain_id: u64,
        /// How final its word is.
        level: AnchorLevel,
        /// How far its contract holds the log of events.
        #[serde(with = "text::number")]
        size: TreeSize,
        /// Which of the log's anchors, from 1.
        seq: u64,
        /// The transaction that moved it there.
        #[serde(with = "text::hex_0x")]
        transaction: TransactionHash,
    },
    /// The server ends the feed; connect again and resume.
    End {
        /// Resume here.
        token: String,
        /// `draining` or `failed`.
        reason: String,
    },
}

/// Where a feed goes on: the next index to look at, in one certain ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeToken {
    /// The next index.
    pub next: Index,
    /// The first eight bytes of the ledger id: a token of one ledger means nothing in another.
    pub ledger: [u8; 8],
}

/// A text that is no resume token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeTokenError;

impl ResumeToken {
    /// The token that goes on at `next` in `ledger`.
    #[must_use]
    pub fn new(ledger: &LedgerId, next: Index) -> Self {
        let mut short = [0; 8];
        short.copy_from_slice(&ledger.as_bytes()[..8]);
        Self { next, ledger: short }
    }

    /// Whether it was given by this ledger.
    #[must_use]
    pub fn is_of(&self, ledger: &LedgerId) -> bool {
        self.ledger == ledger.as_bytes()[..8]
    }
}

impl core::fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}-{}", tally_protocol::hash::hex(&self.ledger), self.next)
    }
}

impl core::str::FromStr for ResumeToken {
    type Err = ResumeTokenError;

    fn from_str(text: &str) -> Result<Self, ResumeTokenError> {
        let (ledger, next) = text.split_once('-').ok_or(ResumeTokenError)?;
        let ledger = u64::from_str_radix(ledger, 16).map_err(|_| ResumeTokenError)?.to_be_bytes();
        let token = Self { next: Index::new(next.parse().map_err(|_| ResumeTokenError)?), ledger };
        // One text per token: no signs, no leading zeros, no capitals.
        if token.to_string() == text { Ok(token) } else { Err(ResumeTokenError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_written_and_has_one_text() {
        let token = ResumeToken::new(&LedgerId::from_bytes([7; 32]), Index::new(41));
        let text = token.to_string();
        assert_eq!(text, "0707070707070707-41");
        assert_eq!(text.parse(), Ok(token));
        for bad in ["", "41", "0707070707070707-041", "0707070707070707-+41", "707070707070707-41", "0707070707070707-"]
        {
            assert_eq!(bad.parse::<ResumeToken>(), Err(ResumeTokenError), "{bad}");
        }
        assert!(!token.is_of(&LedgerId::ZERO));
    }
}
