//! What an operator writes down about each chain. Everything is explicit, unknown keys are refused, there are no secrets.
//!
//! Units come last in the names: milliseconds, wei per gas, gwei. [`ChainConfig::check`] refuses what contradicts itself
//! before anything is opened.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chain::{Hash32, Wei};
use crate::error::AnchorError;
use crate::signer::Address;

/// Wei in a gwei.
pub const GWEI: Wei = 1_000_000_000;

/// An endpoint of a chain. Its URL may carry an access token, so its debug text and every error name it by `name`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// For logs and metrics.
    pub name: String,
    /// JSON-RPC over http or https.
    pub url: String,
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Provider({})", self.name)
    }
}

/// One chain, one contract, one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// For logs, metrics and the folder.
    pub name: String,
    /// EIP-155; another one at start is refused (S-145).
    pub chain_id: u64,
    /// The anchor contract.
    #[serde(with = "crate::files::address")]
    pub contract: Address,
    /// Keccak-256 of the contract's code, as `deploy` printed it; other code at start is refused (S-145).
    #[serde(with = "crate::files::hash32")]
    pub code_hash: Hash32,
    /// Endpoints, of independent operators.
    pub providers: Vec<Provider>,
    /// How many must agree for finality: at least 2, or 1 where `trust_one_provider` says so.
    pub providers_agree_min: usize,
    /// That one provider is believed about finality.
    pub trust_one_provider: bool,
    /// The worker's epoch; raised at key change and failover, never lowered.
    pub epoch: u32,
    /// An answer takes at most this long.
    pub request_timeout_ms: u64,
    /// A provider whose head is this much older than another's is not asked.
    pub provider_lag_max_ms: u64,
    /// For a chain without the tags: blocks that make a block safe, and finalized. `None`: the chain's own tags.
    pub confirmations: Option<Confirmations>,
    /// An anchor at least this often while the log grows.
    pub interval_ms: u64,
    /// An anchor at once when this many leaves wait.
    pub size_trigger: u64,
    /// The chain is looked at this often while something is under way.
    pub poll_ms: u64,
    /// Everything is read again at least this often.
    pub reconcile_ms: u64,
    /// A transaction that is in no block after this is replaced.
    pub replace_after_ms: u64,
    /// The same bytes are given to the providers again after this.
    pub rebroadcast_after_ms: u64,
    /// Included but not final anchors; beyond them the worker waits.
    pub unfinal_slots_max: usize,
    /// Money.
    pub fees: FeeConfig,
}

/// Blocks on top of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmations {
    /// That make it safe.
    pub safe: u64,
    /// That make it finalized.
    pub finalized: u64,
}

/// What may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeConfig {
    /// No transaction ever offers more, in wei per gas.
    pub cap_max_wei: u64,
    /// The least tip, in wei per gas.
    pub tip_min_wei: u64,
    /// In this time an anchor should be in a block; the allowance grows with the square of age over it.
    pub target_ms: u64,
    /// Spent in a day (UTC) at most, the layer below's data fee included, in gwei.
    pub budget_gwei_per_day: u64,
    /// Below this balance an alarm is raised, in gwei.
    pub balance_floor_gwei: u64,
    /// Gas limit of a transaction at most.
    pub gas_max: u64,
    /// Whether the chain has the OP Stack's gas price oracle for the layer below's data fee.
    pub op_data_fee: bool,
}

impl FeeConfig {
    /// The day's budget in wei.
    #[must_use]
    pub fn budget(&self) -> Wei {
        Wei::from(self.budget_gwei_per_day) * GWEI
    }

    /// The balance floor in wei.
    #[must_use]
    pub fn balance_floor(&self) -> Wei {
        Wei::from(self.balance_floor_gwei) * GWEI
    }
}

impl ChainConfig {
    /// For whoever only reads: one provider is believed, and what only a worker needs is at its least.
    #[must_use]
    pub fn reading(name: &str, chain_id: u64, contract: Address, providers: Vec<Provider>) -> Self {
        Self {
            name: name.to_owned(),
            chain_id,
            contract,
            code_hash: Hash32::default(),
            providers,
            providers_agree_min: 1,
            trust_one_provider: true,
            epoch: 0,
            request_timeout_ms: 10_000,
            provider_lag_max_ms: 60_000,
            confirmations: None,
            interval_ms: 1,
            size_trigger: 1,
            poll_ms: 1_000,
            reconcile_ms: 1,
            replace_after_ms: 1,
            rebroadcast_after_ms: 1,
            unfinal_slots_max: 1,
            fees: FeeConfig {
                cap_max_wei: 1,
                tip_min_wei: 0,
                target_ms: 1,
                budget_gwei_per_day: 0,
                balance_floor_gwei: 0,
                gas_max: 1,
                op_data_fee: false,
            },
        }
    }

    /// Refuses a configuration that contradicts itself.
    ///
    /// # Errors
    /// [`AnchorError::Config`], naming the key.
    pub fn check(&self) -> Result<(), AnchorError> {
        let wrong = |what: &str| Err(AnchorError::Config(format!("chain {}: {what}", self.name)));
        let file_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || !self.name.chars().all(file_name) {
            return wrong("name has other characters than letters, digits, - and _");
        }
        if self.providers.is_empty() || self.providers_agree_min > self.providers.len() {
            return wrong("providers are fewer than providers_agree_min");
        }
        let least = if self.trust_one_provider { 1 } else { 2 };
        if self.providers_agree_min < least {
            return wrong("providers_agree_min is below 2 and trust_one_provider is not set");
        }
        let durations = [self.request_timeout_ms, self.interval_ms, self.poll_ms, self.reconcile_ms];
        let more = [self.replace_after_ms, self.rebroadcast_after_ms, self.fees.target_ms, self.size_trigger];
        if durations.iter().chain(&more).any(|value| *value == 0) || self.unfinal_slots_max == 0 {
            return wrong("a duration or a count is 0");
        }
        if self.fees.cap_max_wei <= self.fees.tip_min_wei || self.fees.gas_max == 0 {
            return wrong("fees.cap_max_wei does not exceed fees.tip_min_wei, or fees.gas_max is 0");
        }
        Ok(())
    }
}
