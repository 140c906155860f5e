//! `tally submit`: builds events from flags or JSON lines, signs them, submits them, and prints their receipts.
//!
//! Takes one event, or a line of JSON for each (a producer may keep the pipe open: what is there is sent without
//! waiting for a full batch). Gives one line per event, in order; each receipt was verified before it is printed.
//! Fails with 4 if an event was rejected, with 5 if the node did not answer in time; then the same ids may be sent
//! again.

use std::io::BufRead as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tally_client::{Client, EventDraft, ProvenReceipt, SubmitOutcome};
use tally_core::{Clock, SystemClock};
use tally_protocol::frame::Frame;
use tally_protocol::id::EventId;

use crate::cli::SubmitArgs;
use crate::commands;
use crate::connect::{self, Caller, Signing};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::random;

/// One event on standard input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    entity_type: String,
    entity_id: String,
    event_type: String,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
    #[serde(default)]
    event_id: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
}

/// What became of one event.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Told {
    Accepted(Receipt),
    Duplicate(Receipt),
    Rejected { event_id: String, code: String, message: String, field: Option<String> },
}

/// A receipt as it is printed.
#[derive(Serialize)]
struct Receipt {
    event_id: String,
    index: u64,
    sequence: u64,
    sequenced_at: String,
    leaf_hash: String,
    size: u64,
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// See the head of this file.
pub fn run(args: &SubmitArgs) -> Result<(), Failure> {
    let profile = connect::profile(&args.node)?;
    let client = connect::client(&args.node, profile.as_ref(), Caller::Agent)?;
    let signing = Signing::of(&args.signer, &args.node, profile.as_ref())?;
    client.know_agent(&signing.agent);
    if let Some(folder) = &args.bundle_dir {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    }
    let mut submission = Submission { args, client, output: Output::new(args.json), rejected: 0, submitted: 0 };
    let runtime = commands::runtime()?;
    if args.event_type.is_some() {
        let frame = sign(&signing, from_flags(args)?)?;
        runtime.block_on(submission.submit(&[frame]))?;
        return submission.finish();
    }
    let lines = read_lines();
    while let Some(batch) = next_batch(&lines, args.batch as usize) {
        let mut frames = Vec::with_capacity(batch.len());
        let mut bad = None;
        for (number, line) in batch {
            let parsed = line.and_then(|line| parse(&line)).and_then(|draft| sign(&signing, draft));
            match parsed {
                Ok(frame) => frames.push(frame),
                Err(failure) => {
                    let what = format!("line {number} is no event: {}", failure.message);
                    bad = Some(Failure::failed(what).hint("the lines before it were submitted"));
                    break;
                }
            }
        }
        runtime.block_on(submission.submit(&frames))?;
        if let Some(bad) = bad {
            return Err(bad);
        }
    }
    submission.finish()
}

type Numbered = (usize, Result<String, Failure>);

/// Reads lines on a thread of its own, a bounded number ahead.
fn read_lines() -> Receiver<Numbered> {
    let (sender, receiver): (SyncSender<Numbered>, _) = sync_channel(1000);
    std::thread::spawn(move || {
        for (at, line) in std::io::stdin().lock().lines().enumerate() {
            let line = line.map_err(|error| Failure::failed(format!("failed to read: {error}")));
            let ended = line.is_err();
            let blank = line.as_ref().is_ok_and(|line| line.trim().is_empty());
            if (!blank && sender.send((at + 1, line)).is_err()) || ended {
                return;
            }
        }
    });
    receiver
}

/// What is there, at least one line; none at the end.
fn next_batch(lines: &Receiver<Numbered>, events_max: usize) -> Option<Vec<Numbered>> {
    let mut batch = vec![lines.recv().ok()?];
    while batch.len() < events_max {
        match lines.try_recv() {
            Ok(line) => batch.push(line),
            Err(_) => break,
        }
    }
    Some(batch)
}

/// An event before it is signed: everything but the store.
struct Draft {
    entity_type: String,
    entity_id: String,
    event_type: String,
    payload: Vec<u8>,
    event_id: EventId,
    created_at: String,
}

fn parse(line: &str) -> Result<Draft, Failure> {
    let line: Line = serde_json::from_str(line).map_err(|error| Failure::usage(error.to_string()))?;
    let event_id = match line.event_id {
        Some(text) => text.parse().map_err(|error| Failure::usage(format!("event_id: {error}")))?,
        None => random::event_id()?,
    };
    Ok(Draft {
        entity_type: line.entity_type,
        entity_id: line.entity_id,
        event_type: line.event_type,
        payload: line.payload.map_or_else(|| b"{}".to_vec(), |payload| payload.get().as_bytes().to_vec()),
        event_id,
        created_at: line.created_at.unwrap_or_else(now),
    })
}

fn from_flags(args: &SubmitArgs) -> Result<Draft, Failure> {
    let payload = match args.payload.strip_prefix('@') {
        Some(file) => std::fs::read(file).map_err(|error| Failure::file("read", Path::new(file), &error))?,
        None => args.payload.as_bytes().to_vec(),
    };
    Ok(Draft {
        entity_type: args.entity_type.clone().unwrap_or_default(),
        entity_id: args.entity_id.clone().unwrap_or_default(),
        event_type: args.event_type.clone().unwrap_or_default(),
        payload,
        event_id: args.event_id.map_or_else(random::event_id, Ok)?,
        created_at: args.created_at.clone().unwrap_or_else(now),
    })
}

fn now() -> String {
    SystemClock::new().wall().to_rfc3339()
}

fn sign(signing: &Signing, draft: Draft) -> Result<Frame, Failure> {
    let Draft { entity_type, entity_id, event_type, payload, event_id, created_at } = draft;
    let draft = EventDraft { store: signing.store, event_id, entity_type, entity_id, event_type, created_at, payload };
    signing.agent.sign(&draft).map_err(|error| Failure::usage(error.to_string()))
}

struct Submission<'a> {
    args: &'a SubmitArgs,
    client: Client,
    output: Output,
    submitted: u64,
    rejected: u64,
}

