//! Effects: what plugins ask of the world outside is done once, and what came of it becomes an event.
//!
//! *In scope*: which effect is due (`board`, `dispatch`), what is kept of it (`journal`, `life`), one step of it
//! (`step`, `ground`), its answer as an event (`answer`), what operators say and see (`desk`).
//! which connectors there are (`outside`). *Out of scope*: doing it (the connectors), asking for it (plugins, the outbox).
//!
//! An effect is finished if and only if its answer is in the log. That doing it is about to begin is on the disk before it
//! begins; what was begun and did not come back is asked about, and done again only if it was not done. What was asked for
//! before this process started is asked about first in any case: journal and log may be an older copy.
//! Only a node that serves its data directory and takes events dispatches; nothing else makes a `Dispatcher`.

mod answer;
mod board;
mod desk;
mod dispatch;
mod ground;
pub(crate) mod journal;
mod life;
mod outside;
mod step;

#[cfg(test)]
mod tests;

pub use dispatch::{Connected, Dispatcher, Parts};
pub use life::Bounds;
pub use outside::{connected, webhook_of};

/// Every fail point of dispatching, in the order an effect passes them; the last two are passed where an outcome is unknown.
pub const FAIL_POINTS: &[&str] = &[
    "effects.asked",
    "effects.attempted",
    "effects.performed",
    "effects.decided",
    "effects.submitted",
    "effects.answered",
    "effects.looking",
    "effects.looked_up",
];
