//! Anchors: that an event is under a root which the log's authority signed for a chain.
//!
//! Takes a bundle's [`BundleAnchor`], the ledger and the event's leaf; checks everything that bytes alone can show: the
//! raw transaction and its sender, the call inside it, the authority's signature, the anchored checkpoint, the leaf under
//! its root, and the question that the contract answers. That the chain has the transaction, in which block and when,
//! bytes cannot show; the report says so. An authority that the caller did not pin is the bundle's own claim.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tally_merkle::{InclusionProof, verify_inclusion};
use tally_protocol::anchor::transaction::SignedTransaction;
use tally_protocol::anchor::{Anchor, AnchorCall, InclusionQuery};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::{self, Address, BlockHash, LeafHash, LogId, LogKind, NodeHash, RootHash, TransactionHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::jcs::Value;
use tally_protocol::limits::INCLUSION_PATH_MAX;
use tally_protocol::time::LogTime;

use crate::bundle::BundleError;
use crate::ledger::{Ledger, TrustRoot};
use crate::members::Members;
use crate::outcome::{OutcomeEvidence, verify_outcome};
use crate::report::{Check, CheckFailed, Checklist, integer};

/// Anchors of one bundle: one for each chain that a ledger anchors on, and room.
pub(crate) const ANCHORS_MAX: usize = 8;

/// A chain as the caller knows it: which contract there holds the log, and who may speak for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedChain {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// The log's authorities; several around a rotation.
    pub authorities: Vec<Address>,
}

/// One chain's part of a bundle. A claim: nothing in it is believed before it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleAnchor {
    /// The chain (EIP-155), below 2^53.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// Who signed for the log; redundant to the call, so that a pinned authority is found without decoding.
    pub authority: Address,
    /// The raw signed transaction that moved the heads.
    pub transaction: Vec<u8>,
    /// Where the chain has it; not provable offline.
    pub block: Option<AnchorBlock>,
    /// The event in its log.
    pub event: AnchoredLeaf,
    /// The event's outcome in the log of outcomes, if that was anchored too.
    pub outcome: Option<AnchoredOutcome>,
}

/// The block of a transaction, as the bundle claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorBlock {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: BlockHash,
    /// Its time, in whole seconds.
    pub time: LogTime,
}

/// One leaf under an anchored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchoredLeaf {
    /// The log's identity on chain; redundant to the ledger's.
    pub log_id: LogId,
    /// Which of the log's anchors it was, from 1; not provable offline.
    pub seq: u64,
    /// The anchored checkpoint, verbatim.
    pub checkpoint: String,
    /// From the leaf upward, at the anchored size.
    pub inclusion_path: Vec<NodeHash>,
    /// The call data of `verifyInclusion`; redundant, for whoever asks the contract.
    pub call: Vec<u8>,
}

/// An event's outcome under an anchored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchoredOutcome {
    /// The outcome's bytes.
    pub body: Vec<u8>,
    /// Its leaf in the log of outcomes.
    pub leaf: AnchoredLeaf,
}

/// What an anchor proves when every check passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenAnchor {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// The transaction's name on chain.
    pub transaction: TransactionHash,
    /// Who sent it and paid for it.
    pub sender: Address,
    /// Who signed for the log.
    pub authority: Address,
    /// Whether the caller named this contract and authority; if not, they are the bundle's claim.
    pub pinned: bool,
    /// The log of events on chain.
    pub log_id: LogId,
    /// Its anchored size.
    pub size: TreeSize,
    /// Its anchored root.
    pub root: RootHash,
    /// Whether the event's outcome is proven to be anchored by the same transaction.
    pub outcome: bool,
}

impl AnchoredLeaf {
    /// A leaf under a checkpoint; what is redundant is derived. Nothing is checked.
    #[must_use]
    pub fn assemble(
        log_id: LogId,
        seq: u64,
        (note, checkpoint): (&str, &Checkpoint),
        (leaf, index): (LeafHash, Index),
        path: Vec<NodeHash>,
    ) -> Self {
        let query = InclusionQuery { log_id, seq, size: checkpoint.size, root: checkpoint.root, leaf, index, path };
        let call = query.encode();
        Self { log_id, seq, checkpoint: note.to_owned(), inclusion_path: query.path, call }
    }

