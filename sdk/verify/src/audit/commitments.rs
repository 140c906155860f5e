//! Commitments of VES streams: each chain is re-derived from the events (S-132).
//!
//! Takes a stream's commitments in order, before their events; holds the VES leaves of one open range per stream.

use std::collections::{BTreeMap, VecDeque};

use tally_merkle::ves_root;
use tally_protocol::batch::Commitment;
use tally_protocol::hash::{LedgerId, StateRoot, VesLeaf};
use tally_protocol::id::{Sequence, Stream};

use super::finding::{Findings, Place, Rule};

/// One stream's chain.
#[derive(Debug)]
struct Chain {
    next_start: Sequence,
    state_root: StateRoot,
    waiting: VecDeque<Commitment>,
    leaves: Vec<VesLeaf>,
}

#[derive(Debug, Default)]
pub(super) struct Chains {
    chains: BTreeMap<Stream, Chain>,
    met: u64,
}

impl Chains {
    /// Notes the stream's next commitment and checks that it chains to the one before.
    pub(super) fn add(&mut self, ledger: &LedgerId, commitment: &Commitment, seen: Sequence, findings: &mut Findings) {
        let place = Place::Commitment(commitment.stream, commitment.sequence_start);
        let chain = self.chains.entry(commitment.stream).or_insert_with(|| Chain {
            next_start: Sequence::new(1),
            state_root: StateRoot::ZERO,
            waiting: VecDeque::new(),
            leaves: Vec::new(),
        });
        if let Err(why) = chain.check(ledger, commitment) {
            findings.add(place, Rule::CommitmentChain, why);
        }
        if seen >= commitment.sequence_start {
            findings.add(
                place,
                Rule::CommitmentRoot,
                "given after its events were passed: its root was not re-derived",
            );
        } else {
            chain.waiting.push_back(commitment.clone());
        }
        chain.next_start = commitment.sequence_end.next();
        chain.state_root = commitment.new_state_root;
    }

    /// An event passes.
    pub(super) fn on_event(&mut self, stream: &Stream, sequence: Sequence, leaf: VesLeaf, findings: &mut Findings) {
        let Some(chain) = self.chains.get_mut(stream) else {
            return;
        };
        let Some(open) = chain.waiting.front() else {
            return;
        };
        if sequence < open.sequence_start {
            return;
        }
        chain.leaves.push(leaf);
        if sequence < open.sequence_end {
            return;
        }
        let root = ves_root(&chain.leaves);
        if root == open.merkle_root {
            self.met += 1;
        } else {
            let place = Place::Commitment(*stream, open.sequence_start);
            findings.add(
                place,
                Rule::CommitmentRoot,
                format!("these events give root {root}, committed is {}", open.merkle_root),
            );
        }
        chain.leaves.clear();
        chain.waiting.pop_front();
    }

    /// The log ends: a commitment that still waits speaks of events that are not there.
    pub(super) fn end(&self, findings: &mut Findings) {
        for (stream, chain) in &self.chains {
            if let Some(open) = chain.waiting.front() {
                let why = format!("it covers sequences up to {}, which the log does not hold", open.sequence_end);
                findings.add(Place::Commitment(*stream, open.sequence_start), Rule::CommitmentRoot, why);
            }
        }
    }

    /// How many roots were re-derived and agreed.
    pub(super) const fn met(&self) -> u64 {
        self.met
    }
}

impl Chain {
    fn check(&self, ledger: &LedgerId, commitment: &Commitment) -> Result<(), String> {
        let start = commitment.sequence_start;
        if start != self.next_start {
            return Err(format!("it starts at sequence {start}, the one before ended before {}", self.next_start));
        }
        commitment.check().map_err(|error| error.to_string())?;
        if !commitment.is_named_by(ledger) {
            return Err("its batch id is not the one that this ledger gives".to_owned());
        }
        if commitment.prev_state_root != self.state_root {
            return Err("it does not name the state root before it".to_owned());
        }
        Ok(())
    }
}
