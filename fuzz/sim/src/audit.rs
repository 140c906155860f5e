//! The auditor: knows the model and everything the node ever said, and looks after every step.
//!
//! It holds: the ladder is in order and never falls; every checkpoint has the model's root, the right signature, the
//! fence above it, and no size ever has two roots; every receipt proves itself, is durable through a power cut, and an
//! event's place never changes; the stored log is the model's, byte for byte; what is recovered holds all of it. Beside
//! that, `check_log` re-derives the whole stored log, at every recovery and in some seeds after every step.

use std::collections::{BTreeMap, HashMap};

use tally_core::{FenceRecord, Ladder, Reader, Receipt};
use tally_merkle::{InclusionProof, verify_consistency, verify_inclusion};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LedgerId, RootHash};
use tally_protocol::id::{EventId, Index, Sequence, Stream, TreeSize};
use tally_protocol::note::VerifierKey;
use tally_storage::keys::{Key, TileKey};
use tally_storage::{CommitmentStore, DerivedIndex, Family, ScanRange};
use tally_testkit::{LogUnderTest, Placement, ReferenceLog, TestLedger, TestRng, check_log};

use crate::disk::SimDisk;

/// A broken law, in words.
pub type Found<T = ()> = Result<T, String>;

/// Ends with the words if the condition does not hold.
macro_rules! must {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}
pub(crate) use must;

/// Everything the node ever said, and what follows from it.
pub struct Audit {
    receipt_key: VerifierKey,
    checkpoint_key: VerifierKey,
    ledger: LedgerId,
    genesis_entry: Vec<u8>,
    /// The root of every size that was ever signed, with one note.
    signed: BTreeMap<u64, (RootHash, String)>,
    /// The published checkpoint that was opened last.
    published: String,
    places: HashMap<(Stream, EventId), Placement>,
    acknowledged: Vec<Index>,
    ladder: Option<Ladder>,
    /// Below this, the stored log was compared.
    compared: u64,
    /// Below this, everything was durable at some time.
    durable: u64,
    /// How far the log reached when `check_log` last went over it.
    whole: u64,
}

impl Audit {
    /// An auditor of a ledger that has said nothing yet.
    #[must_use]
    pub fn new(ledger: &TestLedger) -> Self {
        let key = |key| VerifierKey::new(&ledger.genesis.origin, key).expect("the origin is a key name");
        Self {
            receipt_key: key(ledger.genesis.receipt_key),
            checkpoint_key: key(ledger.genesis.checkpoint_key),
            ledger: ledger.genesis.ledger_id(),
            genesis_entry: ledger.genesis.encode(),
            signed: BTreeMap::new(),
            published: String::new(),
            places: HashMap::new(),
            acknowledged: Vec::new(),
            ladder: None,
            compared: 1,
            durable: 1,
            whole: 0,
        }
    }

    /// How many receipts were checked.
    #[must_use]
    pub fn receipts(&self) -> usize {
        self.acknowledged.len()
    }

    /// How many different sizes were signed.
    #[must_use]
    pub fn checkpoints(&self) -> usize {
        self.signed.len()
    }

    /// The largest size that was ever signed for all to see.
    #[must_use]
    pub fn largest_signed(&self) -> u64 {
        self.signed.last_key_value().map_or(0, |(size, _)| *size)
    }

