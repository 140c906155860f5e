//! A plugin over the export of a log: its streams, its ledger, and files that are none.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::path::Path;

use common::{committed, on_first};
use tally_plugin_author::dry_run;
use tally_plugin_author::source::{EventSource as _, Export};
use tally_protocol::entry::{Genesis, PROFILE};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::RunHash;
use tally_protocol::id::{AgentId, Epoch, EventId, Index, KeyId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::key::SigningKey;
use tally_protocol::run::{RecordIn, RunBuilder};
use tally_protocol::time::LogTime;

const TENANT: TenantId = TenantId::from_bytes([1; 16]);

fn genesis() -> Genesis {
    let key = |seed: u8| SigningKey::from_seed([seed; 32]).public_key();
    Genesis {
        origin: "log.example.com/market".to_owned(),
        profile: PROFILE.to_owned(),
        created_at: LogTime::from_micros(1_767_225_600_000_000),
        nonce: [7; 16],
        checkpoint_key: key(1),
        receipt_key: key(2),
        root_agent: AgentId::from_bytes([3; 16]),
        root_key: key(4),
    }
}

fn frame(stream: Stream, number: u8) -> Frame {
    let key = SigningKey::from_seed([9; 32]);
    let (created, payload) = ("2026-01-01T00:00:00Z", br#"{"n":1}"#);
    let fields = EventFields::plain(
        stream,
        EventId::from_bytes([number; 16]),
        (AgentId::from_bytes([8; 16]), KeyId::new(1)),
        ("thing", "one"),
        "thing.made",
        created,
        payload,
    );
    Frame::build(&fields, payload, |hash| key.sign(hash.as_bytes())).unwrap()
}

/// Two runs of three events: two stores, and a control stream.
fn export(folder: &Path) {
    std::fs::write(folder.join("genesis"), genesis().encode()).unwrap();
    std::fs::create_dir(folder.join("log")).unwrap();
    let stores = [1, 2, 0, 1, 1, 2].map(|store| Stream::new(TENANT, StoreId::from_bytes([store; 16])));
    let base = genesis().created_at;
    for (run, first) in [(0, 1_u64), (1, 4)] {
        let mut builder = RunBuilder::new(genesis().ledger_id(), Epoch::new(0), Index::new(first), RunHash::ZERO, base);
        for (at, store) in stores.iter().enumerate().skip(run * 3).take(3) {
            let frame = frame(*store, at as u8 + 1);
            let public_key = SigningKey::from_seed([9; 32]).public_key();
            let sequence = Sequence::new(at as u64 + 1);
            builder.push(RecordIn { sequence, sequenced_at: base, public_key, frame: &frame }).unwrap();
        }
        let bytes = builder.finish().unwrap().bytes;
        std::fs::write(folder.join("log").join(format!("{first:020}.run")), bytes).unwrap();
    }
}

#[test]
fn a_plugin_runs_over_each_stream_of_an_export() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Export::at(dir.path(), b"{}").is_none());
    export(dir.path());
    let export = Export::at(dir.path(), b"{}").unwrap();
    assert_eq!(export.ledger().unwrap(), genesis().ledger_id());
    let tracks = export.tracks(Index::new(u64::MAX)).unwrap();
    assert_eq!(tracks.iter().map(|track| track.events.len()).collect::<Vec<_>>(), [3, 2]);
    assert!(tracks[0].name.starts_with(&TENANT.to_string()));
    let plugin = on_first(&committed("counter"));
    let report = dry_run::run(&plugin, &tracks, Index::new(4)).unwrap();
    assert_eq!((report.events, report.heard), (3, 3));
    let change = |track: usize| report.states[track].changes[0].clone();
    assert!(change(0).before.unwrap().starts_with("\\x01") && change(0).after.unwrap().starts_with("\\x03"));
    assert!(change(1).before.unwrap().starts_with("\\x01") && change(1).after.unwrap().starts_with("\\x02"));
    // Below index 4 there is one event in each store.
    let some = export.tracks(Index::new(4)).unwrap();
    assert_eq!(some.iter().map(|track| track.events.len()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_damaged_export_is_named() {
    let dir = tempfile::tempdir().unwrap();
    export(dir.path());
    let file = dir.path().join("log/00000000000000000004.run");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let export = Export::at(dir.path(), b"{}").unwrap();
    let error = export.tracks(Index::new(u64::MAX)).unwrap_err().to_string();
    assert!(error.contains("00000000000000000004.run is no run"), "{error}");
    std::fs::write(dir.path().join("genesis"), b"nothing").unwrap();
    assert!(export.ledger().is_err());
}
