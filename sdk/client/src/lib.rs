//! The Rust client: submits signed events, and believes nothing it is not shown.
//!
//! *In scope*: submission over QUIC and HTTP with retries under the same event ids (so exactly once in the log), receipts verified
//! against pinned keys, fork detection over every checkpoint seen, the ordered feed with resume, reads, offline
//! bundles, outcomes and plugin state with their proofs, keys and tenants over the operator's calls. *Out of scope*: holding private keys for long, storage; the
//! caller keeps events until their receipts are in, and the newest checkpoint between runs ([`Client::seen`]).
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tally_client::{Agent, Client, EventDraft, new_event_id};
//! use tally_protocol::key::SigningKey;
//!
//! let client = Client::new("http://127.0.0.1:8080", "sk_test_...")?;
//! let agent = Agent::new("64527dd3-a654-4410-9327-e58a1492ce77".parse()?,
//!     "80441726-74e2-430a-95ae-97ce21c6351b".parse()?, 1, SigningKey::from_seed([7; 32]));
//! client.know_agent(&agent);
//! let event = agent.sign(&EventDraft {
//!     store: "91def158-819a-4461-b5c9-7759750ad157".parse()?,
//!     event_id: new_event_id()?,
//!     entity_type: "Order".into(),
//!     entity_id: "ORD-1".into(),
//!     event_type: "order.created".into(),
//!     created_at: "2026-01-01T00:00:00Z".into(),
//!     payload: br#"{"amount":100}"#.to_vec(),
//! })?;
//! let receipt = client.submit_one(&event).await?.into_receipt()?;
//! println!("proven at index {} of size {}", receipt.placed.index, receipt.checkpoint.checkpoint.size);
//! std::fs::write("event.tally.json", receipt.bundle().encode())?;
//! # Ok(()) }
//! ```
//!
//! Submissions and feeds go over QUIC where there is an address for it and it gets through, and over HTTP else
//! ([`Door`]); everything else goes over HTTP. [`Client::pipeline`] keeps many submissions in flight.
//!
//! Errors say by [`ClientError::class`] what to do: `Reject` (fix the request), `Retry` (later, same event ids),
//! `Fatal` (the server's answer does not hold: stop, and keep what the error carries).

mod admin;
mod agent;
mod anchors;
mod client;
mod error;
mod follow;
mod keys;
mod outcomes;
mod pin;
mod plugins;
mod prove;
mod quic;
mod read;
mod retry;
mod submit;
mod tls;
mod transport;
mod watch;

pub use agent::{Agent, EventDraft, new_event_id};
pub use client::{Client, ClientBuilder, Trust, Wire};
pub use error::{Class, ClientError, ForkEvidence, Refusal};
pub use follow::{Feed, FollowFrom};
pub use outcomes::ProvenOutcome;
pub use plugins::{ProvenCommand, ProvenState, Verb};
pub use prove::{ProvenEvent, ProvenSubmission};
pub use quic::{Door, DoorCounts, Pending, PipelineBounds};
pub use read::{LoggedEvent, Page};
pub use retry::RetryPolicy;
pub use submit::{ProvenReceipt, Rejected, SubmitOutcome, SubmitPipeline};
pub use tally_api as api;
pub use tally_verify as verify;
pub use transport::ApiKey;
pub use watch::{Log, SeenCheckpoint};
