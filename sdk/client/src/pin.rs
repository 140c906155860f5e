//! The ledger that a client believes in: settled once, by what the caller trusts, and never exchanged afterwards.
//!
//! Takes genesis entries, whichever door told them; gives the [`Ledger`] they describe, or says that it is another one.

use std::sync::Arc;

use tally_verify::Ledger;
use tokio::sync::OnceCell;

use crate::client::Trust;
use crate::error::ClientError;
use crate::watch::{SeenCheckpoint, Watch};

#[derive(Debug)]
pub(crate) struct Pin {
    trust: Trust,
    /// The newest checkpoint of an earlier run.
    seen: Option<String>,
    watch: Arc<Watch>,
    ledger: OnceCell<Arc<Ledger>>,
}

impl Pin {
    pub(crate) fn new(trust: Trust, seen: Option<String>, watch: Arc<Watch>) -> Self {
        Self { trust, seen, watch, ledger: OnceCell::new() }
    }

    /// The ledger, if it is settled.
    pub(crate) fn get(&self) -> Option<Arc<Ledger>> {
        self.ledger.get().cloned()
    }

    /// Somebody says that he serves the ledger of this genesis entry: settles on it, or compares.
    pub(crate) async fn take(&self, genesis_entry: &[u8]) -> Result<Arc<Ledger>, ClientError> {
        let ledger = self.ledger.get_or_try_init(|| self.settle(genesis_entry)).await?;
        if ledger.genesis_entry() == genesis_entry {
            return Ok(Arc::clone(ledger));
        }
        Err(ClientError::OtherLedger { trusted: ledger.id(), found: Ledger::from_genesis(genesis_entry)?.id() })
    }

    async fn settle(&self, genesis_entry: &[u8]) -> Result<Arc<Ledger>, ClientError> {
        let ledger = Ledger::from_genesis(genesis_entry)?;
        if let Trust::Given(root) = &self.trust {
            match root.ledger_id {
                Some(trusted) if trusted != ledger.id() => {
                    return Err(ClientError::OtherLedger { trusted, found: ledger.id() });
                }
                _ => ledger.check_trust(root)?,
            }
        }
        if let Some(note) = &self.seen {
            let checkpoint = ledger.open_checkpoint(note)?;
            self.watch.start(SeenCheckpoint { checkpoint, note: note.clone() }).await;
        }
        Ok(Arc::new(ledger))
    }
}