    fn members(&self) -> [(&'static str, Value); 5] {
        let path = self.inclusion_path.iter().map(|hash| Value::String(hash.to_hex())).collect();
        [
            ("log_id", Value::String(self.log_id.to_hex())),
            ("seq", integer(self.seq)),
            ("checkpoint", Value::String(self.checkpoint.clone())),
            ("inclusion_path", Value::Array(path)),
            ("call", Value::String(hash::hex_0x(&self.call))),
        ]
    }

    fn read(members: &Members<'_>) -> Result<Self, BundleError> {
        Ok(Self {
            log_id: members.text_as("log_id", |text| LogId::from_hex(text).ok())?,
            seq: members.number("seq")?,
            checkpoint: members.text_as("checkpoint", |text| Some(text.to_owned()))?,
            inclusion_path: members
                .texts("inclusion_path", INCLUSION_PATH_MAX, |hash| NodeHash::from_hex(hash).ok())?,
            call: members.hex_0x("call")?,
        })
    }
}

impl BundleAnchor {
    /// As a member of the bundle's JSON.
    pub(crate) fn to_json(&self) -> Value {
        let text = |text: String| Value::String(text);
        let mut members = vec![
            ("chain_id", integer(self.chain_id)),
            ("contract", text(self.contract.to_hex())),
            ("authority", text(self.authority.to_hex())),
            ("transaction", text(hash::hex_0x(&self.transaction))),
            ("event", Value::object(self.event.members())),
        ];
        if let Some(block) = &self.block {
            let block = Value::object([
                ("number", integer(block.number)),
                ("hash", text(block.hash.to_hex())),
                ("time", text(block.time.to_rfc3339())),
            ]);
            members.push(("block", block));
        }
        if let Some(outcome) = &self.outcome {
            let body = ("body", text(STANDARD.encode(&outcome.body)));
            members.push(("outcome", Value::object(outcome.leaf.members().into_iter().chain([body]))));
        }
        Value::object(members)
    }

    /// Reads a member of the bundle's JSON.
    pub(crate) fn from_json(value: &Value) -> Result<Self, BundleError> {
        const KNOWN: &[&str] = &["chain_id", "contract", "authority", "transaction", "block", "event", "outcome"];
        let members = Members::of(value, "anchors", KNOWN)?;
        let address = |name| members.text_as(name, |text| Address::from_hex(text).ok());
        let leaf_known = &["log_id", "seq", "checkpoint", "inclusion_path", "call"];
        Ok(Self {
            chain_id: members.number("chain_id")?,
            contract: address("contract")?,
            authority: address("authority")?,
            transaction: members.hex_0x("transaction")?,
            block: members.optional("block").map(read_block).transpose()?,
            event: AnchoredLeaf::read(&Members::of(members.get("event")?, "event", leaf_known)?)?,
            outcome: members.optional("outcome").map(read_outcome).transpose()?,
        })
    }

    /// The checks of this anchor, in order.
    pub(crate) fn planned(&self) -> impl Iterator<Item = Check> {
        let outcome = self.outcome.as_ref().map(|_| Check::AnchorOutcome);
        Check::OF_AN_ANCHOR.iter().copied().chain(outcome)
    }

    /// Checks all that bytes alone can show.
    pub(crate) fn check(
        &self,
        ledger: &Ledger,
        trust: &TrustRoot,
        event: &AnchoredEvent<'_>,
        list: &mut Checklist,
    ) -> Result<ProvenAnchor, CheckFailed> {
        let (signed, sender) = self.check_transaction()?;
        let (chain, name) = (self.chain_id, signed.hash());
        list.passed(
            Check::AnchorTransaction,
            format!("{name} from {sender} to contract {} on chain {chain}", self.contract),
        );
        let call = self.check_call(&signed)?;
        let anchor = part_of(&call, ledger, LogKind::Events, &self.event).map_err(of(Check::AnchorCall))?;
        let log_id = anchor.log_id;
        list.passed(Check::AnchorCall, format!("moves log {log_id} to size {}, root {}", anchor.size, anchor.root));
        let pinned = self.check_authority(anchor, trust, list)?;
        let checkpoint = check_checkpoint(ledger, trust, anchor, &self.event.checkpoint, event.checkpoint)?;
        list.passed(Check::AnchorCheckpoint, format!("{} signed this size and root", checkpoint.origin));
        check_leaf(&self.event, event.leaf, event.index, &checkpoint)?;
        list.passed(Check::AnchorInclusion, format!("index {} is in the anchored tree", event.index));
        check_query(&self.event, event.leaf, event.index, &checkpoint)?;
        list.passed(Check::AnchorQuery, format!("asks the contract this, about its anchor {}", self.event.seq));
        if let Some(outcome) = &self.outcome {
            self.check_outcome(ledger, &call, outcome, event).map_err(of(Check::AnchorOutcome))?;
            list.passed(Check::AnchorOutcome, "the event's outcome is in the log of outcomes that moved with it");
        }
        self.say_what_is_not_checked(list);
        let (contract, authority, outcome) = (self.contract, self.authority, self.outcome.is_some());
        let (size, root) = (checkpoint.size, checkpoint.root);
        Ok(ProvenAnchor {
            chain_id: chain,
            contract,
            transaction: name,
            sender,
            authority,
            pinned,
            log_id,
            size,
            root,
            outcome,
        })
    }

