//! The one room of alloy: bytes of the EVM (ABI, RLP, Keccak, sender recovery), and a chain behind several providers.
//!
//! Takes the worker's own types and gives them back: no type of alloy leaves this room. Of alloy only the parts that are
//! bytes are used; the conversation is JSON-RPC 2.0 of our own, because an error's code and revert data decide what happens
//! next, and because answers of several providers must be compared, not raced.

pub mod abi;
pub mod envelope;
mod providers;
mod rpc;
pub mod standing;
pub(crate) mod stateset;

pub use providers::Ethereum;
