//! The audit of a whole log: everything is derived again from the stored records, and compared with everything signed.
//!
//! Takes the genesis entry, then (before their entries) the signed checkpoints and commitments, then every run or
//! event in order; gives a [`Verdict`] with each broken rule and the first bad entry. It streams: what it holds is the
//! right edge of the tree, 16 bytes of id per event, the keys, and the checkpoints not reached yet.
//!
//! Checked per event: index, sequence in its stream, event id, log time, payload hash, agent signature (in batches),
//! whether the key was valid then and its holder had the right, the entity type against its store's list, and the leaf; per run: bytes, ledger, chain, epoch;
//! per checkpoint: signature and root; per tile: every hash; per commitment: its chain and root. A gap in the index
//! ends the audit, because nothing after it can be placed.

mod checkpoints;
mod commitments;
mod control;
mod finding;
mod outcomes;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use rand_core::CryptoRng;
use tally_merkle::{Edge, Frontier, FullTile, RunTree};
use tally_protocol::batch::Commitment;
use tally_protocol::entry::EventEntry;
use tally_protocol::hash::{LeafHash, RunHash, SigningHash};
use tally_protocol::id::{Epoch, EventId, Index, Sequence, Stream, TreeSize};
use tally_protocol::key::{VerifyItem, verify_batch};
use tally_protocol::limits::{CLOCK_STEP_MAX, CREATED_AT_SKEW};
use tally_protocol::run::{RUN_HEADER_BYTES, Record, RunError, StoredRun};
use tally_protocol::time::LogTime;

pub use checkpoints::Signed;
pub use control::Directory;
pub use finding::{Finding, Place, Rule, Tally, Verdict};
pub use outcomes::{OutcomeAudit, OutcomeVerdict};

use crate::ledger::{Ledger, Log};
use crate::report::CheckFailed;
use checkpoints::Expected;
use commitments::Chains;
use control::Rights;
use finding::Findings;

/// How many signatures are checked together: where the cost per signature stops falling.
const SIGNATURES_PER_BATCH: usize = 1024;
/// How many leaves are folded together.
const LEAVES_PER_FOLD: usize = 1024;

/// What is known of one stream.
#[derive(Debug, Default)]
struct StreamSoFar {
    last: Sequence,
    event_ids: HashSet<EventId>,
}

/// A running audit.
#[derive(Debug)]
pub struct LogAudit {
    ledger: Ledger,
    rights: Rights,
    expected: Expected,
    chains: Chains,
    findings: Findings,
    tally: Tally,
    streams: HashMap<Stream, StreamSoFar>,
    /// The index that comes next.
    next: Index,
    last_time: LogTime,
    previous_run: Option<(RunHash, Epoch)>,
    signatures: Vec<VerifyItem>,
    /// Index of the first waiting signature's event; the others follow.
    signed_events: Vec<Index>,
    leaves: Vec<LeafHash>,
    frontier: Frontier,
    /// Only if tiles are compared.
    edge: Option<Edge>,
    tiles: Vec<FullTile>,
    halted: bool,
}

impl LogAudit {
    /// Starts at the genesis entry.
    ///
    /// # Errors
    /// The bytes are not a genesis entry.
    pub fn new(genesis_entry: &[u8]) -> Result<Self, CheckFailed> {
        let ledger = Ledger::from_genesis(genesis_entry)?;
        let genesis = ledger.genesis();
        let mut audit = Self {
            rights: Rights::new(ledger.id(), genesis),
            last_time: genesis.created_at,
            expected: Expected::of(Log::Events),
            chains: Chains::default(),
            findings: Findings::default(),
            tally: Tally::default(),
            streams: HashMap::new(),
            next: Index::new(1),
            previous_run: None,
            signatures: Vec::new(),
            signed_events: Vec::new(),
            leaves: Vec::new(),
            frontier: Frontier::new(),
            edge: None,
            tiles: Vec::new(),
            halted: false,
            ledger,
        };
        audit.leaves.push(audit.ledger.genesis().leaf_hash());
        Ok(audit)
    }

