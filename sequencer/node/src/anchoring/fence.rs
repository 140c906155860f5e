//! The chain as a fence: a start looks there for a larger size than the fence file remembers, and for another root than the
//! log's.
//!
//! Takes the fence file and the chains; gives a fence whose record is the larger of the two, and says after the start
//! whether a chain contradicts the log ([`contradiction`]). A node whose log does not reach
//! a chain's head, or has another root there, comes up read-only, as with the file (design, section 10). Chains are asked
//! once, at the start. If none answers, the file alone decides; where the file remembers nothing either, nobody knows what
//! was signed, and the node does not start.

use std::sync::Arc;

use tally_anchor::chain::{Chain, Level};
use tally_anchor::signer::Address;
use tally_anchor::source::is_prefix;
use tally_core::{Fence, FenceError, FenceRecord, Reader};
use tally_protocol::hash::{LogKind, log_id};
use tally_protocol::id::{Epoch, TreeSize};

use super::source::NodeLogs;
use super::watcher::WatchedChain;

/// Why the log may not go on, if a chain holds anything that it does not begin with. Chains that do not answer say nothing.
pub async fn contradiction(chains: &[WatchedChain], reader: &Reader) -> Option<String> {
    let (ledger, logs) = (reader.ledger().ledger_id, NodeLogs(reader.clone()));
    let events = log_id(&ledger, LogKind::Events);
    for WatchedChain { name, chain, .. } in chains {
        // Outcomes are made again from the log and may come late; the watcher compares them.
        let Ok(view) = chain.view(Level::Latest, Address([0; 20]), vec![events]).await else { continue };
        let Some(head) = view.heads.first() else { continue };
        if let Ok(Err(parted)) = is_prefix(&logs, LogKind::Events, head.size, &head.root).await {
            return Some(format!("chain {name} holds another log at size {}: {parted}", head.size));
        }
    }
    None
}

/// The fence file, and what chains hold.
pub struct ChainFence<F> {
    file: F,
    ledger: Option<tally_protocol::hash::LedgerId>,
    chains: Vec<(String, Arc<dyn Chain>)>,
    runtime: tokio::runtime::Handle,
}

impl<F: Fence> ChainFence<F> {
    /// With chains to ask about a ledger; a ledger that is about to be made has nothing there.
    pub const fn new(
        file: F,
        ledger: Option<tally_protocol::hash::LedgerId>,
        chains: Vec<(String, Arc<dyn Chain>)>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self { file, ledger, chains, runtime }
    }

    /// The largest head that any chain holds, and whether any answered.
    fn of_chains(&self, epoch: Epoch) -> (Option<FenceRecord>, bool) {
        let Some(ledger_id) = self.ledger else { return (None, true) };
        let events = log_id(&ledger_id, LogKind::Events);
        let (mut newest, mut answered): (Option<FenceRecord>, bool) = (None, self.chains.is_empty());
        for (name, chain) in &self.chains {
            let view = self.runtime.block_on(chain.view(Level::Latest, Address([0; 20]), vec![events]));
            match view.map(|view| view.heads.first().copied()) {
                Ok(head) => {
                    answered = true;
                    let head = head.filter(|head| head.size > newest.map_or(TreeSize::new(0), |it| it.size));
                    newest =
                        head.map(|head| FenceRecord { ledger_id, epoch, size: head.size, root: head.root }).or(newest);
                }
                Err(error) => tracing::warn!(chain = name, %error, "the chain cannot be asked what was signed"),
            }
        }
        (newest, answered)
    }
}

impl<F: Fence> Fence for ChainFence<F> {
    fn load(&mut self) -> Result<Option<FenceRecord>, FenceError> {
        let file = self.file.load()?;
        let (chains, answered) = self.of_chains(file.map_or(Epoch::new(0), |record| record.epoch));
        if file.is_none() && !answered {
            let source = std::io::Error::other("it has no record, and no chain answers");
            return Err(FenceError::Io { path: "and the chains".to_owned(), source });
        }
        Ok(match (file, chains) {
            (Some(file), Some(chain)) if chain.size > file.size => {
                tracing::warn!(size = %chain.size, "a chain holds more than the fence remembers");
                Some(chain)
            }
            (None, chain) => chain,
            (file, _) => file,
        })
    }

    fn store(&mut self, record: &FenceRecord) -> Result<(), FenceError> {
        self.file.store(record)
    }
}
