//! A sample of the answers, checked offline as a client would: place, leaf, path, checkpoint, or the VES signature.
//!
//! Takes requests with their answers and the ledger's genesis; gives how many receipts verified. One that does not
//! fails the whole run: a rate of wrong receipts is no rate.

use std::collections::HashMap;

use serde_json::Value;
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, NodeHash, ReceiptHash};
use tally_protocol::id::{AgentId, Index, Sequence};
use tally_protocol::key::{PublicKey, Signature};
use tally_protocol::receipt::{VesPlace, VesReceipt};
use tally_protocol::time::LogTime;
use tally_verify::{Ledger, Placed, verify_receipt};

use crate::Failure;
use crate::events::Maker;
use crate::requests::{Form, Request};

/// Checks receipts of one ledger.
pub struct Checker {
    ledger: Ledger,
    keys: HashMap<AgentId, PublicKey>,
}

impl Checker {
    /// A checker that trusts the ledger with this genesis entry.
    ///
    /// # Errors
    /// If the entry is no genesis.
    pub fn new(genesis_entry: &[u8], maker: &Maker) -> Result<Self, Failure> {
        let ledger = Ledger::from_genesis(genesis_entry).map_err(|error| format!("no genesis: {error}"))?;
        Ok(Self { ledger, keys: maker.keys() })
    }

    /// Checks every receipt of the sampled answers.
    ///
    /// # Errors
    /// At the first receipt that does not verify.
    pub fn check(&self, form: Form, requests: &[Request], sample: &[(usize, Vec<u8>)]) -> Result<usize, Failure> {
        let mut checked = 0;
        for (which, body) in sample {
            let frames = requests[*which].sample.as_deref().unwrap_or_default();
            let answer: Value =
                serde_json::from_slice(body).map_err(|error| format!("an answer is no JSON: {error}"))?;
            checked += match form {
                Form::Frames | Form::Json => self.native(&answer, frames)?,
                Form::Ves => self.ves(&answer, frames)?,
            };
        }
        Ok(checked)
    }

    fn native(&self, answer: &Value, frames: &[Frame]) -> Result<usize, Failure> {
        let notes = answer["checkpoints"].as_array().ok_or("an answer without checkpoints")?;
        let open = |note: &Value| self.ledger.open_checkpoint(note.as_str().unwrap_or_default());
        let checkpoints: Vec<Checkpoint> =
            notes.iter().map(open).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let results = answer["results"].as_array().ok_or("an answer without results")?;
        if results.len() != frames.len() {
            return Err(format!("{} results for {} events", results.len(), frames.len()));
        }
        for (result, frame) in results.iter().zip(frames) {
            let receipt = &result["receipt"];
            let which = receipt["checkpoint"].as_u64().unwrap_or(u64::MAX) as usize;
            let checkpoint = checkpoints.get(which).ok_or("a receipt without its checkpoint")?;
            let placed = Placed {
                index: Index::new(number(&receipt["index"])?),
                sequence: Sequence::new(number(&receipt["sequence"])?),
                sequenced_at: time(&receipt["sequenced_at"])?,
                public_key: *self.keys.get(&frame.agent_id()).ok_or("an event of a stranger")?,
            };
            let leaf = LeafHash::from_hex(text(&receipt["leaf_hash"])?).map_err(|error| error.to_string())?;
            let path = receipt["path"].as_array().ok_or("a receipt without its path")?;
            let path: Vec<NodeHash> = path
                .iter()
                .map(|node| NodeHash::from_hex(text(node)?).map_err(|error| error.to_string()))
                .collect::<Result<_, Failure>>()?;
            verify_receipt(frame, &placed, &leaf, &path, checkpoint).map_err(|error| error.to_string())?;
        }
        Ok(results.len())
    }

    fn ves(&self, answer: &Value, frames: &[Frame]) -> Result<usize, Failure> {
        let receipts = answer["receipts"].as_array().ok_or("an answer without receipts")?;
        let key = self.ledger.genesis().receipt_key;
        for (receipt, frame) in receipts.iter().zip(frames) {
            let place = VesPlace {
                stream: frame.stream(),
                event_id: frame.event_id(),
                sequence: Sequence::new(number(&receipt["sequenceNumber"])?),
                signing_hash: frame.signing_hash(),
            };
            let signed = VesReceipt {
                receipt_hash: ReceiptHash::from_hex(text(&receipt["receiptHash"])?).map_err(|e| e.to_string())?,
                signature: Signature::from_hex(text(&receipt["sequencerSignature"])?).map_err(|e| e.to_string())?,
            };
            signed.verify(&place, &key).map_err(|error| error.to_string())?;
        }
        if receipts.len() == frames.len() { Ok(receipts.len()) } else { Err("a receipt is missing".into()) }
    }
}

fn text(value: &Value) -> Result<&str, Failure> {
    value.as_str().ok_or_else(|| format!("{value} is no text"))
}

fn number(value: &Value) -> Result<u64, Failure> {
    value.as_u64().ok_or_else(|| format!("{value} is no number"))
}

fn time(value: &Value) -> Result<LogTime, Failure> {
    LogTime::parse_rfc3339(text(value)?).map_err(|error| error.to_string())
}
