//! The journal of an account on a chain: what was signed for which nonce, durable before it is sent.
//!
//! Takes slots; a call that returns has them on disk. A slot that is not final is a file of its own, replaced whole, with a
//! checksum; a closed one is a line of the day's history, written before the file goes away. A file that is not exactly
//! what this worker wrote stops the worker: guessing which nonce is free is how an anchor is sent twice. A lock on the folder keeps
//! a second worker out.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{LogId, RootHash};
use tally_protocol::id::TreeSize;

use crate::chain::{BlockRef, Hash32, Wei};
use crate::error::{AnchorError, Halt};
use crate::failpoint;
use crate::fees::{DAY_MS, Fee};
use crate::files;
use crate::signer::Address;

/// What a transaction says about a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Which log.
    #[serde(with = "files::log_id")]
    pub log_id: LogId,
    /// The head it continues.
    #[serde(with = "files::size")]
    pub prev_size: TreeSize,
    /// The new head.
    #[serde(with = "files::size")]
    pub size: TreeSize,
    /// Its root.
    #[serde(with = "files::root")]
    pub root: RootHash,
    /// SHA-256 of the signed note.
    #[serde(with = "files::bytes32")]
    pub note_hash: [u8; 32],
}

/// A signed transaction for a slot's nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its hash.
    #[serde(with = "files::hash32")]
    pub tx_hash: Hash32,
    /// The signed bytes, ready to be sent again.
    #[serde(with = "files::raw")]
    pub raw: Vec<u8>,
    /// Gas limit.
    pub gas: u64,
    /// `maxFeePerGas`.
    #[serde(with = "files::wei")]
    pub cap: Wei,
    /// `maxPriorityFeePerGas`.
    #[serde(with = "files::wei")]
    pub tip: Wei,
    /// Bound of the layer below's fee.
    #[serde(with = "files::wei")]
    pub data_fee: Wei,
    /// When it was signed.
    pub created_ms: u64,
    /// When a provider last took it.
    pub sent_ms: Option<u64>,
    /// What it anchors.
    pub claims: Vec<Claim>,
}

impl Candidate {
    /// Its offer.
    #[must_use]
    pub fn fee(&self) -> Fee {
        Fee { cap: self.cap, tip: self.tip }
    }

    /// The most it can cost.
    #[must_use]
    pub fn worst(&self) -> Wei {
        self.fee().worst(self.gas, self.data_fee)
    }
}

/// Where a candidate landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Landed {
    /// Which candidate.
    #[serde(with = "files::hash32")]
    pub tx_hash: Hash32,
    /// In which block.
    pub block: BlockRef,
    /// What it cost in all.
    #[serde(with = "files::wei")]
    pub cost: Wei,
    /// Gas used.
    pub gas_used: u64,
    /// Whether it did what it says.
    pub succeeded: bool,
    /// When this worker saw it first in a block.
    pub seen_ms: u64,
}

/// How far a slot has come. A reorganisation takes it back to `Submitted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SlotState {
    /// Durable; perhaps sent, perhaps not.
    Signed,
    /// A provider has taken it.
    Submitted,
    /// In a block.
    Included(Landed),
    /// In a safe block.
    Safe(Landed),
    /// In a finalized block; closed next.
    Finalized(Landed),
}

impl SlotState {
    /// Where it landed, if it has.
    #[must_use]
    pub fn landed(&self) -> Option<&Landed> {
        match self {
            Self::Signed | Self::Submitted => None,
            Self::Included(landed) | Self::Safe(landed) | Self::Finalized(landed) => Some(landed),
        }
    }

    /// The state's name, for status and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Submitted => "submitted",
            Self::Included(_) => "included",
            Self::Safe(_) => "safe",
            Self::Finalized(_) => "finalized",
        }
    }
}

/// One nonce, and everything that was signed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// EIP-155.
    pub chain_id: u64,
    /// Whose nonce.
    #[serde(with = "files::address")]
    pub account: Address,
    /// The nonce.
    pub nonce: u64,
    /// The worker's epoch.
    pub epoch: u32,
    /// When the first candidate was signed.
    pub opened_ms: u64,
    /// How often a reorganisation took it back.
    pub reorgs: u32,
    /// How far it is.
    pub state: SlotState,
    /// Oldest first; each pays more than the one before.
    pub candidates: Vec<Candidate>,
}

