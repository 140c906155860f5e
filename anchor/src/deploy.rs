//! What an operator does with the contract: deploy it, open the logs, rotate keys, pause.
//!
//! Takes the admin's signer; each step is one transaction that is waited for, and a step that is already done is passed over, so
//! that an interrupted run is run again. The contract goes to the same address on every chain where the standard
//! deterministic deployer stands. The worker's journal is not touched: use another account than the worker's.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::chain::{Chain as _, Hash32, Level, Receipt, Wei};
use crate::config::ChainConfig;
use crate::error::{AnchorError, ChainError, Refusal};
use crate::ethereum::envelope::Unsigned;
use crate::ethereum::{Ethereum, abi};
use crate::fees::{self, Fee};
use crate::files::from_hex;
use crate::signer::{Address, Purpose, Signer};
use crate::source::LogId;

/// The deterministic deployer that most chains have: takes a salt and creation code (32 bytes, then the code).
pub const DETERMINISTIC_DEPLOYER: Address = Address([
    0x4e, 0x59, 0xb4, 0x48, 0x47, 0xb3, 0x79, 0x57, 0x85, 0x88, 0x92, 0x0c, 0xa7, 0x8f, 0xbf, 0x26, 0xc0, 0xb4, 0x95,
    0x6c,
]);

const ARTIFACT: &str = include_str!("../contract/artifacts/TallyAnchor.json");

/// How often a waited-for transaction is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What to deploy.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Who will be admin; if it is not the deploying key, it is proposed and must accept.
    pub admin: Address,
    /// Who may pause; zero: nobody but the admin.
    pub guardian: Address,
    /// Seconds between a supersession's proposal and its effect.
    pub delay_s: u64,
    /// Whether the chain checks consistency proofs. False is the cheap variant that checks only that sizes grow.
    pub require_consistency: bool,
    /// Distinguishes deployments with the same arguments.
    pub salt: [u8; 32],
    /// The logs to open.
    pub logs: Vec<LogId>,
    /// The logs' authority.
    pub authority: Address,
    /// The worker's account.
    pub anchorer: Address,
}

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// Where.
    pub contract: Address,
    /// Keccak-256 of the code, for the configuration.
    pub code_hash: Hash32,
    /// A block from which a watcher misses nothing.
    pub from_block: u64,
    /// The transactions this run has sent.
    pub transactions: Vec<Hash32>,
}

/// An operator's account on a chain.
pub struct Operator<'a> {
    chain: &'a Ethereum,
    config: &'a ChainConfig,
    key: &'a dyn Signer,
    wait_max: Duration,
    sent: Vec<Hash32>,
}

impl<'a> Operator<'a> {
    /// With the admin's or guardian's key; each transaction is waited for at most `wait_max`. Refuses another chain than the
    /// configured one.
    ///
    /// # Errors
    /// `WrongChain`, or no answer.
    pub async fn new(
        chain: &'a Ethereum,
        config: &'a ChainConfig,
        key: &'a dyn Signer,
        wait_max: Duration,
    ) -> Result<Self, AnchorError> {
        let found = chain.identity().await?.chain_id;
        if found != config.chain_id {
            return Err(AnchorError::WrongChain { expected: config.chain_id, found });
        }
        Ok(Self { chain, config, key, wait_max, sent: Vec::new() })
    }

    /// Deploys the contract and opens its logs.
    ///
    /// # Errors
    /// A transaction reverted or did not come through; run again.
    pub async fn deploy(&mut self, what: &Deployment) -> Result<Deployed, AnchorError> {
        let from_block = self.chain.view(Level::Latest, self.key.address(), Vec::new()).await?.block.number;
        let creation =
            abi::creation(&bytecode()?, self.key.address(), what.guardian, what.delay_s, what.require_consistency);
        let contract = self.create(&creation, what.salt).await?;
        for log in &what.logs {
            let known = self.chain.call(contract, &abi::knows_log(log)).await?;
            if abi::read_bool(&known) != Some(true) {
                self.send(Some(contract), abi::open_log(log, what.authority, what.anchorer)).await?;
            }
        }
        if what.admin != self.key.address() {
            self.send(Some(contract), abi::transfer_admin(what.admin)).await?;
        }
        let code_hash = abi::keccak(&self.chain.code(contract).await?);
        Ok(Deployed { contract, code_hash, from_block, transactions: self.sent.clone() })
    }

