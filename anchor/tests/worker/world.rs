//! A chain with a deployed contract, two logs, two keys and a worker's folder: what most tests begin with.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tally_anchor::chain::{Chain as _, Hash32, Level, LogHead};
use tally_anchor::clock::{Clock, SystemClock};
use tally_anchor::config::{ChainConfig, FeeConfig, Provider};
use tally_anchor::deploy::{Deployed, Deployment, Operator};
use tally_anchor::driver::{Parts, Worker};
use tally_anchor::ethereum::Ethereum;
use tally_anchor::ledger::SlotState;
use tally_anchor::metrics::Metrics;
use tally_anchor::signer::{Address, Signer as _};
use tally_anchor::source::LogKind;
use tempfile::TempDir;

use crate::anvil::Anvil;
use crate::keys::Key;
use crate::log::{TestLog, logs};

pub(crate) const ETHER: u128 = 1_000_000_000_000_000_000;

pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) config: ChainConfig,
    pub(crate) deployed: Deployed,
    pub(crate) log: Arc<TestLog>,
    pub(crate) gas_key: Arc<Key>,
    pub(crate) authority: Arc<Key>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) folder: TempDir,
}

/// A clock that a test moves.
pub(crate) struct ManualClock(pub(crate) AtomicU64);

impl ManualClock {
    pub(crate) fn now() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(SystemClock.now_ms())))
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Fast, cheap, and trusting one provider.
pub(crate) fn config(name: &str, chain_id: u64, url: &str) -> ChainConfig {
    ChainConfig {
        name: name.to_owned(),
        chain_id,
        contract: Address([0; 20]),
        code_hash: Hash32([0; 32]),
        providers: vec![Provider { name: "one".to_owned(), url: url.to_owned() }],
        providers_agree_min: 1,
        trust_one_provider: true,
        epoch: 1,
        request_timeout_ms: 5_000,
        provider_lag_max_ms: 30_000,
        confirmations: None,
        interval_ms: 1,
        size_trigger: 1,
        poll_ms: 20,
        reconcile_ms: 500,
        replace_after_ms: 60_000,
        rebroadcast_after_ms: 30_000,
        unfinal_slots_max: 64,
        fees: FeeConfig {
            cap_max_wei: 500_000_000_000,
            tip_min_wei: 1_000_000,
            target_ms: 1_000,
            budget_gwei_per_day: 5_000_000_000,
            balance_floor_gwei: 1_000,
            gas_max: 1_000_000,
            op_data_fee: false,
        },
    }
}

pub(crate) fn key(name: &str) -> Arc<Key> {
    Key::new(match name {
        "admin" => 0x11,
        "gas" => 0x22,
        "authority" => 0x33,
        "other gas" => 0x44,
        "guardian" => 0x55,
        _ => panic!("no key {name}"),
    })
}

pub(crate) fn deployment() -> Deployment {
    Deployment {
        admin: key("admin").address(),
        guardian: key("guardian").address(),
        delay_s: 86_400,
        require_consistency: true,
        salt: [0; 32],
        logs: logs().into_iter().map(|(_, id)| id).collect(),
        authority: key("authority").address(),
        anchorer: key("gas").address(),
    }
}