    fn check_transaction(&self) -> Result<(SignedTransaction, Address), CheckFailed> {
        let failed = |why: String| CheckFailed::new(Check::AnchorTransaction, why);
        let signed = SignedTransaction::decode(&self.transaction).map_err(|error| failed(error.to_string()))?;
        let inner = &signed.transaction;
        if inner.chain_id != self.chain_id {
            return Err(failed(format!("it is for chain {}, stated is {}", inner.chain_id, self.chain_id)));
        }
        if inner.to != self.contract {
            return Err(failed(format!("it calls {}, stated is {}", inner.to, self.contract)));
        }
        let sender = signed.sender().map_err(|error| failed(error.to_string()))?;
        Ok((signed, sender))
    }

    fn check_call(&self, signed: &SignedTransaction) -> Result<AnchorCall, CheckFailed> {
        AnchorCall::decode(&signed.transaction.data).map_err(of(Check::AnchorCall))
    }

    fn signer_of(&self, anchor: &Anchor) -> Result<Address, CheckFailed> {
        let failed = |why: String| CheckFailed::new(Check::AnchorAuthority, why);
        let signer = anchor.authority(self.chain_id, self.contract).map_err(|error| failed(error.to_string()))?;
        if signer == self.authority {
            return Ok(signer);
        }
        Err(failed(format!("{signer} signed for the log, stated is {}", self.authority)))
    }

    /// Whether contract and authority are the caller's own.
    fn check_authority(&self, anchor: &Anchor, trust: &TrustRoot, list: &mut Checklist) -> Result<bool, CheckFailed> {
        let (signer, chain) = (self.signer_of(anchor)?, self.chain_id);
        let mut known = trust.chains.iter().filter(|trusted| trusted.chain_id == chain).peekable();
        if known.peek().is_none() {
            list.passed(Check::AnchorAuthority, format!("{signer} (as the bundle claims)"));
            list.caveat(format!(
                "no contract and authority on chain {chain} were given to trust: contract {} and authority {signer} are \
                 as the bundle claims",
                self.contract
            ));
            return Ok(false);
        }
        if !known.any(|trusted| trusted.contract == self.contract && trusted.authorities.contains(&signer)) {
            let why = format!("{signer} at contract {} is not trusted to speak for the log", self.contract);
            return Err(CheckFailed::new(Check::AnchorAuthority, why));
        }
        list.passed(Check::AnchorAuthority, format!("{signer}, as trusted"));
        Ok(true)
    }

    fn check_outcome(
        &self,
        ledger: &Ledger,
        call: &AnchorCall,
        outcome: &AnchoredOutcome,
        event: &AnchoredEvent<'_>,
    ) -> Result<(), CheckFailed> {
        let anchor = part_of(call, ledger, LogKind::Outcomes, &outcome.leaf)
            .map_err(|why| CheckFailed::new(Check::AnchorOutcome, why))?;
        self.signer_of(anchor)?;
        let note = outcome.leaf.checkpoint.as_str();
        let evidence = OutcomeEvidence {
            index: event.index,
            event: *event.leaf,
            body: &outcome.body,
            path: &outcome.leaf.inclusion_path,
            note,
        };
        let checkpoint = verify_outcome(ledger, &evidence)?.checkpoint;
        is_anchored(anchor, note, &checkpoint)?;
        check_query(&outcome.leaf, &hash::leaf(&outcome.body), event.index, &checkpoint)
    }

    fn say_what_is_not_checked(&self, list: &mut Checklist) {
        let place = self.block.map_or_else(
            || "in which block the chain has it".to_owned(),
            |block| format!("that it is in block {} ({}) of {}", block.number, block.hash, block.time),
        );
        list.caveat(format!(
            "whether chain {} has the transaction, {place}, and that it succeeded there as anchor {}, no file can \
             prove: ask the chain",
            self.chain_id, self.event.seq
        ));
    }
}

/// The event that should be anchored, as far as it is proven.
pub(crate) struct AnchoredEvent<'a> {
    /// Its leaf.
    pub(crate) leaf: &'a LeafHash,
    /// Its position.
    pub(crate) index: Index,
    /// The bundle's own checkpoint, opened.
    pub(crate) checkpoint: &'a Checkpoint,
}

/// Turns an error into this check's failure.
fn of<E: core::fmt::Display>(check: Check) -> impl FnOnce(E) -> CheckFailed {
    move |error| CheckFailed::new(check, error)
}