    /// Pauses the contract (guardian or admin), or lets it go on (admin).
    ///
    /// # Errors
    /// The contract refuses, or the transaction did not come through.
    pub async fn pause(&mut self, on: bool) -> Result<Receipt, AnchorError> {
        self.send(Some(self.config.contract), abi::pause(on)).await
    }

    /// Adds or removes an authority or an anchorer of a log. Add the new key, let it become final, switch the worker, remove
    /// the old one (S-127).
    ///
    /// # Errors
    /// The contract refuses, or the transaction did not come through.
    pub async fn set_key(
        &mut self,
        log: &LogId,
        authority: bool,
        key: Address,
        active: bool,
    ) -> Result<Receipt, AnchorError> {
        self.send(Some(self.config.contract), abi::set_key(log, authority, key, active)).await
    }

    async fn create(&mut self, creation: &[u8], salt: [u8; 32]) -> Result<Address, AnchorError> {
        if self.chain.code(DETERMINISTIC_DEPLOYER).await?.is_empty() {
            let nonce = self.chain.pending_nonce(self.key.address()).await?;
            self.send(None, creation.to_vec()).await?;
            return self.existing(abi::create_address(self.key.address(), nonce)).await;
        }
        let contract = abi::create2_address(DETERMINISTIC_DEPLOYER, salt, creation);
        if self.chain.code(contract).await?.is_empty() {
            self.send(Some(DETERMINISTIC_DEPLOYER), [&salt[..], creation].concat()).await?;
        }
        self.existing(contract).await
    }

    async fn existing(&self, contract: Address) -> Result<Address, AnchorError> {
        if self.chain.code(contract).await?.is_empty() {
            return Err(AnchorError::Operation("the contract is not where it should be".to_owned()));
        }
        Ok(contract)
    }

    /// Sends one transaction and waits until it is in a block.
    async fn send(&mut self, to: Option<Address>, input: Vec<u8>) -> Result<Receipt, AnchorError> {
        let account = self.key.address();
        let gas = self.chain.estimate_any(account, to, &input).await?;
        let prices = self.chain.prices().await?;
        let Fee { cap, tip } = fees::first(&self.config.fees, prices);
        let nonce = self.chain.pending_nonce(account).await?;
        let gas = gas.saturating_add(gas / 4);
        self.check_balance(cap.saturating_mul(Wei::from(gas))).await?;
        let unsigned = Unsigned { chain_id: self.config.chain_id, nonce, tip, cap, gas, to, input };
        let signature = self.key.sign(Purpose::Transaction, unsigned.digest()).await?;
        let (raw, tx) = unsigned.signed(&signature, account)?;
        self.chain.send(raw).await?;
        self.sent.push(tx);
        self.landed(tx).await
    }

    async fn check_balance(&self, worst: Wei) -> Result<(), AnchorError> {
        if self.chain.balance(self.key.address()).await? < worst {
            return Err(ChainError::Refused(Refusal::InsufficientFunds).into());
        }
        Ok(())
    }

    async fn landed(&self, tx: Hash32) -> Result<Receipt, AnchorError> {
        let until = Instant::now() + self.wait_max;
        while Instant::now() < until {
            match self.chain.receipt(tx, Level::Latest).await {
                Ok(Some(receipt)) if receipt.succeeded => return Ok(receipt),
                Ok(Some(_)) => return Err(AnchorError::Operation(format!("transaction {tx} reverted"))),
                Ok(None) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        Err(AnchorError::Operation(format!("transaction {tx} is in no block yet; look for it before running again")))
    }
}

/// The committed creation code.
///
/// # Errors
/// The artifact is not one: a mistake of the build.
fn bytecode() -> Result<Vec<u8>, AnchorError> {
    let artifact: Option<Value> = serde_json::from_str(ARTIFACT).ok();
    let code = artifact.as_ref().and_then(|artifact| artifact.get("bytecode")?.as_str()).and_then(from_hex);
    code.ok_or_else(|| AnchorError::Config("the contract's artifact has no bytecode".to_owned()))
}
