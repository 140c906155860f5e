//! Kills: the node dies at seeded moments under full load, as often as asked, and comes back on the same data.
//!
//! One kill in five falls into the start itself, before the node is ready. The clients never pause. In the end nothing
//! is unknown to them any more, the node drains, everything they kept is held against the stored log, and `tally fsck`
//! goes over the whole of it.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_testkit::TestRng;

use crate::Failure;
use crate::against_log::{Compared, compare};
use crate::load::{Counts, Door, Kept, Shared, Worker};
use crate::node::{Home, Node};

/// Client threads.
const THREADS: u64 = 6;
/// Events of a submission.
const BATCH: usize = 50;

/// What a run did.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    kills: u64,
    kills_at_start: u64,
    acknowledged: u64,
    lost_answers: u64,
    found: u64,
    resent: u64,
    asked: u64,
    compared: Compared,
    restart_ms: Vec<u64>,
    seconds: f64,
    fsck: Value,
}

/// Kills the node `kills` times.
///
/// # Errors
/// A law broke, or the machine does not play along.
pub fn run(home: &Home, kills: u64, seed: u64, say: impl Fn(&str)) -> Result<Report, Failure> {
    let began = Instant::now();
    let mut rng = TestRng::new(seed);
    let mut node = home.spawn()?;
    let (ready, _) = node.ready()?;
    let door = Door::open(&ready, THREADS)?;
    let shared = Shared::new();
    let workers: Vec<Worker> =
        (0..THREADS).map(|number| Worker::new(&door, number, BATCH, 1, &shared)).collect::<Result<_, _>>()?;
    let mut restart_ms = Vec::new();
    let mut kills_at_start = 0;
    let (workers, killed) = std::thread::scope(|scope| {
        let running: Vec<_> = workers.into_iter().map(|worker| scope.spawn(move || worker.work())).collect();
        let mut node = Some(node);
        let mut killed = (0..kills).try_for_each(|nth| {
            let Some(up) = node.take() else { return Err("there is no node".to_owned()) };
            node = Some(kill_once(home, up, &mut rng, &mut kills_at_start, &mut restart_ms)?);
            shared.holds()?;
            if (nth + 1).is_multiple_of(20) {
                let acknowledged = shared.counts.acknowledged.load(Ordering::Relaxed);
                say(&format!("  {} kills, {acknowledged} events acknowledged, none lost so far", nth + 1));
            }
            Ok(())
        });
        shared.stop.store(true, Ordering::SeqCst);
        let workers: Vec<Worker> = running.into_iter().filter_map(|worker| worker.join().ok()).collect();
        if killed.is_ok() && workers.len() as u64 != THREADS {
            killed = Err("a client thread panicked".to_owned());
        }
        (workers, killed.and_then(|()| node.map_or(Ok(()), Node::stop)))
    });
    killed.and_then(|()| shared.holds()).map_err(|what| format!("{what}\n{}", home.last_words()))?;
    say("  comparing everything kept with the stored log");
    let mut kept: Vec<Kept> = workers.into_iter().flat_map(|worker| worker.kept).collect();
    let roots = shared.roots.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let compared = compare(&home.data(), &mut kept, &roots)?;
    say("  fsck");
    let fsck = home.fsck()?;
    let Counts { acknowledged, lost, found, resent, asked } = &shared.counts;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    restart_ms.sort_unstable();
    Ok(Report {
        seed,
        kills,
        kills_at_start,
        acknowledged: count(acknowledged),
        lost_answers: count(lost),
        found: count(found),
        resent: count(resent),
        asked: count(asked),
        compared,
        restart_ms,
        seconds: began.elapsed().as_secs_f64(),
        fsck,
    })
}

/// One life and death; gives the node that came back.
fn kill_once(
    home: &Home,
    node: Node,
    rng: &mut TestRng,
    at_start: &mut u64,
    restart_ms: &mut Vec<u64>,
) -> Result<Node, Failure> {
    // From "just started" to "well under load".
    std::thread::sleep(Duration::from_millis(
        [20, 200, 700][usize::try_from(rng.below(3)).unwrap_or(0)] + rng.below(80),
    ));
    std::thread::sleep(Duration::from_micros(rng.below(1_000)));
    node.kill();
    if rng.one_in(5) {
        let young = home.spawn()?;
        std::thread::sleep(Duration::from_millis(rng.below(150)));
        young.kill();
        *at_start += 1;
    }
    let mut node = home.spawn()?;
    let (_, took) = node.ready().map_err(|why| format!("after a kill: {why}\n{}", home.last_words()))?;
    restart_ms.push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    Ok(node)
}

