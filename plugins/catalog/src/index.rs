//! What is for sale, as it is searched: one row per SKU, and entries by word, tag, category and owner.
//!
//! Takes an SKU's newest version when it is published, and its end when it is retired; keeps rows and entries in step.
//! Every index is in order of the SKU's id, which never changes: so a page never begins elsewhere than the last one ended.

use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::{Array, Object};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, State, Table};

use crate::manifest::Manifest;
use crate::sku::{Sku, Version};
use crate::words;

/// SKU, if it is for sale.
pub(crate) const LISTED: Table = Table::new("listed/");
/// SKU: the words under which it is found.
const WORDS: Table = Table::new("words/");
/// Word, SKU.
pub(crate) const BY_WORD: Table = Table::new("word/");
/// Tag, SKU.
pub(crate) const BY_TAG: Table = Table::new("tag/");
/// Category, SKU.
pub(crate) const BY_CATEGORY: Table = Table::new("category/");
/// Owner, SKU.
pub(crate) const BY_OWNER: Table = Table::new("owner/");

pub(crate) const TABLES: [Table; 6] = [LISTED, WORDS, BY_WORD, BY_TAG, BY_CATEGORY, BY_OWNER];

/// The records' version.
const VERSION: u8 = 1;

/// A row of what is for sale: what filters ask, and what is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    pub(crate) owner: String,
    pub(crate) category: String,
    pub(crate) currency: String,
    pub(crate) amount: u64,
    pub(crate) tags: Vec<String>,
    /// Canonical JSON, written once so that a page is only put together.
    pub(crate) shown: Vec<u8>,
}

impl Listed {
    pub(crate) fn key(sku: &str) -> Key {
        LISTED.key().text(sku)
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        if row.u8()? != VERSION {
            return None;
        }
        let (owner, category, currency, amount) =
            (row.text()?.into(), row.text()?.into(), row.text()?.into(), row.u64()?);
        let tags = texts(&mut row)?;
        let listed = Self { owner, category, currency, amount, tags, shown: row.bytes()?.into() };
        row.is_empty().then_some(listed)
    }

    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).text(&self.owner).text(&self.category).text(&self.currency);
        push_texts(row.u64(self.amount), &self.tags).bytes(&self.shown).finish()
    }

    /// The entries under which it is found.
    fn entries(&self, sku: &str, words: &[String]) -> Vec<Key> {
        let by = |table: Table, text: &str| table.key().text(text).text(sku);
        let words = words.iter().map(|word| by(BY_WORD, word));
        let tags = self.tags.iter().map(|tag| by(BY_TAG, tag));
        let mut entries: Vec<Key> =
            words.chain(tags).chain([by(BY_CATEGORY, &self.category), by(BY_OWNER, &self.owner)]).collect();
        entries.sort_unstable();
        entries
    }
}

/// Puts a newly published version where it is found, and takes the one before away.
pub(crate) fn list(state: &mut State, id: &str, sku: &Sku, manifest: &Manifest<'_>, version: &Version) {
    let listed = Listed {
        owner: sku.owner.clone(),
        category: manifest.category.clone().into_owned(),
        currency: version.currency.clone(),
        amount: version.amount,
        tags: manifest.tags.iter().map(|tag| tag.clone().into_owned()).collect(),
        shown: show(id, sku, manifest, version),
    };
    let words = words::of_manifest(manifest);
    let before = entries_now(state, id);
    let after = listed.entries(id, &words);
    for gone in before.iter().filter(|entry| after.binary_search(entry).is_err()) {
        state.delete(gone);
    }
    for new in after.iter().filter(|entry| before.binary_search(entry).is_err()) {
        state.set(new, Vec::new());
    }
    state.set(&Listed::key(id), listed.encode());
    state.set(&words_key(id), push_texts(Writer::new().u8(VERSION), &words).finish());
}

/// Takes an SKU away from everywhere it is found.
pub(crate) fn unlist(state: &mut State, id: &str) {
    for entry in entries_now(state, id) {
        state.delete(&entry);
    }
    state.delete(&Listed::key(id));
    state.delete(&words_key(id));
}

/// The entries under which an SKU is found now, in their order.
fn entries_now(state: &mut State, id: &str) -> Vec<Key> {
    let Some(listed) = state.get(&Listed::key(id)).as_deref().and_then(Listed::decode) else { return Vec::new() };
    let words = state.get(&words_key(id)).and_then(|row| {
        let mut row = Reader::new(&row);
        row.u8().filter(|version| *version == VERSION)?;
        texts(&mut row)
    });
    listed.entries(id, &words.unwrap_or_default())
}

fn words_key(sku: &str) -> Key {
    WORDS.key().text(sku)
}

fn push_texts(row: Writer, texts: &[String]) -> Writer {
    // Tags and words are at most 64.
    texts.iter().fold(row.u8(u8::try_from(texts.len()).unwrap_or(u8::MAX)), |row, text| row.text(text))
}

fn texts(row: &mut Reader<'_>) -> Option<Vec<String>> {
    (0..row.u8()?).map(|_| row.text().map(String::from)).collect()
}

/// One row of a page.
fn show(id: &str, sku: &Sku, manifest: &Manifest<'_>, version: &Version) -> Vec<u8> {
    let tags = manifest.tags.iter().fold(Array::new(), |array, tag| array.text(tag)).finish();
    let row = Object::new()
        .number("amount", manifest.amount)
        .text("category", &manifest.category)
        .number("created_at", sku.created_at)
        .text("currency", &manifest.currency)
        .bool("free", manifest.amount == 0)
        .text("licence_policy", &manifest.licence_policy)
        .hex("manifest_sha256", &version.manifest_sha256)
        .hex("manifest_signature_id", &version.signature_id)
        .text("name", &manifest.name)
        .text("owner", &sku.owner)
        .text("preview", &manifest.preview)
        .number("published_at", version.published_at)
        .text("sku", id)
        .text("status", sku.status());
    let row = match manifest.stock {
        Some(stock) => row.number("stock", stock),
        None => row,
    };
    row.raw("tags", &tags).number("version", sku.published).finish()
}
