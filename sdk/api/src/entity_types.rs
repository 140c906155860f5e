//! Which entity types a store takes: its list, set and lifted by signed events in the tenant's control stream.

use serde::{Deserialize, Serialize};
use tally_protocol::id::{Index, StoreId, TenantId};

use crate::text;

/// Sets a store's list (`PUT /v1/streams/{tenant}/{store}/entity-types`): the whole of it, in place of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetEntityTypes {
    /// The types, in any order; at most 1024. None leaves what plugins bring.
    pub entity_types: Vec<String>,
}

/// What a store takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityTypes {
    /// The store's tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The store.
    #[serde(with = "text::uuid")]
    pub store_id: StoreId,
    /// The list, in the order of its bytes; null: there is none, and the store takes every type.
    pub entity_types: Option<Vec<String>>,
    /// The control event that set the list, as a position in the log.
    #[serde(with = "text::number_option")]
    pub set_index: Option<Index>,
    /// What plugins that run in the store bring beside its list.
    pub plugins: Vec<BroughtEntityType>,
}

/// An entity type that a plugin brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroughtEntityType {
    /// The plugin.
    pub plugin: String,
    /// The type.
    pub entity_type: String,
}

/// The answer to a change of a store's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityTypesChanged {
    /// The store's tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The store.
    #[serde(with = "text::uuid")]
    pub store_id: StoreId,
    /// The list, in the order of its bytes; null: there is none any more.
    pub entity_types: Option<Vec<String>>,
    /// The control event, as a position in the log.
    #[serde(with = "text::number")]
    pub log_index: Index,
}
