//! A chain as several providers see it.
//!
//! Reads go to all of them. What must be final is only what the configured number of them agree on, block hash and answer
//! alike; a contradiction is an error and never a majority. At `latest` the longest head of those that are not late counts.
//! A transaction goes to all; one that takes it is enough.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tally_protocol::hash::{LogId, RootHash};
use tally_protocol::id::TreeSize;
use tokio::task::JoinSet;

use crate::chain::{
    AnchoredEvent, BlockRef, Chain, Hash32, Identity, Level, LogHead, Prices, Reading, Receipt, View, Wei,
};
use crate::config::{ChainConfig, Confirmations};
use crate::error::{AnchorError, ChainError, Refusal};
use crate::files::{from_hex, to_hex};
use crate::signer::Address;

use super::abi;
use super::rpc::{Rpc, RpcError, classify};

/// The OP Stack's predeployed gas price oracle.
const OP_ORACLE: Address = Address(hex_address(0x42, 0x0f));

const NO_HEAD: LogHead = LogHead { size: TreeSize::new(0), seq: 0, block_time: 0, epoch: 0, root: RootHash::ZERO };

const fn hex_address(first: u8, last: u8) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[0] = first;
    bytes[19] = last;
    bytes
}

/// The chain of a configuration.
#[derive(Debug)]
pub struct Ethereum {
    providers: Vec<Rpc>,
    agree_min: usize,
    lag_max_ms: u64,
    confirmations: Option<Confirmations>,
    pub(super) contract: Address,
    op_data_fee: bool,
    // Which providers were not late at the last look at `latest`.
    fresh: Mutex<Vec<bool>>,
}

/// An answer with the number of the provider that gave it.
type FromProvider = (usize, Result<Value, RpcError>);

