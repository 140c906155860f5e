//! Schemas of all bodies, by component name. Each object lists its members; the tests hold them against the types.

use serde_json::{Map, Value, json};

use super::reference;
use crate::api_key::Role;
use crate::error::ErrorCode;

fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn hex(bytes: usize) -> Value {
    json!({"type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", 2 * bytes)})
}

fn hex_0x(bytes: usize) -> Value {
    json!({"type": "string", "pattern": format!("^(0x)?[0-9a-fA-F]{{{}}}$", 2 * bytes)})
}

/// A thing of a chain: `0x`, then digits in lower case.
fn of_chain(bytes: usize) -> Value {
    json!({"type": "string", "pattern": format!("^0x[0-9a-f]{{{}}}$", 2 * bytes)})
}

fn bytes_of_chain() -> Value {
    json!({"type": "string", "pattern": "^0x([0-9a-f]{2})*$"})
}

fn number() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn text_of(bytes_max: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": bytes_max})
}

/// A flag that says one thing only.
fn yes(value: bool) -> Value {
    json!({"type": "boolean", "enum": [value]})
}

/// JSON of a plugin's own making.
fn any() -> Value {
    json!({"description": "JSON of the plugin's own making."})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn base64() -> Value {
    json!({"type": "string", "contentEncoding": "base64"})
}

fn list(items: Value) -> Value {
    Value::from_iter([("type", Value::from("array")), ("items", items)])
}

fn nullable(schema: Value) -> Value {
    Value::from_iter([("anyOf", Value::Array(vec![schema, json!({"type": "null"})]))])
}

fn one_of(values: &[&str]) -> Value {
    json!({"type": "string", "enum": values})
}

/// An object; a name that ends in `?` may be missing.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, schema) in members {
        match name.strip_suffix('?') {
            Some(name) => properties.insert(name.to_owned(), schema),
            None => {
                required.push(Value::from(name));
                properties.insert(name.to_owned(), schema)
            }
        };
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// An object of a request on the native surface: members it does not know are refused.
fn strict<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut schema = object(members);
    schema["additionalProperties"] = Value::Bool(false);
    schema
}

fn errors() -> Vec<(&'static str, Value)> {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    vec![
        ("ErrorBody", object([("error", reference("ErrorDetail"))])),
        (
            "ErrorDetail",
            object([
                ("code", one_of(&codes)),
                ("numeric_code", number()),
                ("message", text()),
                ("details?", json!({"type": "object"})),
                ("retry_after?", number()),
                ("request_id", text()),
            ]),
        ),
    ]
}

