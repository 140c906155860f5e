//! `anchor.toml`: what an operator states about the process that makes anchors.
//!
//! Every field that is not optional must be there and unknown ones are errors; relative paths are relative to the file. It holds no secrets: keys
//! are named, and opened when they are used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tally_anchor::config::ChainConfig;
use tally_anchor::error::AnchorError;
use tally_anchor::signer::config::{OpenError, SignerConfig, Surroundings, open};
use tally_anchor::signer::record::UseLog;
use tally_anchor::signer::{Clock, Signer};
use tally_client::{ApiKey, Client, Trust};
use tally_core::{Clock as _, SystemClock};
use tally_protocol::hash::{LedgerId, LogId, LogKind, log_id};
use tally_verify::TrustRoot;

use crate::exit::{Exit, Failure};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Folder of the journals, one below it for each chain.
    pub(super) journal: PathBuf,
    /// The node whose logs are anchored.
    pub(super) node: NodeSection,
    /// What signs.
    pub(super) keys: KeysSection,
    /// The chains.
    #[serde(rename = "chain")]
    pub(super) chains: Vec<ChainConfig>,
}

/// `[node]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeSection {
    /// Where it is.
    pub(super) url: String,
    /// Which ledger it must serve: 64 hexadecimal digits.
    pub(super) ledger: String,
    /// An API key that may read the log; not needed where the log is public.
    pub(super) api_key_file: Option<PathBuf>,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeysSection {
    /// Pays for the anchors and sends them.
    pub(super) gas: SignerConfig,
    /// Speaks for the logs.
    pub(super) authority: SignerConfig,
    /// Deploys and gives roles; only where that is done.
    pub(super) admin: Option<SignerConfig>,
    /// Pauses; only where that is done.
    pub(super) guardian: Option<SignerConfig>,
}

/// What an error of the worker means for the process.
pub(super) fn failure(error: &AnchorError) -> Failure {
    let exit = match error {
        AnchorError::Config(_) | AnchorError::WrongChain { .. } | AnchorError::WrongContract => Exit::Usage,
        AnchorError::Locked(_) => Exit::InUse,
        AnchorError::Damaged { .. } => Exit::Invalid,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn open_failure(which: &str, error: &OpenError) -> Failure {
    let exit = match error {
        OpenError::Config(_) | OpenError::Unsafe(_) => Exit::Usage,
        OpenError::Signer(_) => Exit::Failed,
    };
    Failure::new(exit, format!("the key `{which}`: {error}"))
}

impl Settings {
    /// Reads the file.
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::Usage } else { Exit::Failed };
            Failure::new(exit, format!("failed to read {}: {error}", path.display()))
        })?;
        let refused = |why: &str| Failure::usage(format!("{} is refused: {}", path.display(), why.trim_end()));
        let mut settings: Self = toml::from_str(&text).map_err(|error| refused(&error.to_string()))?;
        settings.resolve(path.parent().unwrap_or(Path::new("")));
        let mut names: Vec<&str> = settings.chains.iter().map(|chain| chain.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(refused("two chains have one name"));
        }
        if settings.chains.is_empty() {
            return Err(refused("there is no [[chain]]"));
        }
        Ok(settings)
    }

    fn resolve(&mut self, folder: &Path) {
        self.journal = folder.join(&self.journal);
        if let Some(file) = &mut self.node.api_key_file {
            *file = folder.join(&file);
        }
        let keys = &mut self.keys;
        let keys = [Some(&mut keys.gas), Some(&mut keys.authority), keys.admin.as_mut(), keys.guardian.as_mut()];
        keys.into_iter().flatten().for_each(|key| key.resolve(folder));
    }

    pub(super) fn chain(&self, name: &str) -> Result<&ChainConfig, Failure> {
        let known = || self.chains.iter().map(|chain| chain.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = self.chains.iter().find(|chain| chain.name == name);
        found.ok_or_else(|| Failure::usage(format!("there is no chain `{name}`; there are {}", known())))
    }

    pub(super) fn ledger(&self) -> Result<LedgerId, Failure> {
        LedgerId::from_hex(&self.node.ledger).map_err(|_| Failure::usage("node.ledger is not 64 hexadecimal digits"))
    }

    /// Both logs, in the order in which one call anchors them.
    pub(super) fn logs(&self) -> Result<Vec<(LogKind, LogId)>, Failure> {
        let ledger = self.ledger()?;
        Ok([LogKind::Events, LogKind::Outcomes].map(|kind| (kind, log_id(&ledger, kind))).to_vec())
    }

    /// A client that takes this ledger and no other.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let mut builder = Client::builder(&self.node.url).trust(Trust::Given(TrustRoot::ledger(self.ledger()?)));
        if let Some(file) = &self.node.api_key_file {
            let key = crate::keyfile::read_private(file)?;
            builder = builder.api_key(ApiKey::new(key.trim_end()));
        }
        builder.build().map_err(|error| crate::connect::failure(&error))
    }

    /// The folder of a chain's journal.
    pub(super) fn folder(&self, chain: &ChainConfig) -> PathBuf {
        self.journal.join(&chain.name)
    }

    /// What signers take from this process; holds the record of their uses.
    pub(super) fn surroundings(&self, who: &str) -> Result<Surroundings, Failure> {
        std::fs::create_dir_all(&self.journal).map_err(|error| Failure::file("create", &self.journal, &error))?;
        let uses =
            UseLog::open(&self.journal.join(format!("keys-{who}.jsonl"))).map_err(|error| open_failure(who, &error))?;
        let clock = SystemClock::new();
        let clock = Clock::new(move || clock.wall());
        Ok(Surroundings { environment: std::env::vars().collect(), clock, uses })
    }
}

/// Opens a key.
pub(super) async fn key(which: &str, config: &SignerConfig, around: &Surroundings) -> Result<Arc<dyn Signer>, Failure> {
    let opened = open(config, around).await.map_err(|error| open_failure(which, &error))?;
    Ok(Arc::new(opened))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

    use super::*;
    use crate::config::AnchorSection;

    const PAGE: &str = include_str!("../../../../../docs/operating/anchoring.md");

    /// The page's samples, with something of the right form in the place of what an operator fills in.
    fn samples() -> Vec<String> {
        let blocks = PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let filled = blocks.map(|block| {
            let block =
                block.replace("…64 hexadecimal digits…", &"0".repeat(64)).replace("https://…", "https://one.example");
            let block = block.replace("code_hash = \"0x…\"", &format!("code_hash = \"0x{}\"", "0".repeat(64)));
            block.replace("0x…", &format!("0x{}", "0".repeat(40)))
        });
        filled.collect()
    }

    #[test]
    fn the_samples_of_the_operators_page_are_read_as_they_stand() {
        #[derive(Deserialize)]
        struct Node {
            anchor: AnchorSection,
        }
        let samples = samples();
        let [worker, node] = &samples[..] else { panic!("{} samples", samples.len()) };
        let worker: Settings = toml::from_str(worker).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((worker.chains.len(), worker.chains[0].providers.len()), (1, 2));
        let node: Node = toml::from_str(node).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(node.anchor.chain.len(), 1);
    }
}
