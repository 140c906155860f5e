//! Where applying and the rest of the node meet: a bell for new events, the state for whoever asks, a wish to try again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tally_protocol::id::TreeSize;

use crate::shared::{Bell, lock};

/// Whether events are applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ApplyState {
    /// This node has no follower, or may not write.
    #[default]
    Off,
    /// They are, as they are signed.
    Following,
    /// They are not: an alarm. The log goes on; a restart or [`crate::Sequencer::retry_apply`] tries again.
    Halted {
        /// Everything below is applied.
        at: TreeSize,
        /// What is wrong.
        why: String,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Applying {
    bell: Bell,
    retry: AtomicBool,
    state: Mutex<ApplyState>,
}

impl Applying {
    /// Something may have to be done.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    pub(crate) fn wait(&self, timeout: Duration) {
        self.bell.wait(timeout);
    }

    pub(crate) fn follow(&self) {
        *lock(&self.state) = ApplyState::Following;
    }

    pub(crate) fn halt(&self, at: TreeSize, why: String) {
        // A wish from before this failure is not one to try it again.
        self.retry.store(false, Ordering::Release);
        *lock(&self.state) = ApplyState::Halted { at, why };
    }

    pub(crate) fn state(&self) -> ApplyState {
        lock(&self.state).clone()
    }

    pub(crate) fn ask_for_retry(&self) {
        self.retry.store(true, Ordering::Release);
        self.bell.ring();
    }

    pub(crate) fn take_retry(&self) -> bool {
        self.retry.swap(false, Ordering::AcqRel)
    }
}