impl Submission<'_> {
    async fn submit(&mut self, frames: &[Frame]) -> Result<(), Failure> {
        if frames.is_empty() {
            return Ok(());
        }
        let outcomes = connect::within(&self.args.node, self.client.submit(frames)).await?;
        for outcome in outcomes {
            self.submitted += 1;
            self.tell(outcome)?;
        }
        Ok(())
    }

    fn tell(&mut self, outcome: SubmitOutcome) -> Result<(), Failure> {
        let told = match outcome {
            SubmitOutcome::Accepted(receipt) => Told::Accepted(self.keep(&receipt)?),
            SubmitOutcome::Duplicate(receipt) => Told::Duplicate(self.keep(&receipt)?),
            SubmitOutcome::Rejected(rejected) => {
                self.rejected += 1;
                let (event_id, rejection) = (rejected.event_id.to_string(), rejected.rejection);
                Told::Rejected { event_id, code: rejection.code, message: rejection.message, field: rejection.field }
            }
        };
        self.output.result(&told, || told.to_string())
    }

    fn keep(&self, receipt: &ProvenReceipt) -> Result<Receipt, Failure> {
        let index = receipt.placed.index.get();
        let bundle = self.args.bundle_dir.as_ref().map(|folder| folder.join(format!("{index}.json")));
        if let Some(path) = &bundle {
            let bytes = receipt.bundle().encode();
            std::fs::write(path, bytes).map_err(|error| Failure::file("write", path, &error))?;
        }
        let checkpoint = &receipt.checkpoint.checkpoint;
        Ok(Receipt {
            event_id: receipt.frame.event_id().to_string(),
            index,
            sequence: receipt.placed.sequence.get(),
            sequenced_at: receipt.placed.sequenced_at.to_rfc3339(),
            leaf_hash: receipt.leaf_hash.to_hex(),
            size: checkpoint.size.get(),
            root: checkpoint.root.to_hex(),
            bundle: bundle.map(|path| path.display().to_string()),
        })
    }

    fn finish(&self) -> Result<(), Failure> {
        if self.rejected == 0 {
            return Ok(());
        }
        Err(Failure::new(Exit::Rejected, format!("{} of {} events were rejected", self.rejected, self.submitted)))
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (word, receipt) = match self {
            Self::Accepted(receipt) => ("accepted", receipt),
            Self::Duplicate(receipt) => ("duplicate", receipt),
            Self::Rejected { event_id, code, message, .. } => {
                return write!(f, "rejected   {event_id}  {code}: {message}");
            }
        };
        let Receipt { event_id, index, sequence, sequenced_at, size, .. } = receipt;
        write!(f, "{word:<10} {event_id}  index {index}, sequence {sequence}, {sequenced_at}, proven in size {size}")
    }
}
