//! What a seller says of a version, and the bytes that are signed for it.
//!
//! Takes a draft's body, or the same members as they were stored; gives checked fields and the one canonical form. The
//! digest covers owner, SKU and version too: a signature for one is no signature for another.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use tally_market::Body;
use tally_market::codes::{INVALID_MANIFEST, MALFORMED};
use tally_plugin::json::{Json, Object};
use tally_plugin::{Reject, crypto};

use crate::split::Rule;

/// The members that are signed.
pub(crate) const MEMBERS: [&str; 12] = [
    "amount",
    "artifacts",
    "category",
    "currency",
    "description",
    "free",
    "licence_policy",
    "name",
    "preview",
    "split",
    "stock",
    "tags",
];
/// The member that only owner and admins see.
pub(crate) const PRIVATE: &str = "private";

/// What a signature covers begins with this.
const SIGNED_TAG: &[u8] = b"TALLY_SKU_MANIFEST_V1";

const PREVIEWS: [&str; 4] = ["demo", "live", "none", "video"];

const NAME_BYTES_MAX: usize = 200;
const DESCRIPTION_BYTES_MAX: usize = 4_000;
pub(crate) const CATEGORY_BYTES_MAX: usize = 64;
pub(crate) const TAG_BYTES_MAX: usize = 32;
const LICENCE_POLICY_BYTES_MAX: usize = 64;
const TAGS_MAX: usize = 16;
const ARTIFACTS_MAX: usize = 32;
const MEDIA_TYPE_BYTES_MAX: usize = 128;
const ARTIFACT_NAME_BYTES_MAX: usize = 255;

/// A manifest's members, checked.
#[derive(Clone, Debug)]
pub(crate) struct Manifest<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) description: Cow<'a, str>,
    pub(crate) category: Cow<'a, str>,
    /// Ascending.
    pub(crate) tags: Vec<Cow<'a, str>>,
    /// Minor units; 0 exactly if it is free.
    pub(crate) amount: u64,
    pub(crate) currency: Cow<'a, str>,
    pub(crate) preview: Cow<'a, str>,
    pub(crate) licence_policy: Cow<'a, str>,
    /// The list as it is written: canonical JSON.
    pub(crate) artifacts: &'a str,
    /// How many may be sold.
    pub(crate) stock: Option<u64>,
    pub(crate) split: Rule<'a>,
}

impl<'a> Manifest<'a> {
    /// Of a body that may have other members too.
    ///
    /// # Errors
    /// `malformed`; `invalid_manifest`: free and not at once; `split`.
    pub(crate) fn read(body: &Body<'a>) -> Result<Self, Reject> {
        let amount = body.number("amount")?;
        if body.bool("free")? != (amount == 0) {
            return Err(INVALID_MANIFEST);
        }
        let artifacts = body.member("artifacts", Some)?;
        check_artifacts(artifacts)?;
        Ok(Self {
            name: body.text("name", NAME_BYTES_MAX)?,
            description: body.member("description", |json| json.text().filter(|text| is_description(text)))?,
            category: body.text("category", CATEGORY_BYTES_MAX)?,
            tags: tags(body.member("tags", Some)?)?,
            amount,
            currency: body.currency("currency")?,
            preview: body.member("preview", |json| json.text().filter(|text| PREVIEWS.contains(&text.as_ref())))?,
            licence_policy: body.text("licence_policy", LICENCE_POLICY_BYTES_MAX)?,
            artifacts: artifacts.raw(),
            stock: body.optional_number("stock")?,
            split: Rule::read(body.member("split", Some)?)?,
        })
    }

    /// SHA-256 of the list of artifacts as it is written.
    pub(crate) fn artifacts_sha256(&self) -> [u8; 32] {
        crypto::sha256(self.artifacts.as_bytes())
    }
}

/// The members of a body that are signed: canonical JSON.
pub(crate) fn signed_members(body: &Body<'_>) -> Vec<u8> {
    let signed = body.json().entries().filter(|(name, _)| MEMBERS.contains(&name.as_ref()));
    signed.fold(Object::new(), |object, (name, member)| object.raw(&name, member.raw().as_bytes())).finish()
}

/// The manifest: canonical JSON of the signed members and what they are said of.
pub(crate) fn canonical(members: &[u8], owner: &str, sku: &str, version: u64) -> Vec<u8> {
    Object::new().raw("manifest", members).text("owner", owner).text("sku", sku).number("version", version).finish()
}

/// Whether a signature is the key's over a manifest's digest.
pub(crate) fn is_signed(key: &[u8; 32], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    crypto::ed25519_verify(key, &[SIGNED_TAG, digest].concat(), signature)
}

fn is_description(text: &str) -> bool {
    text.len() <= DESCRIPTION_BYTES_MAX && !text.contains('\0')
}

fn tags(list: Json<'_>) -> Result<Vec<Cow<'_, str>>, Reject> {
    let is_tag = |text: &Cow<'_, str>| (1..=TAG_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
    let tags = items(list, TAGS_MAX)?.into_iter().map(|tag| tag.text().filter(is_tag).ok_or(MALFORMED));
    let tags = tags.collect::<Result<Vec<_>, _>>()?;
    if tags.is_sorted_by(|before, after| before < after) { Ok(tags) } else { Err(MALFORMED) }
}

fn check_artifacts(list: Json<'_>) -> Result<(), Reject> {
    let artifacts = items(list, ARTIFACTS_MAX)?;
    if artifacts.is_empty() {
        return Err(MALFORMED);
    }
    for artifact in artifacts {
        let artifact = Body::within(artifact, &["media_type", "name", "sha256", "size"])?;
        artifact.text("media_type", MEDIA_TYPE_BYTES_MAX)?;
        artifact.text("name", ARTIFACT_NAME_BYTES_MAX)?;
        artifact.bytes::<32>("sha256")?;
        artifact.number("size")?;
    }
    Ok(())
}

/// The elements of an array of at most so many.
///
/// # Errors
/// `malformed`: it is no array, or longer.
pub(crate) fn items(list: Json<'_>, count_max: usize) -> Result<Vec<Json<'_>>, Reject> {
    let items: Vec<Json<'_>> = list.items().take(count_max + 1).collect();
    if list.raw().starts_with('[') && items.len() <= count_max { Ok(items) } else { Err(MALFORMED) }
}
