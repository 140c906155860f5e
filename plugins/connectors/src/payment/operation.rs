//! What a plugin asked for, and the call that it is.
//!
//! Takes an effect's body, strictly as docs/formats/market.md draws it; gives path and form. A body that is not so is
//! [`Failure::Impossible`]: no other attempt would make it better. Both are functions of the effect alone, so a repetition
//! is the same bytes under the same key.

use serde::Deserialize;
use tally_protocol::hash::EffectId;

use super::PayoutBy;
use super::fact::{AMOUNT_MAX, FactObject, is_id, is_name};
use super::form::Form;
use crate::{Failure, Request};

/// One call that changes something at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", deny_unknown_fields)]
pub(super) enum Operation {
    /// A payment, made and confirmed in one call.
    #[serde(rename = "intent.create")]
    Pay { amount: u64, currency: String, order: String, payment_method: String },
    /// Money back.
    #[serde(rename = "refund.create")]
    Refund { amount: u64, currency: String, order: String, payment: String, refund: String },
    /// A payment that shall not happen any more.
    #[serde(rename = "intent.cancel")]
    Cancel { order: String, payment: String },
    /// Money to a beneficiary's account, in the way that the settings say.
    #[serde(rename = "transfer.create")]
    Transfer { account: String, amount: u64, currency: String, payout: String },
}

impl Operation {
    pub(super) fn of(request: &Request) -> Result<Self, Failure> {
        let operation: Self =
            serde_json::from_slice(&request.body).map_err(|_| impossible("the effect's body is malformed"))?;
        if !operation.is_sound() {
            return Err(impossible("the effect's body has members out of their bounds"));
        }
        if operation.suffix() != request.suffix {
            return Err(impossible("the effect's suffix is not what its body names"));
        }
        Ok(operation)
    }

    /// Below the provider's address.
    pub(super) fn path(&self, payout_by: PayoutBy) -> Vec<&str> {
        match self {
            Self::Pay { .. } => vec!["v1", "payment_intents"],
            Self::Refund { .. } => vec!["v1", "refunds"],
            Self::Cancel { payment, .. } => vec!["v1", "payment_intents", payment, "cancel"],
            Self::Transfer { .. } => payout_by.path().to_vec(),
        }
    }

    /// The object that the answer is.
    pub(super) fn object(&self) -> FactObject {
        match self {
            Self::Pay { .. } | Self::Cancel { .. } => FactObject::Payment,
            Self::Refund { .. } => FactObject::Refund,
            Self::Transfer { .. } => FactObject::Payout,
        }
    }

    pub(super) fn form(&self, effect: &EffectId, payout_by: PayoutBy) -> String {
        let form = Form::default();
        let form = match self {
            // One kind of payment method: with the dashboard's list, a redirect might be wanted of nobody.
            Self::Pay { amount, currency, order, payment_method } => form
                .with("amount", &amount.to_string())
                .with("currency", &currency.to_ascii_lowercase())
                .with("confirm", "true")
                .with("payment_method", payment_method)
                .with("payment_method_types[0]", "card")
                .with("metadata[order]", order),
            Self::Refund { amount, order, payment, refund, .. } => form
                .with("amount", &amount.to_string())
                .with("payment_intent", payment)
                .with("metadata[order]", order)
                .with("metadata[refund]", refund),
            // A cancelled payment is its own mark.
            Self::Cancel { .. } => return form.finish(),
            Self::Transfer { account, amount, currency, payout } => {
                let form = form.with("amount", &amount.to_string()).with("currency", &currency.to_ascii_lowercase());
                let form = form.with("destination", account);
                // Payouts have no groups.
                let form = if payout_by == PayoutBy::Transfer { form.with("transfer_group", payout) } else { form };
                form.with("metadata[payout]", payout)
            }
        };
        form.with("metadata[effect]", &effect.to_hex()).finish()
    }

    fn suffix(&self) -> &str {
        match self {
            Self::Pay { order, .. } | Self::Refund { order, .. } | Self::Cancel { order, .. } => order,
            Self::Transfer { payout, .. } => payout,
        }
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Pay { amount, currency, order, payment_method } => {
                is_money(*amount, currency) && is_id(order) && is_name(payment_method)
            }
            Self::Refund { amount, currency, order, payment, refund } => {
                is_money(*amount, currency) && is_id(order) && is_segment(payment) && is_id(refund)
            }
            Self::Cancel { order, payment } => is_id(order) && is_segment(payment),
            Self::Transfer { account, amount, currency, payout } => {
                is_money(*amount, currency) && is_id(payout) && is_name(account) && account.len() <= 64
            }
        }
    }
}

fn is_money(amount: u64, currency: &str) -> bool {
    (1..=AMOUNT_MAX).contains(&amount) && currency.len() == 3 && currency.bytes().all(|c| c.is_ascii_uppercase())
}

/// An id of the provider: a word, which cannot lead elsewhere in a path.
fn is_segment(text: &str) -> bool {
    is_name(text) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
}

fn impossible(why: &str) -> Failure {
    Failure::Impossible(why.to_owned())
}

#[cfg(test)]
mod tests;
