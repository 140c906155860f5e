//! What the other plugins are told: `catalog.offer`, whenever something else is for sale than before.
//!
//! Takes a version with all that is pinned with it; emits it with nothing left to look up.

use tally_plugin::Step;
use tally_plugin::json::Object;

use crate::manifest::Manifest;
use crate::sku::{Sku, Version};
use crate::split::Flat;

const OFFER: &str = "catalog.offer";

/// The newest version of an SKU.
pub(crate) struct Offer<'a> {
    pub(crate) id: &'a str,
    pub(crate) sku: &'a Sku,
    pub(crate) manifest: &'a Manifest<'a>,
    pub(crate) version: &'a Version,
    pub(crate) flat: &'a Flat,
}

impl Offer<'_> {
    /// Tells it.
    pub(crate) fn emit(&self, step: &mut Step) {
        let body = Object::new()
            .number("amount", self.manifest.amount)
            .hex("artifacts_sha256", &self.manifest.artifacts_sha256())
            .text("base", &self.manifest.split.base)
            .text("category", &self.manifest.category)
            .text("currency", &self.manifest.currency)
            .text("licence_policy", &self.manifest.licence_policy)
            .hex("manifest_sha256", &self.version.manifest_sha256)
            .hex("manifest_signature_id", &self.version.signature_id)
            .text("owner", &self.sku.owner)
            .raw("parties", &self.flat.to_json())
            .text("sku", self.id)
            .text("status", self.sku.status());
        let body = match self.manifest.stock {
            Some(stock) => body.number("stock", stock),
            None => body,
        };
        step.emit(OFFER, &body.number("version", self.sku.published).finish());
    }
}
