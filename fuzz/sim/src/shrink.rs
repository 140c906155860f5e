//! The shortest plan that still fails: first the shortest prefix, then without every step that does not matter.

use crate::plan::Plan;
use crate::{Failure, Options, run_plan};

/// A plan that fails, made as short as could be found, and how it fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// How many of the first plan's steps are enough.
    pub prefix: usize,
    /// Those of them that matter.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
}

/// Shrinks a plan that failed.
#[must_use]
pub fn shrink(plan: &Plan, options: Options, failure: &Failure) -> Shrunk {
    let enough = plan.steps.len().min(failure.step);
    let (mut best, mut how) = (plan.with_steps(plan.steps[..enough].to_vec()), failure.clone());
    // Every plan ends with the settlement, so that a prefix may fail earlier than the whole did.
    for length in 0..enough {
        let shorter = plan.with_steps(plan.steps[..length].to_vec());
        if let Err(failure) = run_plan(&shorter, options) {
            (best, how) = (shorter, failure);
            break;
        }
    }
    let prefix = best.steps.len();
    for at in (0..prefix).rev() {
        let mut steps = best.steps.clone();
        steps.remove(at);
        let shorter = plan.with_steps(steps);
        if let Err(failure) = run_plan(&shorter, options) {
            (best, how) = (shorter, failure);
        }
    }
    Shrunk { prefix, plan: best, failure: how }
}
