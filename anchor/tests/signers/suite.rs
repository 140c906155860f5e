//! What every signer must show, whatever holds its key (S-119): the same settings language, the same seam, and a chain
//! that takes what comes out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tally_anchor::signer::config::{OpenError, SignerConfig, Surroundings, open};
use tally_anchor::signer::record::{Recorded, UseLog};
use tally_anchor::signer::{Clock, Purpose, Signature, Signer};
use tally_protocol::time::LogTime;

use crate::anvil::{Anvil, Transfer};

/// Half of the group's order, rounded down: the greatest s that a chain takes (EIP-2).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

pub(crate) type Opened = Recorded<Box<dyn Signer>>;

#[expect(clippy::disallowed_methods, reason = "the test is the process that owns the clock")]
pub(crate) fn clock() -> Clock {
    Clock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        LogTime::from_micros(u64::try_from(since.as_micros()).unwrap())
    })
}

pub(crate) fn surroundings(folder: &Path, environment: &[(&str, &str)]) -> Surroundings {
    let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Surroundings {
        environment: pairs.collect::<BTreeMap<_, _>>(),
        clock: clock(),
        uses: UseLog::open(&folder.join("uses.jsonl")).unwrap(),
    }
}

/// Opens a signer as a process does: from the text of its settings.
pub(crate) async fn open_text(settings: &str, surroundings: &Surroundings) -> Result<Opened, OpenError> {
    let config: SignerConfig = toml::from_str(settings).unwrap_or_else(|error| panic!("{settings}: {error}"));
    open(&config, surroundings).await
}

/// `count` transactions and `count` statements of an authority: all low-s, all taken, all by the pinned address, all in
/// the record.
pub(crate) async fn signs_for_the_chain(signer: &Opened, count: u64, record: &Path) {
    let chain = Anvil::start().await;
    chain.fund(signer.address()).await;
    let (mut raw, mut statements) = (Vec::new(), Vec::new());
    for nonce in 0..count {
        let transfer = Transfer { nonce };
        let signature = signer.sign(Purpose::Transaction, transfer.digest()).await.unwrap();
        assert_low(&signature);
        raw.push(transfer.signed(&signature));
        // Any 32 bytes, not only hashes: what is signed is the digest itself.
        let mut digest = [0x5a; 32];
        digest[..8].copy_from_slice(&nonce.to_be_bytes());
        let signature = signer.sign(Purpose::Authority, digest).await.unwrap();
        assert_low(&signature);
        statements.push((digest, signature));
    }
    let everyone = vec![signer.address(); raw.len()];
    assert_eq!(chain.send(&raw).await, everyone);
    assert_eq!(chain.recover(&statements).await, everyone);
    let lines = std::fs::read_to_string(record).unwrap();
    let signed = lines.lines().filter(|line| line.contains("\"signed\"")).count() as u64;
    assert_eq!(signed, 2 * count);
}

fn assert_low(signature: &Signature) {
    assert!(signature.s <= HALF_ORDER, "{signature:?}");
}

/// The chain that the suite trusts can tell: it names another signer for a changed signature. (It does take the higher s
/// of a transaction, as public networks do not: that s is low is checked above, by arithmetic of the test's own.)
#[tokio::test]
async fn the_chain_names_another_signer_for_a_changed_signature() {
    let folder = tempfile::tempdir().unwrap();
    let signer = crate::file::signer(&folder).await;
    let chain = Anvil::start().await;
    let good = signer.sign(Purpose::Authority, [1; 32]).await.unwrap();
    let other_s = Signature { s: negated(&good.s), ..good };
    let other_y = Signature { odd_y: !good.odd_y, ..good };
    let asked = [([1; 32], good), ([2; 32], good), ([1; 32], other_s), ([1; 32], other_y)];
    let named = chain.recover(&asked).await;
    assert_eq!(named[0], signer.address());
    assert!(named[1..].iter().all(|address| *address != signer.address()), "{named:?}");
}

/// The group's order without s: twice the half, one more, minus s.
pub(crate) fn negated(s: &[u8; 32]) -> [u8; 32] {
    let (mut out, mut carry) = ([0; 32], 1i32);
    for at in (0..32).rev() {
        let sum = 2 * i32::from(HALF_ORDER[at]) - i32::from(s[at]) + carry;
        out[at] = u8::try_from(sum.rem_euclid(256)).unwrap();
        carry = sum.div_euclid(256);
    }
    out
}