    /// Derives the full tiles too: collect them with [`Self::take_tiles`] after every push and compare each with
    /// [`Self::check_tile`].
    #[must_use]
    pub fn with_tiles(mut self) -> Self {
        self.edge = Some(Edge::new());
        self
    }

    /// The ledger under audit.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How many entries were taken in, genesis included.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        TreeSize::new(self.next.get())
    }

    /// Names a signed checkpoint that the entries must meet. Must come before the entries reach its size; one that
    /// comes later is taken as a finding, since its root can no longer be derived.
    pub fn expect_checkpoint(&mut self, note: &str, signed: Signed) {
        self.expected.add(&self.ledger, note, signed, self.size(), &mut self.findings);
    }

    /// Names a commitment; a stream's in order, and each before its events.
    pub fn expect_commitment(&mut self, commitment: &Commitment) {
        let seen = self.streams.get(&commitment.stream).map_or(Sequence::new(0), |stream| stream.last);
        self.chains.add(&self.ledger.id(), commitment, seen, &mut self.findings);
    }

    /// Takes in the next stored run. `rng` blinds the batches of signatures (see [`verify_batch`]).
    pub fn push_run(&mut self, bytes: &Bytes, rng: &mut impl CryptoRng) {
        if self.halted {
            return;
        }
        let Some(run) = self.decode_run(bytes) else {
            self.halted = true;
            return;
        };
        let first = run.header().first_index;
        self.tally.runs += 1;
        if first != self.next {
            self.on_index(first);
            return;
        }
        self.check_run(&run);
        for record in run.records() {
            self.push_event(&record, rng);
        }
    }

    /// Takes in the next event.
    pub fn push_event(&mut self, record: &Record, rng: &mut impl CryptoRng) {
        if self.halted {
            return;
        }
        if record.index != self.next {
            self.on_index(record.index);
            return;
        }
        let signing_hash = record.frame.signing_hash();
        self.check_event(record);
        self.queue_signature(record, signing_hash, rng);
        self.take_leaf(record, signing_hash);
        self.next = self.next.next();
        self.tally.events += 1;
    }

    /// The full tiles derived since the last call, if tiles are compared.
    pub fn take_tiles(&mut self) -> Vec<FullTile> {
        core::mem::take(&mut self.tiles)
    }

    /// Compares a derived tile with the stored one: its hashes, and its middle row where one is stored behind them.
    pub fn check_tile(&mut self, derived: &FullTile, stored: Option<&[u8]>) {
        self.tally.tiles += 1;
        let span = 1u64 << (8 * u32::from(derived.level)).min(63);
        let entry_of = |node: u64| Index::new((derived.index * 256 + node).saturating_mul(span));
        let name = format!("tile {} of level {}", derived.index, derived.level);
        let whole = Place::Range(entry_of(0), entry_of(256));
        let Some(stored) = stored else {
            self.findings.add(whole, Rule::TileMissing, format!("{name} is missing"));
            return;
        };
        let length = derived.bytes.len();
        let (hashes, row) = stored.split_at(stored.len().min(length));
        if hashes.len() != length || ![0, derived.middle_row.len()].contains(&row.len()) {
            self.findings.add(whole, Rule::TileDamaged, format!("{name} is not {length} bytes long"));
            return;
        }
        let differs = hashes.chunks(32).zip(derived.bytes.chunks(32)).position(|(theirs, ours)| theirs != ours);
        let Some(at) = differs else {
            // The hashes are right, and the row follows from them: no root is needed to say that it is wrong.
            if !row.is_empty() && *row != *derived.middle_row {
                self.findings.add(whole, Rule::TileDamaged, format!("{name} holds another middle row"));
            }
            return;
        };
        let at = at as u64;
        let place = if span == 1 { Place::Entry(entry_of(at)) } else { Place::Range(entry_of(at), entry_of(at + 1)) };
        self.findings.add(place, Rule::TileDiffers, format!("{name} holds another hash at position {at}"));
        if self.expected.met().0.is_some_and(|size| size.holds(entry_of(at))) {
            self.findings.entries_proven_below(self.expected.met().0.unwrap_or_default());
        }
    }

    /// Works off what waits for a full batch, so that [`Self::take_tiles`] gives the last tiles too. Call it after the
    /// last push if tiles are compared; [`Self::finish`] does the rest in any case.
    pub fn settle(&mut self, rng: &mut impl CryptoRng) {
        self.flush_signatures(rng);
        self.fold();
    }

    /// Ends the audit: the log has no more entries.
    #[must_use]
    pub fn finish(mut self, rng: &mut impl CryptoRng) -> Verdict {
        self.settle(rng);
        let size = self.frontier.size();
        if !self.halted {
            self.expected.end(size, &mut self.findings);
            self.chains.end(&mut self.findings);
        }
        let (met, checkpoints) = self.expected.met();
        self.tally.checkpoints = checkpoints;
        self.tally.commitments = self.chains.met();
        self.tally.streams = self.streams.len() as u64;
        Verdict::new(self.findings, size, self.frontier.root(), met, self.tally)
    }

    /// Decodes a run. One that fails only its checksum is read nevertheless, so that the bad entry can be named.
    fn decode_run(&mut self, bytes: &Bytes) -> Option<StoredRun> {
        let error = match StoredRun::decode(bytes.clone()) {
            Ok(run) => return Some(run),
            Err(error) => error,
        };
        let error = match error {
            RunError::Checksum { stored, computed } => {
                let end = Index::new(self.next.get() + u64::from(claimed_count(bytes)));
                let why = format!("the run that starts here fails its checksum ({stored:08x}, not {computed:08x})");
                self.findings.add(Place::Range(self.next, end), Rule::RunBytes, why);
                match StoredRun::decode(with_checksum(bytes, computed)) {
                    Ok(run) => return Some(run),
                    Err(error) => error,
                }
            }
            error => error,
        };
        let place = Place::Entry(Index::new(self.next.get() + u64::from(record_at_fault(&error))));
        self.findings.add(place, Rule::RunBytes, error);
        None
    }

    fn check_run(&mut self, run: &StoredRun) {
        let header = run.header();
        let place = Place::Range(header.first_index, header.next_index());
        if header.ledger != self.ledger.id() {
            self.findings.add(place, Rule::RunLedger, format!("the run names ledger {}", header.ledger));
        }
        let (previous, epoch) = self.previous_run.unwrap_or((RunHash::ZERO, Epoch::new(0)));
        if header.previous != previous {
            let why = format!("the run names {} as the run before it, which is {previous}", header.previous);
            // Whichever of the two was changed: the entries before are suspect as much as these.
            self.findings.add(place, Rule::RunChain, why);
        }
        if header.epoch < epoch {
            let why = format!("the run was written in epoch {}, the one before in {epoch}", header.epoch);
            self.findings.add(place, Rule::RunEpoch, why);
        }
        self.previous_run = Some((run.hash(), header.epoch));
    }

    /// An index that is not the next one: entries are missing, repeated or out of order. Nothing after can be placed.
    fn on_index(&mut self, found: Index) {
        self.halted = true;
        let next = self.next;
        if found > next {
            let why = format!("the next stored entry is {found}: {next}..{found} are missing");
            self.findings.add(Place::Entry(next), Rule::IndexGap, why);
        } else {
            let why = format!("entry {found} is stored again where {next} belongs");
            self.findings.add(Place::Entry(next), Rule::IndexGap, why);
        }
    }

    fn check_event(&mut self, record: &Record) {
        let (frame, place) = (&record.frame, Place::Entry(record.index));
        if let Err(error) = frame.check_payload() {
            self.findings.add(place, Rule::PayloadHash, error);
        }
        if record.sequenced_at < self.last_time {
            let why = format!("log time {} is before {}", record.sequenced_at, self.last_time);
            self.findings.add(place, Rule::TimeFalls, why);
        }
        self.last_time = self.last_time.max(record.sequenced_at);
        // The sequencer judged by its clock a moment earlier, which may have stood ahead by one permitted step.
        let latest = record.sequenced_at.saturating_add(CREATED_AT_SKEW + CLOCK_STEP_MAX);
        match frame.created_at_time() {
            Ok(created) if created <= latest => {}
            Ok(_) => self.findings.add(place, Rule::CreatedAhead, "created_at is too far ahead of log time"),
            Err(error) => self.findings.add(place, Rule::CreatedAhead, error),
        }
        self.check_stream(record);
        if let Err((rule, why)) = self.rights.judge(frame, record.index, &record.public_key, record.sequenced_at) {
            self.findings.add(place, rule, why);
        }
    }

    fn check_stream(&mut self, record: &Record) {
        let (id, name) = (record.frame.event_id(), record.frame.stream());
        let stream = self.streams.entry(name).or_default();
        let (expected, found) = (stream.last.next(), record.sequence);
        stream.last = found;
        let is_new = stream.event_ids.insert(id);
        let place = Place::Entry(record.index);
        if found != expected {
            let why = if found > expected {
                format!(
                    "stream {name} goes from sequence {} to {found}: entries are missing before",
                    expected.get() - 1
                )
            } else {
                format!("stream {name} has sequence {found} where {expected} belongs")
            };
            self.findings.add(place, Rule::SequenceGap, why);
        }
        if !is_new {
            self.findings.add(place, Rule::EventIdRepeated, format!("event {id} is in stream {name} already"));
        }
    }

    fn queue_signature(&mut self, record: &Record, message: SigningHash, rng: &mut impl CryptoRng) {
        let item = VerifyItem {
            public_key: record.public_key,
            message: *message.as_bytes(),
            signature: record.frame.signature(),
        };
        self.signatures.push(item);
        self.signed_events.push(record.index);
        if self.signatures.len() >= SIGNATURES_PER_BATCH {
            self.flush_signatures(rng);
        }
    }

    fn flush_signatures(&mut self, rng: &mut impl CryptoRng) {
        let valid = verify_batch(&self.signatures, rng);
        self.tally.signatures += valid.len() as u64;
        for (&index, _) in self.signed_events.iter().zip(valid).filter(|(_, valid)| !valid) {
            let why = "the agent's signature does not hold under the stored key";
            self.findings.add(Place::Entry(index), Rule::AgentSignature, why);
        }
        self.signatures.clear();
        self.signed_events.clear();
    }

    fn take_leaf(&mut self, record: &Record, signing_hash: SigningHash) {
        let (sequence, time) = (record.sequence, record.sequenced_at);
        let entry = EventEntry::of_frame(&record.frame, signing_hash, sequence, record.public_key, time);
        self.chains.on_event(&entry.stream, sequence, entry.ves_leaf(), &mut self.findings);
        // Entries up to here are in `leaves`; fold when a signed size is reached exactly, or enough have gathered.
        if self.leaves.len() >= LEAVES_PER_FOLD || self.expected.next() == Some(self.size()) {
            self.fold();
        }
        self.leaves.push(entry.leaf_hash());
    }

    fn fold(&mut self) {
        let run = RunTree::extend(&mut self.frontier, &self.leaves);
        self.leaves.clear();
        if let Some(edge) = &mut self.edge
            && let Ok(full) = edge.append_run(&run)
        {
            self.tiles.extend(full);
        }
        self.expected.reach(run.size(), run.root(), &mut self.findings);
    }
}

/// How many records a run's header claims, read without believing anything else (offset 96).
fn claimed_count(bytes: &[u8]) -> u32 {
    bytes.get(96..100).and_then(|field| field.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// The run with the checksum that its bytes have (the last four bytes of its header).
fn with_checksum(bytes: &[u8], checksum: u32) -> Bytes {
    let mut patched = bytes.to_vec();
    if let Some(field) = patched.get_mut(RUN_HEADER_BYTES - 4..RUN_HEADER_BYTES) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
    patched.into()
}

/// Which record an error is about; the first if it is about the run.
const fn record_at_fault(error: &RunError) -> u32 {
    match error {
        RunError::RecordBounds(at)
        | RunError::Sealed(at)
        | RunError::SealMode(at, _)
        | RunError::KeyTable(at)
        | RunError::Time(at)
        | RunError::Position(at)
        | RunError::Frame(at, _) => *at,
        _ => 0,
    }
}
