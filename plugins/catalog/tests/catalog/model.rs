//! The catalogue once more, in plain maps and without indexes: what the properties hold the plugin against.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::desk::{ADMIN, principal};

/// One SKU.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sku {
    pub(crate) owner: String,
    pub(crate) versions: Vec<Value>,
    pub(crate) draft: Option<Value>,
    pub(crate) retired: bool,
}

impl Sku {
    pub(crate) fn is_for_sale(&self) -> bool {
        !self.retired && !self.versions.is_empty()
    }

    pub(crate) fn rank(&self) -> u8 {
        if self.retired { 2 } else { u8::from(!self.versions.is_empty()) }
    }
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) skus: BTreeMap<String, Sku>,
    /// Seed of a key: for whom it signs, and whether it still does.
    pub(crate) keys: BTreeMap<u8, (String, bool)>,
}

/// What a publication says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vouch {
    pub(crate) version: u64,
    pub(crate) seed: u8,
    /// Whether the manifest that was signed is the drafted one.
    pub(crate) is_faithful: bool,
}

type Verdict = Result<(), &'static str>;

impl Model {
    pub(crate) fn owner(&self, sku: &str, by: u8) -> String {
        self.skus.get(sku).map_or_else(|| principal(by), |sku| sku.owner.clone())
    }

    fn may(&self, sku: &str, by: u8) -> bool {
        by == ADMIN || self.owner(sku, by) == principal(by)
    }

    pub(crate) fn draft(&mut self, by: u8, id: &str, draft: &Value) -> Verdict {
        if !self.may(id, by) {
            return Err("forbidden");
        }
        let sku = self.skus.entry(id.to_owned()).or_default();
        if sku.retired {
            return Err("state");
        }
        if sku.owner.is_empty() {
            sku.owner = principal(by);
        }
        sku.draft = Some(draft.clone());
        Ok(())
    }

    pub(crate) fn publish(&mut self, by: u8, id: &str, vouch: Vouch) -> Verdict {
        let may = self.may(id, by);
        let sku = self.skus.get_mut(id).ok_or("not_found")?;
        if !may {
            return Err("forbidden");
        }
        let newest = sku.versions.len() as u64;
        if vouch.version <= newest {
            return Err("immutable");
        }
        if sku.retired || vouch.version != newest + 1 || sku.draft.is_none() {
            return Err("state");
        }
        let known = self.keys.get(&vouch.seed);
        let counts =
            known.is_some_and(|(signs_for, good)| *good && (signs_for == "platform" || *signs_for == sku.owner));
        if !counts || !vouch.is_faithful {
            return Err("invalid_manifest");
        }
        sku.versions.extend(sku.draft.take());
        Ok(())
    }

    pub(crate) fn retire(&mut self, by: u8, id: &str) -> Verdict {
        let may = self.may(id, by);
        let sku = self.skus.get_mut(id).ok_or("not_found")?;
        if !may {
            return Err("forbidden");
        }
        if !sku.is_for_sale() {
            return Err("state");
        }
        sku.retired = true;
        Ok(())
    }

    pub(crate) fn register(&mut self, by: u8, seed: u8, signs_for: &str) -> Verdict {
        if by != ADMIN {
            return Err("forbidden");
        }
        if self.keys.contains_key(&seed) {
            return Err("state");
        }
        self.keys.insert(seed, (signs_for.to_owned(), true));
        Ok(())
    }

    pub(crate) fn revoke(&mut self, by: u8, seed: u8) -> Verdict {
        if by != ADMIN {
            return Err("forbidden");
        }
        let (_, good) = self.keys.get_mut(&seed).ok_or("not_found")?;
        if *good {
            *good = false;
            return Ok(());
        }
        Err("state")
    }

    /// What is for sale and fits, in order of the ids.
    pub(crate) fn listed(&self, fits: impl Fn(&Sku, &Value) -> bool) -> Vec<String> {
        let fits = |sku: &Sku| sku.is_for_sale() && sku.versions.last().is_some_and(|newest| fits(sku, newest));
        self.skus.iter().filter(|(_, sku)| fits(sku)).map(|(id, _)| id.clone()).collect()
    }

    /// What has every word of a text.
    pub(crate) fn search(&self, text: &str) -> Vec<String> {
        let wanted: BTreeSet<String> = words(text).into_iter().collect();
        self.listed(|_, newest| wanted.is_subset(&words_of(newest)))
    }
}

/// The words under which a manifest is found.
pub(crate) fn words_of(manifest: &Value) -> BTreeSet<String> {
    let text = |name: &str| manifest[name].as_str().expect("a text").to_owned();
    let tags = manifest["tags"].as_array().expect("tags").iter().map(|tag| tag.as_str().expect("a tag").to_owned());
    let texts: Vec<_> = [text("name"), text("category")].into_iter().chain(tags).chain([text("description")]).collect();
    let mut found = BTreeSet::new();
    for word in texts.iter().flat_map(|text| words(text)) {
        if found.len() < 64 {
            found.insert(word);
        }
    }
    found
}

/// Letter by letter.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut is_full) = (Vec::new(), String::new(), false);
    for c in text.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() || !c.is_ascii() {
            is_full |= word.len() + c.len_utf8() > 32;
            if !is_full {
                word.push(c.to_ascii_lowercase());
            }
        } else {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            is_full = false;
        }
    }
    words
}
