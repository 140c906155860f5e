//! The JSON shapes that Tally's HTTP surfaces speak, one file per resource, shared by server and clients.
//!
//! *In scope*: request and answer bodies as types, the one error shape with its one table of statuses, the OpenAPI
//! document built from route descriptions.
//! *Out of scope*: I/O, routing, decisions. Hashes and keys are lower-case hex, ids hyphenated UUIDs, times RFC 3339
//! with microseconds, byte strings standard base64; reading any of them is strict.
//! Requests of the native surface refuse unknown fields; answers may gain fields, so readers ignore what they do not know.

pub mod agent_key;
pub mod anchor;
pub mod api_key;
pub mod entity_types;
pub mod error;
pub mod event;
pub mod feed;
pub mod health;
pub mod ledger;
pub mod market;
pub mod openapi;
pub mod outcome;
pub mod page;
pub mod plugin;
pub mod proof;
pub mod receipt;
pub mod submit;
pub mod tenant;
pub mod text;
pub mod ves;
