//! What a chain holds of a log: calls of the contract, its event, the transactions around them.

use tally_protocol::anchor::transaction::SignedTransaction;
use tally_protocol::anchor::{AnchorCall, Anchored, InclusionQuery};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::{self, LedgerId, LogKind, NodeHash, NoteHash, RootHash};
use tally_protocol::id::{Index, TreeSize};
use tally_testkit::TestChain;

use crate::{Shape, Target, shape_of};

/// A word that is one, and a word with a bit too many.
const ONE: &[u8] = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
const HIGH: &[u8] = b"\x01\0\0\0\0\0\0\0\0";

pub(super) const CALL: Target = Target {
    name: "anchor-call",
    about: "call data of a contract that holds logs",
    files: &["sdk/protocol/src/anchor.rs"],
    words: &[ONE, HIGH, b"\0", b"\x20", b"\x40", b"\x41", b"\xe0", b"\x01\0", b"\x80\0", b"\x7f\xff\xff\xff"],
    seeds: call_seeds,
    check: call,
};

pub(super) const EVENT: Target = Target {
    name: "anchored",
    about: "the event of a moved head: three topics, then its data",
    files: &["sdk/protocol/src/anchor.rs"],
    words: &[ONE, HIGH, b"\0", b"\xff\xff\xff\xff", b"\x01\0\0\0\0"],
    seeds: || {
        let event = sample_event();
        vec![[event.topics().as_flattened(), &event.data()].concat()]
    },
    check: event,
};

pub(super) const TRANSACTION: Target = Target {
    name: "transaction",
    about: "signed transactions of type 2",
    files: &["sdk/protocol/src/anchor/transaction.rs"],
    words: &[
        b"\x02",
        b"\xf8\x70",
        b"\xf9\x01\0",
        b"\x80",
        b"\xc0",
        b"\xa0",
        b"\x94",
        b"\x81\x80",
        b"\xb8\x38",
        b"\x01",
        b"\0",
    ],
    seeds: || {
        call_seeds().into_iter().filter_map(|data| AnchorCall::decode(&data).ok()).map(|call| around(&call)).collect()
    },
    check: transaction,
};

fn around(call: &AnchorCall) -> Vec<u8> {
    TestChain::new(7).transaction(call, 3).encode()
}

fn call_seeds() -> Vec<Vec<u8>> {
    let (chain, ledger) = (TestChain::new(7), LedgerId::from_bytes([9; 32]));
    let head = Checkpoint::new("log", TreeSize::new(9), RootHash::from_bytes([1; 32]));
    let part = |kind, count| {
        chain.anchor(hash::log_id(&ledger, kind), "note", &head, vec![NodeHash::from_bytes([2; 32]); count])
    };
    let query = InclusionQuery {
        log_id: hash::log_id(&ledger, LogKind::Events),
        seq: 1,
        size: head.size,
        root: head.root,
        leaf: hash::leaf(b"x"),
        index: Index::new(4),
        path: vec![NodeHash::from_bytes([3; 32]); 4],
    };
    vec![
        AnchorCall::One(part(LogKind::Events, 0)).encode(),
        AnchorCall::One(part(LogKind::Events, 4)).encode(),
        AnchorCall::Many(vec![part(LogKind::Events, 3), part(LogKind::Outcomes, 2)]).encode(),
        query.encode(),
    ]
}

fn call(input: &[u8]) -> Shape {
    let moved = AnchorCall::decode(input);
    let asked = InclusionQuery::decode(input);
    assert!(moved.is_err() || asked.is_err(), "two meanings of one call");
    if let Ok(call) = &moved {
        assert_eq!(call.encode(), input, "a call that writes itself in another way");
        let chain = TestChain::new(7);
        let signers = call.anchors().iter().map(|anchor| anchor.authority(chain.chain_id, chain.contract).is_ok());
        return format!("moves {:?}", signers.take(3).collect::<Vec<_>>());
    }
    match asked {
        Ok(query) => {
            assert_eq!(query.encode(), input, "a question that writes itself in another way");
            format!("asks {}", query.path.len().min(3))
        }
        Err(error) => {
            format!("{} {}", moved.err().map_or_else(String::new, |error| shape_of(&error)), shape_of(&error))
        }
    }
}

fn sample_event() -> Anchored {
    Anchored {
        log_id: hash::log_id(&LedgerId::from_bytes([9; 32]), LogKind::Events),
        seq: 2,
        size: TreeSize::new(9),
        root: RootHash::from_bytes([1; 32]),
        prev_size: TreeSize::new(4),
        prev_root: RootHash::from_bytes([2; 32]),
        note_hash: NoteHash::from_bytes([3; 32]),
        epoch: 1,
    }
}

fn event(input: &[u8]) -> Shape {
    let (words, rest) = input.as_chunks::<32>();
    let at = words.len().min(3);
    let data = [words[at..].as_flattened(), rest].concat();
    match Anchored::decode(&words[..at], &data) {
        Ok(event) => {
            assert_eq!([event.topics().as_flattened(), &event.data()].concat(), input);
            format!("accepted {}", event.prev_size.get() == 0)
        }
        Err(error) => shape_of(&error),
    }
}

fn transaction(input: &[u8]) -> Shape {
    match SignedTransaction::decode(input) {
        Ok(signed) => {
            assert_eq!(signed.encode(), input, "a transaction that writes itself in another way");
            let call = AnchorCall::decode(&signed.transaction.data).is_ok();
            format!("accepted {} {call}", signed.sender().is_ok())
        }
        Err(error) => shape_of(&error),
    }
}
