//! The one route table. A row says what a route is called, who may call it, what it takes and what it gives; the
//! router, the authorisation, the metrics' labels and the OpenAPI document are made from it and from nothing else.

use tally_api::openapi::Content::{Bytes, Json, Lines, Text};
use tally_api::openapi::{Answer, Kind, Parameter, Place};
use tally_api::plugin::{OCTETS, WASM};
use tally_api::submit::FRAMES;

use super::Method::{Delete, Get, Post, Put};
use super::{
    Route, anchors, api_keys, declared, effects, entity_types, events, feed, keys, ledger, log, market, modules, ops,
    outcomes, plugins, proofs, submit, tenants, ves, ves_proofs,
};
use crate::auth::{Anonymous, Rule};
use crate::credential::Permission::{
    CommitmentsRead, CommitmentsWrite, CredentialsWrite, EffectsWrite, EntityTypesWrite, EventsRead, EventsWrite,
    KeysWrite, LogRead, MetricsRead, ModulesWrite, TenantsWrite,
};

const fn path(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, kind, about }
}

const fn query(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Query { required: false }, kind, about }
}

const fn needed(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Query { required: true }, kind, about }
}

const INDEX: Parameter = path("index", Kind::Number, "Position in the log, from 1.");
const NUMBER: Parameter = path("number", Kind::Number, "Which of the event's effects, from 0.");
const TENANT: Parameter = path("tenant", Kind::Uuid, "The tenant.");
const STORE: Parameter = path("store", Kind::Uuid, "The store.");
const AGENT: Parameter = path("agent", Kind::Uuid, "The agent.");
const ENTITY_TYPE: Parameter = path("entity_type", Kind::Text, "Kind of the entity.");
const ENTITY_ID: Parameter = path("entity_id", Kind::Text, "The entity.");
const TENANT_ID: Parameter = needed("tenant_id", Kind::Uuid, "The tenant.");
const STORE_ID: Parameter = needed("store_id", Kind::Uuid, "The store.");
const FROM: Parameter = query("from", Kind::Number, "First sequence; 1 if left out.");
const LIMIT: Parameter = query("limit", Kind::Number, "At most this many, up to 1000; 100 if left out.");
const PLUGIN: Parameter = path("plugin", Kind::Text, "The plugin's id, 1 to 64 of a-z, 0-9 and -.");
const PLUGIN_PATH: Parameter = path("path", Kind::Text, "A path that the plugin declares.");
const AFTER_INDEX: Parameter = query("after", Kind::Number, "Only events after this position in the log.");

const fn ok(content: &'static [tally_api::openapi::Content]) -> Answer {
    Answer { status: 200, about: "Done.", content }
}

const fn created(content: &'static [tally_api::openapi::Content]) -> Answer {
    Answer { status: 201, about: "Created.", content }
}

const COMMAND_ANSWERS: [Answer; 2] = [
    ok(&[Json("CommandAnswer")]),
    Answer { status: 202, about: "In the log; not applied yet.", content: &[Json("CommandAnswer")] },
];

const DECIDED: [Answer; 3] = [
    Answer { status: 200, about: "Accepted.", content: &[Json("MarketDone")] },
    Answer { status: 201, about: "Accepted; something new was made.", content: &[Json("MarketDone")] },
    Answer { status: 202, about: "In the log; not decided yet.", content: &[Json("MarketPending")] },
];
const MARKET_PATH: Parameter = path("path", Kind::Text, "A path that a plugin of the marketplace declares.");
/// What a command's body may be.
const COMMAND: &[tally_api::openapi::Content] = &[Json("MarketCommand"), Bytes(FRAMES)];

/// Checkpoints, hash tiles and proofs about them.
const LOG: Rule = Rule::needs(&[LogRead, EventsRead, CommitmentsRead]).or_anonymous(Anonymous::IfLogPublic);
/// Entry bundles: they show all tenants.
const BUNDLES: Rule = Rule::operator(&[LogRead]).or_anonymous(Anonymous::IfEntriesPublic);
const READ: Rule = Rule::needs(&[EventsRead]);