fn events() -> Vec<(&'static str, Value)> {
    vec![
        (
            "EventEnvelope",
            object([
                ("ves_version", json!({"type": "integer", "const": 1})),
                ("event_id", uuid()),
                ("tenant_id", uuid()),
                ("store_id", uuid()),
                ("source_agent_id", uuid()),
                ("agent_key_id", number()),
                ("entity_type", text_of(128)),
                ("entity_id", text_of(512)),
                ("event_type", text_of(256)),
                ("created_at", time()),
                ("payload_kind", json!({"type": "integer", "enum": [0, 1]})),
                ("payload?", json!({})),
                ("payload_encrypted?", json!({"type": "object"})),
                ("payload_plain_hash", hex_0x(32)),
                ("payload_cipher_hash", hex_0x(32)),
                ("agent_signature", hex_0x(64)),
                ("sequence_number?", number()),
                ("sequenced_at?", time()),
            ]),
        ),
        (
            "EventRecord",
            object([
                ("index", number()),
                ("sequence", number()),
                ("sequenced_at", time()),
                ("public_key", hex(32)),
                ("signing_hash", hex(32)),
                ("leaf_hash", hex(32)),
                ("frame", base64()),
                ("event", reference("EventEnvelope")),
            ]),
        ),
        ("SubmitRequest", strict([("events", list(reference("EventEnvelope")))])),
        ("SubmitAnswer", object([("checkpoints", list(text())), ("results", list(reference("EventOutcome")))])),
        (
            "EventOutcome",
            json!({"oneOf": [
                object([("status", one_of(&["accepted", "duplicate"])), ("receipt", reference("Receipt"))]),
                object([
                    ("status", one_of(&["rejected"])),
                    ("event_id", nullable(uuid())),
                    ("reject", reference("Rejection")),
                ]),
            ]}),
        ),
        ("Rejection", object([("code", text()), ("message", text()), ("field?", text())])),
        (
            "Receipt",
            object([
                ("event_id", uuid()),
                ("tenant_id", uuid()),
                ("store_id", uuid()),
                ("index", number()),
                ("sequence", number()),
                ("sequenced_at", time()),
                ("signing_hash", hex(32)),
                ("leaf_hash", hex(32)),
                ("path", list(hex(32))),
                ("checkpoint", number()),
            ]),
        ),
        ("ReceiptAnswer", object([("receipt", reference("Receipt")), ("checkpoints", list(text()))])),
        (
            "StreamPage",
            object([
                ("tenant_id", uuid()),
                ("store_id", uuid()),
                ("events", list(reference("EventRecord"))),
                ("next_sequence", nullable(number())),
                ("head_sequence", nullable(number())),
            ]),
        ),
        ("EntityPage", object([("events", list(reference("EventRecord"))), ("next_after", nullable(number()))])),
        ("StreamHead", object([("tenant_id", uuid()), ("store_id", uuid()), ("head_sequence", nullable(number()))])),
        (
            "FeedLine",
            json!({"oneOf": [
                object([("type", one_of(&["event"])), ("token", text()), ("record", reference("EventRecord"))]),
                object([("type", one_of(&["heartbeat"])), ("token", text()), ("size", number())]),
                object([
                    ("type", one_of(&["anchored"])),
                    ("token", text()),
                    ("chain_id", number()),
                    ("level", anchor_level()),
                    ("size", number()),
                    ("seq", number()),
                    ("transaction", of_chain(32)),
                ]),
                object([("type", one_of(&["end"])), ("token", text()), ("reason", text())]),
            ]}),
        ),
    ]
}

fn proofs() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Inclusion",
            object([
                ("index", number()),
                ("size", number()),
                ("leaf_hash?", hex(32)),
                ("root?", hex(32)),
                ("path", list(hex(32))),
            ]),
        ),
        ("Consistency", object([("old", number()), ("new", number()), ("path", list(hex(32)))])),
        ("Bundle", json!({"type": "object", "description": "An offline bundle; see docs/formats."})),
        (
            "Ledger",
            object([
                ("ledger_id", hex(32)),
                ("origin", text()),
                ("profile", text()),
                ("created_at", time()),
                ("genesis_entry", base64()),
                ("events_log_id", hex(32)),
                ("verifier_keys", list(reference("VerifierKey"))),
                ("root_agent_id", uuid()),
                ("root_public_key", hex(32)),
            ]),
        ),
        (
            "VerifierKey",
            object([("purpose", one_of(&["checkpoint", "receipt"])), ("vkey", text()), ("public_key", hex(32))]),
        ),
        (
            "Ladder",
            object([
                ("ordered", number()),
                ("durable", number()),
                ("folded", number()),
                ("signed", number()),
                ("acknowledged", number()),
                ("published", number()),
                ("applied", number()),
                ("anchored", number()),
                ("apply", reference("Apply")),
            ]),
        ),
        ("Apply", object([("state", one_of(&["off", "following", "halted"])), ("why?", text())])),
    ]
}

fn anchor_level() -> Value {
    one_of(&["latest", "safe", "finalized"])
}

