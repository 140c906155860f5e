//! The trade: everybody enrolled, all events submitted by concurrent workers, the node killed in the middle.
//!
//! Takes signed frames and a running node; gives a receipt for every frame, in order, and the node that was started
//! after the crash. Fails if an event is rejected or the client gives up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tally_client::api::agent_key::RegisterKeyRequest;
use tally_client::{Agent, Client, ProvenReceipt, SubmitOutcome};
use tally_protocol::frame::Frame;
use tally_protocol::id::{KeyId, TenantId};
use tokio::task::JoinSet;

use crate::describe;
use crate::market::Market;
use crate::node::Node;

/// Events per request.
pub(crate) const BATCH: usize = 100;
/// Requests in flight.
const WORKERS: usize = 8;
/// Registrations in flight.
const CLERKS: usize = 16;

/// What came of it.
pub(crate) struct Traded {
    /// One per frame, in the frames' order.
    pub(crate) receipts: Vec<ProvenReceipt>,
    pub(crate) seconds: f64,
    pub(crate) rate_before_kill: f64,
    pub(crate) acknowledged_before_kill: usize,
    pub(crate) restart_seconds: f64,
    /// Events whose first answer was lost with the node.
    pub(crate) duplicates: usize,
}

/// Registers everybody's key; each registration is a signed event in the tenant's control stream.
pub(crate) async fn enrol(operator: &Client, tenant: TenantId, market: &Market) -> Result<(), String> {
    let requests: Vec<_> = market.people().map(|person| registration(tenant, person)).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let requests = Arc::new(requests);
    let mut clerks = JoinSet::new();
    for _ in 0..CLERKS {
        let (operator, requests, next) = (operator.clone(), Arc::clone(&requests), Arc::clone(&next));
        clerks.spawn(async move {
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                operator.register_key(request).await.map_err(|error| describe(&error))?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(clerk) = clerks.join_next().await {
        clerk.map_err(|error| error.to_string())??;
    }
    Ok(())
}

fn registration(tenant: TenantId, person: &Agent) -> RegisterKeyRequest {
    RegisterKeyRequest {
        tenant_id: tenant,
        agent_id: person.id(),
        key_id: Some(KeyId::new(1)),
        public_key: person.public_key().to_hex(),
        valid_from: None,
        valid_to: None,
        key_algorithm: None,
    }
}

/// What the workers share.
struct Work {
    frames: Vec<Frame>,
    next: AtomicUsize,
    acknowledged: AtomicUsize,
}

/// Submits everything; kills the node when half of it is acknowledged, and starts it again in the same place, where it
/// watches the chain. What is to
/// happen meanwhile happens then, beside the second half.
pub(crate) async fn run(
    client: &Client,
    frames: Vec<Frame>,
    node: Node,
    binary: &Path,
    (data, watch): (&Path, &Path),
    meanwhile: impl Future<Output = Result<(), String>>,
) -> Result<(Traded, Node), String> {
    let half = frames.len() / 2;
    let work = Arc::new(Work { frames, next: AtomicUsize::new(0), acknowledged: AtomicUsize::new(0) });
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(submit_batches(client.clone(), Arc::clone(&work)));
    }
    while work.acknowledged.load(Ordering::Acquire) < half {
        if let Some(ended) = workers.try_join_next() {
            ended.map_err(|error| error.to_string())??;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let listen = node.text("url").trim_start_matches("http://").parse().map_err(|_| "the node has no address")?;
    let rate_before_kill = work.acknowledged.load(Ordering::Acquire) as f64 / began.elapsed().as_secs_f64();
    node.kill()?;
    let acknowledged_before_kill = work.acknowledged.load(Ordering::Acquire);
    let killed = Instant::now();
    let (binary, data, watch) = (binary.to_owned(), data.to_owned(), watch.to_owned());
    let node = tokio::task::spawn_blocking(move || Node::start(&binary, &data, listen, Some(&watch)));
    let node = node.await.map_err(|error| error.to_string())??;
    let restart_seconds = killed.elapsed().as_secs_f64();

    meanwhile.await?;
    let mut outcomes = Vec::new();
    while let Some(worker) = workers.join_next().await {
        outcomes.extend(worker.map_err(|error| error.to_string())??);
    }
    let seconds = began.elapsed().as_secs_f64();
    outcomes.sort_by_key(|(at, _)| *at);
    let duplicates = outcomes.iter().filter(|(_, outcome)| matches!(outcome, SubmitOutcome::Duplicate(_))).count();
    let receipts =
        outcomes.into_iter().map(|(_, outcome)| outcome.into_receipt().map_err(|rejected| rejected.to_string()));
    let receipts = receipts.collect::<Result<Vec<_>, _>>()?;
    if receipts.len() != work.frames.len() {
        return Err(format!("{} receipts for {} events", receipts.len(), work.frames.len()));
    }
    let traded = Traded { receipts, seconds, rate_before_kill, acknowledged_before_kill, restart_seconds, duplicates };
    Ok((traded, node))
}

type Numbered = (usize, SubmitOutcome);

/// Takes the next batch until none is left; the client retries each under the same event ids.
async fn submit_batches(client: Client, work: Arc<Work>) -> Result<Vec<Numbered>, String> {
    let mut outcomes = Vec::new();
    loop {
        let from = work.next.fetch_add(BATCH, Ordering::Relaxed);
        let Some(batch) = work.frames.get(from..work.frames.len().min(from + BATCH)).filter(|batch| !batch.is_empty())
        else {
            return Ok(outcomes);
        };
        let told = client.submit(batch).await.map_err(|error| describe(&error))?;
        work.acknowledged.fetch_add(told.len(), Ordering::Release);
        outcomes.extend(told.into_iter().enumerate().map(|(at, outcome)| (from + at, outcome)));
    }
}
