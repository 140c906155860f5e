//! The tools of a plugin's author: what `tally plugin` does, as a library.
//!
//! In scope: the module under the real host on every engine there is ([`engines`], [`play`]); fixtures and what is
//! expected of them ([`fixture`], [`check`]); dry runs over a log ([`dry_run`]); whether the plugin is pure ([`purity`]);
//! a new version beside the old one ([`shadow`]); a new project and how it is built ([`project`], [`compile`], [`watch`]);
//! what is published ([`package`], [`publish`]).
//! Out of scope: the network and the terminal. Nothing here decides an outcome: the host does.

pub mod error;
pub mod shown;

pub mod engines;
pub mod play;

pub mod diff;
pub mod fixture;
pub mod source;

pub mod check;
pub mod dry_run;
pub mod purity;
pub mod shadow;

pub mod compile;
pub mod package;
pub mod project;
pub mod publish;
pub mod watch;
