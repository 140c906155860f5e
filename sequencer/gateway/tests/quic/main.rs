//! The QUIC door as its clients meet it: a real core and a real endpoint, a client that speaks the messages by hand.
//! One file per family of laws.
#![allow(clippy::unwrap_used, reason = "tests stop where they stand")]

mod auth;
#[path = "../http/common.rs"]
mod common;
mod door;
mod feed;
mod hostile;
#[path = "../http/schema.rs"]
mod schema;
mod submit;
mod tls;