impl Slot {
    /// The newest candidate; a slot has at least one.
    #[must_use]
    pub fn newest(&self) -> Option<&Candidate> {
        self.candidates.last()
    }

    /// What is spent or may be: the cost where it landed, else the dearest candidate's worst.
    #[must_use]
    pub fn reserve(&self) -> Wei {
        let worst = || self.candidates.iter().map(Candidate::worst).max().unwrap_or(0);
        self.state.landed().map_or_else(worst, |landed| landed.cost)
    }
}

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// When it was closed.
    pub closed_ms: u64,
    /// The slot's nonce.
    pub nonce: u64,
    /// Where and how it landed.
    pub landed: Landed,
    /// What that transaction anchored; nothing if it reverted.
    pub claims: Vec<Claim>,
    /// How many candidates there were.
    pub candidates: usize,
    /// How often it was taken back.
    pub reorgs: u32,
}

/// What the worker knows when it first meets an account: nonces below were used by others before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    chain_id: u64,
    #[serde(with = "files::address")]
    account: Address,
    #[serde(with = "files::address")]
    contract: Address,
    /// The next nonce that no closed slot has used.
    nonce: u64,
}

/// The journal, open and locked.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    begun: Option<Begun>,
    slots: BTreeMap<u64, Slot>,
    spent: BTreeMap<u64, Wei>,
    halt: Option<Halt>,
    chain_id: u64,
    account: Address,
    contract: Address,
    // Held for its lock, which the system drops with the process.
    _lock: File,
}

