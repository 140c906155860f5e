//! What the plugins of a marketplace share, so that they agree on it: docs/formats/market.md in code.
//!
//! *In scope*: bodies read strictly ([`Body`]), who acts ([`Roles`]), commands that count once ([`once`]), what was done
//! and why ([`audit`]), texts that look like card numbers ([`card`]), money and its division ([`money`]), who asks
//! ([`Caller`]), and the codes of refusals.
//! *Out of scope*: what any of the plugins decides.

#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod audit;
mod body;
mod caller;
pub mod card;
pub mod codes;
pub mod hex;
pub mod money;
pub mod once;
mod who;

pub use body::Body;
pub use caller::Caller;
pub use who::{AGENT_PREFIX, Roles, agent_text, is_principal, read_agent};
