//! What the worker tells its operator: gauges and counters per chain, as Prometheus text and as a small status file.
//!
//! Plain numbers behind one lock; the text is the exposition format 0.0.4. The file is replaced whole, so that
//! `tally anchor status` reads it while the worker writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::chain::Wei;
use crate::error::AnchorError;
use crate::files;

/// How one log stands on one chain: leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Published.
    pub published: u64,
    /// Anchored at `latest`.
    pub latest: u64,
    /// At `safe`.
    pub safe: u64,
    /// At `finalized`.
    pub finalized: u64,
}

/// How one chain stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainStatus {
    /// Of the last look, ms since 1970.
    pub at_ms: u64,
    /// "idle", "signed", "submitted", "included", "safe", or "halted".
    pub state: String,
    /// Why it waits or halted, for a person.
    pub why: String,
    /// Whether it is halted until an operator clears it.
    pub halted: bool,
    /// Per log.
    pub logs: BTreeMap<String, LogStatus>,
    /// Leaves that are published and not at `latest`.
    pub lag_events: u64,
    /// Seconds since the oldest of them was first seen waiting.
    pub lag_seconds: u64,
    /// Whether the lag is longer than twice the interval.
    pub lag_alarm: bool,
    /// Spent and reserved today.
    #[serde(with = "files::wei")]
    pub spent_today_wei: Wei,
    /// All that this process has seen spent.
    #[serde(with = "files::wei")]
    pub spent_wei: Wei,
    /// The account's balance.
    #[serde(with = "files::wei")]
    pub balance_wei: Wei,
    /// Whether it is below the floor.
    pub balance_alarm: bool,
    /// Whether the signer does not answer or refuses.
    pub signer_alarm: bool,
    /// The newest nonce in use.
    pub nonce: u64,
    /// Candidates signed.
    pub signed: u64,
    /// Of them, replacements.
    pub replaced: u64,
    /// Broadcasts.
    pub sent: u64,
    /// Anchors that came into a block.
    pub included: u64,
    /// Anchors closed as final.
    pub finalized: u64,
    /// Transactions that reverted.
    pub failed: u64,
    /// Slots taken back by a reorganisation.
    pub reorgs: u64,
    /// Looks at the chain, the source or the signer that failed.
    pub errors: u64,
    /// Halts.
    pub halts: u64,
}

/// All chains of a worker.
#[derive(Debug, Default)]
pub struct Metrics {
    chains: Mutex<BTreeMap<String, ChainStatus>>,
}

impl Metrics {
    /// Changes one chain's numbers.
    pub fn update(&self, chain: &str, change: impl FnOnce(&mut ChainStatus)) {
        let mut chains = self.chains.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(chains.entry(chain.to_owned()).or_default());
    }

    /// One chain's numbers.
    #[must_use]
    pub fn chain(&self, chain: &str) -> ChainStatus {
        let chains = self.chains.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        chains.get(chain).cloned().unwrap_or_default()
    }

    /// The Prometheus text.
    #[must_use]
    pub fn exposition(&self) -> String {
        let chains = self.chains.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = String::new();
        for (name, kind, help, value) in FAMILIES {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (chain, status) in chains.iter() {
                let _ = writeln!(text, "{name}{{chain=\"{chain}\"}} {}", value(status));
            }
        }
        logs_exposition(&mut text, &chains);
        text
    }

    /// Writes one chain's numbers as JSON.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_status(&self, chain: &str, file: &Path) -> Result<(), AnchorError> {
        let json = serde_json::to_vec_pretty(&self.chain(chain))
            .map_err(|_| AnchorError::Damaged { file: file.to_owned(), why: "it cannot be written as JSON" })?;
        files::replace_unsynced(file, &json)
    }
}

type Family = (&'static str, &'static str, &'static str, fn(&ChainStatus) -> Wei);

const FAMILIES: &[Family] = &[
    ("anchor_lag_seconds", "gauge", "Seconds since the oldest leaf that is not anchored was published.", |s| {
        s.lag_seconds.into()
    }),
    ("anchor_lag_events", "gauge", "Published leaves that are not anchored.", |s| s.lag_events.into()),
    ("anchor_lag_alarm", "gauge", "Whether the lag is longer than twice the interval.", |s| s.lag_alarm.into()),
    ("anchor_spent_wei_total", "counter", "Fees of anchors, the layer below's included.", |s| s.spent_wei),
    ("anchor_spent_today_wei", "gauge", "Fees spent and reserved since midnight UTC.", |s| s.spent_today_wei),
    ("anchor_balance_wei", "gauge", "Balance of the account that pays.", |s| s.balance_wei),
    ("anchor_balance_alarm", "gauge", "Whether the balance is below its floor.", |s| s.balance_alarm.into()),
    ("anchor_signer_alarm", "gauge", "Whether the signer does not answer or refuses.", |s| s.signer_alarm.into()),
    ("anchor_halted", "gauge", "Whether the worker is halted until an operator clears it.", |s| s.halted.into()),
    ("anchor_halts_total", "counter", "Halts.", |s| s.halts.into()),
    ("anchor_signed_total", "counter", "Candidates signed.", |s| s.signed.into()),
    ("anchor_replaced_total", "counter", "Candidates signed in the place of another.", |s| s.replaced.into()),
    ("anchor_sent_total", "counter", "Broadcasts.", |s| s.sent.into()),
    ("anchor_included_total", "counter", "Anchors that came into a block.", |s| s.included.into()),
    ("anchor_finalized_total", "counter", "Anchors that are final.", |s| s.finalized.into()),
    ("anchor_failed_total", "counter", "Anchors that reverted.", |s| s.failed.into()),
    ("anchor_reorgs_total", "counter", "Anchors taken back by a reorganisation.", |s| s.reorgs.into()),
    ("anchor_errors_total", "counter", "Failed looks at chain, source or signer.", |s| s.errors.into()),
];

fn logs_exposition(text: &mut String, chains: &BTreeMap<String, ChainStatus>) {
    let name = "anchor_size";
    let _ = writeln!(text, "# HELP {name} Leaves of a log, by how sure the chain is of them.\n# TYPE {name} gauge");
    for (chain, status) in chains {
        for (log, sizes) in &status.logs {
            let levels = [
                ("published", sizes.published),
                ("latest", sizes.latest),
                ("safe", sizes.safe),
                ("finalized", sizes.finalized),
            ];
            for (level, size) in levels {
                let _ = writeln!(text, "{name}{{chain=\"{chain}\",log=\"{log}\",level=\"{level}\"}} {size}");
            }
        }
    }
}
