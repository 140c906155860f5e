//! What a development node takes from a file: its marketplace and its connectors, as in `tally.toml`.
//!
//! Takes the sections `[market]`, `[effects]` and `[connectors.KIND]`; paths are relative to the file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tally_gateway::Market;
use tally_protocol::key::SigningKey;

use super::{ConnectorSection, EffectsSection, MarketSection};
use crate::effects::{self, Connected};
use crate::exit::Failure;
use crate::keyfile::KeyFile;

/// The file of `tally dev --with`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DevSections {
    /// What dispatching may take.
    pub effects: EffectsSection,
    connectors: BTreeMap<String, ConnectorSection>,
    market: Option<MarketSection>,
}

impl DevSections {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or has a field that it should not have.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let refused = |why: &str| Failure::usage(format!("{} is refused: {}", path.display(), why.trim_end()));
        let mut sections: Self = toml::from_str(&text).map_err(|error| refused(&error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for section in sections.connectors.values_mut() {
            folder.clone_into(&mut section.folder);
            section.key = folder.join(&section.key);
        }
        if let Some(market) = &mut sections.market {
            market.signing_key = folder.join(&market.signing_key);
        }
        Ok(sections)
    }

    /// The connectors, and the marketplace.
    ///
    /// # Errors
    /// A key or credential cannot be read, or a section is refused.
    pub fn parts(&self) -> Result<(Vec<Connected>, Option<Market>), Failure> {
        let keys = self.connectors.iter().map(|(kind, section)| Ok((kind.clone(), KeyFile::load(&section.key)?.key)));
        let keys: BTreeMap<String, SigningKey> = keys.collect::<Result<_, Failure>>()?;
        let connected = effects::connected(&self.connectors, &keys)?;
        let Some(section) = &self.market else { return Ok((connected, None)) };
        let webhook = effects::webhook_of(&self.connectors, &keys)?;
        let market = section.market(KeyFile::load(&section.signing_key)?.key, webhook).map_err(Failure::usage)?;
        Ok((connected, Some(market)))
    }
}
