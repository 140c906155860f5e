//! A running node against code that shares nothing with it.
//!
//! - the crates `signed_note` and `tlog_tiles` open the served checkpoint, authenticate the served tiles, and check the
//!   served proofs against them;
//! - `foreign/agent.mjs` (`@noble/ed25519`) signs events that the node admits, and verifies what the node signs;
//! - `foreign/auditor.py` (`pymerkle`, `cryptography`) recomputes the root of the whole log and checks every signature.
//!
//! The scripts' packages are installed once, pinned by hash, into the user's cache folder (`tally/foreign`, outside the
//! checkout); what is missing for that is named in one line. All trust starts from the ledger id alone.

mod common;
#[path = "foreign/tools.rs"]
mod tools;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Home, Node, event_lines, submit_lines};
use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use tally::profile::Profile;
use tally_protocol::entry::Genesis;
use tally_protocol::hash::LedgerId;
use tally_protocol::note::VerifierKey;
use tlog_tiles::{
    Checkpoint, Error, Hash, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree,
    record_hash, tree_hash,
};
use tools::Tools;

const PATIENCE: Duration = Duration::from_secs(60);

/// How the served surface is read: plain HTTP/1.1, one request per connection.
struct Surface {
    host: String,
    api_key: String,
}

impl Surface {
    fn new(node: &Node, api_key_file: &Path) -> Self {
        let host = node.url().strip_prefix("http://").unwrap().to_owned();
        Self { host, api_key: std::fs::read_to_string(api_key_file).unwrap().trim().to_owned() }
    }