fn anchors() -> Vec<(&'static str, Value)> {
    let head = || reference("AnchorHead");
    vec![
        (
            "AnchorStatus",
            object([
                ("policy", reference("AnchorPolicy")),
                ("anchored", number()),
                ("chains", list(reference("ChainAnchors"))),
            ]),
        ),
        ("AnchorPolicy", object([("k", number()), ("n", number()), ("level", anchor_level())])),
        (
            "ChainAnchors",
            object([
                ("chain_id", number()),
                ("name", text()),
                ("contract", of_chain(20)),
                ("events", reference("LogHeads")),
                ("outcomes?", reference("LogHeads")),
                ("lag_events", number()),
                ("lag_seconds", number()),
                ("halted?", text()),
            ]),
        ),
        ("LogHeads", object([("log_id", hex(32)), ("latest?", head()), ("safe?", head()), ("finalized?", head())])),
        (
            "AnchorHead",
            object([
                ("seq", number()),
                ("size", number()),
                ("root", hex(32)),
                ("epoch", number()),
                ("transaction", of_chain(32)),
                ("block", reference("AnchorBlock")),
            ]),
        ),
        ("AnchorBlock", object([("number", number()), ("hash", of_chain(32)), ("time", time())])),
        (
            "EventAnchors",
            object([("index", number()), ("leaf_hash", hex(32)), ("anchors", list(reference("AnchorProof")))]),
        ),
        (
            "AnchorProof",
            object([
                ("chain_id", number()),
                ("contract", of_chain(20)),
                ("authority", of_chain(20)),
                ("transaction", bytes_of_chain()),
                ("block?", reference("AnchorBlock")),
                ("event", object(anchor_leaf())),
                ("outcome?", {
                    let [log_id, seq, checkpoint, path, call] = anchor_leaf();
                    object([("body", base64()), log_id, seq, checkpoint, path, call])
                }),
            ]),
        ),
    ]
}

