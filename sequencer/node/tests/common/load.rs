//! Load on a node through the client, what was acknowledged under it, and the laws that must hold afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tally::keyfile::{self, KeyFile};
use tally::profile::Profile;
use tally_client::{Agent, ApiKey, Client, EventDraft, ProvenReceipt, RetryPolicy, SubmitOutcome, Trust, new_event_id};
use tally_protocol::frame::Frame;
use tally_protocol::id::{Sequence, StoreId, Stream};
use tally_verify::{TrustRoot, verify_receipt_of_stranger};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Home, Node};

const WORKERS: usize = 4;
const BATCH: usize = 20;
const CREATED_AT: &str = "2026-01-01T00:00:00Z";

/// An agent of the development tenant, and everything that was ever sent in its name.
pub struct Load {
    pub runtime: Runtime,
    pub profile: Profile,
    pub agent: Agent,
    /// Sent and acknowledged, with the first receipt.
    pub acked: Vec<ProvenReceipt>,
    /// Sent; nobody knows.
    pub unknown: Vec<Frame>,
    /// How much each event carries.
    pub payload_bytes: usize,
    count: Arc<AtomicU64>,
}

/// What one worker brings home.
#[derive(Default)]
struct Brought {
    acked: Vec<ProvenReceipt>,
    unknown: Vec<Frame>,
}

impl Load {
    pub fn new(home: &Home) -> Self {
        let profile = home.profile();
        let key = KeyFile::load(&profile.key_file).unwrap().key;
        let agent = Agent::new(profile.tenant_id, profile.agent_id, profile.key_id.get(), key);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let count = Arc::new(AtomicU64::new(0));
        Self { runtime, profile, agent, acked: Vec::new(), unknown: Vec::new(), payload_bytes: 0, count }
    }

    pub fn stream(&self) -> Stream {
        Stream::new(self.profile.tenant_id, self.profile.store_id)
    }

    pub fn client(&self, retry: RetryPolicy) -> Client {
        self.client_with(retry, &self.profile.api_key_file)
    }

    pub fn operator(&self) -> Client {
        self.client_with(RetryPolicy::STANDARD, &self.profile.operator_api_key_file)
    }

    fn client_with(&self, retry: RetryPolicy, key_file: &std::path::Path) -> Client {
        let key = keyfile::read_private(key_file).unwrap();
        let client = Client::builder(&self.profile.url)
            .api_key(ApiKey::new(key.trim_end()))
            .trust(Trust::Given(TrustRoot::ledger(self.profile.ledger_id)))
            .retry(retry)
            .build()
            .unwrap();
        client.know_agent(&self.agent);
        client
    }

    /// Sends events from several workers until `stop` says so or the node does not answer any more.
    pub fn drive(&mut self, mut stop: impl FnMut(u64) -> bool) {
        let client = self.client(RetryPolicy::NEVER);
        let (acked, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut workers = JoinSet::new();
        let guard = self.runtime.enter();
        for _ in 0..WORKERS {
            let (client, agent) = (client.clone(), self.agent.clone());
            let (acked, ended, count) = (Arc::clone(&acked), Arc::clone(&ended), Arc::clone(&self.count));
            let (store, payload_bytes) = (self.profile.store_id, self.payload_bytes);
            workers.spawn(async move {
                let mut brought = Brought::default();
                while ended.load(Ordering::Relaxed) == 0 {
                    let frames: Vec<Frame> = (0..BATCH)
                        .map(|_| event_of(&agent, store, count.fetch_add(1, Ordering::Relaxed), payload_bytes))
                        .collect();
                    match client.submit(&frames).await {
                        Ok(outcomes) => {
                            for outcome in outcomes {
                                brought.acked.push(outcome.into_receipt().unwrap());
                            }
                            acked.fetch_add(BATCH as u64, Ordering::Relaxed);
                        }
                        Err(_) => {
                            brought.unknown.extend(frames);
                            break;
                        }
                    }
                }
                brought
            });
        }
        drop(guard);
        while !stop(acked.load(Ordering::Relaxed)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        ended.store(1, Ordering::Relaxed);
        let brought: Vec<Brought> = self.runtime.block_on(workers.join_all());
        for brought in brought {
            self.acked.extend(brought.acked);
            self.unknown.extend(brought.unknown);
        }
    }

    /// Sends events until so many more are acknowledged.
    pub fn send(&mut self, events: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.drive(|acked| acked >= events || Instant::now() > deadline);
        assert!(self.unknown.is_empty(), "the node stopped answering");
    }

    /// Drives load until the node is gone; false if it outlives the patience.
    pub fn drive_until_gone(&mut self, node: &mut Node, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        self.drive(|_| node.has_ended() || Instant::now() > deadline);
        node.has_ended()
    }

    /// The laws after a restart: every acknowledged receipt still holds, on one line with the recovered log; sending
    /// everything again changes nothing; what was unknown has one outcome; there is no gap.
    pub fn check(&mut self) {
        let client = self.client(RetryPolicy::STANDARD);
        let stream = self.stream();
        self.runtime.block_on(async {
            let ledger = client.ledger().await.unwrap();
            let mut notes = BTreeMap::new();
            for receipt in &self.acked {
                let checkpoint = ledger.open_checkpoint(&receipt.checkpoint.note).unwrap();
                let ProvenReceipt { frame, placed, leaf_hash, path, .. } = receipt;
                verify_receipt_of_stranger(frame, placed, leaf_hash, path, &checkpoint).unwrap();
                notes.insert(checkpoint.size, receipt.checkpoint.note.clone());
            }
            // Smallest to largest: a consistency proof joins each to the next.
            for note in notes.values() {
                client.take_checkpoint(note).await.unwrap();
            }
            client.published_checkpoint().await.unwrap();
        });
        let frames: Vec<Frame> = self.acked.iter().map(|receipt| receipt.frame.clone()).collect();
        let again = self.runtime.block_on(client.submit(&frames)).unwrap();
        for (first, again) in self.acked.iter().zip(again) {
            let SubmitOutcome::Duplicate(again) = again else {
                panic!("acknowledged at {:?}, now {again:?}", first.placed);
            };
            assert_eq!((again.placed, again.leaf_hash), (first.placed, first.leaf_hash));
        }
        let unknown = std::mem::take(&mut self.unknown);
        let outcomes = self.runtime.block_on(client.submit(&unknown)).unwrap();
        self.acked.extend(outcomes.into_iter().map(|outcome| outcome.into_receipt().unwrap()));

        let mut sequences: Vec<u64> = self.acked.iter().map(|receipt| receipt.placed.sequence.get()).collect();
        sequences.sort_unstable();
        assert!(sequences.iter().copied().eq(1..=self.acked.len() as u64), "a gap or a repetition");
        let head = self.runtime.block_on(client.stream_head(stream)).unwrap();
        assert_eq!(head.map_or(0, Sequence::get), self.acked.len() as u64, "the log holds what nobody knows of");
    }
}

pub fn event(agent: &Agent, store: StoreId, n: u64) -> Frame {
    event_of(agent, store, n, 0)
}

fn event_of(agent: &Agent, store: StoreId, n: u64, payload_bytes: usize) -> Frame {
    let draft = EventDraft {
        store,
        event_id: new_event_id().unwrap(),
        entity_type: "order".to_owned(),
        entity_id: format!("order-{}", n % 97),
        event_type: "order.placed".to_owned(),
        created_at: CREATED_AT.to_owned(),
        payload: format!("{{\"fill\":\"{}\",\"n\":{n}}}", "x".repeat(payload_bytes)).into_bytes(),
    };
    agent.sign(&draft).unwrap()
}