    fn try_get(&self, path: &str) -> Result<Vec<u8>, String> {
        let (host, key) = (&self.host, &self.api_key);
        let mut stream = TcpStream::connect(host).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "the body is of known length: {head}");
        if head.starts_with("HTTP/1.1 200 ") {
            return Ok(answer[end + 4..].to_vec());
        }
        Err(format!("{path}: {head}\n{}", String::from_utf8_lossy(&answer[end + 4..])))
    }

    fn get(&self, path: &str) -> Vec<u8> {
        self.try_get(path).unwrap_or_else(|error| panic!("{error}"))
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path)).unwrap()
    }

    /// The published checkpoint's note, once it covers so many entries.
    fn published(&self, size: u64) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(note) = self.try_get("/log/checkpoint") {
                let note = String::from_utf8(note).unwrap();
                if note.lines().nth(1).unwrap().parse::<u64>().unwrap() >= size {
                    return note;
                }
            }
            assert!(Instant::now() < deadline, "no checkpoint of size {size} was published");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl TileReader for Surface {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        // tlog-tiles fixes the height that the crate still writes.
        Ok(tiles.iter().map(|tile| self.get(&format!("/log/{}", tile.path().replacen("tile/8/", "tile/", 1)))).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// Entries of a served bundle, read by the specification's own words: each behind a big-endian 16-bit length.
fn entries(bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bundle;
    let mut entries = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (entry, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        entries.push(entry.to_vec());
        rest = behind;
    }
    assert!(rest.is_empty());
    entries
}

fn all_entries(surface: &Surface, size: u64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while (all.len() as u64) < size {
        let (index, left) = (all.len() as u64 / 256, size - all.len() as u64);
        let tile = Tile::new(8, 0, index, u32::try_from(left.min(256)).unwrap(), true);
        all.extend(entries(&surface.get(&format!("/log/{}", tile.path().replacen("tile/8/data/", "tile/entries/", 1)))));
    }
    all
}

/// The checkpoint of a note as foreign code opens it, with the keys that the trusted ledger's genesis entry names.
fn opened(note: &str, genesis: &Genesis) -> Checkpoint {
    let verifiers = [genesis.checkpoint_key, genesis.receipt_key].map(|key| {
        let vkey = VerifierKey::new(&genesis.origin, key).unwrap().to_string();
        Box::new(StandardVerifier::new(&vkey).unwrap()) as Box<dyn signed_note::Verifier>
    });
    let note = Note::from_bytes(note.as_bytes()).unwrap();
    let (verified, unknown) = note.verify(&VerifierList::new(verifiers.into())).unwrap();
    assert_eq!((verified.len(), unknown.len()), (2, 0), "both keys of the ledger sign what is published");
    Checkpoint::from_bytes(note.text()).unwrap()
}

fn hashes(path: &Value) -> Vec<Hash> {
    let unhex = |text: &str| {
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        Hash(bytes.try_into().unwrap())
    };
    path.as_array().unwrap().iter().map(|hash| unhex(hash.as_str().unwrap())).collect()
}

#[test]
fn foreign_crates_open_the_checkpoint_and_authenticate_tiles_and_proofs() {
    let home = Home::new();
    let node = home.start();
    let profile = home.profile();
    let surface = Surface::new(&node, &profile.operator_api_key_file);
    submit_lines(&home, &event_lines("first", 40));
    let older = surface.published(41);
    submit_lines(&home, &event_lines("second", 560));
    let note = surface.published(601);

    let first = entries(&surface.get("/log/tile/entries/000.p/1")).remove(0);
    let genesis = Genesis::decode(&first).unwrap();
    assert_eq!(record_hash(&first).0, *profile.ledger_id.as_bytes(), "the trusted ledger");
    let (older, tree) = (opened(&older, &genesis), opened(&note, &genesis));
    let (size, root) = (tree.size(), *tree.hash());

    // The tiles give the signed root, every leaf is its entry's hash, and the crate's own proofs come out of the tiles.
    let reader = TileHashReader::new(size, root, &surface);
    assert_eq!(tree_hash(size, &reader).unwrap(), root);
    let entries = all_entries(&surface, size);
    for index in [0, 1, 2, 39, 40, 41, 254, 255, 256, 257, 511, 512, 599, size - 1] {
        let leaf = record_hash(&entries[usize::try_from(index).unwrap()]);
        let theirs = prove_record(size, index, &reader).unwrap();
        check_record(&theirs, size, root, index, leaf).unwrap();
        // The served proof is the same one.
        let served = surface.json(&format!("/v1/proofs/inclusion?index={index}&size={size}"));
        assert_eq!(hashes(&served["path"]), theirs, "index {index}");
        // So is the proof file's.
        if index > 0 {
            check_proof_file(&surface, &genesis, index, leaf);
        }
    }
    for old in [1, 2, older.size(), 255, 256, 257, size - 1, size] {
        let served = surface.json(&format!("/v1/proofs/consistency?old={old}&new={size}"));
        assert_eq!(hashes(&served["path"]), prove_tree(size, old, &reader).unwrap(), "old size {old}");
    }
    let served = surface.json(&format!("/v1/proofs/consistency?old={}&new={size}", older.size()));
    check_tree(&hashes(&served["path"]), size, root, older.size(), *older.hash()).unwrap();
    node.stop();
}

/// `c2sp.org/tlog-proof@v1`, read line by line.
fn check_proof_file(surface: &Surface, genesis: &Genesis, index: u64, leaf: Hash) {
    let file = String::from_utf8(surface.get(&format!("/v1/proof/{index}.tlog-proof"))).unwrap();
    let (head, note) = file.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    assert_eq!(lines.next(), Some(format!("index {index}").as_str()));
    let path = lines.map(|line| Hash::parse_hash(line).unwrap()).collect();
    let tree = opened(note, genesis);
    check_record(&path, tree.size(), *tree.hash(), index, leaf).unwrap();
}

#[test]
fn a_foreign_agent_is_admitted_and_a_foreign_auditor_confirms_the_log() {
    let tools = Tools::installed().unwrap_or_else(|missing| panic!("{missing}"));
    let home = Home::new();
    let node = home.start();
    let profile = home.profile();
    let (older, answers) = (home.path().join("older.note"), home.path().join("answers.json"));

    let young = tools.audit(&node, &profile, &["--save".as_ref(), older.as_os_str()]);
    assert!(young["size"].as_u64().unwrap() >= 1, "{young}");

    let done = tools.agent(&node, &profile, 300, &answers);
    assert_eq!(done["accepted"], 300 + 8 + 8 + 2);
    let size = (done["last_proven_index"].as_u64().unwrap() + 3).to_string();

    let report = tools.audit(
        &node,
        &profile,
        &["--wait-for".as_ref(), size.as_ref(), "--older".as_ref(), older.as_os_str(), "--answer".as_ref(), answers.as_os_str()],
    );
    assert_eq!(report["ves_receipts"], done["ves_receipts"]);
    assert_eq!(report["proven_receipts"], done["proven_receipts"]);
    assert_eq!(report["older"], 1);
    assert!(report["tiles"].as_u64().unwrap() >= 3, "a full tile, a partial one and the one above: {report}");
    assert_eq!(report["agent_signatures"].as_u64().unwrap() + 1, report["size"].as_u64().unwrap());
    node.stop();
}

#[test]
fn the_foreign_auditor_finds_what_does_not_hold() {
    let tools = Tools::installed().unwrap_or_else(|missing| panic!("{missing}"));
    let home = Home::new();
    let node = home.start();
    let profile = home.profile();
    let answers = home.path().join("answers.json");
    tools.agent(&node, &profile, 3, &answers);
    let honest: Value = serde_json::from_str(&std::fs::read_to_string(&answers).unwrap()).unwrap();

    let change = |change: &dyn Fn(&mut Value), complaint: &str| {
        let mut forged = honest.clone();
        change(&mut forged);
        std::fs::write(&answers, forged.to_string()).unwrap();
        let extra = ["--wait-for".as_ref(), "25".as_ref(), "--answer".as_ref(), answers.as_os_str()];
        let output = tools.auditor(&node, &profile, &extra).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(complaint), "{complaint}: {said}");
    };
    change(&|answer| flip(&mut answer[0]["receipts"][0]["sequencerSignature"]), "a VES receipt's signature is wrong");
    change(&|answer| flip(&mut answer[0]["receipts"][0]["receiptHash"]), "a VES receipt's hash is not the event's");
    change(&|answer| answer[0]["receipts"][0]["sequenceNumber"] = 77.into(), "another sequence than the log");
    change(&|answer| flip(&mut answer[1]["results"][0]["receipt"]["leaf_hash"]), "a receipt's leaf is not the log's");
    change(&|answer| flip(&mut answer[1]["results"][0]["receipt"]["path"][0]), "a receipt's path is not the tree's");
    let stranger = Profile { ledger_id: LedgerId::from_bytes([0; 32]), ..profile };
    let output = tools.auditor(&node, &stranger, &[]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("this is another ledger"));
    node.stop();
}

/// Changes the first hexadecimal digit.
fn flip(text: &mut Value) {
    let old = text.as_str().unwrap();
    let digit = if old.starts_with('0') { "1" } else { "0" };
    *text = format!("{digit}{}", &old[1..]).into();
}