impl Ethereum {
    /// Prepares the providers; asks nothing yet.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub fn new(config: &ChainConfig) -> Result<Self, AnchorError> {
        config.check()?;
        Self::unchecked(config)
    }

    /// As [`Ethereum::new`] for a contract that does not exist yet.
    ///
    /// # Errors
    /// A provider's entry is wrong.
    pub fn unchecked(config: &ChainConfig) -> Result<Self, AnchorError> {
        let timeout = Duration::from_millis(config.request_timeout_ms);
        let providers: Result<Vec<_>, _> = config.providers.iter().map(|each| Rpc::new(each, timeout)).collect();
        let providers = providers?;
        Ok(Self {
            fresh: Mutex::new(vec![true; providers.len()]),
            providers,
            agree_min: config.providers_agree_min,
            lag_max_ms: config.provider_lag_max_ms,
            confirmations: config.confirmations,
            contract: config.contract,
            op_data_fee: config.fees.op_data_fee,
        })
    }

    /// Asks a view function of any contract at `latest`.
    ///
    /// # Errors
    /// A revert, or no answer.
    pub async fn call(&self, to: Address, input: &[u8]) -> Result<Vec<u8>, ChainError> {
        let call = json!([{ "to": to_hex(&to.0), "input": to_hex(input) }, "latest"]);
        bytes(&self.first("eth_call", call).await?, "eth_call")
    }

    /// The code at an address at `latest`.
    ///
    /// # Errors
    /// No answer.
    pub async fn code(&self, at: Address) -> Result<Vec<u8>, ChainError> {
        bytes(&self.first("eth_getCode", json!([to_hex(&at.0), "latest"])).await?, "eth_getCode")
    }

    /// The nonce of an account, its pending transactions included.
    ///
    /// # Errors
    /// No answer.
    pub async fn pending_nonce(&self, account: Address) -> Result<u64, ChainError> {
        let method = "eth_getTransactionCount";
        number(&self.first(method, json!([to_hex(&account.0), "pending"])).await?, method)
    }

    /// Gas of any transaction at `latest`; `to` is `None` for a creation.
    ///
    /// # Errors
    /// A revert, or no answer.
    pub async fn estimate_any(&self, from: Address, to: Option<Address>, input: &[u8]) -> Result<u64, ChainError> {
        let mut call = json!({ "from": to_hex(&from.0), "input": to_hex(input) });
        if let Some(to) = to {
            call["to"] = json!(to_hex(&to.0));
        }
        // Not the default, which on some nodes is the pool: there the candidate that is to be replaced has anchored already.
        number(&self.first("eth_estimateGas", json!([call, "latest"])).await?, "eth_estimateGas")
    }

    async fn all(&self, method: &'static str, params: Value) -> Vec<FromProvider> {
        let mut asking = JoinSet::new();
        for (at, rpc) in self.providers.iter().cloned().enumerate() {
            let params = params.clone();
            asking.spawn(async move { (at, rpc.call(method, params).await) });
        }
        let mut answers: Vec<FromProvider> = asking.join_all().await;
        answers.sort_by_key(|(at, _)| *at);
        answers
    }

    /// One provider's answer: those that are not late first, the next when one does not answer. A node's error is an answer.
    async fn first(&self, method: &'static str, params: Value) -> Result<Value, ChainError> {
        let mut why = String::new();
        for at in self.by_freshness() {
            match self.providers[at].call(method, params.clone()).await {
                Ok(value) => return Ok(value),
                Err(RpcError::Transport(error)) => why = error,
                Err(RpcError::Node { code, message, data }) => {
                    let refusal = classify(code, &message, data.as_deref());
                    return Err(ChainError::Refused(refusal.unwrap_or(Refusal::Other(code, message))));
                }
            }
        }
        Err(ChainError::Unreachable { answered: 0, needed: 1, why })
    }

    fn by_freshness(&self) -> Vec<usize> {
        let fresh = self.fresh.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let mut order: Vec<usize> = (0..self.providers.len()).collect();
        order.sort_by_key(|at| !fresh.get(*at).copied().unwrap_or(false));
        order
    }

    fn is_fresh(&self, at: usize) -> bool {
        self.fresh.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(at).copied().unwrap_or(false)
    }

    async fn blocks(&self, tag: &Value) -> Result<Vec<(usize, BlockRef)>, ChainError> {
        let mut blocks = Vec::new();
        let mut why = "it has no such block".to_owned();
        for (at, answer) in self.all("eth_getBlockByNumber", json!([tag, false])).await {
            match answer {
                Ok(Value::Null) => {}
                Ok(value) => blocks.push((at, block(&value)?)),
                Err(RpcError::Transport(error)) => why = error,
                Err(RpcError::Node { message, .. }) => why = message,
            }
        }
        if blocks.is_empty() {
            return Err(ChainError::Unreachable { answered: 0, needed: 1, why });
        }
        Ok(blocks)
    }

    /// The longest head among those that are not late; remembers who is.
    async fn latest(&self) -> Result<BlockRef, ChainError> {
        let blocks = self.blocks(&json!("latest")).await?;
        let newest = blocks.iter().map(|(_, block)| block.time).max().unwrap_or(0);
        let late = |block: &BlockRef| (newest - block.time).saturating_mul(1000) > self.lag_max_ms;
        let mut fresh = vec![false; self.providers.len()];
        for (at, block) in &blocks {
            fresh[*at] = !late(block);
        }
        *self.fresh.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
        let longest = blocks.iter().filter(|(_, block)| !late(block)).max_by_key(|(_, block)| block.number);
        longest.map(|(_, block)| *block).ok_or(ChainError::Malformed("latest"))
    }

    /// The highest block that enough providers call safe or finalized, under one hash.
    async fn agreed(&self, level: Level) -> Result<BlockRef, ChainError> {
        let (tag, below) = match (self.confirmations, level) {
            (None, _) | (_, Level::Latest) => (level.as_str(), 0),
            (Some(confirmations), Level::Safe) => ("latest", confirmations.safe),
            (Some(confirmations), Level::Finalized) => ("latest", confirmations.finalized),
        };
        let mut heights: Vec<u64> = self.blocks(&json!(tag)).await?.iter().map(|(_, block)| block.number).collect();
        heights.sort_unstable_by(|a, b| b.cmp(a));
        let few =
            |answered| ChainError::Unreachable { answered, needed: self.agree_min, why: format!("no {tag} block") };
        let height = heights.get(self.agree_min - 1).ok_or_else(|| few(heights.len()))?.saturating_sub(below);
        self.block_agreed(height).await?.ok_or_else(|| few(0))
    }

    /// The block at a height that enough providers have, with no one contradicting.
    async fn block_agreed(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        let blocks = match self.blocks(&json!(hex_number(height))).await {
            Ok(blocks) => blocks,
            Err(ChainError::Unreachable { why, .. }) if why == "it has no such block" => return Ok(None),
            Err(error) => return Err(error),
        };
        let (_, first) = blocks[0];
        if blocks.iter().any(|(_, block)| block.hash != first.hash) {
            return Err(ChainError::Disagreement("a block's hash"));
        }
        Ok((blocks.len() >= self.agree_min).then_some(first))
    }

    /// An answer that at least `needed` providers give about one block, and none gives otherwise.
    async fn at_block(
        &self,
        method: &'static str,
        what: Value,
        block: &BlockRef,
        needed: usize,
    ) -> Result<Value, ChainError> {
        let at = json!({ "blockHash": block.hash.to_string() });
        let (mut given, mut answered, mut why) = (None, 0, String::new());
        for (_, answer) in self.all(method, json!([what, at])).await {
            match answer {
                Ok(value) if given.as_ref().is_none_or(|first| *first == value) => {
                    given = Some(value);
                    answered += 1;
                }
                Ok(_) => return Err(ChainError::Disagreement(method)),
                Err(RpcError::Transport(error)) => why = error,
                // A provider that does not have the block yet, or has it no more.
                Err(RpcError::Node { message, .. }) => why = message,
            }
        }
        given.filter(|_| answered >= needed).ok_or(ChainError::Unreachable { answered, needed, why })
    }

    async fn view_at(
        &self,
        block: BlockRef,
        account: Address,
        logs: &[LogId],
        level: Level,
    ) -> Result<View, ChainError> {
        let needed = if level == Level::Latest { 1 } else { self.agree_min };
        let method = "eth_getTransactionCount";
        let nonce = number(&self.at_block(method, json!(to_hex(&account.0)), &block, needed).await?, method)?;
        let mut heads = Vec::with_capacity(logs.len());
        for log in logs {
            let call = json!({ "to": to_hex(&self.contract.0), "input": to_hex(&abi::head_of(log)) });
            let answer = bytes(&self.at_block("eth_call", call, &block, needed).await?, "eth_call")?;
            // A safe or final block may be older than the contract. At `latest` an absent contract is an error: a call to
            // nothing would succeed and do nothing.
            let absent = answer.is_empty() && level != Level::Latest;
            let head = if absent { Some(NO_HEAD) } else { abi::read_head(&answer) };
            heads.push(head.ok_or(ChainError::Malformed("headOf"))?);
        }
        Ok(View { block, nonce, heads })
    }

    async fn receipt_at(&self, tx: Hash32, level: Level) -> Result<Option<Receipt>, ChainError> {
        let (mut found, mut why, mut answered): (BTreeMap<Hash32, (usize, Value)>, _, usize) =
            (BTreeMap::new(), String::new(), 0);
        for (at, answer) in self.all("eth_getTransactionReceipt", json!([tx.to_string()])).await {
            match answer {
                // A late provider's word about what is not final is old news.
                Ok(_) if level == Level::Latest && !self.is_fresh(at) => {}
                Ok(Value::Null) => answered += 1,
                Ok(value) => {
                    answered += 1;
                    let hash = hash32(value.get("blockHash"), "eth_getTransactionReceipt")?;
                    found.entry(hash).or_insert((0, value)).0 += 1;
                }
                Err(RpcError::Transport(error)) => why = error,
                Err(RpcError::Node { message, .. }) => why = message,
            }
        }
        let needed = if level == Level::Latest { 1 } else { self.agree_min };
        if answered < needed {
            return Err(ChainError::Unreachable { answered, needed, why });
        }
        if level != Level::Latest && found.len() > 1 {
            return Err(ChainError::Disagreement("a transaction's block"));
        }
        match found.into_values().max_by_key(|(count, _)| *count) {
            Some((count, value)) if count >= needed => self.read_receipt(&value).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn read_receipt(&self, value: &Value) -> Result<Receipt, ChainError> {
        let method = "eth_getTransactionReceipt";
        let field = |name| number_field(value, name, method);
        let gas_used = field("gasUsed")?;
        let price = wei_field(value, "effectiveGasPrice").ok_or(ChainError::Malformed(method))?;
        let data_fee = wei_field(value, "l1Fee").unwrap_or(0);
        let hash = hash32(value.get("blockHash"), method)?;
        let holds = self.first("eth_getBlockByHash", json!([hash.to_string(), false])).await?;
        if holds.is_null() {
            // Between the two questions the block went away; the next look will say where the transaction is.
            return Err(ChainError::Disagreement("a receipt's block"));
        }
        Ok(Receipt {
            block: block(&holds)?,
            succeeded: field("status")? == 1,
            cost: price.saturating_mul(Wei::from(gas_used)).saturating_add(data_fee),
            gas_used,
        })
    }

    async fn broadcast(&self, raw: &[u8]) -> Result<(), ChainError> {
        let mut worst = None;
        let mut why = String::new();
        for (_, answer) in self.all("eth_sendRawTransaction", json!([to_hex(raw)])).await {
            match answer {
                Ok(_) => return Ok(()),
                Err(RpcError::Transport(error)) => why = error,
                Err(RpcError::Node { code, message, data }) => match classify(code, &message, data.as_deref()) {
                    None => return Ok(()),
                    Some(refusal) => worst = worst.or(Some(refusal)),
                },
            }
        }
        Err(worst.map_or(ChainError::Unreachable { answered: 0, needed: 1, why }, ChainError::Refused))
    }

    async fn prices_now(&self) -> Result<Prices, ChainError> {
        let (mut seen, mut why) = (Vec::new(), String::new());
        for (at, answer) in self.all("eth_feeHistory", json!(["0x5", "latest", [50]])).await {
            match answer {
                Ok(value) if self.is_fresh(at) => {
                    seen.push(read_prices(&value).ok_or(ChainError::Malformed("eth_feeHistory"))?);
                }
                Ok(_) => {}
                Err(RpcError::Transport(error)) => why = error,
                Err(RpcError::Node { message, .. }) => why = message,
            }
        }
        // The lower middle: one provider alone cannot make us pay more when there are three.
        seen.sort_by_key(|prices: &Prices| prices.base);
        let middle = seen.len().saturating_sub(1) / 2;
        seen.get(middle).copied().ok_or(ChainError::Unreachable { answered: 0, needed: 1, why })
    }

    async fn identity_agreed(&self) -> Result<Identity, ChainError> {
        let (mut agreed, mut why): (Option<Identity>, _) = (None, String::new());
        let mut answered = 0;
        let codes = self.all("eth_getCode", json!([to_hex(&self.contract.0), "latest"])).await;
        let ids = self.all("eth_chainId", json!([])).await;
        for ((_, code), (_, id)) in codes.into_iter().zip(ids) {
            let (code, id) = match (code, id) {
                (Ok(code), Ok(id)) => (bytes(&code, "eth_getCode")?, number(&id, "eth_chainId")?),
                (Err(error), _) | (_, Err(error)) => {
                    why = format!("{error:?}");
                    continue;
                }
            };
            let found = Identity { chain_id: id, code_hash: (!code.is_empty()).then(|| abi::keccak(&code)) };
            if agreed.is_some_and(|first| first != found) {
                return Err(ChainError::Disagreement("the chain's id or the contract's code"));
            }
            agreed = Some(found);
            answered += 1;
        }
        agreed.ok_or(ChainError::Unreachable { answered, needed: 1, why })
    }

    async fn logs(&self, logs: &[LogId], from: u64, to: u64) -> Result<Vec<AnchoredEvent>, ChainError> {
        let topics: Vec<String> = logs.iter().map(|log| to_hex(log.as_bytes())).collect();
        let filter = json!([{
            "address": to_hex(&self.contract.0),
            "fromBlock": hex_number(from),
            "toBlock": hex_number(to),
            "topics": [to_hex(&abi::anchored_topic()), topics],
        }]);
        let answer = self.first("eth_getLogs", filter).await?;
        let found = answer.as_array().ok_or(ChainError::Malformed("eth_getLogs"))?;
        found.iter().map(|log| read_event(log).ok_or(ChainError::Malformed("eth_getLogs"))).collect()
    }
}

impl Chain for Ethereum {
    fn identity(&self) -> Reading<'_, Identity> {
        Box::pin(self.identity_agreed())
    }

    fn view(&self, level: Level, account: Address, logs: Vec<LogId>) -> Reading<'_, View> {
        Box::pin(async move {
            if level == Level::Latest {
                let block = self.latest().await?;
                return self.view_at(block, account, &logs, level).await;
            }
            let block = self.agreed(level).await?;
            self.view_at(block, account, &logs, level).await
        })
    }

    fn receipt(&self, tx: Hash32, level: Level) -> Reading<'_, Option<Receipt>> {
        Box::pin(self.receipt_at(tx, level))
    }

    fn knows(&self, tx: Hash32) -> Reading<'_, bool> {
        Box::pin(async move {
            let answers = self.all("eth_getTransactionByHash", json!([tx.to_string()])).await;
            Ok(answers.iter().any(|(_, answer)| matches!(answer, Ok(value) if !value.is_null())))
        })
    }

    fn balance(&self, account: Address) -> Reading<'_, Wei> {
        Box::pin(async move {
            let answer = self.first("eth_getBalance", json!([to_hex(&account.0), "latest"])).await?;
            wei(&answer).ok_or(ChainError::Malformed("eth_getBalance"))
        })
    }

    fn prices(&self) -> Reading<'_, Prices> {
        Box::pin(self.prices_now())
    }

    fn data_fee(&self, tx_bytes: u64) -> Reading<'_, Wei> {
        Box::pin(async move {
            if !self.op_data_fee {
                return Ok(0);
            }
            let answer = self.call(OP_ORACLE, &abi::data_fee_bound(tx_bytes)).await?;
            abi::read_wei(&answer).ok_or(ChainError::Malformed("getL1FeeUpperBound"))
        })
    }

    fn estimate(&self, from: Address, call: Vec<u8>) -> Reading<'_, u64> {
        Box::pin(async move { self.estimate_any(from, Some(self.contract), &call).await })
    }

    fn send(&self, raw: Vec<u8>) -> Reading<'_, ()> {
        Box::pin(async move { self.broadcast(&raw).await })
    }

    fn events(&self, logs: Vec<LogId>, from: u64, to: u64) -> Reading<'_, Vec<AnchoredEvent>> {
        Box::pin(async move { self.logs(&logs, from, to).await })
    }

    fn block(&self, number: u64) -> Reading<'_, Option<BlockRef>> {
        Box::pin(self.block_agreed(number))
    }

    fn raw(&self, tx: Hash32) -> Reading<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            let answer = match self.first("eth_getRawTransactionByHash", json!([tx.to_string()])).await {
                Ok(answer) => answer,
                // Not every node offers the method.
                Err(ChainError::Refused(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
            // Believed only by its hash.
            Ok(bytes(&answer, "").ok().filter(|raw| abi::keccak(raw) == tx))
        })
    }
}

