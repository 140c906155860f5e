//! Plugins on this node: where the plugin host meets the core's follower seam, the core's gate, the database and the
//! gateway's port.
//!
//! In scope: bytes from one room handed to another, and what is shown of it. Out of scope: what an event comes to (the
//! host), what is folded, signed and stored (the core), what the surface looks like (the gateway).
//! `follower` applies; what it changed rides in the batch of its outcomes. `port` and `gate` read, on engines and
//! memory of their own, so that no question can take from applying what it needs.

pub(crate) mod effect;
mod follower;
mod gate;
mod keys;
mod noted;
mod port;
mod programs;
mod record;
mod reports;
mod shown;
mod stored;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tally_core::{Follower, PluginGate};
use tally_gateway::PluginPort;
use tally_plugin_host::apart::{Apart, Bounds};
use tally_plugin_host::engine::{Engine as Host, Optimisation, Ticker};
use tally_storage::Engine;

use crate::exit::Failure;

pub use follower::PluginFollower;
pub use gate::NoPlugins;
pub use keys::LogKeys;

use gate::HostGate;
use port::Port;
use programs::Programs;
use reports::Reports;
use shown::Shown;
use stored::Stored;

/// Bounds of what plugins may take of this node, beyond what each is limited to by its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginBounds {
    /// Queries that run at once.
    pub queries_max: u32,
    /// Compiled modules that are kept, for applying and for queries each.
    pub programs_max: usize,
    /// Log lines that are kept of a plugin in a stream.
    pub log_lines_max: usize,
    /// Bytes of pages of state trees in memory; behind the range that brings more, they are written.
    pub state_page_bytes_max: usize,
    /// Keys that changed since pages were written; behind the range that brings more, they are. Bounds what a start behind a
    /// crash does again.
    pub noted_keys_max: usize,
}

impl PluginBounds {
    /// What a node has unless it is told otherwise.
    pub const STANDARD: Self = Self {
        queries_max: 8,
        programs_max: 64,
        log_lines_max: 1_000,
        state_page_bytes_max: 256 << 20,
        noted_keys_max: 1 << 18,
    };
}

/// Instances of the engine that applies: it enters one at a time, and loading enters another.
const APPLYING_INSTANCES: u32 = 4;

/// How often the engines' clocks tick. A guest that one event keeps busy for
/// [`DEADLINE_TICKS`](tally_plugin_host::engine::DEADLINE_TICKS) of them stops applying, and decides nothing.
const TICK: Duration = Duration::from_millis(200);

/// The hidden subcommand that compiles a module in a process of its own.
pub const COMPILE_COMMAND: &str = "compile-module";

/// Held by whoever uses the engines: while one is left, their clocks tick.
type Alive = Arc<()>;

/// Ticks while somebody holds `alive`.
fn keep_time(alive: &Alive, each: Duration, tick: impl Fn() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    let alive = Arc::downgrade(alive);
    let ticking = move || {
        while alive.strong_count() > 0 {
            std::thread::sleep(each);
            tick();
        }
    };
    let started = std::thread::Builder::new().name("tally-plugin-clock".to_owned()).spawn(ticking);
    started.map_err(|error| Failure::failed(format!("failed to start the plugins' clock: {error}")))
}

/// What a node with plugins is made of beside the rest.
pub struct Plugins {
    /// Applies the events.
    pub follower: Box<dyn Follower>,
    /// Asked before a plugin event is ordered.
    pub gate: Arc<dyn PluginGate>,
    /// What the door asks.
    pub port: Arc<dyn PluginPort>,
}

impl Plugins {
    /// Over the node's database. What comes in at the door is compiled by `compiler` first, a program with the
    /// subcommand [`COMPILE_COMMAND`]; without one, in this process alone.
    ///
    /// # Errors
    /// The machine cannot give the engines their memory, or a thread.
    pub fn new(engine: &Arc<dyn Engine>, bounds: PluginBounds, compiler: Option<PathBuf>) -> Result<Self, Failure> {
        let pool = |instances| {
            Host::new(instances, Optimisation::Speed)
                .map_err(|error| Failure::failed(format!("failed to start the plugin engine: {error}")))
        };
        let stored = Stored::new(engine);
        let shown = Arc::new(Shown::new(bounds.log_lines_max));
        let (asked, applying, alive) =
            (pool(Programs::instances(&bounds))?, pool(APPLYING_INSTANCES)?, Alive::default());
        let clocks = [asked.ticker(), applying.ticker()];
        keep_time(&alive, TICK, move || clocks.iter().for_each(Ticker::tick))?;
        let apart = compiler.map(|program| {
            Apart::new(asked.clone(), program.into(), vec![OsString::from(COMPILE_COMMAND)], Bounds::DEFAULT)
        });
        let programs = Arc::new(Programs::new(asked, apart, stored.clone(), bounds, Arc::clone(&alive)));
        let reports = Arc::new(Reports::default());
        let port = Port::new(stored.clone(), Arc::clone(&shown), programs, Arc::clone(&reports));
        let gate = Arc::new(HostGate::new(stored.clone(), reports));
        let follower = PluginFollower::new(stored, applying, shown, bounds, alive);
        Ok(Self { follower: Box::new(follower), gate, port: Arc::new(port) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn the_clock_ticks_while_somebody_uses_the_engines_and_ends_with_the_last() {
        let alive = Alive::default();
        let (ticked, ticks) = sync_channel(0);
        let tick = move || {
            // Nobody listens to the last ones.
            let _ = ticked.send(());
        };
        let clock = keep_time(&alive, Duration::from_millis(1), tick).unwrap();
        for _ in 0..3 {
            ticks.recv().unwrap();
        }
        drop(alive);
        // What is ticking while the last one goes is let through; the channel closes with the thread.
        while ticks.recv().is_ok() {}
        clock.join().unwrap();
    }
}
