//! Refusals of the marketplace: the one table from plugins' codes to statuses (docs/formats/market.md, "Refusals").
//!
//! Takes a code and what it is about; gives the error that becomes the answer. Codes that are not in the table pass as they
//! are, in capitals, if they can be one.

use serde::Deserialize;
use tally_api::error::ErrorCode;

use crate::error::ApiError;
use crate::http::declared::PluginReply;

/// Code, status and words.
const TABLE: &[(&str, u16, &str)] = &[
    ("malformed", 400, "the members are not as documented"),
    ("idempotency_key_required", 400, "the header Idempotency-Key is needed"),
    ("ledger_imbalance", 400, "the debits of the journal are not its credits"),
    ("card_data", 400, "a text looks like a card number; nothing of it was kept"),
    ("forbidden", 403, "the caller may not do this"),
    ("not_found", 404, "no such thing"),
    ("idempotency_conflict", 409, "the key was used for something else"),
    ("state", 409, "not in this state of the thing"),
    ("immutable", 409, "a published version does not change"),
    ("not_for_sale", 409, "this is not for sale"),
    ("other_price", 409, "this is not the price that is offered"),
    ("expired", 409, "the quote or the promotion is past its time"),
    ("used_up", 409, "the promotion's limit is reached"),
    ("exceeds", 409, "this is more than what is left"),
    ("owes", 409, "the beneficiary owes"),
    ("invalid_manifest", 422, "the manifest's signature, digest or content does not hold"),
    ("split", 422, "the split rule does not add up, or is too deep or too wide"),
    ("overflow", 422, "a sum is beyond 2^53 - 1"),
    ("proof", 422, "a ledger proof of something else than what Finance was asked for"),
];

/// The status of a refusal that the table does not know.
const OTHER_STATUS: u16 = 409;

/// What is not there, where something is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Sku,
    Order,
    Payout,
    Other,
}

impl Scope {
    /// By the first part of a route's path.
    pub(super) fn of_path(path: &str) -> Self {
        match path.split('/').nth(1).unwrap_or_default() {
            "sku" | "skus" => Self::Sku,
            "order" | "orders" | "refund" | "refunds" => Self::Order,
            "payout" | "payouts" => Self::Payout,
            _ => Self::Other,
        }
    }

    /// By an event's type: what is bought or quoted is a SKU, what is refunded an order.
    pub(super) fn of_event(event_type: &str) -> Self {
        match event_type {
            "checkout.quote.requested" | "checkout.order.created" => Self::Sku,
            other if other.starts_with("catalog.sku.") => Self::Sku,
            other if other.starts_with("checkout.order.") || other.starts_with("checkout.refund.") => Self::Order,
            other if other.starts_with("royalty.payout.") => Self::Payout,
            _ => Self::Other,
        }
    }

    const fn not_found(self) -> &'static str {
        match self {
            Self::Sku => "SKU_NOT_FOUND",
            Self::Order => "ORDER_NOT_FOUND",
            Self::Payout => "PAYOUT_NOT_FOUND",
            Self::Other => "NOT_FOUND",
        }
    }
}

/// The refusal of a code; `status` where the plugin has said one.
pub(super) fn of_code(code: &str, scope: Scope, status: Option<u16>) -> ApiError {
    let row = TABLE.iter().find(|(name, _, _)| *name == code);
    let (default_status, message) = row.map_or((OTHER_STATUS, "the plugin refused"), |row| (row.1, row.2));
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let name = match code {
        "not_found" => scope.not_found().to_owned(),
        code if !code.is_empty() && code.len() <= 32 && code.bytes().all(is_name) => code.to_ascii_uppercase(),
        _ => ErrorCode::PluginRefused.as_str().to_owned(),
    };
    ApiError::market(ErrorCode::PluginRefused, (name, status.unwrap_or(default_status)), message)
}

/// What a refused question's body may say of its code.
#[derive(Deserialize)]
struct Said {
    #[serde(alias = "error")]
    code: Option<String>,
}

/// The refusal of a question, with the plugin's status and the code in its body, if there is one.
pub(super) fn of_question(given: &PluginReply<'_>, scope: Scope) -> Result<ApiError, ApiError> {
    let said = serde_json::from_str::<Said>(given.body.get()).ok().and_then(|said| said.code);
    let code = said.unwrap_or_else(|| if given.status == 404 { "not_found".to_owned() } else { String::new() });
    Ok(of_code(&code, scope, Some(given.status)).with(given.details()?))
}

fn own(code: &str) -> ApiError {
    of_code(code, Scope::Other, None)
}

pub(super) fn card_data() -> ApiError {
    own("card_data")
}

pub(super) fn key_required() -> ApiError {
    own("idempotency_key_required")
}

pub(super) fn conflict() -> ApiError {
    own("idempotency_conflict")
}

/// A command whose body breaks a rule.
pub(super) fn malformed(rule: impl Into<String>) -> ApiError {
    ApiError::market(ErrorCode::InvalidRequestBody, ("MALFORMED", 400), rule.into())
}

/// A name in the body that is not the caller's.
pub(super) fn spoofed(member: &'static str) -> ApiError {
    let message = format!("{member} is not who calls");
    ApiError::market(ErrorCode::OutOfScope, ("FORBIDDEN", 403), message).with(serde_json::json!({ "field": member }))
}

/// The same key is being used just now, and its event cannot be read yet.
pub(super) fn in_flight() -> ApiError {
    let message = "a command with this key is in progress; come again";
    ApiError::market(ErrorCode::OutcomeUnknown, ("IDEMPOTENCY_IN_FLIGHT", 409), message).after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/formats/market.md is the table; this one repeats it for the door.
    #[test]
    fn the_table_is_that_of_the_page() {
        let page = include_str!("../../../../../docs/formats/market.md");
        let mut rows = page.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let (code, status) = (cells.next()?.strip_suffix('`')?, cells.next()?.parse::<u16>().ok()?);
            Some((code, status))
        });
        for (code, status, _) in TABLE {
            assert_eq!(rows.next(), Some((*code, *status)));
        }
        assert_eq!(rows.next(), None);
    }

    #[test]
    fn what_is_missing_is_named_by_what_was_asked_for() {
        assert_eq!(Scope::of_path("/sku/{id}"), Scope::Sku);
        assert_eq!(Scope::of_path("/orders/{order}"), Scope::Order);
        assert_eq!(Scope::of_path("/owner/{owner}/sales"), Scope::Other);
        assert_eq!(Scope::of_event("checkout.order.created"), Scope::Sku);
        assert_eq!(Scope::of_event("checkout.refund.requested"), Scope::Order);
        assert_eq!(Scope::of_event("royalty.payout.approved"), Scope::Payout);
        assert_eq!(Scope::of_event("checkout.promotion.ended"), Scope::Other);
    }
}