impl Report {
    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "seed": self.seed,
            "kills": self.kills,
            "kills_during_start": self.kills_at_start,
            "events_acknowledged": self.acknowledged,
            "events_lost": 0,
            "forks": 0,
            "answers_lost": self.lost_answers,
            "resent_found_in_log": self.found,
            "resent_taken_anew": self.resent,
            "old_receipts_asked_again": self.asked,
            "entries": self.compared.entries,
            "receipts_compared": self.compared.receipts,
            "signed_roots_compared": self.compared.roots,
            "restart_ms": {"p50": self.restart(50), "p99": self.restart(99), "max": self.restart(100)},
            "seconds": self.seconds.round(),
            "fsck": {"ok": self.fsck["ok"], "size": self.fsck["size"], "root": self.fsck["root"]},
        })
    }

    /// As lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        self.rows().iter().map(|(what, figure)| format!("{what:<52} {figure}\n")).collect()
    }

    /// As the page of the documentation.
    #[must_use]
    pub fn page(&self) -> String {
        let rows: String = self.rows().iter().map(|(what, figure)| format!("| {what} | {figure} |\n")).collect();
        format!(
            "# Killed under load\n\n\
             Written by `cargo xtask crash --kills {} --seed {} --write`.\n\
             {THREADS} client threads submit, over HTTP and over QUIC, {BATCH} events a submission, without a pause; the node is killed with SIGKILL at seeded moments and started again on the same data.\n\
             A client verifies each receipt as it comes, joins every checkpoint to the ones before, sends again what nobody knows, and after every lost answer asks for old receipts: they must be the same.\n\
             In the end every acknowledged event is looked for at its index in the stored log, every root that was ever signed is derived again from it, and `tally fsck` goes over the whole.\n\n\
             | | |\n|---|---|\n{rows}\n\
             A run ends with an error at the first acknowledged event that is missing, moved or changed, at the first root that differs, and at the first receipt that does not verify; the zeros above are what that means.\n\
             A kill leaves the operating system alive: what a power cut leaves is tested on the files themselves (`storage/tests/crash.rs`) and on simulated disks (`cargo xtask sim`).\n",
            self.kills, self.seed
        )
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let fsck =
            format!("{}, size {}", if self.fsck["ok"] == true { "clean" } else { "not clean" }, self.fsck["size"]);
        vec![
            ("kills", self.kills.to_string()),
            ("further kills while starting", self.kills_at_start.to_string()),
            ("events acknowledged", self.acknowledged.to_string()),
            ("acknowledged events lost, moved or changed", "0".to_owned()),
            ("sizes with two roots", "0".to_owned()),
            ("receipts compared with the stored log", self.compared.receipts.to_string()),
            ("signed roots derived again from the stored log", self.compared.roots.to_string()),
            ("submissions without an answer, the node being gone", self.lost_answers.to_string()),
            ("of their events, in the log already when sent again", self.found.to_string()),
            ("of their events, taken when sent again", self.resent.to_string()),
            ("old receipts asked for again and found the same", self.asked.to_string()),
            ("entries of the log", self.compared.entries.to_string()),
            ("restart until ready, under load, p50 / p99 / max ms", self.restarts()),
            ("fsck", fsck),
            ("seconds", format!("{:.0}", self.seconds)),
        ]
    }

    fn restarts(&self) -> String {
        format!("{} / {} / {}", self.restart(50), self.restart(99), self.restart(100))
    }

    fn restart(&self, percent: usize) -> u64 {
        let last = self.restart_ms.len().saturating_sub(1);
        self.restart_ms.get(last * percent / 100).copied().unwrap_or(0)
    }
}

/// Writes the page.
///
/// # Errors
/// The file system fails.
pub fn write_page(page: &str, path: &Path) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    std::fs::write(path, page).map_err(|error| format!("failed to write {}: {error}", path.display()))
}
