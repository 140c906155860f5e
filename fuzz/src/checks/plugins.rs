//! Plugins: outcomes, and the payloads of their events with the releases inside.

use tally_protocol::hash::{EffectsHash, EmitsHash, LeafHash, ModuleHash, ProfileId, WritesHash, leaf};
use tally_protocol::id::PluginId;
use tally_protocol::outcome::{BindingOutcome, LimitKind, Outcome, OutcomeCode, Reason};
use tally_protocol::plugin_event::PluginEvent;
use tally_protocol::release::Version;

use crate::{Shape, Target, shape_of};

pub(super) const OUTCOME: Target = Target {
    name: "outcome",
    about: "the outcome of one event",
    files: &["sdk/protocol/src/outcome.rs"],
    words: &[
        b"TALLY_OUTCOME_V1",
        b"\0\0\0\x01a",
        b"\0\x01",
        b"\0\0",
        b"\x01\0\0\0\x01x",
        b"\x06\x01",
        b"\x06\x0f",
        b"\x09",
        b"\xff\xff\xff\xff",
    ],
    seeds: outcome_seeds,
    check: outcome,
};

pub(super) const PLUGIN_EVENT: Target = Target {
    name: "plugin-event",
    about: "payloads of plugin events; the first byte chooses the type",
    files: &["sdk/protocol/src/plugin_event.rs", "sdk/protocol/src/release.rs"],
    words: &[
        b"null",
        b"\"extra\":1",
        b"true",
        b"false",
        b"4294967296",
        b"9007199254740991",
        b"00000000",
        b"\"approved\"",
        b"\"revoked\"",
        b"\"ledger\"",
        b"{}",
        b"[]",
        b"[\"kv\"]",
        b"\"a:b\"",
        b"1.0.0",
        b"01.0.0",
    ],
    seeds: event_seeds,
    check: plugin_event,
};

const EVENT_LEAF: LeafHash = LeafHash::ZERO;

fn outcome_seeds() -> Vec<Vec<u8>> {
    let binding = |plugin: &str, code: OutcomeCode| BindingOutcome {
        plugin: PluginId::new(plugin).expect("a name"),
        module: ModuleHash::from_bytes([1; 32]),
        profile: ProfileId::from_bytes([2; 32]),
        fresh: plugin == "a",
        code,
        gas: 1234,
        writes: WritesHash::from_bytes([3; 32]),
        emits: EmitsHash::from_bytes([4; 32]),
        effects: EffectsHash::from_bytes([5; 32]),
    };
    let reason = Reason::new(b"out-of-stock").expect("a reason");
    let one = vec![binding("a", OutcomeCode::Accepted)];
    let three = vec![
        binding("a", OutcomeCode::Rejected(reason)),
        binding("catalog", OutcomeCode::Limit(LimitKind::Emits)),
        binding("checkout", OutcomeCode::Trapped),
    ];
    [Vec::new(), one, three].map(|bindings| Outcome { event_leaf: EVENT_LEAF, bindings }.encode()).to_vec()
}

fn outcome(input: &[u8]) -> Shape {
    match Outcome::decode(input, EVENT_LEAF) {
        Ok(outcome) => {
            assert_eq!(outcome.encode(), input, "encoding what was decoded gave other bytes");
            assert_eq!(outcome.leaf_hash(), leaf(input));
            assert_eq!(outcome.check(), Ok(()));
            // Beside another event only the empty body reads.
            let elsewhere = Outcome::decode(input, LeafHash::from_bytes([1; 32]));
            assert_eq!(elsewhere.is_ok(), outcome.bindings.is_empty());
            let codes: Vec<_> = outcome.bindings.iter().take(2).map(|binding| binding.code.as_str()).collect();
            format!("accepted {} {}", outcome.bindings.len().min(4), codes.join(" "))
        }
        Err(error) => shape_of(&error),
    }
}

const TYPES: [&str; 8] = [
    "tally.plugin.submitted",
    "tally.plugin.reviewed",
    "tally.plugin.installed",
    "tally.plugin.configured",
    "tally.plugin.upgraded",
    "tally.plugin.quarantined",
    "tally.plugin.removed",
    "tally.plugin.unknown",
];

fn event_seeds() -> Vec<Vec<u8>> {
    let (id, hash, signature) = ("0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a", "ab".repeat(32), "cd".repeat(64));
    let time = "2026-01-02T03:04:05.000000Z";
    let release = format!(
        r#"{{"abi":1,"limits":{{"gas":1}},"manifest_hash":"{hash}","module_hash":"{hash}","permissions":["a:b","kv"],"plugin_id":"a","price":{{"amount":1,"currency":"EUR","per":"event"}},"schemas":{{"a.b":"{hash}"}},"state_version":1,"version":"1.0.0"}}"#
    );
    let submitted = format!(
        r#"{{"previous":"{hash}","publisher_id":"{id}","publisher_key_id":1,"release":{release},"release_hash":"{hash}","signature":"{signature}","signed_at":"{time}"}}"#
    );
    let reviewed = format!(
        r#"{{"blocking":0,"decision":"approved","override":false,"plugin_id":"a","previous":"{hash}","reason":"read","release_hash":"{hash}","report_hash":"{hash}","reviewer_id":"{id}","reviewer_key_id":1,"signature":"{signature}","signed_at":"{time}","version":"1.0.0"}}"#
    );
    let binding = format!(
        r#"{{"config":{{"a":[1]}},"granted":["kv"],"limits":{{"gas":1}},"module_hash":"{hash}","plugin_id":"a","previous":"{hash}","profile_id":"{hash}","registry":"tenant","release_hash":"{hash}","rollback":false,"state_version":1,"store_id":"{id}","version":"1.0.0"}}"#
    );
    let configured =
        format!(r#"{{"config":{{}},"plugin_id":"a","previous":"{hash}","resume":true,"store_id":"{id}"}}"#);
    let ending = format!(r#"{{"plugin_id":"a","previous":"{hash}","reason":"slow","store_id":"{id}"}}"#);
    let payloads = [submitted, reviewed, binding.clone(), configured, binding, ending.clone(), ending, "{}".to_owned()];
    payloads.iter().zip(0_u8..).map(|(payload, which)| [&[which], payload.as_bytes()].concat()).collect()
}

fn plugin_event(input: &[u8]) -> Shape {
    let Some((which, payload)) = input.split_first() else { return "empty".to_owned() };
    let event_type = TYPES[usize::from(*which) % TYPES.len()];
    match PluginEvent::decode(event_type, payload) {
        Ok(event) => {
            assert_eq!(event.payload(), payload, "encoding what was decoded gave other bytes");
            assert_eq!(event.event_type(), event_type);
            assert_eq!(event.check(), Ok(()));
            if let PluginEvent::Submitted(submission) = &event {
                let release = &submission.release;
                assert_eq!(Version::parse(&release.version.to_string()), Ok(release.version));
                assert_eq!(release.hash(), release.clone().hash());
            }
            format!("accepted {event_type}")
        }
        Err(error) => format!("{event_type} {}", shape_of(&error)),
    }
}
