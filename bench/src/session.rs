//! One node with what every measurement on it needs: agents registered, the raw rate and the disk's sync rate of the
//! same run, receipts checked.
//!
//! Takes a binary and a folder, then plans; gives what each plan measured. A receipt that does not verify fails the
//! run: a rate of wrong receipts is no rate.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use tally_protocol::id::TenantId;

use crate::Failure;
use crate::check::Checker;
use crate::events::{Body, Maker, Shape};
use crate::load::{Cost, Door, Group, Pace, Phase, run};
use crate::node::{Folder, Node};
use crate::raw::{Raw, verify_rate};
use crate::requests::{Form, of_bodies};

/// Which way events take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Way {
    /// The native protocol over QUIC.
    Quic,
    /// Binary frames over HTTP/1.1.
    Frames,
    /// JSON envelopes over HTTP/1.1.
    Json,
    /// JSON envelopes to the VES surface, which signs a receipt per event.
    Ves,
}

impl Way {
    /// A short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quic => "QUIC",
            Self::Frames => Form::Frames.name(),
            Self::Json => Form::Json.name(),
            Self::Ves => Form::Ves.name(),
        }
    }

    const fn form(self) -> Option<Form> {
        match self {
            Self::Quic => None,
            Self::Frames => Some(Form::Frames),
            Self::Json => Some(Form::Json),
            Self::Ves => Some(Form::Ves),
        }
    }
}

/// How callers behave.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The way they take.
    pub way: Way,
    /// Their connections.
    pub connections: usize,
    /// Submissions in flight on each (QUIC).
    pub window: usize,
    /// Their pace.
    pub pace: Pace,
    /// Their credentials, in turn over the connections.
    pub api_keys: Vec<String>,
    /// Start nothing new after so long.
    pub seconds_max: Option<f64>,
    /// Repeat the events until the others are done.
    pub endless: bool,
}

/// What a plan measured.
pub struct Measured {
    /// What callers saw.
    pub phase: Phase,
    /// What it cost, all plans of the run together.
    pub cost: Cost,
    /// Receipts that were checked offline.
    pub checked: usize,
}

/// A node and the rates that everything on it is quoted beside.
pub struct Session {
    /// The node.
    pub node: Node,
    /// Raw verification on all cores, before the load.
    pub raw: Raw,
    /// Microseconds of a sync of 64 KiB on its disk: p50, p99.
    pub sync: (u64, u64),
}

impl Session {
    /// Starts the node and measures raw verification (best of three rounds of so many seconds) and the disk.
    ///
    /// # Errors
    /// If the node does not come up.
    pub fn start(binary: &Path, folder: &Folder, raw_seconds: f64) -> Result<Self, Failure> {
        Self::of(Node::start(binary, folder)?, raw_seconds)
    }

    /// The same of a node that runs.
    ///
    /// # Errors
    /// If the node refuses, or its disk cannot be probed.
    pub fn of(node: Node, raw_seconds: f64) -> Result<Self, Failure> {
        let sync = node.sync_micros()?;
        let raw = verify_rate(&Maker::new(Shape::default(), node.tenant, 1), raw_seconds)?;
        Ok(Self { node, raw, sync })
    }

    /// QUIC if the node has that door, else binary frames over HTTP.
    #[must_use]
    pub fn best_way(&self) -> Way {
        if self.node.quic.is_some() { Way::Quic } else { Way::Frames }
    }

    /// A maker of new events in a tenant, its agents registered.
    ///
    /// # Errors
    /// If the node refuses a key.
    pub fn maker(&self, shape: Shape, tenant: TenantId) -> Result<Maker, Failure> {
        let maker = Maker::new(shape, tenant, Maker::fresh_seed()?);
        for agent in &maker.agents {
            self.node.register(tenant, agent.id, &agent.key.public_key())?;
        }
        Ok(maker)
    }

    /// A plan for the development tenant's own credential: as fast as it goes.
    #[must_use]
    pub fn plan(&self, way: Way, connections: usize, window: usize) -> Plan {
        let api_keys = vec![self.node.api_key.clone()];
        Plan { way, connections, window, pace: Pace::Closed, api_keys, seconds_max: None, endless: false }
    }

    /// Signs events and submits them.
    ///
    /// # Errors
    /// If events cannot be made, the load fails, or a receipt does not verify.
    pub fn measure(&self, maker: &Maker, events: usize, plan: &Plan) -> Result<Measured, Failure> {
        let bodies = Arc::new(maker.make(events)?);
        self.measure_all(&[(maker, bodies, plan)])?.pop().ok_or_else(|| "one plan has one result".to_owned())
    }

    /// Submits ready events of several plans at once.
    ///
    /// # Errors
    /// As [`Session::measure`].
    pub fn measure_all(&self, plans: &[(&Maker, Arc<Vec<Body>>, &Plan)]) -> Result<Vec<Measured>, Failure> {
        let mut groups = Vec::new();
        for (_, bodies, plan) in plans {
            let door = match plan.way.form() {
                None => Door::Quic(Arc::clone(bodies)),
                Some(form) => Door::Http(form, Arc::new(of_bodies(form, &plan.api_keys, bodies)?)),
            };
            let Plan { connections, window, pace, api_keys, seconds_max, endless, .. } = (*plan).clone();
            groups.push(Group { door, connections, window, pace, api_keys, seconds_max, endless });
        }
        let (phases, cost) = run(&self.node, &groups)?;
        let genesis = STANDARD.decode(&self.node.genesis_entry).map_err(|error| format!("no genesis: {error}"))?;
        let mut measured = Vec::new();
        for (((maker, ..), group), phase) in plans.iter().zip(&groups).zip(phases) {
            let checker = Checker::new(&genesis, maker)?;
            let checked = match &group.door {
                Door::Quic(bodies) => checker.check_quic(bodies, &phase.sample)?,
                Door::Http(form, requests) => checker.check(*form, requests, &phase.sample)?,
            };
            measured.push(Measured { phase, cost: cost.clone(), checked });
        }
        Ok(measured)
    }

    /// Warms the node up and gives about how many events per second it takes this way.
    ///
    /// # Errors
    /// As [`Session::measure`].
    pub fn warm_up(&self, maker: &Maker, plan: &Plan, events: usize) -> Result<f64, Failure> {
        let plan = Plan { pace: Pace::Closed, endless: false, ..plan.clone() };
        self.measure(maker, events / 2, &plan)?;
        Ok(self.measure(maker, events.div_ceil(2), &plan)?.phase.rate())
    }
}
