//! What the log commits and the store keeps: entries and the tree's frontier.

use tally_merkle::Frontier;
use tally_protocol::entry::{Entry, EventEntry, Genesis, PROFILE};
use tally_protocol::hash::{LeafHash, SigningHash};
use tally_protocol::id::{AgentId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::key::{Signature, SigningKey};
use tally_protocol::time::LogTime;

use crate::{Shape, Target, shape_of};

pub(super) const ENTRY: Target = Target {
    name: "entry",
    about: "an entry of the log: genesis or event",
    files: &["sdk/protocol/src/entry.rs"],
    words: &[b"TALLY_ENTRY_V1", b"\0", b"\x01", b"\x02", b"tally/1", b"\0\0\0\0\0\0\0\0"],
    seeds: || vec![genesis().encode(), event_entry().encode().to_vec()],
    check: entry,
};

pub(super) const FRONTIER: Target = Target {
    name: "frontier",
    about: "the stored right edge of the tree",
    files: &["sdk/merkle/src/frontier.rs"],
    words: &[b"\0\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0\0\0\0\0\0\x07"],
    seeds: frontier_seeds,
    check: frontier,
};

pub(super) fn genesis() -> Genesis {
    let key = |seed| SigningKey::from_seed([seed; 32]).public_key();
    Genesis {
        origin: "example.org/tally".to_owned(),
        profile: PROFILE.to_owned(),
        created_at: LogTime::from_micros(1_767_322_800_000_000),
        nonce: [12; 16],
        checkpoint_key: key(1),
        receipt_key: key(2),
        root_agent: AgentId::from_bytes([13; 16]),
        root_key: key(3),
    }
}

fn event_entry() -> EventEntry {
    EventEntry {
        stream: Stream { tenant: TenantId::from_bytes([1; 16]), store: StoreId::from_bytes([2; 16]) },
        sequence: Sequence::new(7),
        signing_hash: SigningHash::from_bytes([3; 32]),
        signature: Signature::from_bytes([4; 64]),
        public_key: SigningKey::from_seed([5; 32]).public_key(),
        sequenced_at: LogTime::from_micros(1_767_322_800_000_001),
    }
}

fn entry(input: &[u8]) -> Shape {
    match Entry::decode(input) {
        Ok(entry) => {
            assert_eq!(entry.encode(), input, "encoding what was decoded gave other bytes");
            assert_eq!(entry.leaf_hash(), tally_protocol::hash::leaf(input));
            match entry {
                Entry::Genesis(genesis) => {
                    assert_eq!(genesis.ledger_id().as_bytes(), genesis.leaf_hash().as_bytes());
                    "genesis".to_owned()
                }
                Entry::Event(_) => "event".to_owned(),
            }
        }
        Err(error) => shape_of(&error),
    }
}

fn frontier_seeds() -> Vec<Vec<u8>> {
    let mut frontier = Frontier::new();
    let mut seeds = vec![frontier.encode()];
    for number in 0_u8..11 {
        frontier.append(LeafHash::from_bytes([number; 32]));
        seeds.push(frontier.encode());
    }
    seeds
}

fn frontier(input: &[u8]) -> Shape {
    match Frontier::decode(input) {
        Ok(mut frontier) => {
            assert_eq!(frontier.encode(), input, "encoding what was decoded gave other bytes");
            let size = frontier.size().get();
            assert_eq!(frontier.peaks().len() as u32, size.count_ones());
            let _ = frontier.root();
            if size < u64::MAX {
                frontier.append(LeafHash::ZERO);
                assert_eq!(frontier.size().get(), size + 1);
            }
            format!("accepted {}", frontier.peaks().len().min(4))
        }
        Err(error) => shape_of(&error),
    }
}
