//! From the acknowledgement of a revocation on, nothing under that key is admitted, whatever is under way (S-021).

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Home;
use common::load::{Load, event};
use tally_client::api::agent_key::RevokeKeyRequest;
use tally_client::{RetryPolicy, SubmitOutcome};
use tokio::task::JoinSet;

const WORKERS: usize = 6;

/// What one worker saw: indexes of what was admitted, each with whether it was sent after the acknowledgement.
type Seen = Vec<(u64, bool)>;

#[test]
fn nothing_is_admitted_under_a_revoked_key_once_the_revocation_is_acknowledged() {
    let home = Home::new();
    let node = home.start();
    let load = Load::new(&home);
    let client = load.client(RetryPolicy::STANDARD);
    let operator = load.operator();
    let (revoked, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (admitted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut workers: JoinSet<Seen> = JoinSet::new();
    let guard = load.runtime.enter();
    for _ in 0..WORKERS {
        let (client, agent, store) = (client.clone(), load.agent.clone(), load.profile.store_id);
        let (revoked, done) = (Arc::clone(&revoked), Arc::clone(&done));
        let (admitted, refused) = (Arc::clone(&admitted), Arc::clone(&refused));
        workers.spawn(async move {
            let mut seen = Vec::new();
            while !done.load(Ordering::Acquire) {
                let after = revoked.load(Ordering::Acquire);
                let frames: Vec<_> = (0..10).map(|n| event(&agent, store, n)).collect();
                for outcome in client.submit(&frames).await.unwrap() {
                    match outcome {
                        SubmitOutcome::Accepted(receipt) => {
                            admitted.fetch_add(1, Ordering::Relaxed);
                            seen.push((receipt.placed.index.get(), after));
                        }
                        SubmitOutcome::Rejected(rejected) => {
                            assert_eq!(rejected.rejection.code, "agent_key_invalid");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        SubmitOutcome::Duplicate(_) => panic!("nothing was sent twice"),
                    }
                }
            }
            seen
        });
    }
    drop(guard);
    wait_until(|| admitted.load(Ordering::Relaxed) > 500);
    let request = RevokeKeyRequest {
        tenant_id: load.profile.tenant_id,
        agent_id: load.profile.agent_id,
        key_id: load.profile.key_id,
        reason: "test".to_owned(),
    };
    let changed = load.runtime.block_on(operator.revoke_key(&request)).unwrap();
    revoked.store(true, Ordering::Release);
    let at = changed.log_index.unwrap().get();
    let before = refused.load(Ordering::Relaxed);
    wait_until(|| refused.load(Ordering::Relaxed) > before + 500);
    done.store(true, Ordering::Release);
    let seen = load.runtime.block_on(workers.join_all()).concat();
    assert!(seen.iter().all(|(_, after)| !after), "admitted after the acknowledgement");
    // Stronger: the log holds no event under that key behind the revocation, wherever it was under way.
    assert!(seen.iter().all(|(index, _)| *index < at), "admitted behind the revocation at index {at}");

    // What was admitted before keeps its receipt, though the key is revoked now.
    node.stop();
    let node = home.start();
    let again = load.runtime.block_on(client.submit_one(&event(&load.agent, load.profile.store_id, 1))).unwrap();
    assert!(matches!(again, SubmitOutcome::Rejected(_)), "a restart forgot the revocation");
    node.stop();
    home.fsck();
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(Duration::from_millis(2));
    }
}
