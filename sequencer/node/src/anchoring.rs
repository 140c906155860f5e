//! Anchors on this node: where what is read of the chains meets the core's last rung, the gateway's port and the fence.
//!
//! In scope: watching, and bytes from one room handed to another. Out of scope: making anchors. Whoever signs them is a
//! process of its own (`tally anchor run`), so that a node holds no key of any chain (S-123).
//! `development` is a chain on the loopback; `source` is the logs as the anchor crate reads them, over HTTP or in this process; `watcher` looks at the chains; `port`
//! shows what it saw; `fence` is the chains' word at a start.

pub mod development;
mod fence;
mod port;
mod source;
mod watcher;

pub use fence::{ChainFence, contradiction};
pub use port::Port;
pub use source::{ClientLogs, NodeLogs};
pub use watcher::{WatchPlan, WatchedChain, Watching};