    /// What holds after every step of a running node.
    pub fn after_step(
        &mut self,
        reader: &Reader,
        disk: &SimDisk,
        fence: Option<FenceRecord>,
        model: &ReferenceLog,
    ) -> Found {
        let now = reader.ladder();
        must!(
            now.ordered >= now.durable && now.durable >= now.folded && now.folded >= now.signed,
            "the ladder is out of order: {now:?}"
        );
        must!(now.signed >= now.acknowledged && now.signed >= now.published, "the ladder is out of order: {now:?}");
        if let Some(before) = self.ladder {
            let fell = |old: TreeSize, new: TreeSize| new < old;
            must!(
                !fell(before.durable, now.durable)
                    && !fell(before.signed, now.signed)
                    && !fell(before.acknowledged, now.acknowledged)
                    && !fell(before.published, now.published),
                "a rung fell: {before:?}, then {now:?}"
            );
        }
        self.ladder = Some(now);
        self.durable = self.durable.max(now.durable.get());
        self.checkpoint(&reader.checkpoint(), model)?;
        if let Some(published) = reader.published() {
            must!(published.checkpoint.size <= now.signed, "published above signed");
            if published.note != self.published {
                let opened = SignedCheckpoint::open(&published.note, std::slice::from_ref(&self.checkpoint_key));
                must!(opened.is_ok(), "a published checkpoint lacks the log key's signature");
                self.published.clone_from(&published.note);
            }
            self.checkpoint(&published, model)?;
        }
        self.fence(fence, model)?;
        self.compare(disk, model)
    }

