//! That an order was delivered, as a registered deliverer says it: the last step of an order (M-022).
//!
//! Takes `checkout.order.fulfilled`, signed by an agent of the configured connectors `delivery`, with the digest of its
//! evidence; gives the state `fulfilled`. Only of an order that Finance has confirmed: what is delivered before is refused.
//! *Out of scope*: what is delivered, to whom and how it is shown.

use alloc::vec::Vec;

use tally_market::audit;
use tally_market::codes::STATE;
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Reject, Table};

use crate::case::Case;
use crate::command::Command;
use crate::machine::{Input, Then};
use crate::money;

/// Order: the delivery.
pub(crate) const DELIVERIES: Table = Table::new("delivery/");

const VERSION: u8 = 1;

/// A delivery's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Delivery {
    /// Of what shows it, which the deliverer keeps.
    proof_sha256: [u8; 32],
    /// Log time and place of the event.
    at: u64,
    index: u64,
}

pub(crate) fn key(order: &[u8; 32]) -> Key {
    DELIVERIES.key().id(order)
}

/// `checkout.order.fulfilled`.
pub(crate) fn fulfil(command: &mut Command<'_>) -> Result<Vec<u8>, Reject> {
    command.roles.require_connector("delivery", command.event)?;
    let (id, proof_sha256) = (command.order_id()?, command.body.bytes("proof_sha256")?);
    let Command { step, event, principal, .. } = command;
    let mut case = Case::open(step, id)?;
    let Then::Go(to) = case.order.state.on(Input::Fulfil) else { return Err(STATE) };
    case.enter(to)?;
    let delivery = Delivery { proof_sha256, at: event.sequenced_at(), index: event.index() };
    case.step.state.set(&key(&id), delivery.encode());
    audit::record(&mut case.step.state, event, principal, None, Object::new().hex("proof_sha256", &proof_sha256));
    let result = Object::new().hex("order", &id).text("state", to.name()).text("status", money::status(&case.order));
    case.close();
    Ok(result.finish())
}

impl Delivery {
    /// As it is shown.
    pub(crate) fn show(&self) -> Vec<u8> {
        let object = Object::new().number("at", self.at).number("index", self.index);
        object.hex("proof_sha256", &self.proof_sha256).finish()
    }

    fn encode(self) -> Vec<u8> {
        Writer::new().u8(VERSION).id(&self.proof_sha256).u64(self.at).u64(self.index).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        Some(Self { proof_sha256: row.id()?, at: row.u64()?, index: row.u64()? })
    }
}