pub(crate) async fn deploy(anvil: &Anvil, config: &mut ChainConfig) -> Deployed {
    for name in ["admin", "gas", "other gas", "guardian"] {
        anvil.set_balance(key(name).address(), 100 * ETHER).await;
    }
    let chain = Ethereum::unchecked(config).unwrap();
    let admin = key("admin");
    let mut operator = Operator::new(&chain, config, &*admin, Duration::from_secs(30)).await.unwrap();
    let deployed = operator.deploy(&deployment()).await.unwrap();
    (config.contract, config.code_hash) = (deployed.contract, deployed.code_hash);
    deployed
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(Anvil::start(84_532_001, &[]).await).await
    }

    pub(crate) async fn on(anvil: Anvil) -> Self {
        let mut config = config("test", anvil.chain_id, &anvil.url);
        let deployed = deploy(&anvil, &mut config).await;
        Self {
            anvil,
            config,
            deployed,
            log: Arc::new(TestLog::new(0, 0)),
            gas_key: key("gas"),
            authority: key("authority"),
            metrics: Arc::new(Metrics::default()),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn chain(&self) -> Ethereum {
        Ethereum::new(&self.config).unwrap()
    }

    pub(crate) fn parts(&self) -> Parts {
        Parts {
            config: self.config.clone(),
            logs: logs(),
            chain: Arc::new(self.chain()),
            source: Arc::clone(&self.log) as _,
            gas_key: Arc::clone(&self.gas_key) as _,
            authority: Arc::clone(&self.authority) as _,
            clock: Arc::new(SystemClock),
            metrics: Arc::clone(&self.metrics),
        }
    }

    pub(crate) fn worker(&self) -> Worker {
        Worker::open(self.parts(), self.folder.path()).unwrap()
    }

    pub(crate) fn worker_with(&self, clock: &Arc<ManualClock>) -> Worker {
        let parts = Parts { clock: Arc::clone(clock) as _, ..self.parts() };
        Worker::open(parts, self.folder.path()).unwrap()
    }

    pub(crate) async fn head(&self, kind: LogKind) -> LogHead {
        self.head_at(kind, Level::Latest).await
    }

    pub(crate) async fn head_at(&self, kind: LogKind, level: Level) -> LogHead {
        let config = ChainConfig {
            providers: vec![Provider { name: "direct".to_owned(), url: self.anvil.url.clone() }],
            providers_agree_min: 1,
            trust_one_provider: true,
            ..self.config.clone()
        };
        let chain = Ethereum::new(&config).unwrap();
        let id = logs().into_iter().find(|(each, _)| *each == kind).unwrap().1;
        chain.view(level, self.gas_key.address(), vec![id]).await.unwrap().heads[0]
    }

    /// Whether the chain holds both logs as they are.
    pub(crate) async fn is_anchored(&self) -> bool {
        for kind in [LogKind::Events, LogKind::Outcomes] {
            let (head, size) = (self.head(kind).await, self.log.size(kind));
            if head.size.get() != size || (size > 0 && head.root != self.log.root(kind, size)) {
                return false;
            }
        }
        true
    }

    /// Steps until both heads are the logs'.
    pub(crate) async fn anchor(&self, worker: &mut Worker) {
        step_until(worker, async |_: &Worker| self.is_anchored().await).await;
        step_until(worker, async |worker: &Worker| worker.journal().live().is_none()).await;
    }

    /// Mines and steps until no slot is open.
    pub(crate) async fn finalize(&self, worker: &mut Worker) {
        let until = Instant::now() + PATIENCE;
        while worker.journal().open_slots() > 0 {
            assert!(Instant::now() < until, "not final: {:?}", self.metrics.chain("test"));
            self.anvil.mine(1).await;
            // A failed round is tried again, as `run` does.
            let _ = worker.step().await;
        }
    }
}

/// A test that waits longer than this has failed; nothing is measured against it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn step_until(worker: &mut Worker, is_so: impl AsyncFn(&Worker) -> bool) {
    let until = Instant::now() + PATIENCE;
    let mut last = String::new();
    while !is_so(worker).await {
        assert!(Instant::now() < until, "waited in vain; the last round: {last}");
        last = format!("{:?}", worker.step().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn state_of(worker: &Worker) -> &'static str {
    worker.journal().slots().next_back().map_or("none", |slot| slot.state.as_str())
}

pub(crate) fn landed_hash(state: &SlotState) -> Hash32 {
    state.landed().unwrap().tx_hash
}

pub(crate) fn slot_files(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("slots")).map_or(0, |files| files.filter(is_slot).count())
}

fn is_slot(file: &std::io::Result<std::fs::DirEntry>) -> bool {
    file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|extension| extension == "slot"))
}
