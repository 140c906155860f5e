//! What is agreed: the pinned version, its price, the discount, and who has which share of what is paid.
//!
//! Takes an offer, a quantity and a promotion; gives terms that never change again, as a quote or an order keeps them. An
//! amount of the client's is never among them. Shares are `split/lr-1` of what is paid and add up to it exactly.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::Body;
use tally_market::codes::{MALFORMED, NOT_FOR_SALE, NOT_FOUND, OTHER_PRICE};
use tally_market::money::{SPLIT_RULE, divide, multiply};
use tally_plugin::json::{Array, Object};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Read, Reject};

use crate::offer::{self, Offer};
use crate::promotion;

/// Who bears a discount first where the split is of the gross.
const PLATFORM: &str = "platform";
const QUANTITY_MAX: u64 = 1_000;

/// What a buyer asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wish {
    pub(crate) sku: String,
    pub(crate) version: Option<u64>,
    pub(crate) quantity: u64,
    pub(crate) promotion: Option<String>,
}

/// What is agreed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    pub(crate) offer: Offer,
    pub(crate) quantity: u64,
    pub(crate) discount: u64,
    /// What is paid, in minor units.
    pub(crate) amount: u64,
    /// A promotion's name and the digest of its rule.
    pub(crate) promotion: Option<(String, [u8; 32])>,
    /// What each party has of the amount, in the order of the parties.
    pub(crate) shares: Vec<u64>,
}

impl Wish {
    pub(crate) fn read(body: &Body<'_>) -> Result<Self, Reject> {
        let quantity = body.number("quantity")?;
        if !(1..=QUANTITY_MAX).contains(&quantity) {
            return Err(MALFORMED);
        }
        let owned = |text: alloc::borrow::Cow<'_, str>| String::from(&*text);
        Ok(Self {
            sku: owned(body.text("sku", 64)?),
            version: body.optional_number("version")?,
            quantity,
            promotion: body.optional_text("promotion", 64)?.map(owned),
        })
    }

    /// The terms of the offer as it is now.
    pub(crate) fn price(&self, state: &mut impl Read, now: u64) -> Result<Terms, Reject> {
        let offer = self.offer(state)?;
        if self.version.is_some_and(|version| version != offer.version) {
            return Err(OTHER_PRICE);
        }
        let total = multiply(offer.amount, self.quantity)?;
        let (discount, promotion) = match &self.promotion {
            None => (0, None),
            Some(name) => {
                let (discount, rule) = promotion::discount(state, name, &offer, total, now)?;
                (discount, Some((name.clone(), rule)))
            }
        };
        let amount = total - discount;
        let shares = shares(&offer, amount, discount);
        Ok(Terms { offer, quantity: self.quantity, discount, amount, promotion, shares })
    }

    /// That what was quoted is what is wished, and that the SKU is still sold at all.
    pub(crate) fn agrees(&self, state: &mut impl Read, quoted: &Terms) -> Result<(), Reject> {
        let promotion = quoted.promotion.as_ref().map(|(name, _)| name);
        let version = self.version.is_none_or(|version| version == quoted.offer.version);
        let same = self.sku == quoted.offer.sku && self.quantity == quoted.quantity;
        if !same || !version || self.promotion.as_ref() != promotion {
            return Err(OTHER_PRICE);
        }
        self.offer(state).map(drop)
    }

    fn offer(&self, state: &mut impl Read) -> Result<Offer, Reject> {
        let offer = offer::load(state, &self.sku)?.ok_or(NOT_FOUND)?;
        if offer.retired { Err(NOT_FOR_SALE) } else { Ok(offer) }
    }
}

/// What each party has of what is paid. Of the net: by weight. Of the gross: by weight of the whole price, from which the
/// platform bears the discount down to nothing, and the others what is left of it by weight.
fn shares(offer: &Offer, amount: u64, discount: u64) -> Vec<u64> {
    let weights: Vec<u64> = offer.parties.iter().map(|(_, weight)| *weight).collect();
    if !offer.gross || discount == 0 {
        return divide(amount, &weights);
    }
    let is_platform = |at: usize| offer.parties[at].0 == PLATFORM;
    let mut shares = divide(amount + discount, &weights);
    let bears: u64 = (0..shares.len()).filter(|at| is_platform(*at)).map(|at| shares[at]).sum();
    if discount <= bears {
        let mut left = discount;
        for at in (0..shares.len()).filter(|at| is_platform(*at)) {
            let taken = left.min(shares[at]);
            shares[at] -= taken;
            left -= taken;
        }
        return shares;
    }
    let others = (0..weights.len()).map(|at| if is_platform(at) { 0 } else { weights[at] });
    divide(amount, &others.collect::<Vec<_>>())
}

impl Terms {
    pub(crate) fn write(&self, row: Writer) -> Writer {
        let row = self.offer.write(row).u64(self.quantity).u64(self.discount).u64(self.amount);
        let row = match &self.promotion {
            None => row.text(""),
            Some((name, rule)) => row.text(name).id(rule),
        };
        self.shares.iter().fold(row, |row, share| row.u64(*share))
    }

    pub(crate) fn decode(row: &mut Reader<'_>) -> Option<Self> {
        let offer = Offer::decode(row)?;
        let (quantity, discount, amount) = (row.u64()?, row.u64()?, row.u64()?);
        let promotion = match row.text()? {
            "" => None,
            name => Some((name.into(), row.id()?)),
        };
        let shares = offer.parties.iter().map(|_| row.u64()).collect::<Option<_>>()?;
        Some(Self { offer, quantity, discount, amount, promotion, shares })
    }

    /// Its members in an object.
    pub(crate) fn show(&self, object: Object) -> Object {
        let offer = &self.offer;
        let object = object
            .number("amount", self.amount)
            .hex("artifacts_sha256", &offer.artifacts_sha256)
            .text("currency", &offer.currency)
            .number("discount", self.discount)
            .text("licence_policy", &offer.licence_policy)
            .hex("manifest_sha256", &offer.manifest_sha256)
            .hex("manifest_signature_id", &offer.manifest_signature_id)
            .text("owner", &offer.owner)
            .number("quantity", self.quantity)
            .raw("shares", &self.shares_json())
            .text("sku", &offer.sku)
            .text("split_rule", SPLIT_RULE)
            .number("unit_amount", offer.amount)
            .number("version", offer.version);
        match &self.promotion {
            None => object,
            Some((name, rule)) => object.text("promotion", name).hex("promotion_rule_sha256", rule),
        }
    }

    pub(crate) fn shares_json(&self) -> Vec<u8> {
        let share = |(party, _): &(String, u64), amount: &u64| {
            Object::new().number("amount", *amount).text("party", party).finish()
        };
        let shares = self.offer.parties.iter().zip(&self.shares);
        shares.fold(Array::new(), |array, (party, amount)| array.raw(&share(party, amount))).finish()
    }

    pub(crate) fn parties_json(&self) -> Vec<u8> {
        let party =
            |(party, weight): &(String, u64)| Object::new().text("party", party).number("weight", *weight).finish();
        self.offer.parties.iter().fold(Array::new(), |array, item| array.raw(&party(item))).finish()
    }
}
