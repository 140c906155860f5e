//! Measurements of the real binary: the load generator, the raw verification rate beside it, the report.
//!
//! *In scope*: making signed events before the clock runs, sending them over plain HTTP/1.1 with as little CPU as can
//! be (the generator shares the machine with the node), latencies without coordinated omission, checking a sample of
//! the receipts that came back.
//! *Out of scope*: anything a client needs besides speed; that is tally-client's.

pub mod check;
pub mod events;
pub mod histogram;
pub mod http;
mod http_load;
pub mod load;
pub mod node;
pub mod pipeline;
pub mod proc;
pub mod quic;
pub mod raw;
pub mod report;
pub mod requests;
pub mod session;
pub mod stages;
pub mod state;
pub mod svg;
pub mod table;
pub mod world;

/// Why a measurement did not take place, in one line.
pub type Failure = String;