/// The one part of a call that moves the ledger's log.
fn part_of<'c>(
    call: &'c AnchorCall,
    ledger: &Ledger,
    kind: LogKind,
    stated: &AnchoredLeaf,
) -> Result<&'c Anchor, String> {
    let log_id = hash::log_id(&ledger.id(), kind);
    if stated.log_id != log_id {
        return Err(format!("the ledger's log of {} is {log_id}, stated is {}", kind.as_str(), stated.log_id));
    }
    let mut parts = call.anchors().iter().filter(|anchor| anchor.log_id == log_id);
    match (parts.next(), parts.next()) {
        (Some(anchor), None) => Ok(anchor),
        (None, _) => Err(format!("the call does not move the ledger's log of {}", kind.as_str())),
        // Both could not have succeeded for one place of the log; which one the proof is about is not said.
        (Some(_), Some(_)) => Err(format!("the call moves the ledger's log of {} more than once", kind.as_str())),
    }
}

/// The note is the one whose hash, size and root were signed for the chain.
fn is_anchored(anchor: &Anchor, note: &str, checkpoint: &Checkpoint) -> Result<(), CheckFailed> {
    let failed = |why: String| Err(CheckFailed::new(Check::AnchorCheckpoint, why));
    if checkpoint.size != anchor.size {
        return failed(format!("the checkpoint is of size {}, anchored is {}", checkpoint.size, anchor.size));
    }
    if checkpoint.root != anchor.root {
        return failed(format!(
            "at size {} the checkpoint has root {}, anchored is {}: the log was rewritten, or this is not its anchor",
            anchor.size, checkpoint.root, anchor.root
        ));
    }
    if hash::note(note) != anchor.note_hash {
        return failed("the checkpoint's bytes are not those whose hash was anchored".to_owned());
    }
    Ok(())
}

fn check_checkpoint(
    ledger: &Ledger,
    trust: &TrustRoot,
    anchor: &Anchor,
    note: &str,
    stored: &Checkpoint,
) -> Result<Checkpoint, CheckFailed> {
    let keys = trust.keys_or(ledger.verifier_keys());
    let checkpoint = ledger
        .open_checkpoint_with(note, keys)
        .map_err(|failed| CheckFailed::new(Check::AnchorCheckpoint, failed.why))?;
    is_anchored(anchor, note, &checkpoint)?;
    if stored.size == checkpoint.size && stored.root != checkpoint.root {
        let why = format!(
            "two roots for size {}: {} in the bundle's checkpoint, {} anchored; the log was forked",
            stored.size, stored.root, checkpoint.root
        );
        return Err(CheckFailed::new(Check::AnchorCheckpoint, why));
    }
    Ok(checkpoint)
}

fn check_leaf(
    stated: &AnchoredLeaf,
    leaf: &LeafHash,
    index: Index,
    checkpoint: &Checkpoint,
) -> Result<(), CheckFailed> {
    let proof = InclusionProof { index, size: checkpoint.size, path: stated.inclusion_path.clone() };
    verify_inclusion(leaf, &proof, &checkpoint.root).map_err(of(Check::AnchorInclusion))
}

/// The stated call data is the question about this leaf under this checkpoint, and no other.
fn check_query(
    stated: &AnchoredLeaf,
    leaf: &LeafHash,
    index: Index,
    checkpoint: &Checkpoint,
) -> Result<(), CheckFailed> {
    let (log_id, seq, path) = (stated.log_id, stated.seq, stated.inclusion_path.clone());
    let query = InclusionQuery { log_id, seq, size: checkpoint.size, root: checkpoint.root, leaf: *leaf, index, path };
    if seq == 0 {
        return Err(CheckFailed::new(Check::AnchorQuery, "anchors count from 1"));
    }
    if query.encode() == stated.call {
        return Ok(());
    }
    Err(CheckFailed::new(Check::AnchorQuery, "the call data does not ask for this leaf under this root"))
}

fn read_block(value: &Value) -> Result<AnchorBlock, BundleError> {
    let members = Members::of(value, "block", &["number", "hash", "time"])?;
    let whole_seconds = |time: &LogTime| time.micros().is_multiple_of(1_000_000);
    Ok(AnchorBlock {
        number: members.number("number")?,
        hash: members.text_as("hash", |text| BlockHash::from_hex(text).ok())?,
        time: members.text_as("time", |text| LogTime::parse_canonical(text).ok().filter(whole_seconds))?,
    })
}

fn read_outcome(value: &Value) -> Result<AnchoredOutcome, BundleError> {
    let known = &["body", "log_id", "seq", "checkpoint", "inclusion_path", "call"];
    let members = Members::of(value, "outcome", known)?;
    Ok(AnchoredOutcome { body: members.base64("body")?, leaf: AnchoredLeaf::read(&members)? })
}
