//! Which entity types a store takes: its list, and what plugins that run there bring (S-003).
//!
//! A list is set and lifted by events of the tenant's control stream. A plugin brings a type if it was granted
//! `entity:TYPE`, which its release must ask for, and runs: a quarantined one brings nothing. A store without a list
//! takes every type, so what plugins bring is looked at only where there is one. It takes changes in index order, with
//! the register as it is behind each; it gives each store's types behind a pointer, which the ordering thread keeps, so
//! that an ordinary event takes no lock and costs one look-up, and none where there is no list.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::id::{Index, PluginId, Stream};
use tally_protocol::plugin_event::PluginEvent;
use tally_protocol::plugin_life::PluginRegister;
use tally_protocol::release::{Decision, ENTITY_PERMISSION};

/// What a store with a list takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTypes {
    listed: BTreeSet<String>,
    brought: BTreeSet<(PluginId, String)>,
    taken: BTreeSet<String>,
    set_index: Index,
}

impl EntityTypes {
    fn new(listed: BTreeSet<String>, brought: BTreeSet<(PluginId, String)>, set_index: Index) -> Self {
        let taken = listed.iter().chain(brought.iter().map(|(_, entity_type)| entity_type)).cloned().collect();
        Self { listed, brought, taken, set_index }
    }

    /// What the list names.
    #[must_use]
    pub const fn listed(&self) -> &BTreeSet<String> {
        &self.listed
    }

    /// What plugins bring beside it: which, and what.
    #[must_use]
    pub const fn brought(&self) -> &BTreeSet<(PluginId, String)> {
        &self.brought
    }

    /// The event that set the list.
    #[must_use]
    pub const fn set_index(&self) -> Index {
        self.set_index
    }
}

/// What plugins that run in a store, and are not stopped there, bring.
fn brought(stream: &Stream, plugins: &PluginRegister) -> BTreeSet<(PluginId, String)> {
    let mut brought = BTreeSet::new();
    for installed in plugins.bindings(stream).into_iter().filter(|installed| !installed.is_quarantined()) {
        let binding = installed.binding();
        let types = binding.granted.iter().filter_map(|granted| granted.strip_prefix(ENTITY_PERMISSION));
        brought.extend(types.map(|entity_type| (binding.plugin.clone(), entity_type.to_owned())));
    }
    brought
}

/// Whether a store takes an entity type; one without a list takes all.
///
/// # Errors
/// It does not.
pub fn check(types: Option<&EntityTypes>, entity_type: &str) -> Result<(), Reject> {
    if types.is_none_or(|types| types.taken.contains(entity_type)) {
        return Ok(());
    }
    Err(Reject::of_field(
        RejectCode::EntityTypeUnknown,
        "entity_type",
        "entity_type is not on the store's list, and no plugin that runs there brings it",
    ))
}

/// The lists of all stores.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists(HashMap<Stream, Arc<EntityTypes>>);

impl Lists {
    pub(crate) fn of(&self, stream: &Stream) -> Option<&Arc<EntityTypes>> {
        self.0.get(stream)
    }

    pub(crate) fn set(&mut self, stream: Stream, listed: &BTreeSet<String>, index: Index, plugins: &PluginRegister) {
        self.0.insert(stream, Arc::new(EntityTypes::new(listed.clone(), brought(&stream, plugins), index)));
    }

    pub(crate) fn lift(&mut self, stream: &Stream) {
        self.0.remove(stream);
    }

    /// After a plugin event: what plugins bring may have changed, in the store that it is about, or everywhere.
    pub(crate) fn follow(&mut self, event: &PluginEvent, control: &Stream, plugins: &PluginRegister) {
        match event {
            // A revocation stops its release in every store.
            PluginEvent::Reviewed { review, .. } if review.decision == Decision::Revoked => {
                self.0.iter_mut().for_each(|(stream, types)| look_again(stream, types, plugins));
            }
            _ => {
                let target = event.store_id().map(|store| Stream::new(control.tenant, store));
                if let Some((stream, types)) = target.and_then(|target| Some((target, self.0.get_mut(&target)?))) {
                    look_again(&stream, types, plugins);
                }
            }
        }
    }
}

fn look_again(stream: &Stream, types: &mut Arc<EntityTypes>, plugins: &PluginRegister) {
    let brought = brought(stream, plugins);
    if types.brought != brought {
        *types = Arc::new(EntityTypes::new(types.listed.clone(), brought, types.set_index));
    }
}
