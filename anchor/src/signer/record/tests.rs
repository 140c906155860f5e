use std::sync::atomic::{AtomicUsize, Ordering};

use tally_protocol::time::LogTime;

use super::super::secp256k1::SecretKey;
use super::*;

/// Counts how often it is asked, and looks at the record while it is asked.
#[derive(Debug, Default)]
struct Counting {
    asked: AtomicUsize,
    record: Option<std::path::PathBuf>,
    seen: Mutex<String>,
    refuses: bool,
}

impl Counting {
    fn key() -> SecretKey {
        SecretKey::from_bytes(&[7; 32]).unwrap()
    }
}

impl Signer for Counting {
    fn address(&self) -> Address {
        Self::key().address()
    }

    fn describe(&self) -> String {
        "counting".to_owned()
    }

    fn sign(&self, _purpose: Purpose, digest: [u8; 32]) -> Signing<'_> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(path) = &self.record {
                *self.seen.lock().unwrap() = std::fs::read_to_string(path).unwrap();
            }
            if self.refuses { Err(SignerError::Refused("no".to_owned())) } else { Self::key().sign(&digest) }
        })
    }
}

fn clock() -> Clock {
    Clock::new(|| LogTime::from_micros(1_000_000))
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_use_is_on_disk_before_the_device_hears_of_it_and_before_the_caller_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses.jsonl");
    let signer = Counting { record: Some(path.clone()), ..Counting::default() };
    let signer = Recorded::new(signer, UseLog::open(&path).unwrap(), clock());
    let signature = signer.sign(Purpose::Authority, [9; 32]).await.unwrap();
    let seen = signer.signer.seen.lock().unwrap().clone();
    assert!(seen.ends_with('\n') && seen.contains("\"asked\"") && seen.contains(&hex(&[9; 32])), "{seen}");
    let lines = lines(&path);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["outcome"], "signed");
    assert_eq!(lines[1]["purpose"], "authority");
    assert_eq!(lines[1]["time"], "1970-01-01T00:00:01.000000Z");
    assert_eq!(lines[1]["address"], signer.address().to_string());
    assert_eq!(lines[1]["signature"], format!("{}{}", hex(&signature.r), hex(&signature.s)));
}

#[tokio::test]
async fn a_refusal_is_a_use_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses.jsonl");
    let signer = Counting { refuses: true, ..Counting::default() };
    let signer = Recorded::new(signer, UseLog::open(&path).unwrap(), clock());
    assert!(matches!(signer.sign(Purpose::Transaction, [9; 32]).await, Err(SignerError::Refused(_))));
    assert_eq!(lines(&path)[1]["outcome"], "refused");
}

#[tokio::test]
async fn a_record_that_cannot_be_written_gives_no_signature_and_asks_no_device() {
    let signer = Recorded::new(Counting::default(), UseLog::open(Path::new("/dev/full")).unwrap(), clock());
    for _ in 0..2 {
        let answer = signer.sign(Purpose::Transaction, [9; 32]).await;
        assert!(matches!(answer, Err(SignerError::Unrecorded(_))), "{answer:?}");
    }
    assert_eq!(signer.signer.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_torn_line_is_ended_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses.jsonl");
    std::fs::write(&path, "{\"torn").unwrap();
    UseLog::open(&path).unwrap().append("{}\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"torn\n{}\n");
}

#[test]
fn a_record_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uses.jsonl");
    let first = UseLog::open(&path).unwrap();
    assert!(UseLog::open(&path).is_err());
    drop(first);
    assert!(UseLog::open(&path).is_ok());
}