fn block(value: &Value) -> Result<BlockRef, ChainError> {
    let method = "eth_getBlock";
    Ok(BlockRef {
        number: number_field(value, "number", method)?,
        hash: hash32(value.get("hash"), method)?,
        time: number_field(value, "timestamp", method)?,
    })
}

fn read_prices(value: &Value) -> Option<Prices> {
    let base = wei(value.get("baseFeePerGas")?.as_array()?.last()?)?;
    let rewards = value.get("reward").and_then(Value::as_array);
    let mut tips: Vec<Wei> =
        rewards.into_iter().flatten().filter_map(|block| wei(block.as_array()?.first()?)).collect();
    tips.sort_unstable();
    Some(Prices { base, tip: tips.get(tips.len() / 2).copied().unwrap_or(0) })
}

fn read_event(log: &Value) -> Option<AnchoredEvent> {
    let topics: Option<Vec<[u8; 32]>> =
        log.get("topics")?.as_array()?.iter().map(|topic| from_hex(topic.as_str()?)?.try_into().ok()).collect();
    let words = abi::read_anchored(&topics?, &from_hex(log.get("data")?.as_str()?)?)?;
    let field = |name| number_field(log, name, "").ok();
    Some(AnchoredEvent {
        log_id: words.log_id,
        seq: words.seq,
        size: words.size,
        root: words.root,
        prev_size: words.prev_size,
        prev_root: words.prev_root,
        note_hash: words.note_hash,
        epoch: words.epoch,
        block_number: field("blockNumber")?,
        block_hash: hash32(log.get("blockHash"), "").ok()?,
        tx_hash: hash32(log.get("transactionHash"), "").ok()?,
        log_index: field("logIndex")?,
    })
}

fn hex_number(value: u64) -> String {
    format!("0x{value:x}")
}

fn wei(value: &Value) -> Option<Wei> {
    Wei::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn wei_field(value: &Value, name: &str) -> Option<Wei> {
    wei(value.get(name)?)
}

fn number(value: &Value, method: &'static str) -> Result<u64, ChainError> {
    wei(value).and_then(|value| value.try_into().ok()).ok_or(ChainError::Malformed(method))
}

fn number_field(value: &Value, name: &str, method: &'static str) -> Result<u64, ChainError> {
    number(value.get(name).unwrap_or(&Value::Null), method)
}

fn bytes(value: &Value, method: &'static str) -> Result<Vec<u8>, ChainError> {
    value.as_str().and_then(from_hex).ok_or(ChainError::Malformed(method))
}

fn hash32(value: Option<&Value>, method: &'static str) -> Result<Hash32, ChainError> {
    let bytes = value.and_then(Value::as_str).and_then(from_hex);
    bytes.and_then(|bytes| bytes.try_into().ok()).map(Hash32).ok_or(ChainError::Malformed(method))
}
