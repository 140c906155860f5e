//! What an operator may set about the pipeline. Every queue and wait has its bound here or in
//! `tally_protocol::limits`, with its reason (law 7).

use std::time::Duration;

/// Bounds and cadences of the pipeline. There is no `Default`: the node states each choice.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads that check payloads and signatures; one per core is what pays.
    pub verify_workers: usize,
    /// Bytes of frames in flight from admission to acknowledgement, over all callers. Past it: busy.
    pub inflight_bytes_max: usize,
    /// The part of it one caller may hold, so that one caller cannot take the door for itself.
    pub inflight_bytes_per_lane_max: usize,
    /// Signatures a verify worker gathers before it verifies; larger batches cost less per signature.
    pub verify_batch_max: usize,
    /// How often a checkpoint is published to the world.
    pub publish_interval: Duration,
    /// How often signed events are committed into VES commitments.
    pub commit_interval: Duration,
    /// Events one commitment round may cover: bounds its memory.
    pub commit_events_max: usize,
    /// Events the derived indexes may lag behind the log before ordering waits: bounds the id window's memory.
    pub index_lag_events_max: u64,
    /// Take a missing fence record as given and start a new one at the log's present head. An operator's decision:
    /// only right when this log is known to be the newest.
    pub adopt_fence: bool,
}

impl Config {
    /// The choices `tally dev` makes.
    #[must_use]
    pub fn development() -> Self {
        Self {
            verify_workers: std::thread::available_parallelism().map_or(2, usize::from),
            inflight_bytes_max: 64 << 20,
            inflight_bytes_per_lane_max: 32 << 20,
            verify_batch_max: 2048,
            publish_interval: Duration::from_secs(1),
            commit_interval: Duration::from_secs(10),
            commit_events_max: 65_536,
            index_lag_events_max: 500_000,
            adopt_fence: false,
        }
    }
}
