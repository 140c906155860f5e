//! `[market]`: the marketplace that this node serves below `/market`.
//!
//! A file without the section serves none. The gateway's agent signs for callers with an API key; its key must be
//! registered in the tenant before it can, and the plugins' `gateways` must name it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use tally_api::text;
use tally_gateway::{AgentSigner, Market, MarketRoles, WebhookPort};
use tally_protocol::id::{AgentId, PluginId, StoreId, Stream, TenantId};
use tally_protocol::key::SigningKey;

/// `[market]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketSection {
    /// The marketplace's tenant.
    #[serde(with = "text::uuid")]
    pub tenant: TenantId,
    /// Its store.
    #[serde(with = "text::uuid")]
    pub store: StoreId,
    /// Whose routes are served, in this order: the first that fits is meant.
    pub plugins: Vec<String>,
    /// The agent that signs for callers with an API key.
    #[serde(with = "text::uuid")]
    pub agent: AgentId,
    /// Its key file.
    pub signing_key: PathBuf,
    /// Names of query routes that are served without a credential.
    pub public: BTreeSet<String>,
    /// Who has which role when asking; left out: nobody but credentials of the role admin.
    #[serde(default)]
    pub roles: MarketRolesSection,
}

/// `[market.roles]`: principals, `agent:UUID` or `key:PREFIX`; each list may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarketRolesSection {
    /// Of `admin`, beside credentials of that role.
    pub admin: BTreeSet<String>,
    /// Of `finance`.
    pub finance: BTreeSet<String>,
    /// Of `service`.
    pub service: BTreeSet<String>,
}

impl MarketSection {
    /// The gateway's part, with whoever reads a payment provider's messages.
    ///
    /// # Errors
    /// A plugin's id is none, one is named twice, or none is named.
    pub fn market(&self, key: SigningKey, webhook: Option<Arc<dyn WebhookPort>>) -> Result<Market, String> {
        let plugins = self.plugins.iter().map(|id| PluginId::new(id)).collect::<Result<Vec<_>, _>>();
        let plugins = plugins.map_err(|_| "market.plugins names something that is no plugin's id".to_owned())?;
        if plugins.is_empty() || plugins.iter().collect::<BTreeSet<_>>().len() < plugins.len() {
            return Err("market.plugins names no plugin, or one twice".to_owned());
        }
        let roles = self.roles.clone();
        Ok(Market {
            stream: Stream::new(self.tenant, self.store),
            plugins,
            signer: AgentSigner { agent: self.agent, key },
            public: self.public.clone(),
            roles: MarketRoles { admin: roles.admin, finance: roles.finance, service: roles.service },
            webhook,
        })
    }
}
