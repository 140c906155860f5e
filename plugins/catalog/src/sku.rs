//! What is known of an SKU: its row, its manifests and its published versions.
//!
//! Takes and gives records. A manifest stands under the version it is for, also while it is a draft: publishing does not
//! move it, and nothing writes at or below the newest published version again. That is the whole of immutability.

use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::Json;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, State, Table};

/// SKU.
const SKUS: Table = Table::new("sku/");
/// SKU, version: what the seller says, also of a draft.
const MANIFESTS: Table = Table::new("manifest/");
/// SKU, version, once it is published.
pub(crate) const VERSIONS: Table = Table::new("version/");
/// SKU, version: the split rule, resolved.
pub(crate) const SPLITS: Table = Table::new("split/");

pub(crate) const TABLES: [Table; 4] = [SKUS, MANIFESTS, VERSIONS, SPLITS];

/// Longest id in bytes.
const ID_BYTES_MAX: usize = 64;

/// The records' version.
const VERSION: u8 = 1;

/// Whether a text is an SKU's id.
pub(crate) fn is_id(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(letter)
}

/// Who took an SKU off the market, when and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Retirement {
    /// Log time in microseconds.
    pub(crate) at: u64,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// An SKU's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sku {
    pub(crate) owner: String,
    /// Log time in microseconds.
    pub(crate) created_at: u64,
    /// The newest published version; 0 if there is none.
    pub(crate) published: u64,
    /// Whether the version after it has a draft.
    pub(crate) has_draft: bool,
    pub(crate) retirement: Option<Retirement>,
}

impl Sku {
    pub(crate) fn key(sku: &str) -> Key {
        SKUS.key().text(sku)
    }

    pub(crate) fn load(state: &mut impl Read, sku: &str) -> Option<Self> {
        state.get(&Self::key(sku)).as_deref().and_then(Self::decode)
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        if row.u8()? != VERSION {
            return None;
        }
        let (owner, created_at, published) = (row.text()?.into(), row.u64()?, row.u64()?);
        let has_draft = row.u8()? == 1;
        let retirement = match row.u8()? {
            0 => None,
            _ => Some(Retirement { at: row.u64()?, by: row.text()?.into(), reason: row.text()?.into() }),
        };
        row.is_empty().then_some(Self { owner, created_at, published, has_draft, retirement })
    }

    pub(crate) fn store(&self, state: &mut State, sku: &str) {
        let row = Writer::new().u8(VERSION).text(&self.owner).u64(self.created_at).u64(self.published);
        let row = row.u8(u8::from(self.has_draft)).u8(u8::from(self.retirement.is_some()));
        let row = match &self.retirement {
            Some(end) => row.u64(end.at).text(&end.by).text(&end.reason),
            None => row,
        };
        state.set(&Self::key(sku), row.finish());
    }

    /// `draft`, `published` or `retired`; it moves only forward.
    pub(crate) fn status(&self) -> &'static str {
        match (&self.retirement, self.published) {
            (Some(_), _) => "retired",
            (None, 0) => "draft",
            (None, _) => "published",
        }
    }

    /// Whether anybody can buy it.
    pub(crate) fn is_for_sale(&self) -> bool {
        self.retirement.is_none() && self.published > 0
    }

    /// The version that a draft is for.
    pub(crate) fn next_version(&self) -> u64 {
        self.published + 1
    }
}

/// What the seller says of one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    /// Canonical JSON: the manifest's members, but `private`.
    pub(crate) manifest: Vec<u8>,
    /// Canonical JSON, for owner and admins; empty if there is none.
    pub(crate) private: Vec<u8>,
}

impl Said {
    fn key(sku: &str, version: u64) -> Key {
        MANIFESTS.key().text(sku).u64(version)
    }

    pub(crate) fn load(state: &mut impl Read, sku: &str, version: u64) -> Option<Self> {
        let row = state.get(&Self::key(sku, version))?;
        let mut row = Reader::new(&row);
        if row.u8()? != VERSION {
            return None;
        }
        Some(Self { manifest: row.bytes()?.into(), private: row.bytes()?.into() })
    }

    pub(crate) fn store(&self, state: &mut State, sku: &str, version: u64) {
        let row = Writer::new().u8(VERSION).bytes(&self.manifest).bytes(&self.private);
        state.set(&Self::key(sku, version), row.finish());
    }

    /// The manifest's members.
    pub(crate) fn json(&self) -> Option<Json<'_>> {
        Json::parse(&self.manifest).ok()
    }
}

/// A published version's row: who vouches for it, and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    /// Log time in microseconds.
    pub(crate) published_at: u64,
    /// The principal who published it.
    pub(crate) published_by: String,
    pub(crate) manifest_sha256: [u8; 32],
    /// Who signed, as the key was registered.
    pub(crate) signer: String,
    pub(crate) key: [u8; 32],
    pub(crate) signature: [u8; 64],
    /// The manifest signature's id.
    pub(crate) signature_id: [u8; 32],
    /// Minor units.
    pub(crate) amount: u64,
    pub(crate) currency: String,
}

impl Version {
    pub(crate) fn key(sku: &str, version: u64) -> Key {
        VERSIONS.key().text(sku).u64(version)
    }

    pub(crate) fn load(state: &mut impl Read, sku: &str, version: u64) -> Option<Self> {
        state.get(&Self::key(sku, version)).as_deref().and_then(Self::decode)
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        if row.u8()? != VERSION {
            return None;
        }
        let version = Self {
            published_at: row.u64()?,
            published_by: row.text()?.into(),
            manifest_sha256: row.id()?,
            signer: row.text()?.into(),
            key: row.id()?,
            signature: row.id()?,
            signature_id: row.id()?,
            amount: row.u64()?,
            currency: row.text()?.into(),
        };
        row.is_empty().then_some(version)
    }

    pub(crate) fn store(&self, state: &mut State, sku: &str, version: u64) {
        let row = Writer::new().u8(VERSION).u64(self.published_at).text(&self.published_by).id(&self.manifest_sha256);
        let row = row.text(&self.signer).id(&self.key).id(&self.signature).id(&self.signature_id);
        let row = row.u64(self.amount).text(&self.currency);
        state.set(&Self::key(sku, version), row.finish());
    }
}