fn anchor_leaf() -> [(&'static str, Value); 5] {
    [
        ("log_id", hex(32)),
        ("seq", number()),
        ("checkpoint", text()),
        ("inclusion_path", list(hex(32))),
        ("call", bytes_of_chain()),
    ]
}

fn plugins() -> Vec<(&'static str, Value)> {
    let any_object = || json!({"type": "object"});
    vec![
        (
            "OutcomeAnswer",
            object([
                ("index", number()),
                ("event_leaf", hex(32)),
                ("bindings", list(reference("Binding"))),
                ("body", base64()),
                ("leaf_hash", hex(32)),
                ("size", number()),
                ("path", list(hex(32))),
                ("checkpoint", text()),
            ]),
        ),
        (
            "Binding",
            object([
                ("plugin", text_of(64)),
                ("module", hex(32)),
                ("profile", hex(32)),
                ("fresh", flag()),
                (
                    "code",
                    one_of(&[
                        "accepted",
                        "rejected",
                        "out_of_gas",
                        "stack_exceeded",
                        "memory_exceeded",
                        "trapped",
                        "limit",
                        "bad_output",
                        "dependency_rejected",
                    ]),
                ),
                ("reason?", text_of(32)),
                ("limit?", text()),
                ("gas", number()),
                ("writes", hex(32)),
                ("emits", hex(32)),
                ("effects", hex(32)),
            ]),
        ),
        ("ModuleStored", object([("module", hex(32)), ("bytes", number())])),
        (
            "Release",
            object([
                ("plugin_id", text_of(64)),
                ("version", text()),
                ("module_hash", hex(32)),
                ("manifest_hash", hex(32)),
                ("abi", number()),
                ("state_version", number()),
                ("permissions", list(text())),
                ("limits", any_object()),
                ("price", any_object()),
                ("schemas", any_object()),
            ]),
        ),
        ("ReleaseReport", object([("report_hash", hex(32)), ("blocking", number()), ("report", any_object())])),
        ("PluginRoute", object([("name", text()), ("method", text()), ("path", text()), ("event?", text())])),
        (
            "Plugin",
            object([
                ("plugin", text_of(64)),
                ("status", one_of(&["running", "quarantined", "failed", "pending", "approved", "rejected", "revoked"])),
                ("version", text()),
                ("module", hex(32)),
                ("installed", number()),
                ("record", any_object()),
                ("routes", list(reference("PluginRoute"))),
            ]),
        ),
        ("PluginList", object([("applied", number()), ("plugins", list(reference("Plugin")))])),
        ("PluginAnswer", object([("applied", number()), ("plugin", reference("Plugin"))])),
        ("QueryAnswer", object([("applied", number()), ("body", base64()), ("logs", list(text()))])),
        (
            "StateAnswer",
            object([
                ("applied", number()),
                ("root", hex(32)),
                ("value", nullable(base64())),
                ("proof", base64()),
                ("checkpoint", text()),
            ]),
        ),
        ("Effect", object([("index", number()), ("number", number()), ("record", any_object())])),
        (
            "EffectActed",
            object([("index", number()), ("number", number()), ("state", one_of(&["outcome_unknown", "decided"]))]),
        ),
        ("EffectPage", object([("effects", list(reference("Effect"))), ("next_after", nullable(text()))])),
        (
            "LogLine",
            object([("index", number()), ("level", one_of(&["debug", "info", "warn", "error"])), ("text", text())]),
        ),
        ("LogPage", object([("lines", list(reference("LogLine")))])),
        (
            "CommandAnswer",
            object([
                ("duplicate", flag()),
                ("receipt", reference("Receipt")),
                ("checkpoints", list(text())),
                ("outcome", nullable(reference("OutcomeAnswer"))),
                ("status_address", text()),
            ]),
        ),
        ("PluginJson", any()),
    ]
}

fn market() -> Vec<(&'static str, Value)> {
    vec![
        ("MarketAnswer", object([("applied", number()), ("ok", yes(true)), ("result", any())])),
        (
            "MarketReceipt",
            object([
                ("event_id", uuid()),
                ("tenant_id", uuid()),
                ("store_id", uuid()),
                ("index", number()),
                ("sequence", number()),
                ("sequenced_at", time()),
                ("signing_hash", hex(32)),
                ("leaf_hash", hex(32)),
                ("bundle_address", text()),
            ]),
        ),
        (
            "MarketOutcome",
            object([
                ("bindings", list(reference("Binding"))),
                ("body", base64()),
                ("leaf_hash", hex(32)),
                ("proof_address", text()),
            ]),
        ),
        (
            "MarketDone",
            object([
                ("ok", yes(true)),
                ("outcome", reference("MarketOutcome")),
                ("receipt", reference("MarketReceipt")),
                ("result", any()),
            ]),
        ),
        (
            "MarketPending",
            object([
                ("ok", yes(true)),
                ("pending", yes(true)),
                ("receipt", reference("MarketReceipt")),
                ("status_address", text()),
            ]),
        ),
        (
            "MarketErrorBody",
            object([
                ("error", object([("code", text()), ("message", text()), ("details", json!({"type": "object"}))])),
                ("ok", yes(false)),
                ("receipt?", reference("MarketReceipt")),
            ]),
        ),
        ("MarketWebhookAnswer", object([("facts", number()), ("ok", yes(true))])),
        (
            "MarketCommand",
            json!({"description": "The command's members, as docs/formats/market.md draws them.", "type": "object"}),
        ),
    ]
}

fn ves() -> Vec<(&'static str, Value)> {
    vec![
        ("VesIngestRequest", object([("agentId", uuid()), ("events", list(reference("EventEnvelope")))])),
        (
            "VesIngestAnswer",
            object([
                ("batchId", uuid()),
                ("eventsAccepted", number()),
                ("eventsRejected", number()),
                ("sequenceStart", nullable(number())),
                ("sequenceEnd", nullable(number())),
                ("headSequence", number()),
                ("rejections?", list(reference("VesRejection"))),
                ("receipts?", list(reference("VesReceipt"))),
            ]),
        ),
        (
            "VesRejection",
            object([("event_id", nullable(uuid())), ("reason", text()), ("message", text()), ("index", number())]),
        ),
        (
            "VesReceipt",
            object([
                ("sequencerId", uuid()),
                ("eventId", uuid()),
                ("sequenceNumber", number()),
                ("sequencedAt", time()),
                ("receiptHash", hex(32)),
                ("signatureAlg", one_of(&["ed25519"])),
                ("sequencerSignature", hex(64)),
                ("sequencerKeyVersion", number()),
                ("logIndex", number()),
            ]),
        ),
        (
            "Commitment",
            object([
                ("batch_id", uuid()),
                ("tenant_id", uuid()),
                ("store_id", uuid()),
                ("ves_version", number()),
                ("tree_depth", number()),
                ("leaf_count", number()),
                ("padded_leaf_count", number()),
                ("merkle_root", hex(32)),
                ("prev_state_root", hex(32)),
                ("new_state_root", hex(32)),
                ("sequence_start", number()),
                ("sequence_end", number()),
                ("committed_at", time()),
                ("is_anchored", flag()),
            ]),
        ),
        (
            "CommitmentPage",
            object([
                ("commitments", list(reference("Commitment"))),
                ("count", number()),
                ("next_after", nullable(number())),
            ]),
        ),
        (
            "CommitRequest",
            object([
                ("tenant_id", uuid()),
                ("store_id", uuid()),
                ("sequence_start?", number()),
                ("sequence_end?", number()),
            ]),
        ),
        (
            "VesProofAnswer",
            object([
                ("sequence_number", number()),
                ("batch_id", uuid()),
                ("merkle_root", hex(32)),
                ("leaf_hash", hex(32)),
                ("leaf_index", number()),
                ("proof_path", list(hex(32))),
                ("directions", list(flag())),
                ("leaf_count", number()),
            ]),
        ),
        (
            "VesVerifyRequest",
            object([
                ("leaf_hash", hex_0x(32)),
                ("merkle_root", hex_0x(32)),
                ("proof_path", list(hex_0x(32))),
                ("leaf_index", number()),
                ("leaf_count?", number()),
            ]),
        ),
        (
            "VesVerifyAnswer",
            object([("valid", flag()), ("reason?", text()), ("leaf_hash", hex(32)), ("merkle_root", hex(32))]),
        ),
        (
            "VesEventPage",
            object([
                ("events", list(reference("EventEnvelope"))),
                ("count", number()),
                ("next_sequence", number()),
                ("head_sequence", number()),
                ("has_more", flag()),
            ]),
        ),
        ("VesHead", object([("head_sequence", number())])),
        (
            "VesEntityPage",
            object([
                ("entity_type", text()),
                ("entity_id", text()),
                ("events", list(reference("EventEnvelope"))),
                ("count", number()),
                ("has_more", flag()),
                ("next_after", nullable(number())),
            ]),
        ),
    ]
}

fn keys() -> Vec<(&'static str, Value)> {
    let agent = || [("tenantId", uuid()), ("agentId", uuid())];
    let [tenant_id, agent_id] = agent();
    let [rotate_tenant_id, rotate_agent_id] = agent();
    let [revoke_tenant_id, revoke_agent_id] = agent();
    let [list_tenant_id, list_agent_id] = agent();
    let [changed_tenant_id, changed_agent_id] = agent();
    vec![
        (
            "RegisterKeyRequest",
            object([
                tenant_id,
                agent_id,
                ("keyId?", number()),
                ("publicKey", hex_0x(32)),
                ("validFrom?", time()),
                ("validTo?", time()),
                ("keyAlgorithm?", number()),
            ]),
        ),
        (
            "RotateKeyRequest",
            object([
                rotate_tenant_id,
                rotate_agent_id,
                ("publicKey", hex_0x(32)),
                ("previousValidTo", time()),
                ("validTo?", time()),
            ]),
        ),
        (
            "RevokeKeyRequest",
            object([revoke_tenant_id, revoke_agent_id, ("keyId", number()), ("reason", text_of(512))]),
        ),
        (
            "AgentKey",
            object([
                ("keyId", number()),
                ("algorithm", one_of(&["ed25519"])),
                ("publicKey", hex(32)),
                ("status", one_of(&["active", "pending", "expired", "revoked"])),
                ("validFrom", time()),
                ("validTo", nullable(time())),
                ("revokedAt", nullable(time())),
                ("registeredIndex", number()),
            ]),
        ),
        ("AgentKeys", object([list_tenant_id, list_agent_id, ("keys", list(reference("AgentKey")))])),
        (
            "KeyChanged",
            object([
                ("success", flag()),
                changed_tenant_id,
                changed_agent_id,
                ("keyId", number()),
                ("message", text()),
                ("logIndex", nullable(number())),
            ]),
        ),
    ]
}

fn administration() -> Vec<(&'static str, Value)> {
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    vec![
        (
            "CreateTenant",
            strict([
                ("tenant_id", uuid()),
                ("root_agent_id", uuid()),
                ("root_public_key", hex(32)),
                ("operator_managed?", flag()),
            ]),
        ),
        ("Tenant", object([("tenant_id", uuid()), ("created_index", number())])),
        ("SetEntityTypes", strict([("entity_types", list(text_of(128)))])),
        (
            "EntityTypes",
            object([
                ("tenant_id", uuid()),
                ("store_id", uuid()),
                ("entity_types", nullable(list(text_of(128)))),
                ("set_index", nullable(number())),
                ("plugins", list(reference("BroughtEntityType"))),
            ]),
        ),
        ("BroughtEntityType", object([("plugin", text_of(64)), ("entity_type", text_of(128))])),
        (
            "EntityTypesChanged",
            object([
                ("tenant_id", uuid()),
                ("store_id", uuid()),
                ("entity_types", nullable(list(text_of(128)))),
                ("log_index", number()),
            ]),
        ),
        (
            "CreateApiKey",
            strict([
                ("tenant_id?", nullable(uuid())),
                ("store_ids?", nullable(list(uuid()))),
                ("agent_id?", nullable(uuid())),
                ("roles", list(one_of(&roles))),
                ("label?", text()),
                ("expires_at?", nullable(time())),
            ]),
        ),
        (
            "ApiKeyInfo",
            object([
                ("id", hex(32)),
                ("prefix", text()),
                ("tenant_id", nullable(uuid())),
                ("store_ids", nullable(list(uuid()))),
                ("agent_id", nullable(uuid())),
                ("roles", list(one_of(&roles))),
                ("label", text()),
                ("created_at", time()),
                ("expires_at", nullable(time())),
                ("revoked_at", nullable(time())),
            ]),
        ),
        ("ApiKeyCreated", object([("api_key", text()), ("info", reference("ApiKeyInfo"))])),
        ("ApiKeyList", object([("keys", list(reference("ApiKeyInfo")))])),
        ("OpenApi", json!({"type": "object", "description": "This document."})),
        ("Health", object([("status", one_of(&["ok"]))])),
        (
            "Ready",
            object([
                ("status", one_of(&["running", "read_only", "draining", "poisoned"])),
                ("writes", flag()),
                ("reads", flag()),
            ]),
        ),
    ]
}

/// All component schemas, by name.
#[must_use]
pub fn components() -> Value {
    let groups = [errors(), events(), proofs(), anchors(), plugins(), market(), ves(), keys(), administration()];
    let all: Map<String, Value> =
        groups.into_iter().flatten().map(|(name, schema)| (name.to_owned(), schema)).collect();
    Value::Object(all)
}
