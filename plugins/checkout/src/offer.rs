//! What is for sale, as the catalogue last said it.
//!
//! Takes `catalog.offer`, which only another plugin can send; gives one row for each SKU. Only the newest published version
//! is for sale; a retired SKU is not, for ever.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::Body;
use tally_market::codes::{FORBIDDEN, MALFORMED};
use tally_plugin::json::Json;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Read, Reject, Step, Table};

pub(crate) const OFFERS: Table = Table::new("offer/");

/// Most parties of an offer.
const PARTIES_MAX: usize = 32;
const SKU_BYTES_MAX: usize = 64;
const VERSION: u8 = 1;
const MEMBERS: [&str; 14] = [
    "amount",
    "artifacts_sha256",
    "base",
    "category",
    "currency",
    "licence_policy",
    "manifest_sha256",
    "manifest_signature_id",
    "owner",
    "parties",
    "sku",
    "status",
    "stock",
    "version",
];

/// What an order pins of an SKU's version, whatever becomes of the SKU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Offer {
    pub(crate) sku: String,
    pub(crate) version: u64,
    pub(crate) retired: bool,
    pub(crate) owner: String,
    /// Minor units of one piece.
    pub(crate) amount: u64,
    pub(crate) currency: String,
    /// Whether the split is of what was asked (`gross`) or of what is paid (`net`).
    pub(crate) gross: bool,
    pub(crate) category: String,
    pub(crate) licence_policy: String,
    pub(crate) artifacts_sha256: [u8; 32],
    pub(crate) manifest_sha256: [u8; 32],
    pub(crate) manifest_signature_id: [u8; 32],
    /// How many may be sold.
    pub(crate) stock: Option<u64>,
    /// Who has which part.
    pub(crate) parties: Vec<(String, u64)>,
}

/// An SKU's key; it must be an SKU's id.
pub(crate) fn key(sku: &str) -> Result<Key, Reject> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=SKU_BYTES_MAX).contains(&sku.len()) && sku.bytes().all(letter);
    if fits { Ok(OFFERS.key().text(sku)) } else { Err(MALFORMED) }
}

/// `catalog.offer`.
pub(crate) fn on_offer(step: &mut Step, event: &Event) -> Result<(), Reject> {
    if !event.is_derived() {
        return Err(FORBIDDEN);
    }
    let body = Body::within(event.json().map_err(|_| MALFORMED)?, &MEMBERS)?;
    let offer = Offer::read(&body)?;
    let row = offer.write(Writer::new().u8(VERSION)).finish();
    step.state.set(&key(&offer.sku)?, row);
    Ok(())
}

/// What is said of an SKU.
pub(crate) fn load(state: &mut impl Read, sku: &str) -> Result<Option<Offer>, Reject> {
    let Some(row) = state.get(&key(sku)?) else { return Ok(None) };
    let mut row = Reader::new(&row);
    Ok(row.u8().filter(|version| *version == VERSION).and_then(|_| Offer::decode(&mut row)))
}

impl Offer {
    fn read(body: &Body<'_>) -> Result<Self, Reject> {
        let owned = |name, bytes_max| body.text(name, bytes_max).map(|text| String::from(&*text));
        let either = |name, yes: &str, no: &str| match &*body.text(name, 16)? {
            text if text == yes => Ok(true),
            text if text == no => Ok(false),
            _ => Err(MALFORMED),
        };
        Ok(Self {
            sku: owned("sku", SKU_BYTES_MAX)?,
            version: body.number("version")?,
            retired: either("status", "retired", "published")?,
            owner: owned("owner", 96)?,
            amount: body.number("amount")?,
            currency: String::from(&*body.currency("currency")?),
            gross: either("base", "gross", "net")?,
            category: body.optional_text("category", 64)?.map(String::from).unwrap_or_default(),
            licence_policy: owned("licence_policy", 64)?,
            artifacts_sha256: body.bytes("artifacts_sha256")?,
            manifest_sha256: body.bytes("manifest_sha256")?,
            manifest_signature_id: body.bytes("manifest_signature_id")?,
            stock: body.optional_number("stock")?,
            parties: body.member("parties", parties)?,
        })
    }

    pub(crate) fn write(&self, row: Writer) -> Writer {
        let row = row.text(&self.sku).u64(self.version).u8(u8::from(self.retired)).text(&self.owner).u64(self.amount);
        let row = row.text(&self.currency).u8(u8::from(self.gross)).text(&self.category).text(&self.licence_policy);
        let row = row.id(&self.artifacts_sha256).id(&self.manifest_sha256).id(&self.manifest_signature_id);
        let row = row.u64(self.stock.map_or(u64::MAX, |stock| stock)).u64(self.parties.len() as u64);
        self.parties.iter().fold(row, |row, (party, weight)| row.text(party).u64(*weight))
    }

    pub(crate) fn decode(row: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            sku: row.text()?.into(),
            version: row.u64()?,
            retired: row.u8()? == 1,
            owner: row.text()?.into(),
            amount: row.u64()?,
            currency: row.text()?.into(),
            gross: row.u8()? == 1,
            category: row.text()?.into(),
            licence_policy: row.text()?.into(),
            artifacts_sha256: row.id()?,
            manifest_sha256: row.id()?,
            manifest_signature_id: row.id()?,
            stock: Some(row.u64()?).filter(|stock| *stock != u64::MAX),
            parties: {
                let count = row.u64()?;
                (0..count).map(|_| Some((row.text()?.into(), row.u64()?))).collect::<Option<_>>()?
            },
        })
    }
}

/// Parties whose weights add up to something.
fn parties(list: Json<'_>) -> Option<Vec<(String, u64)>> {
    let party = |item: Json<'_>| {
        let body = Body::within(item, &["party", "weight"]).ok()?;
        Some((String::from(&*body.text("party", 96).ok()?), body.number("weight").ok()?))
    };
    let parties = list.items().map(party).collect::<Option<Vec<_>>>()?;
    let weighs = parties.iter().any(|(_, weight)| *weight > 0);
    (parties.len() <= PARTIES_MAX && weighs).then_some(parties)
}
