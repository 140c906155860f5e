//! The HTTP door as its clients meet it: a real core behind real sockets. One file per family of laws.
#![allow(clippy::unwrap_used, reason = "tests stop where they stand")]

mod anchors;
mod auth;
mod client;
mod client_plugins;
mod common;
mod declared;
mod effects;
mod entity_types;
mod feed;
mod hostile;
mod injection;
mod keys;
mod log;
mod market;
mod market_commands;
mod market_webhook;
mod operation;
mod outcomes;
mod plugins;
mod port;
mod reads;
mod schema;
mod submit;
mod ves;