impl Journal {
    /// Opens the folder's journal, or begins one; nobody else may have it open.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Disk`; `Config` for a folder of another chain, account or contract.
    pub fn open(folder: &Path, chain_id: u64, account: Address, contract: Address) -> Result<Self, AnchorError> {
        for part in ["slots", "history"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).map_err(|error| files::disk("create", &part, error))?;
        }
        let lock = lock(folder)?;
        let mut journal = Self {
            folder: folder.to_owned(),
            begun: read_checked(&folder.join("account"))?,
            slots: read_slots(&folder.join("slots"))?,
            spent: BTreeMap::new(),
            halt: read_checked(&folder.join("halted"))?,
            chain_id,
            account,
            contract,
            _lock: lock,
        };
        journal.check_identity()?;
        journal.read_spent()?;
        journal.drop_closed()?;
        Ok(journal)
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Slots that are not closed, lowest nonce first.
    pub fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.slots.values()
    }

    /// How many of them.
    #[must_use]
    pub fn open_slots(&self) -> usize {
        self.slots.len()
    }

    /// The slot of a nonce.
    #[must_use]
    pub fn slot(&self, nonce: u64) -> Option<&Slot> {
        self.slots.get(&nonce)
    }

    /// The lowest slot that is in no block: the one alive.
    #[must_use]
    pub fn live(&self) -> Option<&Slot> {
        self.slots.values().find(|slot| slot.state.landed().is_none())
    }

    /// The nonce that the next slot gets; `None` before [`Journal::begin`].
    #[must_use]
    pub fn next_nonce(&self) -> Option<u64> {
        let after_slots = self.slots.last_key_value().map(|(nonce, _)| nonce + 1);
        after_slots.max(self.begun.as_ref().map(|begun| begun.nonce))
    }

    /// Says, once, from which nonce on this worker accounts for the account.
    ///
    /// # Errors
    /// `Disk`.
    pub fn begin(&mut self, nonce: u64) -> Result<(), AnchorError> {
        if self.begun.is_none() {
            self.set_begun(nonce)?;
        }
        Ok(())
    }

    /// Writes a slot; when this returns it survives a power cut.
    ///
    /// # Errors
    /// `Disk`: the caller must not send what it has signed.
    pub fn put(&mut self, slot: Slot) -> Result<(), AnchorError> {
        write_checked(&self.slot_file(slot.nonce), &slot)?;
        self.slots.insert(slot.nonce, slot);
        Ok(())
    }

    /// Moves a finalized slot into the history: line, then next nonce, then the file goes.
    ///
    /// # Errors
    /// `Disk`; the slot is then still there.
    pub fn close(&mut self, nonce: u64, now_ms: u64) -> Result<(), AnchorError> {
        let Some(slot) = self.slots.get(&nonce) else { return Ok(()) };
        let SlotState::Finalized(landed) = slot.state.clone() else { return Ok(()) };
        let claims = || slot.candidates.iter().find(|candidate| candidate.tx_hash == landed.tx_hash);
        let closed = Closed {
            closed_ms: now_ms,
            nonce,
            claims: if landed.succeeded { claims().map(|c| c.claims.clone()).unwrap_or_default() } else { Vec::new() },
            candidates: slot.candidates.len(),
            reorgs: slot.reorgs,
            landed,
        };
        let day = closed.landed.seen_ms / DAY_MS;
        let line = serde_json::to_string(&closed).map_err(|_| unwritable(&self.folder))?;
        files::append_line(&self.history_file(day), &line)?;
        failpoint::hit("history.appended");
        self.forget(nonce)?;
        *self.spent.entry(day).or_default() += closed.landed.cost;
        self.spent = self.spent.split_off(&(now_ms / DAY_MS).saturating_sub(1));
        Ok(())
    }

    /// Spent, and reserved for what is under way, on the day of `now_ms`; without the slot of nonce `but`.
    #[must_use]
    pub fn spent(&self, now_ms: u64, but: Option<u64>) -> Wei {
        let day = now_ms / DAY_MS;
        let closed = self.spent.get(&day).copied().unwrap_or(0);
        let today = |slot: &&Slot| slot.state.landed().is_none_or(|landed| landed.seen_ms / DAY_MS == day);
        let open = self.slots.values().filter(|slot| Some(slot.nonce) != but).filter(today);
        open.map(Slot::reserve).fold(closed, Wei::saturating_add)
    }

    /// The closed slots of a day (days since 1970).
    ///
    /// # Errors
    /// `Damaged`, `Disk`.
    pub fn history(&self, day: u64) -> Result<Vec<Closed>, AnchorError> {
        let file = self.history_file(day);
        let parse =
            |line: &String| serde_json::from_str(line).map_err(|_| damaged(&file, "a line is not a closed slot"));
        files::whole_lines(&file)?.iter().map(parse).collect()
    }

    /// Why the worker is halted.
    #[must_use]
    pub fn halted(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// Halts, durably: a restart is no cure.
    ///
    /// # Errors
    /// `Disk`.
    pub fn halt(&mut self, halt: Halt) -> Result<(), AnchorError> {
        write_checked(&self.folder.join("halted"), &halt)?;
        self.halt = Some(halt);
        Ok(())
    }

    /// An operator has looked and lets the worker go on.
    ///
    /// # Errors
    /// `Disk`.
    pub fn clear_halt(&mut self) -> Result<(), AnchorError> {
        if self.halt.take().is_some() {
            files::remove(&self.folder.join("halted"))?;
        }
        Ok(())
    }

    fn check_identity(&self) -> Result<(), AnchorError> {
        let same = |chain_id: u64, account: Address| chain_id == self.chain_id && account == self.account;
        let folder_is = self.begun.as_ref().is_none_or(|b| same(b.chain_id, b.account) && b.contract == self.contract);
        if folder_is && self.slots.values().all(|slot| same(slot.chain_id, slot.account)) {
            return Ok(());
        }
        Err(AnchorError::Config("the journal's folder belongs to another chain, account or contract".to_owned()))
    }

    /// A crash between the history's line and the removal of the file leaves both: the line counts.
    fn drop_closed(&mut self) -> Result<(), AnchorError> {
        let finalized: Vec<(u64, u64)> = self
            .slots
            .values()
            .filter_map(|slot| match &slot.state {
                SlotState::Finalized(landed) => Some((slot.nonce, landed.seen_ms / DAY_MS)),
                _ => None,
            })
            .collect();
        for (nonce, day) in finalized {
            if self.history(day)?.iter().any(|closed| closed.nonce == nonce) {
                self.forget(nonce)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, nonce: u64) -> Result<(), AnchorError> {
        if self.begun.as_ref().is_none_or(|begun| begun.nonce <= nonce) {
            self.set_begun(nonce + 1)?;
        }
        files::remove(&self.slot_file(nonce))?;
        failpoint::hit("slot.removed");
        self.slots.remove(&nonce);
        Ok(())
    }

    fn set_begun(&mut self, nonce: u64) -> Result<(), AnchorError> {
        let begun = Begun { chain_id: self.chain_id, account: self.account, contract: self.contract, nonce };
        write_checked(&self.folder.join("account"), &begun)?;
        self.begun = Some(begun);
        Ok(())
    }

    fn read_spent(&mut self) -> Result<(), AnchorError> {
        let folder = self.folder.join("history");
        let mut days: Vec<u64> =
            names(&folder)?.iter().filter_map(|name| name.strip_suffix(".jsonl")?.parse().ok()).collect();
        days.sort_unstable();
        // Yesterday and today are what a budget can ask for; a slot closes at most a few hours after it landed.
        for day in days.into_iter().rev().take(3) {
            let cost = self.history(day)?.iter().map(|closed| closed.landed.cost).fold(0, Wei::saturating_add);
            self.spent.insert(day, cost);
        }
        Ok(())
    }

    fn slot_file(&self, nonce: u64) -> PathBuf {
        self.folder.join("slots").join(format!("{nonce}.slot"))
    }

    fn history_file(&self, day: u64) -> PathBuf {
        self.folder.join("history").join(format!("{day}.jsonl"))
    }
}

const MAGIC: &str = "tally-anchor v1";

/// `tally-anchor v1 <crc32c in hex> <bytes>`, a line break, the JSON.
fn write_checked<T: Serialize>(file: &Path, value: &T) -> Result<(), AnchorError> {
    let json = serde_json::to_vec(value).map_err(|_| unwritable(file))?;
    let mut bytes = format!("{MAGIC} {:08x} {}\n", crc32c::crc32c(&json), json.len()).into_bytes();
    bytes.extend_from_slice(&json);
    files::replace(file, &bytes)
}

fn read_checked<T: for<'de> Deserialize<'de> + Serialize>(file: &Path) -> Result<Option<T>, AnchorError> {
    if !file.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(file).map_err(|error| files::disk("read", file, error))?;
    let head = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged(file, "it has no head"))?;
    let (head, json) = (&bytes[..head], &bytes[head + 1..]);
    let expected = format!("{MAGIC} {:08x} {}", crc32c::crc32c(json), json.len());
    if head != expected.as_bytes() {
        return Err(damaged(file, "its checksum or length is wrong"));
    }
    let value = serde_json::from_slice(json).map_err(|_| damaged(file, "it does not say what it should"))?;
    Ok(Some(value))
}

fn read_slots(folder: &Path) -> Result<BTreeMap<u64, Slot>, AnchorError> {
    let mut slots = BTreeMap::new();
    for name in names(folder)? {
        let file = folder.join(&name);
        if name.ends_with(".tmp") {
            // Never renamed, so never sent: what it held was never acted upon.
            files::remove(&file)?;
            continue;
        }
        let nonce: Option<u64> = name.strip_suffix(".slot").and_then(|nonce| nonce.parse().ok());
        let slot: Option<Slot> = read_checked(&file)?;
        match (nonce, slot) {
            (Some(nonce), Some(slot)) if slot.nonce == nonce && !slot.candidates.is_empty() => {
                slots.insert(nonce, slot)
            }
            _ => return Err(damaged(&file, "it is not the slot of its name")),
        };
    }
    Ok(slots)
}

fn names(folder: &Path) -> Result<Vec<String>, AnchorError> {
    let entries = std::fs::read_dir(folder).map_err(|error| files::disk("list", folder, error))?;
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .map_err(|error| files::disk("list", folder, error))
    };
    entries.map(name).collect()
}

fn lock(folder: &Path) -> Result<File, AnchorError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|error| files::disk("create", &path, error))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AnchorError::Locked(folder.to_owned())),
        Err(error) => Err(files::disk("lock", &path, error.into())),
    }
}

fn damaged(file: &Path, why: &'static str) -> AnchorError {
    AnchorError::Damaged { file: file.to_owned(), why }
}

fn unwritable(file: &Path) -> AnchorError {
    damaged(file, "its content cannot be written as JSON")
}

#[cfg(test)]
mod tests;
