//! The codes of refusals, one constant each: docs/formats/market.md, "Refusals".

use tally_plugin::Reject;

macro_rules! codes {
    ($($name:ident = $code:literal),+ $(,)?) => {
        $(#[doc = concat!("`", $code, "`")] pub const $name: Reject = Reject::new($code);)+
    };
}

codes! {
    MALFORMED = "malformed",
    KEY_REQUIRED = "idempotency_key_required",
    CARD_DATA = "card_data",
    FORBIDDEN = "forbidden",
    FOREIGN_ACCOUNT = "foreign_account",
    OTHER_MODE = "other_mode",
    NOT_FOUND = "not_found",
    CONFLICT = "idempotency_conflict",
    STATE = "state",
    IMMUTABLE = "immutable",
    NOT_FOR_SALE = "not_for_sale",
    OTHER_PRICE = "other_price",
    EXPIRED = "expired",
    USED_UP = "used_up",
    EXCEEDS = "exceeds",
    OWES = "owes",
    INVALID_MANIFEST = "invalid_manifest",
    SPLIT = "split",
    OVERFLOW = "overflow",
}
