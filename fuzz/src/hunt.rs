//! The loop: mutate, check, keep what takes a new way.
//!
//! Takes a target, a seed and a budget; gives how many inputs ran and which were new. Stops at the first broken law
//! and gives its input.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::mutate::Mutator;
use crate::{Shape, Target};

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    /// That many inputs.
    Inputs(u64),
    /// That long.
    Time(Duration),
}

/// What a hunt found.
#[derive(Debug, Default)]
pub struct Found {
    /// Inputs that ran.
    pub inputs: u64,
    /// Inputs whose shape no start had, with the shape.
    pub new: Vec<(Shape, Vec<u8>)>,
    /// The first input that broke a law, and what the check said.
    pub broken: Option<(Vec<u8>, String)>,
}

/// Runs a target from its seeds and the given starts.
#[must_use]
pub fn hunt(target: &Target, starts: Vec<Vec<u8>>, seed: u64, budget: Budget) -> Found {
    let mut inputs: Vec<Vec<u8>> = (target.seeds)();
    inputs.extend(starts);
    let mut found = Found::default();
    let mut known: BTreeSet<Shape> = BTreeSet::new();
    for input in &inputs {
        match run(target, input) {
            Ok(shape) => drop(known.insert(shape)),
            Err(said) => {
                found.broken = Some((input.clone(), said));
                return found;
            }
        }
    }
    let mut mutator = Mutator::new(seed);
    let start = Instant::now();
    while found.inputs < budget.inputs() && (found.inputs % 256 != 0 || start.elapsed() < budget.time()) {
        let input = mutator.mutate(&inputs, target.words);
        found.inputs += 1;
        match run(target, &input) {
            Ok(shape) => {
                if known.insert(shape.clone()) {
                    inputs.push(input.clone());
                    found.new.push((shape, input));
                }
            }
            Err(said) => {
                found.broken = Some((input, said));
                return found;
            }
        }
    }
    found
}

/// Runs one input; a panic is a broken law.
///
/// # Errors
/// What the check said when it panicked.
pub fn run(target: &Target, input: &[u8]) -> Result<Shape, String> {
    catch_unwind(AssertUnwindSafe(|| (target.check)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned()
    })
}

impl Budget {
    const fn inputs(self) -> u64 {
        match self {
            Self::Inputs(inputs) => inputs,
            Self::Time(_) => u64::MAX,
        }
    }

    const fn time(self) -> Duration {
        match self {
            Self::Inputs(_) => Duration::MAX,
            Self::Time(time) => time,
        }
    }
}
