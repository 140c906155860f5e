//! The proofs: every receipt offline, the log against the receipts, fsck over the data, one event by file.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tally::profile::Profile;
use tally_client::{Client, ProvenReceipt};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::id::{Sequence, Stream};
use tally_protocol::proof::TlogProof;
use tally_verify::{Ledger, TrustRoot, verify_receipt_of_stranger};

use crate::{describe, node, say};

/// Verifies each receipt from nothing but its own bytes, the genesis entry and the ledger id: payload hash, agent
/// signature, leaf, inclusion, checkpoint signature. The client checked them too; this is without the client.
pub(crate) async fn verify_receipts(
    profile: &Profile,
    client: &Client,
    receipts: &[ProvenReceipt],
) -> Result<usize, String> {
    let began = Instant::now();
    let told = client.ledger().await.map_err(|error| describe(&error))?;
    let ledger = Ledger::from_genesis(told.genesis_entry()).map_err(|failed| failed.to_string())?;
    ledger.check_trust(&TrustRoot::ledger(profile.ledger_id)).map_err(|failed| failed.to_string())?;
    let mut opened: BTreeMap<&str, Checkpoint> = BTreeMap::new();
    for receipt in receipts {
        let note = receipt.checkpoint.note.as_str();
        if !opened.contains_key(note) {
            opened.insert(note, ledger.open_checkpoint(note).map_err(|failed| failed.to_string())?);
        }
        let checkpoint = opened.get(note).ok_or("no checkpoint")?;
        verify_receipt_of_stranger(&receipt.frame, &receipt.placed, &receipt.leaf_hash, &receipt.path, checkpoint)
            .map_err(|failed| format!("the receipt of {} does not hold: {failed}", receipt.frame.event_id()))?;
    }
    say(&format!(
        "verify {} receipts against {} checkpoints, offline, in {:.1} s",
        receipts.len(),
        opened.len(),
        began.elapsed().as_secs_f64()
    ));
    Ok(receipts.len())
}

/// Reads the whole stream back: nothing acknowledged is missing, nothing is there twice, nothing else is there.
pub(crate) async fn compare_with_log(
    client: &Client,
    stream: Stream,
    receipts: &[ProvenReceipt],
) -> Result<(), String> {
    let began = Instant::now();
    let expected: BTreeMap<Sequence, &ProvenReceipt> =
        receipts.iter().map(|receipt| (receipt.placed.sequence, receipt)).collect();
    if expected.len() != receipts.len() {
        return Err("two receipts name one sequence".to_owned());
    }
    let mut ids = HashSet::new();
    let mut from = Some(Sequence::new(1));
    while let Some(at) = from {
        let page = client.stream_events(stream, at, 1000).await.map_err(|error| describe(&error))?;
        for event in &page.events {
            let (sequence, id) = (event.placed.sequence, event.frame.event_id());
            let receipt = expected
                .get(&sequence)
                .ok_or_else(|| format!("the log holds sequence {sequence}, which nobody submitted"))?;
            if event.frame != receipt.frame || event.placed != receipt.placed {
                return Err(format!("the log holds another event at sequence {sequence} than its receipt says"));
            }
            if !ids.insert(id) {
                return Err(format!("the log holds event {id} twice"));
            }
        }
        from = page.next;
    }
    if ids.len() != receipts.len() {
        return Err(format!("the log holds {} of {} acknowledged events", ids.len(), receipts.len()));
    }
    say(&format!(
        "read   the stream back: {} events, none missing, none twice, in {:.1} s",
        ids.len(),
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Files about one event.
pub(crate) struct ProofFiles {
    bundle: PathBuf,
    proof: PathBuf,
    vkeys: Vec<String>,
}

/// Fetches bundle and proof file of an event from the middle.
pub(crate) async fn fetch_proof(
    client: &Client,
    receipts: &[ProvenReceipt],
    folder: &Path,
) -> Result<ProofFiles, String> {
    let index = receipts.get(receipts.len() / 2).ok_or("no receipts")?.placed.index;
    let bundle = client.bundle(index).await.map_err(|error| describe(&error))?;
    let entry = bundle.entry().map_err(|failed| failed.to_string())?;
    let proof = TlogProof {
        extra: Some(entry.encode().to_vec()),
        index: bundle.index,
        path: bundle.inclusion_path.clone(),
        checkpoint: bundle.checkpoint.clone(),
    };
    let files = ProofFiles {
        bundle: folder.join(format!("{index}.json")),
        proof: folder.join(format!("{index}.tlog-proof")),
        vkeys: bundle.verifier_keys.clone(),
    };
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).map_err(|error| format!("failed to write {}: {error}", path.display()))
    };
    write(&files.bundle, &bundle.encode())?;
    write(&files.proof, proof.encode().as_bytes())?;
    Ok(files)
}

/// The end of the log.
pub(crate) struct End {
    pub(crate) size: u64,
    pub(crate) root: String,
    pub(crate) checkpoint: String,
}

/// Runs `tally fsck` on the data of the stopped node.
pub(crate) fn fsck(binary: &Path, data: &Path, profile: &Profile) -> Result<End, String> {
    let began = Instant::now();
    let data = data.to_string_lossy();
    let output = node::tally(binary, &["fsck", &data, "--ledger", &profile.ledger_id.to_hex(), "--json"])?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("fsck gave no report: {}", String::from_utf8_lossy(&output.stderr).trim_end()))?;
    if !output.status.success() {
        return Err(format!("fsck: {}", report["first_bad"]));
    }
    let number = |field: &str| report[field].as_u64().unwrap_or_default();
    say(&format!(
        "fsck   {} events, {} signatures, {} tiles, {} checkpoints, {} commitments, {} index rows, in {:.1} s",
        number("events"),
        number("signatures"),
        number("tiles"),
        number("checkpoints"),
        number("commitments"),
        number("index_rows"),
        began.elapsed().as_secs_f64()
    ));
    let text = |field: &str| report[field].as_str().unwrap_or_default().to_owned();
    Ok(End { size: number("size"), root: text("root"), checkpoint: text("published_note") })
}

/// Runs `tally verify` on the bundle and on the proof file.
pub(crate) fn verify_files(binary: &Path, files: &ProofFiles, profile: &Profile) -> Result<(), String> {
    let (bundle, proof) = (files.bundle.to_string_lossy(), files.proof.to_string_lossy());
    let ledger = profile.ledger_id.to_hex();
    let mut with_keys = vec!["verify", &*proof];
    for vkey in &files.vkeys {
        with_keys.extend(["--vkey", vkey]);
    }
    for args in [vec!["verify", &*bundle, "--ledger", &ledger], with_keys] {
        let output = node::tally(binary, &args)?;
        if !output.status.success() {
            return Err(format!("tally verify: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            say(&format!("proof  {line}"));
        }
    }
    Ok(())
}