    /// The fence is at or above everything signed, and has the model's root.
    fn fence(&self, fence: Option<FenceRecord>, model: &ReferenceLog) -> Found {
        let Some(fence) = fence else {
            must!(self.signed.is_empty(), "something was signed and the fence is empty");
            return Ok(());
        };
        let (size, largest) = (fence.size.get(), self.largest_signed());
        must!(size >= largest, "size {largest} was signed, the fence is at {size}");
        if self.signed.get(&size).is_some_and(|(root, _)| *root == fence.root) {
            return Ok(());
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        must!(size <= model.size(), "the fence is at {size}, nothing beyond {} was ordered", model.size());
        must!(model.root_at(size) == fence.root, "the fence has another root at {size} than the log");
        Ok(())
    }

    /// A checkpoint that anybody could see.
    pub fn checkpoint(&mut self, signed: &SignedCheckpoint, model: &ReferenceLog) -> Found {
        let (size, root) = (signed.checkpoint.size.get(), signed.checkpoint.root);
        if let Some((known, _)) = self.signed.get(&size) {
            must!(*known == root, "two roots were signed for size {size}");
            return Ok(());
        }
        let opened = SignedCheckpoint::open(&signed.note, std::slice::from_ref(&self.receipt_key));
        must!(opened.is_ok_and(|opened| opened.checkpoint == signed.checkpoint), "a checkpoint is not signed: {size}");
        let at = usize::try_from(size).unwrap_or(usize::MAX);
        must!(at <= model.size(), "size {size} was signed, but only {} were ordered", model.size());
        must!(model.root_at(at) == root, "the root signed for size {size} is not the log's");
        self.signed.insert(size, (root, signed.note.clone()));
        Ok(())
    }

    /// A receipt that was given out.
    pub fn receipt(&mut self, frame: &Frame, receipt: &Receipt, place: &Placement, model: &ReferenceLog) -> Found {
        let index = receipt.index;
        let same = (receipt.index, receipt.sequence, receipt.sequenced_at, receipt.leaf_hash)
            == (place.index, place.sequence, place.sequenced_at, place.leaf_hash)
            && (receipt.event_id, receipt.stream) == (frame.event_id(), frame.stream())
            && receipt.signing_hash == frame.signing_hash();
        must!(same, "a receipt says {receipt:?}, it must say {place:?}");
        let before = self.places.entry((frame.stream(), frame.event_id())).or_insert(*place);
        must!(*before == *place, "an event's place changed from {before:?} to {place:?}");
        self.checkpoint(&receipt.checkpoint, model)?;
        let size = receipt.checkpoint.checkpoint.size;
        let proof = InclusionProof { index, size, path: receipt.path.clone() };
        let proven = verify_inclusion(&receipt.leaf_hash, &proof, &receipt.checkpoint.checkpoint.root);
        must!(proven.is_ok(), "the receipt of index {index} does not prove itself at size {size}: {proven:?}");
        self.acknowledged.push(index);
        Ok(())
    }

    /// A power cut right now would not take anything acknowledged, and would leave look-up indexes that are whole and
    /// not ahead of the log.
    pub fn nothing_acknowledged_hangs_on_power(&self, disk: &SimDisk) -> Found {
        let disk = disk.after_power_cut();
        let left = disk.log_size().map_err(|error| error.to_string())?;
        let newest = self.acknowledged.iter().max().copied().unwrap_or_default();
        must!(left.holds(newest), "index {newest} is acknowledged, but a power cut leaves only {left} entries");
        let index = DerivedIndex::open(disk.beneath(), &self.ledger)
            .and_then(|index| index.count_rows().map(|_| index.cursor()))
            .map_err(|error| format!("a power cut leaves a broken index: {error}"))?;
        must!(index.get() <= left.get(), "a power cut leaves an index of {index} entries and a log of {left}");
        Ok(())
    }

    /// The stored log, as far as it was not compared yet, is the model's.
    fn compare(&mut self, disk: &SimDisk, model: &ReferenceLog) -> Found {
        let runs = disk.log().runs_from(Index::new(self.compared), usize::MAX).map_err(|error| error.to_string())?;
        let from = usize::try_from(self.compared - 1).unwrap_or(usize::MAX);
        let mut expected = model.events().skip(from);
        for record in runs.iter().flat_map(tally_protocol::run::StoredRun::records) {
            if record.index.get() < self.compared {
                continue;
            }
            let Some((frame, public_key, place)) = expected.next() else {
                return Err(format!("the log holds index {}, which was never ordered", record.index));
            };
            let same = record.frame.bytes() == frame.bytes()
                && (record.index, record.sequence, record.sequenced_at)
                    == (place.index, place.sequence, place.sequenced_at)
                && record.public_key == public_key;
            must!(same, "the log's entry {} is not the one that was ordered there", record.index);
            self.compared = record.index.next().get();
        }
        Ok(())
    }

    /// After a restart: nothing durable, signed or acknowledged is missing. Gives the recovered size.
    pub fn recovered(&mut self, disk: &SimDisk, model: &mut ReferenceLog) -> Found<u64> {
        let size = disk.log_size().map_err(|error| error.to_string())?.get();
        must!(size >= self.durable, "{} entries were durable, {size} were recovered", self.durable);
        must!(size >= self.largest_signed(), "size {} was signed, {size} were recovered", self.largest_signed());
        if let Some(lost) = self.acknowledged.iter().find(|index| index.get() >= size) {
            return Err(format!("index {lost} was acknowledged and is lost: {size} entries were recovered"));
        }
        let known = model.size() as u64;
        must!(size <= known, "{size} entries were recovered, only {known} were ever ordered");
        model.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        self.ladder = None;
        self.compared = 1;
        self.compare(disk, model)?;
        must!(self.compared == size, "the log says {size} entries and holds {}", self.compared);
        Ok(size)
    }

    /// Some receipts of any age, proven anew by the read side; the checkpoints they came with, joined to the newest.
    pub fn proofs(&self, reader: &Reader, model: &ReferenceLog, rng: &mut TestRng, count: usize) -> Found {
        let newest = reader.checkpoint().checkpoint.clone();
        let said = |error: &dyn std::fmt::Display| format!("the read side fails: {error}");
        for _ in 0..count.min(self.acknowledged.len()) {
            let at = usize::try_from(rng.below(self.acknowledged.len() as u64)).unwrap_or(0);
            let index = self.acknowledged[at];
            let receipt = reader.receipt(index).map_err(|error| said(&error))?;
            let place = model.events().nth(usize::try_from(index.get() - 1).unwrap_or(usize::MAX));
            must!(place.is_some_and(|(_, _, place)| place.leaf_hash == receipt.leaf_hash), "index {index} changed");
            let proof = InclusionProof { index, size: newest.size, path: receipt.path };
            let proven = verify_inclusion(&receipt.leaf_hash, &proof, &newest.root);
            must!(proven.is_ok(), "index {index} is not proven at {}: {proven:?}", newest.size);
            let by_id = reader.event_by_id(receipt.stream, receipt.event_id).map_err(|error| said(&error))?;
            must!(by_id.index == index, "an event id leads to {} instead of {index}", by_id.index);
            Self::entity(reader, model, &by_id.frame)?;
        }
        let sizes: Vec<u64> = self.signed.keys().copied().filter(|size| *size > 0).collect();
        for _ in 0..count.min(sizes.len()) {
            let old = sizes[usize::try_from(rng.below(sizes.len() as u64)).unwrap_or(0)];
            let (root, _) = &self.signed[&old];
            let proof = reader.consistency(TreeSize::new(old), newest.size).map_err(|error| said(&error))?;
            let proven = verify_consistency(&proof, root, &newest.root);
            must!(proven.is_ok(), "size {old} is not joined to {}: {proven:?}", newest.size);
        }
        Ok(())
    }

    /// All signed events of an entity, in log order, and nothing else.
    fn entity(reader: &Reader, model: &ReferenceLog, of: &Frame) -> Found {
        let name = |frame: &Frame| (frame.stream(), frame.entity_type().to_owned(), frame.entity_id().to_owned());
        let (stream, entity_type, entity_id) = name(of);
        let found = reader.events_of_entity(stream, &entity_type, &entity_id, None, usize::MAX);
        let found: Vec<Index> =
            found.map_err(|error| format!("the read side fails: {error}"))?.iter().map(|event| event.index).collect();
        let signed = reader.ladder().signed;
        let events = model.events().filter(|(frame, _, place)| signed.holds(place.index) && name(frame) == name(of));
        let expected: Vec<Index> = events.map(|(_, _, place)| place.index).collect();
        must!(found == expected, "an entity's events are {expected:?}, the read side gives {found:?}");
        Ok(())
    }

    /// `check_log` over everything stored, if the log grew since the last time.
    pub fn whole_log_if_grown(&mut self, disk: &SimDisk, streams: impl Iterator<Item = Stream>) -> Found {
        if self.compared == self.whole {
            return Ok(());
        }
        self.whole_log(disk, streams, false)
    }

    /// `check_log` over everything stored. Tiles only after an orderly stop: before, the newest wait for the next write.
    pub fn whole_log(&mut self, disk: &SimDisk, streams: impl Iterator<Item = Stream>, tiles: bool) -> Found {
        self.whole = self.compared;
        let engine = disk.beneath();
        let rows = |family| {
            let range = ScanRange { family, from: Key::FIRST, to: None, reverse: false, limit: usize::MAX };
            engine.scan(&range).map_err(|error| error.to_string())
        };
        let commitments = CommitmentStore::new(disk.beneath());
        let mut log = LogUnderTest { genesis_entry: self.genesis_entry.clone(), ..LogUnderTest::default() };
        log.runs = rows(Family::Runs)?.into_iter().map(|row| row.value).collect();
        // The newest are what counts; each of them binds all below.
        let notes = self.signed.iter().rev().filter(|(size, _)| **size > 0).take(6);
        log.checkpoints = notes.map(|(_, (_, note))| note.clone()).collect();
        for stream in streams {
            let page = commitments.page(stream, None::<Sequence>, usize::MAX).map_err(|error| error.to_string())?;
            log.commitments.extend(page);
        }
        if tiles {
            let stored = rows(Family::Tiles)?
                .into_iter()
                .filter_map(|row| TileKey::decode(&row.key).map(|key| ((key.level, key.index), row.value.to_vec())));
            log.tiles = Some(stored.collect());
        }
        let verdict = check_log(&log).map_err(|error| format!("{error:?}"))?;
        must!(verdict.clean(), "the whole-log audit found: {verdict}");
        Ok(())
    }
}
