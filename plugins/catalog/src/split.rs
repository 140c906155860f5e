//! Split rules: who has how much of a sale, and what is owed to the works a work derives from.
//!
//! Takes a rule in basis points and the resolved rules of its sources; gives one flat list of parties with integer weights
//! that add up to exactly 10^4, 10^8 or 10^12, so that a sale is divided once and nobody looks anything up. A rule can
//! derive only from versions that are published, so versions form no cycle; that SKUs form none either is refused here.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::{MALFORMED, SPLIT};
use tally_market::{Body, is_principal};
use tally_plugin::json::{Array, Json, Object};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, Reject, State};

use crate::manifest::items;
use crate::sku::{self, SPLITS, Sku};

/// Basis points of the whole.
const WHOLE_BPS: u64 = 10_000;
/// Rules upon rules; 10^4 to this power is the largest sum of weights.
const LEVELS_MAX: u32 = 3;
/// Parties of a flat list, and entries of each list of a rule.
const PARTIES_MAX: usize = 32;

/// The one party whose role is `platform`: by its name others know it in a flat list.
const PLATFORM: &str = "platform";

/// The record's version.
const VERSION: u8 = 1;

/// Who is given what, and in which role.
#[derive(Clone, Debug)]
struct Party<'a> {
    bps: u64,
    party: Cow<'a, str>,
    role: Cow<'a, str>,
}

/// A published version that has a part.
#[derive(Clone, Debug)]
struct Source<'a> {
    bps: u64,
    sku: Cow<'a, str>,
    version: u64,
}

/// A split rule as a manifest has it.
#[derive(Clone, Debug)]
pub(crate) struct Rule<'a> {
    /// `gross` or `net`.
    pub(crate) base: Cow<'a, str>,
    parties: Vec<Party<'a>>,
    sources: Vec<Source<'a>>,
}

impl<'a> Rule<'a> {
    /// Reads a rule.
    ///
    /// # Errors
    /// `malformed`: not as drawn; `split`: it does not add up, or its parties are not who they must be.
    pub(crate) fn read(rule: Json<'a>) -> Result<Self, Reject> {
        let body = Body::within(rule, &["base", "derived_from", "parties"])?;
        let base = body.member("base", |json| json.text().filter(|base| matches!(base.as_ref(), "gross" | "net")))?;
        let parties = list(body.member("parties", Some)?, Party::read)?;
        let sources = match body.optional("derived_from", Some)? {
            Some(sources) => list(sources, Source::read)?,
            None => Vec::new(),
        };
        let rule = Self { base, parties, sources };
        rule.check()?;
        Ok(rule)
    }

    /// What holds of a rule by itself.
    fn check(&self) -> Result<(), Reject> {
        let bps = self.parties.iter().map(|party| party.bps).chain(self.sources.iter().map(|source| source.bps));
        let sum = bps.fold(0u64, u64::saturating_add);
        let with_role = |role: &str| self.parties.iter().filter(|party| party.role == role).count();
        let named_as_meant = self.parties.iter().all(|party| (party.party == PLATFORM) == (party.role == PLATFORM));
        let something = self.parties.iter().all(|party| party.bps > 0 || party.role == PLATFORM);
        let something = something && self.sources.iter().all(|source| source.bps > 0);
        let once = is_distinct(self.parties.iter().map(|party| &party.party))
            && is_distinct(self.sources.iter().map(|source| &source.sku));
        let holds = sum == WHOLE_BPS && with_role(PLATFORM) == 1 && with_role("owner") >= 1;
        if holds && named_as_meant && something && once { Ok(()) } else { Err(SPLIT) }
    }

    /// The flat list of this rule for a version of an SKU, by the sources as they are published.
    ///
    /// # Errors
    /// `split`: a source is this SKU, derives from it, is not published or is retired; too deep, or too wide.
    pub(crate) fn resolve(&self, state: &mut impl Read, sku: &str) -> Result<Flat, Reject> {
        let mut resolved = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let for_sale = Sku::load(state, &source.sku).is_some_and(|sku| sku.is_for_sale());
            let flat = Flat::load(state, &source.sku, source.version).filter(|_| for_sale).ok_or(SPLIT)?;
            // A source's own sources suffice: what they derive from in turn is one level too deep for this one.
            if source.sku == sku || flat.sources.iter().any(|origin| origin == sku) {
                return Err(SPLIT);
            }
            resolved.push(flat);
        }
        self.flatten(&resolved)
    }

    fn flatten(&self, resolved: &[Flat]) -> Result<Flat, Reject> {
        let level = 1 + resolved.iter().map(|flat| flat.level).max().unwrap_or(0);
        if level > LEVELS_MAX {
            return Err(SPLIT);
        }
        let scale = |levels: u32| WHOLE_BPS.pow(levels);
        let own = self.parties.iter().map(|party| (String::from(&*party.party), party.bps * scale(level - 1)));
        let theirs = self.sources.iter().zip(resolved).flat_map(|(source, flat)| {
            let factor = source.bps * scale(level - 1 - flat.level);
            flat.parties.iter().map(move |(party, weight)| (party.clone(), weight * factor))
        });
        let parties = merge(own.chain(theirs).collect());
        if parties.len() > PARTIES_MAX {
            return Err(SPLIT);
        }
        Ok(Flat {
            level,
            parties,
            sources: self.sources.iter().map(|source| source.sku.clone().into_owned()).collect(),
        })
    }
}

