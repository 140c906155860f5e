//! What the register remembers: releases with their reviews, what is installed, and every step that led there.
//!
//! Readers see slices and values; only the register writes, and it appends.

use crate::hash::{ModuleHash, ReleaseHash, ReportHash};
use crate::id::{AgentId, Index};
use crate::key::PublicKey;
use crate::plugin_event::Binding;
use crate::release::{Decision, Release, Signed, Version};
use crate::time::LogTime;

/// Where a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReleaseStatus {
    /// Nobody has decided.
    Pending,
    /// It may be installed.
    Approved,
    /// It may not.
    Rejected,
    /// It may not any more.
    Revoked,
}

impl ReleaseStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Rejected, Self::Revoked];

    /// The status as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
        }
    }

    /// Where a decision leads; none if it may not be made here.
    #[must_use]
    pub const fn after(self, decision: Decision, overrides: bool) -> Option<Self> {
        match (self, decision) {
            (Self::Pending, Decision::Approved) => Some(Self::Approved),
            (Self::Rejected, Decision::Approved) if overrides => Some(Self::Approved),
            (Self::Pending, Decision::Rejected) => Some(Self::Rejected),
            (Self::Approved | Self::Rejected, Decision::Revoked) => Some(Self::Revoked),
            _ => None,
        }
    }
}

/// One decision about a release, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewRecord {
    /// The event's place.
    pub index: Index,
    /// Its log time.
    pub at: LogTime,
    /// Who decided.
    pub reviewer: AgentId,
    /// What.
    pub decision: Decision,
    /// Whether something was set aside for it.
    pub overrides: bool,
    /// The report that the reviewer saw.
    pub report: ReportHash,
    /// How many of its findings block.
    pub blocking: u32,
    /// Why.
    pub reason: String,
}

/// A release in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRecord {
    pub(super) release: Release,
    pub(super) hash: ReleaseHash,
    pub(super) publisher: Signed,
    pub(super) publisher_key: PublicKey,
    pub(super) submitted_index: Index,
    pub(super) status: ReleaseStatus,
    pub(super) reviews: Vec<ReviewRecord>,
}

impl ReleaseRecord {
    /// What is claimed.
    #[must_use]
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> &ReleaseHash {
        &self.hash
    }

    /// The publisher's signature.
    #[must_use]
    pub const fn publisher(&self) -> &Signed {
        &self.publisher
    }

    /// The key that it was verified with.
    #[must_use]
    pub const fn publisher_key(&self) -> &PublicKey {
        &self.publisher_key
    }

    /// The event that submitted it.
    #[must_use]
    pub const fn submitted_index(&self) -> Index {
        self.submitted_index
    }

    /// Where it stands.
    #[must_use]
    pub const fn status(&self) -> ReleaseStatus {
        self.status
    }

    /// Every decision, oldest first.
    #[must_use]
    pub fn reviews(&self) -> &[ReviewRecord] {
        &self.reviews
    }
}

/// What happened to a plugin in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// It began to run.
    Installed,
    /// It went on with another configuration.
    Configured,
    /// A higher version took its place.
    Upgraded,
    /// A version that ran here before took its place, or was installed again.
    RolledBack,
    /// It was stopped.
    Quarantined,
    /// Its release was revoked, which stopped it.
    Revoked,
    /// It went.
    Removed,
}

/// One step in the life of a plugin in a store, for ever (S-184).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The event's place, where it takes effect.
    pub index: Index,
    /// Its log time.
    pub at: LogTime,
    /// Who signed the event.
    pub actor: AgentId,
    /// What happened.
    pub step: Step,
    /// The version that runs, or ran, after it.
    pub version: Version,
    /// Its release.
    pub release: ReleaseHash,
    /// Its module.
    pub module: ModuleHash,
}

/// A plugin that is installed in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub(super) binding: Binding,
    pub(super) quarantined: bool,
    pub(super) installed_index: Index,
    pub(super) installed_by: AgentId,
    pub(super) changed_index: Index,
}

impl Installed {
    /// What runs, with the configuration it has now.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Whether it is stopped.
    #[must_use]
    pub const fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// The event that installed it: the order of plugins in an outcome.
    #[must_use]
    pub const fn installed_index(&self) -> Index {
        self.installed_index
    }

    /// Who installed it; an upgrade does not change that.
    #[must_use]
    pub const fn installed_by(&self) -> AgentId {
        self.installed_by
    }

    /// The event since which it is as it is; events from there on see it so, in fresh instances.
    #[must_use]
    pub const fn changed_index(&self) -> Index {
        self.changed_index
    }
}
