//! A real worker process, ended at every step and at any moment: never two anchors of one slot, and the head ends at the newest
//! durable checkpoint (S-143). The deaths at named points need the feature `failpoints`.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tally_anchor::chain::Chain as _;
use tally_anchor::clock::SystemClock;
use tally_anchor::config::ChainConfig;
use tally_anchor::driver::{Parts, Worker};
use tally_anchor::ethereum::Ethereum;
use tally_anchor::failpoint::FAIL_POINTS;
use tally_anchor::ledger::Journal;
use tally_anchor::metrics::Metrics;
use tally_anchor::signer::Signer as _;
use tally_anchor::source::LogKind;
use tally_anchor::uses::{UseLog, reconcile};
use tokio::sync::watch;

use crate::log::{TestLog, logs};
use crate::world::{PATIENCE, World, key, slot_files};

const CHILD: &str = "TALLY_TEST_ANCHOR_CHILD";

/// The worker's process. Its folder holds the configuration, the logs' sizes and the journal.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other tests of this file start it as their process"]
async fn child() {
    let folder = PathBuf::from(std::env::var_os(CHILD).expect("started by a test of this file"));
    let config: ChainConfig = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let parts = Parts {
        logs: logs(),
        chain: Arc::new(Ethereum::new(&config).unwrap()),
        config,
        source: Arc::new(TestLog::in_file(&folder.join("sizes"))),
        gas_key: key("gas"),
        authority: key("authority"),
        clock: Arc::new(SystemClock),
        metrics: Arc::new(Metrics::default()),
    };
    let (_keep, stop) = watch::channel(false);
    Worker::open(parts, &folder.join("journal")).unwrap().run(stop).await.unwrap();
}

