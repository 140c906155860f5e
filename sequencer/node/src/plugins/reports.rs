//! The reports that this node has made, for the gate: it takes an approval that names one of them, and no other.
//!
//! A report is made when somebody asks for it, because making one compiles a module, and the threads that ask the gate
//! verify everybody's events. They are in memory only: whoever reviews after a restart asks again. The oldest is forgotten.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tally_plugin_host::report::Report;
use tally_protocol::hash::ReleaseHash;

/// Far more than reviewers look at in a day, and a few megabytes at the most.
const REPORTS_MAX: usize = 1_024;

/// The newest reports, by release.
#[derive(Default)]
pub(super) struct Reports(Mutex<VecDeque<(ReleaseHash, Arc<Report>)>>);

impl Reports {
    fn kept(&self) -> MutexGuard<'_, VecDeque<(ReleaseHash, Arc<Report>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, release: &ReleaseHash) -> Option<Arc<Report>> {
        self.kept().iter().find(|(of, _)| of == release).map(|(_, report)| Arc::clone(report))
    }

    pub(super) fn keep(&self, release: ReleaseHash, report: Report) {
        let mut kept = self.kept();
        kept.retain(|(of, _)| *of != release);
        if kept.len() == REPORTS_MAX {
            kept.pop_front();
        }
        kept.push_back((release, Arc::new(report)));
    }
}
