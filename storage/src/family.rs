//! The families of the database: one ordered key space each, all in one atomic write.
//!
//! Truth is what cannot be computed again; derived families may be deleted at any time while nothing runs, and are
//! rebuilt from the runs at the next start ([`crate::clear_derived`]).

/// One key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The log: runs of events by the position of their first event. Truth.
    Runs,
    /// Which run holds a position of a stream. Truth (written with the run; also derivable from it).
    Positions,
    /// Where an event id is in the log. Derived.
    EventIds,
    /// Where an entity's events are in the log. Derived.
    Entities,
    /// The newest sequence of each stream. Derived.
    Streams,
    /// Where control events are in the log, and how far the derived families reach. Derived.
    Control,
    /// Full hash tiles. Derived.
    Tiles,
    /// Published checkpoints (truth) and the newest signed one (derived).
    Checkpoints,
    /// VES commitments. Truth: where a range was cut cannot be computed again.
    Commitments,
    /// Records of the gateway about callers. Truth, not part of the log.
    Credentials,
    /// Format version and genesis entry. Truth.
    Meta,
    /// Full hash tiles of the log of outcomes. Derived.
    OutcomeTiles,
    /// Outcomes by the index of their event. Derived.
    Outcomes,
    /// Published checkpoints of the log of outcomes (truth) and the newest signed one (derived).
    OutcomeCheckpoints,
    /// Which instances were fresh at which events. Truth: where a follower cut cannot be computed again.
    Cuts,
    /// What plugins hold. Derived.
    PluginState,
    /// Pages of the trees over what plugins hold. Derived.
    StatePages,
    /// The effects that plugins asked for. Derived.
    Outbox,
    /// What became of each effect. Truth: the world outside was asked.
    Dispatches,
    /// Modules of plugins by their hash. Truth, not part of the log.
    Modules,
}

impl Family {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 20] = [
        Self::Runs,
        Self::Positions,
        Self::EventIds,
        Self::Entities,
        Self::Streams,
        Self::Control,
        Self::Tiles,
        Self::Checkpoints,
        Self::Commitments,
        Self::Credentials,
        Self::Meta,
        Self::OutcomeTiles,
        Self::Outcomes,
        Self::OutcomeCheckpoints,
        Self::Cuts,
        Self::PluginState,
        Self::StatePages,
        Self::Outbox,
        Self::Dispatches,
        Self::Modules,
    ];

    /// The family's name in the database: never changes once written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Positions => "positions",
            Self::EventIds => "event_ids",
            Self::Entities => "entities",
            Self::Streams => "streams",
            Self::Control => "control",
            Self::Tiles => "tiles",
            Self::Checkpoints => "checkpoints",
            Self::Commitments => "commitments",
            Self::Credentials => "credentials",
            Self::Meta => "meta",
            Self::OutcomeTiles => "outcome_tiles",
            Self::Outcomes => "outcomes",
            Self::OutcomeCheckpoints => "outcome_checkpoints",
            Self::Cuts => "cuts",
            Self::PluginState => "plugin_state",
            Self::StatePages => "state_pages",
            Self::Outbox => "outbox",
            Self::Dispatches => "dispatches",
            Self::Modules => "modules",
        }
    }

    /// Whether the whole family can be computed again from the runs.
    #[must_use]
    pub const fn is_derived(self) -> bool {
        matches!(self, Self::EventIds | Self::Entities | Self::Streams | Self::Control | Self::Tiles)
            || self.is_of_applying()
    }

    /// Whether the whole family is computed from the runs and the cuts by applying events.
    #[must_use]
    pub const fn is_of_applying(self) -> bool {
        matches!(self, Self::OutcomeTiles | Self::Outcomes) || self.is_followers()
    }

    /// Whether a follower of the log writes it: the rows of its changes may go here and nowhere else.
    #[must_use]
    pub const fn is_followers(self) -> bool {
        matches!(self, Self::PluginState | Self::StatePages | Self::Outbox)
    }

    /// The family's place in [`Family::ALL`].
    #[must_use]
    pub const fn slot(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_listed_once_at_its_slot_under_its_own_name() {
        for (at, family) in Family::ALL.into_iter().enumerate() {
            assert_eq!(family.slot(), at);
            assert_eq!(Family::ALL.iter().filter(|other| other.name() == family.name()).count(), 1);
        }
    }
}