struct Scene {
    world: World,
    folder: PathBuf,
    child: Option<Child>,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let folder = world.folder.path().to_owned();
        std::fs::write(folder.join("config.json"), serde_json::to_vec(&world.config).unwrap()).unwrap();
        TestLog::write_sizes(&folder.join("sizes"), 0, 0);
        Self { world, folder, child: None }
    }

    fn start(&mut self, failpoint: Option<&str>) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "crash::child"]).env(CHILD, &self.folder).env_remove("TALLY_FAILPOINT");
        if let Some(failpoint) = failpoint {
            command.env("TALLY_FAILPOINT", failpoint);
        }
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    fn grow(&self, events: u64, outcomes: u64) {
        self.world.log.grow(events, outcomes);
        let sizes = [LogKind::Events, LogKind::Outcomes].map(|kind| self.world.log.size(kind));
        TestLog::write_sizes(&self.folder.join("sizes"), sizes[0], sizes[1]);
    }

    /// SIGKILL, to a worker that is alive.
    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it was alive until it was killed");
    }

    /// Whether it has died at its fail point, and of nothing else.
    #[cfg(feature = "failpoints")]
    fn has_died(&mut self) -> bool {
        let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() else { return false };
        assert_eq!(status.signal(), Some(6), "it ended otherwise than at its fail point");
        self.child = None;
        true
    }

    fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// Mines, so that anchors become final, until it is so.
    async fn until(&mut self, mines: bool, mut is_so: impl AsyncFnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self).await {
            let status = std::fs::read_to_string(self.journal().join("status.json")).unwrap_or_default();
            assert!(Instant::now() < until, "waited in vain: {status}");
            if mines {
                self.world.anvil.mine(1).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets a whole worker finish, and audits what all of them have done.
    async fn audit(&mut self) {
        if self.child.is_none() {
            self.start(None);
        }
        self.until(true, async |scene| scene.world.is_anchored().await && slot_files(&scene.journal()) == 0).await;
        self.kill();
        let (world, chain) = (&self.world, self.world.chain());
        let ids = logs().into_iter().map(|(_, id)| id).collect();
        let events = chain.events(ids, 0, world.anvil.number().await).await.unwrap();
        let account = world.gas_key.address();
        let nonces = world.anvil.nonce(account).await;
        let mut transactions: Vec<_> = events.iter().map(|event| event.tx_hash).collect();
        transactions.dedup();
        assert_eq!(transactions.len() as u64, nonces, "every nonce was an anchor that did something, and no more");
        let anchored: Vec<_> = events.iter().filter(|event| event.log_id == logs()[0].1).collect();
        assert!(anchored.windows(2).all(|pair| pair[1].size > pair[0].size && pair[1].seq == pair[0].seq + 1));
        assert_eq!(
            closed(&self.journal(), &world.config, account),
            (0..nonces).collect::<Vec<_>>(),
            "each closed once"
        );
        let record = UseLog::in_folder(&self.journal());
        assert_eq!(reconcile(&record, &chain, account, 0).await.unwrap(), [], "every transaction was logged");
    }
}

fn closed(folder: &Path, config: &ChainConfig, account: tally_anchor::signer::Address) -> Vec<u64> {
    let journal = Journal::open(folder, config.chain_id, account, config.contract).unwrap();
    let days = std::fs::read_dir(folder.join("history")).unwrap();
    let mut days: Vec<u64> =
        days.map(|day| day.unwrap().path().file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect();
    days.sort_unstable();
    days.into_iter().flat_map(|day| journal.history(day).unwrap()).map(|closed| closed.nonce).collect()
}

#[cfg(feature = "failpoints")]
async fn ends_at(points: &[&str]) {
    let mut scene = Scene::new().await;
    for point in points {
        for passage in 1..=2 {
            scene.grow(3, 1);
            scene.start(Some(&format!("{point}:{passage}")));
            // It passes the point as often as asked, because the log grows and the chain goes on.
            scene
                .until(true, async |scene| {
                    scene.grow(1, 0);
                    scene.has_died()
                })
                .await;
        }
    }
    scene.audit().await;
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_before_its_bytes_are_durable_anchors_once() {
    ends_at(&["anchor.planned", "anchor.authorised", "anchor.signed", "slot.written"]).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_durable_and_sent_anchors_once() {
    ends_at(&["slot.renamed", "anchor.persisted", "anchor.sent", "anchor.sent_recorded"]).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_receipt_and_history_anchors_once() {
    ends_at(&["anchor.receipt", "anchor.included", "anchor.finalized", "history.appended", "slot.removed"]).await;
}

#[test]
fn every_fail_point_has_its_death() {
    let died = [
        ["anchor.planned", "anchor.authorised", "anchor.signed", "slot.written"].as_slice(),
        &["slot.renamed", "anchor.persisted", "anchor.sent", "anchor.sent_recorded"],
        &["anchor.receipt", "anchor.included", "anchor.finalized", "history.appended", "slot.removed"],
    ];
    assert_eq!(died.concat(), FAIL_POINTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_again_and_again_under_growth_ends_at_the_newest_checkpoint() {
    let mut scene = Scene::new().await;
    for round in 0..8u64 {
        scene.grow(5, 1);
        scene.start(None);
        let nonce = scene.world.anvil.nonce(scene.world.gas_key.address()).await;
        // Each round is killed a little later in an anchor's life: when its file appears, when it lands, or after.
        scene
            .until(round % 2 == 0, async |scene| match round % 3 {
                0 => slot_files(&scene.journal()) > 0,
                1 => scene.world.anvil.nonce(scene.world.gas_key.address()).await > nonce,
                _ => {
                    scene.grow(1, 0);
                    scene.world.anvil.nonce(scene.world.gas_key.address()).await > nonce + 1
                }
            })
            .await;
        scene.kill();
    }
    scene.audit().await;
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_sending_and_a_reorganisation_anchors_once() {
    let mut scene = Scene::new().await;
    scene.grow(5, 1);
    scene.start(Some("anchor.sent"));
    scene.until(false, async |scene| scene.has_died()).await;
    scene.world.anvil.reorg(1, serde_json::json!([])).await;
    scene.audit().await;
}
