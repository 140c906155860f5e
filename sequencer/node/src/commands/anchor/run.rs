//! `tally anchor run`: the process that makes anchors.
//!
//! Takes `anchor.toml`; opens both keys, checks that every chain is the configured one with the configured contract, and
//! works until a signal. A chain or node that does not answer is waited for; a wrong one is refused. Each worker writes
//! `status.json` beside its journal; this, `metrics.prom` for all of them, in the Prometheus text format.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tally_anchor::clock::SystemClock;
use tally_anchor::driver::{Parts, Worker, run_all};
use tally_anchor::error::Class;
use tally_anchor::ethereum::Ethereum;
use tally_anchor::metrics::Metrics;
use tokio::sync::watch;

use super::settings::{Settings, failure, key};
use crate::anchoring::ClientLogs;
use crate::cli::anchor::RunArgs;
use crate::exit::Failure;
use crate::output::Output;
use crate::shutdown::Shutdown;

/// How often the numbers are written.
const WRITE_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(args: &RunArgs) -> Result<(), Failure> {
    let settings = Settings::load(&args.config)?;
    let shutdown = Shutdown::on_signals()?;
    let around = settings.surroundings("run")?;
    let gas_key = key("gas", &settings.keys.gas, &around).await?;
    let authority = key("authority", &settings.keys.authority, &around).await?;
    let (metrics, source) = (Arc::new(Metrics::default()), Arc::new(ClientLogs::new(settings.client()?)));
    let logs = settings.logs()?;
    let mut workers = Vec::new();
    for config in &settings.chains {
        let folder = settings.folder(config);
        let parts = Parts {
            config: config.clone(),
            logs: logs.clone(),
            chain: Arc::new(Ethereum::new(config).map_err(|error| failure(&error))?),
            source: Arc::clone(&source) as _,
            gas_key: Arc::clone(&gas_key),
            authority: Arc::clone(&authority),
            clock: Arc::new(SystemClock),
            metrics: Arc::clone(&metrics),
        };
        let worker = Worker::open(parts, &folder).map_err(|error| failure(&error))?;
        check_identity(&worker, &config.name).await?;
        workers.push(worker);
    }
    let ready = json!({
        "event": "ready", "gas_key": gas_key.address().to_string(), "authority": authority.address().to_string(),
        "chains": settings.chains.iter().map(|chain| &chain.name).collect::<Vec<_>>(),
    });
    let text = || {
        let chains = settings.chains.iter().map(|chain| chain.name.as_str()).collect::<Vec<_>>().join(", ");
        format!("anchoring on {chains}\n  pays       {}\n  authority  {}", gas_key.describe(), authority.describe())
    };
    if args.check {
        return Output::new(args.json)
            .result(&json!({ "ok": true }), || "configuration, keys and chains are good".to_owned());
    }
    Output::new(args.json).result(&ready, text)?;
    let (stop, stopped) = watch::channel(false);
    let numbers = Numbers { metrics, file: settings.journal.join("metrics.prom") };
    let ends = {
        let working = run_all(workers, &stopped);
        tokio::pin!(working);
        tokio::select! {
            ends = &mut working => ends,
            never = numbers.write_for_ever() => match never {},
            () = shutdown.asked() => {
                stop.send_replace(true);
                working.await
            }
        }
    };
    numbers.write();
    let failed = ends.into_iter().find_map(Result::err);
    failed.map_or(Ok(()), |error| Err(failure(&error)))
}

/// A wrong chain or contract is refused; one that does not answer is waited for.
async fn check_identity(worker: &Worker, name: &str) -> Result<(), Failure> {
    match worker.check_identity().await {
        Err(error) if error.class() == Class::Retry => {
            tracing::warn!(chain = name, %error, "the chain does not answer yet");
            Ok(())
        }
        other => other.map_err(|error| failure(&error)),
    }
}

/// The numbers of all chains, in a file.
struct Numbers {
    metrics: Arc<Metrics>,
    file: PathBuf,
}

impl Numbers {
    async fn write_for_ever(&self) -> Infallible {
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            self.write();
        }
    }

    fn write(&self) {
        let written = tally_anchor::files::replace_unsynced(&self.file, self.metrics.exposition().as_bytes());
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "failed to write the worker's numbers");
        }
    }
}