impl<'a> Party<'a> {
    fn read(json: Json<'a>) -> Result<Self, Reject> {
        let body = Body::within(json, &["bps", "party", "role"])?;
        Ok(Self {
            bps: body.number("bps")?,
            party: body.member("party", |json| json.text().filter(|text| is_principal(text)))?,
            role: body.member("role", |json| {
                json.text().filter(|role| matches!(role.as_ref(), "owner" | PLATFORM | "third"))
            })?,
        })
    }
}

impl<'a> Source<'a> {
    fn read(json: Json<'a>) -> Result<Self, Reject> {
        let body = Body::within(json, &["bps", "sku", "version"])?;
        let sku = body.member("sku", |json| json.text().filter(|text| sku::is_id(text)))?;
        Ok(Self { bps: body.number("bps")?, sku, version: body.number("version")? })
    }
}

/// A list of a rule; one that is too long is too wide.
fn list<'a, T>(json: Json<'a>, read: fn(Json<'a>) -> Result<T, Reject>) -> Result<Vec<T>, Reject> {
    if !json.raw().starts_with('[') {
        return Err(MALFORMED);
    }
    items(json, PARTIES_MAX).map_err(|_| SPLIT)?.into_iter().map(read).collect()
}

fn is_distinct<'a>(names: impl Iterator<Item = &'a Cow<'a, str>>) -> bool {
    let mut names: Vec<&str> = names.map(AsRef::as_ref).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// Every party once, in order of its bytes, with the sum of its weights.
fn merge(mut entries: Vec<(String, u64)>) -> Vec<(String, u64)> {
    entries.sort_unstable();
    let mut parties: Vec<(String, u64)> = Vec::with_capacity(entries.len().min(PARTIES_MAX + 1));
    for (party, weight) in entries {
        match parties.last_mut() {
            Some((last, sum)) if *last == party => *sum += weight,
            _ => parties.push((party, weight)),
        }
    }
    parties
}

/// A rule, resolved: nothing in it depends on anything any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flat {
    /// Levels of rules in it, from 1: the weights add up to 10,000 to this power.
    level: u32,
    /// In order of the party's bytes; a platform that takes nothing has weight 0.
    parties: Vec<(String, u64)>,
    /// The SKUs it derives from directly.
    sources: Vec<String>,
}

impl Flat {
    fn key(sku: &str, version: u64) -> Key {
        SPLITS.key().text(sku).u64(version)
    }

    pub(crate) fn load(state: &mut impl Read, sku: &str, version: u64) -> Option<Self> {
        let row = state.get(&Self::key(sku, version))?;
        let mut row = Reader::new(&row);
        if row.u8()? != VERSION {
            return None;
        }
        let level = u32::from(row.u8()?);
        let parties = (0..row.u8()?).map(|_| Some((row.text()?.into(), row.u64()?))).collect::<Option<_>>()?;
        let sources = (0..row.u8()?).map(|_| row.text().map(String::from)).collect::<Option<_>>()?;
        row.is_empty().then_some(Self { level, parties, sources })
    }

    pub(crate) fn store(&self, state: &mut State, sku: &str, version: u64) {
        let byte = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        let row = Writer::new().u8(VERSION).u8(byte(self.level as usize)).u8(byte(self.parties.len()));
        let row = self.parties.iter().fold(row, |row, (party, weight)| row.text(party).u64(*weight));
        let row = row.u8(byte(self.sources.len()));
        let row = self.sources.iter().fold(row, |row, source| row.text(source));
        state.set(&Self::key(sku, version), row.finish());
    }

    /// The parties and their weights: canonical JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let entry = |(party, weight): &(String, u64)| Object::new().text("party", party).number("weight", *weight);
        self.parties.iter().fold(Array::new(), |array, party| array.raw(&entry(party).finish())).finish()
    }
}
