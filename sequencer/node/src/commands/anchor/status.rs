//! `tally anchor status`: how each chain stands, by the worker's last words and by the chain's own.

use serde_json::{Value, json};
use tally_anchor::chain::{Chain as _, Level};
use tally_anchor::config::ChainConfig;
use tally_anchor::ethereum::Ethereum;
use tally_anchor::metrics::ChainStatus;
use tally_anchor::signer::Address;
use tally_protocol::hash::{LogId, LogKind};

use super::settings::Settings;
use crate::cli::anchor::StatusArgs;
use crate::exit::Failure;
use crate::output::Output;

pub(super) async fn status(args: &StatusArgs) -> Result<(), Failure> {
    let settings = Settings::load(&args.config)?;
    let logs = settings.logs()?;
    let (mut values, mut lines) = (Vec::new(), Vec::new());
    for config in &settings.chains {
        let worker = worker_status(&settings, config)?;
        let heads = heads(config, &logs).await;
        lines.push(text(config, worker.as_ref(), &heads));
        let worker = worker.as_ref().map(|status| serde_json::to_value(status).unwrap_or(Value::Null));
        values.push(json!({ "name": config.name, "chain_id": config.chain_id, "worker": worker, "heads": heads }));
    }
    Output::new(args.json).result(&json!({ "chains": values }), || lines.join("\n"))
}

/// What the worker wrote last; none if it never ran here.
fn worker_status(settings: &Settings, config: &ChainConfig) -> Result<Option<ChainStatus>, Failure> {
    let file = settings.folder(config).join("status.json");
    match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Failure::invalid(format!("{} is damaged: {error}", file.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", &file, &error)),
    }
}

/// Sizes by log and level, or why the chain does not say.
async fn heads(config: &ChainConfig, logs: &[(LogKind, LogId)]) -> Value {
    let chain = match Ethereum::new(config) {
        Ok(chain) => chain,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let ids: Vec<LogId> = logs.iter().map(|(_, id)| *id).collect();
    let mut heads = json!({});
    for level in [Level::Latest, Level::Safe, Level::Finalized] {
        heads[level.as_str()] = match chain.view(level, Address([0; 20]), ids.clone()).await {
            Ok(view) => {
                let sizes = logs.iter().zip(&view.heads).map(|((kind, _), head)| {
                    (kind.as_str().to_owned(), json!({ "size": head.size.get(), "seq": head.seq, "epoch": head.epoch }))
                });
                json!({ "block": view.block.number, "logs": sizes.collect::<serde_json::Map<_, _>>() })
            }
            Err(error) => json!({ "error": error.to_string() }),
        };
    }
    heads
}

fn text(config: &ChainConfig, worker: Option<&ChainStatus>, heads: &Value) -> String {
    let mut lines = vec![format!("{} (chain {}), contract {}", config.name, config.chain_id, config.contract)];
    for level in ["latest", "safe", "finalized"] {
        let at = &heads[level];
        lines.push(match at["error"].as_str() {
            Some(why) => format!("  {level:<10} {why}"),
            None => format!(
                "  {level:<10} {} events, {} outcomes, at block {}",
                at["logs"]["events"]["size"], at["logs"]["outcomes"]["size"], at["block"]
            ),
        });
    }
    match worker {
        None => lines.push("  worker     has not run here".to_owned()),
        Some(status) => {
            lines.push(format!("  worker     {}: {}", status.state, status.why));
            lines.push(format!("  behind     {} events, {} s", status.lag_events, status.lag_seconds));
            lines
                .push(format!("  spent      {} wei today, balance {} wei", status.spent_today_wei, status.balance_wei));
        }
    }
    lines.join("\n")
}
