//! The world outside: what plugins ask for is done here, and nowhere else.
//!
//! *In scope*: the [`Connector`] seam, and the connectors behind it. Each takes one effect at a time, does it with the
//! effect's id as the idempotency key, and says what came of it; or looks up what came of it, where nobody knows. And the
//! [`objects::ObjectStore`] seam, and the stores of artifacts and exports.
//! *Out of scope*: which effect is due and what is kept of it (the dispatcher in the node), who signs the answer (the
//! connector's key, held by the node's adapter).

#![forbid(unsafe_code)]

pub mod finance;
mod https;
pub mod objects;
pub mod payment;
mod seam;
mod secret;

pub use seam::{Answer, Connector, Doing, Failure, Looking, Request, Status};
pub use secret::{Secret, SecretError};
