//! `[anchor]`: the chains that a node watches. It reads there and holds no key; anchors are made by `tally anchor run`.
//!
//! A file without the section watches none: the rung `anchored` stays at 0.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tally_anchor::chain::{Hash32, Level};
use tally_anchor::config::{ChainConfig, Confirmations, Provider};
use tally_anchor::ethereum::Ethereum;
use tally_anchor::signer::Address;
use tally_protocol::hash;

use crate::anchoring::{WatchPlan, WatchedChain};
use crate::exit::Failure;

/// `[anchor]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorSection {
    /// How many of the chains must hold an event for it to count as anchored.
    pub chains_needed: usize,
    /// How sure each of them must be: `latest`, `safe` or `finalized`.
    pub level: Level,
    /// The chains.
    pub chain: Vec<WatchSection>,
}

/// `[[anchor.chain]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchSection {
    /// For people and metrics.
    pub name: String,
    /// EIP-155; another one at the start is refused.
    pub chain_id: u64,
    /// The contract.
    #[serde(with = "tally_anchor::files::address")]
    pub contract: Address,
    /// Keccak-256 of its code, as `tally anchor deploy` prints it; other code at the start is refused.
    #[serde(with = "tally_anchor::files::hash32")]
    pub code_hash: Hash32,
    /// The block from which its events are read, as `tally anchor deploy` prints it.
    pub from_block: u64,
    /// Milliseconds between looks.
    pub poll_ms: u64,
    /// Milliseconds that an answer may take.
    pub request_timeout_ms: u64,
    /// A provider whose head is this much older than another's is not asked.
    pub provider_lag_max_ms: u64,
    /// Endpoints, of independent operators.
    pub providers: Vec<Provider>,
    /// How many must agree for finality: at least 2, or 1 where `trust_one_provider` says so.
    pub providers_agree_min: usize,
    /// That one provider is believed about finality.
    pub trust_one_provider: bool,
    /// For a chain without the tags `safe` and `finalized`: blocks on top.
    pub confirmations: Option<Confirmations>,
}

impl AnchorSection {
    /// What to watch.
    ///
    /// # Errors
    /// A chain's section contradicts itself, or there are fewer chains than needed.
    pub fn plan(&self) -> Result<WatchPlan, Failure> {
        if self.chains_needed == 0 || self.chains_needed > self.chain.len() {
            let what =
                format!("anchor.chains_needed is {}, and there are {} chains", self.chains_needed, self.chain.len());
            return Err(Failure::usage(what));
        }
        let chains = self.chain.iter().map(WatchSection::watched).collect::<Result<_, _>>()?;
        Ok(WatchPlan { chains, needed: self.chains_needed, level: self.level })
    }
}

impl WatchSection {
    fn watched(&self) -> Result<WatchedChain, Failure> {
        let refused = |error: &dyn std::fmt::Display| Failure::usage(format!("[anchor]: {error}"));
        let chain = Ethereum::new(&self.chain_config()).map_err(|error| refused(&error))?;
        Ok(WatchedChain {
            name: self.name.clone(),
            chain_id: self.chain_id,
            contract: hash::Address::from_bytes(self.contract.0),
            code_hash: self.code_hash,
            from_block: self.from_block,
            poll: Duration::from_millis(self.poll_ms),
            chain: Arc::new(chain),
        })
    }

    /// As the anchor crate takes it.
    fn chain_config(&self) -> ChainConfig {
        ChainConfig {
            providers_agree_min: self.providers_agree_min,
            trust_one_provider: self.trust_one_provider,
            request_timeout_ms: self.request_timeout_ms,
            provider_lag_max_ms: self.provider_lag_max_ms,
            confirmations: self.confirmations,
            poll_ms: self.poll_ms,
            code_hash: self.code_hash,
            ..ChainConfig::reading(&self.name, self.chain_id, self.contract, self.providers.clone())
        }
    }
}