macro_rules! routes {
    ($($method:ident $path:literal as $id:literal in $tag:literal: $summary:literal,
        $rule:expr, [$($parameter:expr),* $(,)?], $request:expr, [$($answer:expr),* $(,)?], $handler:path;)*) => {
        &[$(Route {
            method: $method,
            path: $path,
            id: $id,
            tag: $tag,
            summary: $summary,
            rule: $rule,
            parameters: &[$($parameter),*],
            request: $request,
            answers: &[$($answer),*],
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

/// All routes.
pub(crate) static ROUTES: &[Route] = routes! {
    // Native surface: events.
    Post "/v1/events" as "submitEvents" in "events": "Submit signed events; each gets a proven receipt or its own refusal.",
        Rule::needs(&[EventsWrite]), [], &[Json("SubmitRequest"), Bytes(FRAMES)], [ok(&[Json("SubmitAnswer")])], submit::submit;
    Get "/v1/events/{index}" as "eventByIndex" in "events": "The event at a position of the log.",
        READ, [INDEX], &[], [ok(&[Json("EventRecord")])], events::by_index;
    Get "/v1/streams/{tenant}/{store}/events" as "streamEvents" in "events": "Events of a stream, in order of sequence.",
        READ, [TENANT, STORE, FROM, LIMIT], &[], [ok(&[Json("StreamPage")])], events::of_stream;
    Get "/v1/streams/{tenant}/{store}/events/{sequence}" as "eventBySequence" in "events": "The event at a position of a stream.",
        READ, [TENANT, STORE, path("sequence", Kind::Number, "Position in the stream, from 1.")], &[],
        [ok(&[Json("EventRecord")])], events::by_sequence;
    Get "/v1/streams/{tenant}/{store}/by-id/{event_id}" as "eventById" in "events": "The event of a stream with an id.",
        READ, [TENANT, STORE, path("event_id", Kind::Uuid, "The event's id.")], &[],
        [ok(&[Json("EventRecord")])], events::by_id;
    Get "/v1/streams/{tenant}/{store}/entities/{entity_type}/{entity_id}" as "entityEvents" in "events": "Events of an entity, in order of the log.",
        READ, [TENANT, STORE, ENTITY_TYPE, ENTITY_ID, AFTER_INDEX, LIMIT], &[], [ok(&[Json("EntityPage")])], events::of_entity;
    Get "/v1/streams/{tenant}/{store}/head" as "streamHead" in "events": "The newest sequence of a stream.",
        READ, [TENANT, STORE], &[], [ok(&[Json("StreamHead")])], events::head;
    Get "/v1/feed" as "feed" in "events": "Live events in order of the log, as NDJSON or server-sent events, with resume tokens.",
        READ, [
            query("from", Kind::Text, "A resume token, `start` (the default) or `now`."),
            query("tenant", Kind::Uuid, "Only this tenant's events."),
            query("store", Kind::Uuid, "Only this store's events."),
            query("anchors", Kind::Text, "`true`: also a line whenever a chain holds more of the log, or for surer."),
        ], &[], [ok(&[Lines("FeedLine"), Text("text/event-stream")])], feed::feed;

    // Native surface: proofs.
    Get "/v1/receipts/{index}" as "receipt" in "proofs": "The receipt of an event, at the newest signed checkpoint.",
        READ, [INDEX], &[], [ok(&[Json("ReceiptAnswer")])], proofs::receipt;
    Get "/v1/proofs/inclusion" as "inclusionProof" in "proofs": "That an entry is in the tree of a size (RFC 6962).",
        LOG, [
            needed("index", Kind::Number, "Position in the log."),
            query("size", Kind::Number, "Size of the tree; the newest signed if left out."),
        ], &[], [ok(&[Json("Inclusion")])], proofs::inclusion;
    Get "/v1/proofs/consistency" as "consistencyProof" in "proofs": "That one tree is a prefix of another (RFC 6962).",
        LOG, [
            needed("old", Kind::Number, "Size of the older tree, from 1."),
            query("new", Kind::Number, "Size of the newer tree; the newest signed if left out."),
        ], &[], [ok(&[Json("Consistency")])], proofs::consistency;
    Get "/v1/outcomes/{index}" as "outcome" in "proofs": "What was decided about the event at a position, and its proof.",
        READ, [INDEX], &[], [ok(&[Json("OutcomeAnswer")])], outcomes::by_index;
    Get "/v1/outcomes/proofs/inclusion" as "outcomeInclusionProof" in "proofs": "That an outcome is in the tree of a size (RFC 6962).",
        LOG, [
            needed("index", Kind::Number, "Position in the log."),
            query("size", Kind::Number, "Size of the tree; the newest signed if left out."),
        ], &[], [ok(&[Json("Inclusion")])], proofs::outcome_inclusion;
    Get "/v1/outcomes/proofs/consistency" as "outcomeConsistencyProof" in "proofs": "That one tree of outcomes is a prefix of another (RFC 6962).",
        LOG, [
            needed("old", Kind::Number, "Size of the older tree, from 1."),
            query("new", Kind::Number, "Size of the newer tree; the newest signed if left out."),
        ], &[], [ok(&[Json("Consistency")])], proofs::outcome_consistency;
    Get "/v1/bundle/{index}" as "bundle" in "proofs": "Everything needed to verify an event offline, as one file.",
        READ, [INDEX], &[], [ok(&[Json("Bundle")])], proofs::bundle;
    Get "/v1/proof/{file}" as "tlogProof" in "proofs": "A c2sp.org/tlog-proof@v1 file of an event, against the newest published checkpoint.",
        READ, [path("file", Kind::Text, "`<index>.tlog-proof`")], &[], [ok(&[Text("text/plain")])], proofs::tlog_proof;

    // Native surface: what chains hold.
    Get "/v1/anchors" as "anchors" in "anchors": "How far each chain holds the logs, as this node last read it from its providers.",
        LOG, [], &[], [ok(&[Json("AnchorStatus")])], anchors::status;
    Get "/v1/events/{index}/anchor" as "eventAnchors" in "anchors": "The proofs from an event to each chain that holds it: the member `anchors` of a bundle.",
        READ, [INDEX], &[], [ok(&[Json("EventAnchors")])], anchors::of_event;

    // Native surface: who the ledger is and who its agents are.
    Get "/v1/ledger" as "ledger" in "ledger": "Origin, identity, genesis and verifier keys.",
        LOG, [], &[], [ok(&[Json("Ledger")])], ledger::ledger;
    Get "/v1/ladder" as "ladder" in "ledger": "How far each stage of the log is.",
        LOG, [], &[], [ok(&[Json("Ladder")])], ledger::ladder;
    Get "/v1/keys/{tenant}/{agent}" as "agentKeys" in "keys": "An agent's keys, with their history.",
        READ, [TENANT, AGENT], &[], [ok(&[Json("AgentKeys")])], keys::list;
    Get "/v1/keys/{tenant}/{agent}/{key_id}" as "agentKey" in "keys": "One key of an agent.",
        READ, [TENANT, AGENT, path("key_id", Kind::Number, "The key's number, from 1.")], &[],
        [ok(&[Json("AgentKey")])], keys::one;
    Post "/v1/tenants" as "createTenant" in "tenants": "Create a tenant, by an event signed with the ledger's root key.",
        Rule::operator(&[TenantsWrite]), [], &[Json("CreateTenant")], [created(&[Json("Tenant")])], tenants::create;
    Get "/v1/streams/{tenant}/{store}/entity-types" as "entityTypes" in "tenants": "Which entity types a store takes: its list, and what its plugins bring.",
        READ, [TENANT, STORE], &[], [ok(&[Json("EntityTypes")])], entity_types::show;
    Put "/v1/streams/{tenant}/{store}/entity-types" as "setEntityTypes" in "tenants": "Set the list of entity types that a store takes, by an event signed with the root key.",
        Rule::needs(&[EntityTypesWrite]), [TENANT, STORE], &[Json("SetEntityTypes")], [ok(&[Json("EntityTypesChanged")])],
        entity_types::set;
    Delete "/v1/streams/{tenant}/{store}/entity-types" as "liftEntityTypes" in "tenants": "Lift the list: the store takes every entity type again.",
        Rule::needs(&[EntityTypesWrite]), [TENANT, STORE], &[], [ok(&[Json("EntityTypesChanged")])], entity_types::lift;
    Post "/v1/api-keys" as "createApiKey" in "credentials": "Create an API key; it is shown this once.",
        Rule::needs(&[CredentialsWrite]), [], &[Json("CreateApiKey")], [created(&[Json("ApiKeyCreated")])], api_keys::create;
    Get "/v1/api-keys" as "listApiKeys" in "credentials": "List API keys, without the keys.",
        Rule::needs(&[CredentialsWrite]), [], &[], [ok(&[Json("ApiKeyList")])], api_keys::list;
    Delete "/v1/api-keys/{id}" as "revokeApiKey" in "credentials": "Revoke an API key.",
        Rule::needs(&[CredentialsWrite]), [path("id", Kind::Text, "The key's id, as it is listed.")], &[],
        [ok(&[Json("ApiKeyInfo")])], api_keys::revoke;

    // Plugins.
    Post "/v1/modules" as "putModule" in "plugins": "Store a plugin's module, by its hash.",
        Rule::needs(&[ModulesWrite]), [], &[Bytes(WASM)], [created(&[Json("ModuleStored")])], modules::put;
    Post "/v1/reports" as "reportRelease" in "plugins": "What this node's host has to say about a release, before it is reviewed: the body is the release, as in its submission, in JSON. The node takes an approval only if it has made the report that the review names since it started.",
        Rule::needs(&[ModulesWrite]), [], &[Json("Release")], [ok(&[Json("ReleaseReport")])], modules::report;
    Get "/v1/modules/{module}" as "module" in "plugins": "A module's bytes. Operators name any; others also a stream or registry of theirs that has it, or the ledger's registry (nil, nil).",
        Rule::needs(&[EventsRead, LogRead]), [
            path("module", Kind::Text, "BLAKE3 of the module, lower-case hexadecimal."),
            query("tenant", Kind::Uuid, "The tenant of a stream that has it."),
            query("store", Kind::Uuid, "The store of a stream that has it."),
        ], &[], [ok(&[Bytes(WASM)])], modules::get;
    Get "/v1/streams/{tenant}/{store}/plugins" as "plugins" in "plugins": "The plugins of a stream, in install order; of a control stream, those of its registry.",
        READ, [TENANT, STORE], &[], [ok(&[Json("PluginList")])], plugins::list;
    Get "/v1/streams/{tenant}/{store}/plugins/{plugin}" as "plugin" in "plugins": "One plugin of a stream.",
        READ, [TENANT, STORE, PLUGIN], &[], [ok(&[Json("PluginAnswer")])], plugins::one;
    Post "/v1/streams/{tenant}/{store}/plugins/{plugin}/query" as "queryPlugin" in "plugins": "Ask a plugin, in bytes of its own; it reads the newest applied state.",
        READ, [TENANT, STORE, PLUGIN], &[Json("PluginJson"), Bytes(OCTETS)], [ok(&[Json("QueryAnswer")])], plugins::query;
    Get "/v1/streams/{tenant}/{store}/plugins/{plugin}/state/{key}" as "pluginState" in "plugins": "What a plugin holds under a key, or that it holds nothing, and the proof.",
        READ, [TENANT, STORE, PLUGIN, path("key", Kind::Text, "The key, in lower-case hexadecimal.")], &[],
        [ok(&[Json("StateAnswer")])], plugins::state;
    Get "/v1/streams/{tenant}/{store}/plugins/{plugin}/logs" as "pluginLogs" in "plugins": "The newest lines that a plugin logged, oldest first.",
        READ, [TENANT, STORE, PLUGIN, AFTER_INDEX, LIMIT], &[], [ok(&[Json("LogPage")])], plugins::logs;
    Get "/v1/effects" as "effects" in "plugins": "Effects that plugins asked for, in order of the log.",
        READ, [query("after", Kind::Text, "Only effects behind this one, as `next_after` said."), LIMIT], &[],
        [ok(&[Json("EffectPage")])], plugins::effects;
    Post "/v1/effects/{index}/{number}/retry" as "retryEffect" in "plugins": "Try a dead letter again: what came of it is looked up first.",
        Rule::needs(&[EffectsWrite]), [INDEX, NUMBER], &[], [ok(&[Json("EffectActed")])], effects::retry;
    Post "/v1/effects/{index}/{number}/fail" as "failEffect" in "plugins": "Give a dead letter up: its answer is `failed`, with the code `operator`. If it was done after all, nobody will know.",
        Rule::needs(&[EffectsWrite]), [INDEX, NUMBER], &[], [ok(&[Json("EffectActed")])], effects::fail;
    Get "/v1/streams/{tenant}/{store}/openapi.json" as "streamOpenapi" in "plugins": "This description, and the routes that the plugins of a stream declare.",
        READ, [TENANT, STORE], &[], [ok(&[Json("OpenApi")])], declared::openapi_document;
    Get "/plugins/{tenant}/{store}/{plugin}/{*path}" as "pluginQuery" in "plugins": "Ask a plugin by a route that it declares as a query.",
        READ, [TENANT, STORE, PLUGIN, PLUGIN_PATH], &[], [ok(&[Json("PluginJson")])], declared::query;
    Post "/plugins/{tenant}/{store}/{plugin}/{*path}" as "pluginCommandPost" in "plugins": "Submit one event of the type that a plugin's route declares, and await its outcome.",
        Rule::needs(&[EventsWrite]), [TENANT, STORE, PLUGIN, PLUGIN_PATH], &[Json("SubmitRequest"), Bytes(FRAMES)],
        [COMMAND_ANSWERS[0], COMMAND_ANSWERS[1]], declared::post;
    Put "/plugins/{tenant}/{store}/{plugin}/{*path}" as "pluginCommandPut" in "plugins": "The same, for routes declared with this method.",
        Rule::needs(&[EventsWrite]), [TENANT, STORE, PLUGIN, PLUGIN_PATH], &[Json("SubmitRequest"), Bytes(FRAMES)],
        [COMMAND_ANSWERS[0], COMMAND_ANSWERS[1]], declared::put;
    Delete "/plugins/{tenant}/{store}/{plugin}/{*path}" as "pluginCommandDelete" in "plugins": "The same, for routes declared with this method.",
        Rule::needs(&[EventsWrite]), [TENANT, STORE, PLUGIN, PLUGIN_PATH], &[Json("SubmitRequest"), Bytes(FRAMES)],
        [COMMAND_ANSWERS[0], COMMAND_ANSWERS[1]], declared::delete;

    // The marketplace.
    Get "/market/openapi.json" as "marketOpenapi" in "market": "The description of the marketplace's routes.",
        READ, [], &[], [ok(&[Json("OpenApi")])], market::document;
    Post "/market/checkout/webhook" as "marketWebhook" in "market": "A payment provider's message, in its own form and under its own signature.",
        Rule::needs(&[EventsWrite]).or_anonymous(Anonymous::IfWebhook), [], &[Bytes("application/json")],
        [ok(&[Json("MarketWebhookAnswer")])], market::webhook;
    Get "/market/commands/{index}" as "marketCommand" in "market": "The answer of a command, by its event's position: for who gave it, and for admins.",
        READ, [INDEX], &[], [DECIDED[0], DECIDED[1], DECIDED[2]], market::command_answer;
    Get "/market/{*path}" as "marketQuery" in "market": "Ask the marketplace by a route that one of its plugins declares.",
        READ.or_anonymous(Anonymous::IfMarketPublic), [MARKET_PATH], &[], [ok(&[Json("MarketAnswer")])], market::query;
    Post "/market/{*path}" as "marketCommandPost" in "market": "Give a command, as members that this node signs or as one signed event, and await its outcome.",
        Rule::needs(&[EventsWrite]), [MARKET_PATH], COMMAND, [DECIDED[0], DECIDED[1], DECIDED[2]], market::post;
    Put "/market/{*path}" as "marketCommandPut" in "market": "The same, for routes declared with this method.",
        Rule::needs(&[EventsWrite]), [MARKET_PATH], COMMAND, [DECIDED[0], DECIDED[1], DECIDED[2]], market::put;
    Delete "/market/{*path}" as "marketCommandDelete" in "market": "The same, for routes declared with this method.",
        Rule::needs(&[EventsWrite]), [MARKET_PATH], COMMAND, [DECIDED[0], DECIDED[1], DECIDED[2]], market::delete;

    // VES surface.
    Post "/api/v1/ves/events/ingest" as "vesIngest" in "ves": "Ingest VES v1 events; each gets a signed VES receipt or its own rejection.",
        Rule::needs(&[EventsWrite]), [], &[Json("VesIngestRequest")], [ok(&[Json("VesIngestAnswer")])], ves::ingest;
    Get "/api/v1/ves/events" as "vesEvents" in "ves": "Events of a stream, as envelopes.",
        READ, [TENANT_ID, STORE_ID, FROM, LIMIT], &[], [ok(&[Json("VesEventPage")])], events::ves_of_stream;
    Get "/api/v1/ves/entities/{entity_type}/{entity_id}" as "vesEntity" in "ves": "Events of an entity, as envelopes.",
        READ, [ENTITY_TYPE, ENTITY_ID, TENANT_ID, STORE_ID, AFTER_INDEX, LIMIT], &[],
        [ok(&[Json("VesEntityPage")])], events::ves_of_entity;
    Get "/api/v1/ves/head" as "vesHead" in "ves": "The newest sequence of a stream.",
        READ, [TENANT_ID, STORE_ID], &[], [ok(&[Json("VesHead")])], events::ves_head;
    Get "/api/v1/head" as "head" in "ves": "The newest sequence of a stream.",
        READ, [TENANT_ID, STORE_ID], &[], [ok(&[Json("VesHead")])], events::ves_head;
    Get "/api/v1/ves/commitments" as "vesCommitments" in "ves": "Commitments of a stream, oldest first.",
        Rule::needs(&[CommitmentsRead]),
        [TENANT_ID, STORE_ID, query("after", Kind::Number, "Only commitments past this sequence."), LIMIT], &[],
        [ok(&[Json("CommitmentPage")])], ves_proofs::list;
    Post "/api/v1/ves/commitments" as "vesCommit" in "ves": "Commit a stream's uncommitted events now.",
        Rule::needs(&[CommitmentsWrite]), [], &[Json("CommitRequest")],
        [created(&[Json("Commitment")]), ok(&[Json("Commitment")])], ves_proofs::commit;
    Get "/api/v1/ves/commitments/{batch_id}" as "vesCommitment" in "ves": "One commitment.",
        Rule::needs(&[CommitmentsRead]), [path("batch_id", Kind::Uuid, "The commitment.")], &[],
        [ok(&[Json("Commitment")])], ves_proofs::by_id;
    Get "/api/v1/ves/proofs/{sequence}" as "vesProof" in "ves": "That an event is in a commitment.",
        Rule::needs(&[EventsRead, CommitmentsRead]), [
            path("sequence", Kind::Number, "Position in the stream, from 1."), TENANT_ID, STORE_ID,
            query("batch_id", Kind::Uuid, "The commitment; the one that covers the sequence if left out."),
        ], &[], [ok(&[Json("VesProofAnswer")])], ves_proofs::proof;
    Post "/api/v1/ves/proofs/verify" as "vesVerify" in "ves": "Check a proof.",
        Rule::needs(&[EventsRead, CommitmentsRead]), [], &[Json("VesVerifyRequest")], [ok(&[Json("VesVerifyAnswer")])],
        ves_proofs::verify;
    Get "/api/v1/agents/keys" as "vesAgentKeys" in "ves": "An agent's keys, with their history.",
        READ, [TENANT_ID, needed("agent_id", Kind::Uuid, "The agent.")], &[], [ok(&[Json("AgentKeys")])], keys::ves_list;
    Post "/api/v1/agents/keys" as "vesRegisterKey" in "ves": "Register an agent's key.",
        Rule::needs(&[KeysWrite]), [], &[Json("RegisterKeyRequest")], [ok(&[Json("KeyChanged")])], keys::register;
    Post "/api/v1/agents/keys/rotate" as "vesRotateKey" in "ves": "Register the successor of an agent's newest key.",
        Rule::needs(&[KeysWrite]), [], &[Json("RotateKeyRequest")], [ok(&[Json("KeyChanged")])], keys::rotate;
    Post "/api/v1/agents/keys/revoke" as "vesRevokeKey" in "ves": "Revoke an agent's key; idempotent.",
        Rule::needs(&[KeysWrite]), [], &[Json("RevokeKeyRequest")], [ok(&[Json("KeyChanged")])], keys::revoke;

    // The log, as c2sp.org/tlog-tiles.
    Get "/log/checkpoint" as "checkpoint" in "log": "The newest published checkpoint, a signed note.",
        LOG, [], &[], [ok(&[Text("text/plain")])], log::checkpoint;
    Get "/log/tile/{*path}" as "tile" in "log": "A hash tile, c2sp.org/tlog-tiles.",
        LOG, [path("path", Kind::Text, "`<level>/<index>[.p/<width>]`")], &[],
        [ok(&[Bytes("application/octet-stream")])], log::tile;
    Get "/log/tile/entries/{*path}" as "entryBundle" in "log": "An entry bundle, c2sp.org/tlog-tiles.",
        BUNDLES, [path("path", Kind::Text, "`<index>[.p/<width>]`")], &[],
        [ok(&[Bytes("application/octet-stream")])], log::entries;

    // The log of outcomes, likewise.
    Get "/outcomes/checkpoint" as "outcomesCheckpoint" in "log": "The newest published checkpoint of the log of outcomes, a signed note.",
        LOG, [], &[], [ok(&[Text("text/plain")])], log::outcomes_checkpoint;
    Get "/outcomes/tile/{*path}" as "outcomesTile" in "log": "A hash tile of the log of outcomes, c2sp.org/tlog-tiles.",
        LOG, [path("path", Kind::Text, "`<level>/<index>[.p/<width>]`")], &[],
        [ok(&[Bytes("application/octet-stream")])], log::outcomes_tile;
    Get "/outcomes/tile/entries/{*path}" as "outcomesEntryBundle" in "log": "A bundle of outcomes, c2sp.org/tlog-tiles.",
        BUNDLES, [path("path", Kind::Text, "`<index>[.p/<width>]`")], &[],
        [ok(&[Bytes("application/octet-stream")])], log::outcomes_entries;

    // Operation.
    Get "/health" as "health" in "operation": "The process answers.",
        Rule::ANYONE, [], &[], [ok(&[Json("Health")])], ops::health;
    Get "/ready" as "ready" in "operation": "Whether the node takes events.",
        Rule::ANYONE, [], &[],
        [ok(&[Json("Ready")]), Answer { status: 503, about: "Takes no events.", content: &[Json("Ready")] }], ops::ready;
    Get "/metrics" as "metrics" in "operation": "Measurements, in the Prometheus text format.",
        Rule::operator(&[MetricsRead]).or_anonymous(Anonymous::IfMetricsPublic), [], &[],
        [ok(&[Text("text/plain")])], ops::metrics;
    Get "/openapi.json" as "openapi" in "operation": "This description.",
        Rule::needs(&[]).or_anonymous(Anonymous::IfDocsPublic), [], &[], [ok(&[Json("OpenApi")])], ops::openapi_document;
    Get "/docs" as "docs" in "operation": "The routes, for people.",
        Rule::needs(&[]).or_anonymous(Anonymous::IfDocsPublic), [], &[], [ok(&[Text("text/html")])], ops::docs;
};
