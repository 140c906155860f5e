//! The route `skus`: pages of what is for sale, by words, tag, category, owner and price.
//!
//! Takes filters, which all must hold; gives rows in order of the SKU's id, and where the next page begins. One request
//! examines 400 rows at most: a page may have fewer rows than asked for, or none, and still name a next one. An SKU that
//! fits all the time is on exactly one page, whatever is published between two requests.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use tally_market::is_principal;
use tally_plugin::json::{Array, Object};
use tally_plugin::query::{Request, cursor, read_cursor};
use tally_plugin::{Key, Range, Read, Snapshot};

use crate::index::{BY_CATEGORY, BY_OWNER, BY_TAG, BY_WORD, LISTED, Listed};
use crate::manifest::{CATEGORY_BYTES_MAX, TAG_BYTES_MAX};
use crate::routes::{MALFORMED, Refusal, limit};
use crate::sku;
use crate::words::words;

/// Rows that one request looks at.
const EXAMINED_MAX: usize = 400;
/// Rows read at a time: as long as a row can be, so many fit what a host gives at once.
const CHUNK: u32 = 25;

/// Longest text to search for in bytes, and most words in it.
const TEXT_BYTES_MAX: usize = 256;
const WORDS_MAX: usize = 8;

/// What is searched for.
struct Search {
    /// Longest first: the longest leads, the others are checked.
    words: Vec<String>,
    tag: Option<String>,
    category: Option<String>,
    owner: Option<String>,
    currency: Option<String>,
    /// Minor units, both ends within.
    price: (u64, u64),
}

/// Answers.
pub(crate) fn answer(state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let search = Search::read(request)?;
    let (limit, after) = (limit(request)?, after(request)?);
    let page = search.page(state, limit, after.as_deref());
    let rows = page.rows.iter().fold(Array::new(), |array, row| array.raw(row)).finish();
    let body = Object::new().raw("rows", &rows);
    Ok(match page.after {
        Some(last) => body.text("after", &cursor(last.as_bytes())).finish(),
        None => body.finish(),
    })
}

/// The SKU behind which a page begins.
fn after(request: &Request<'_>) -> Result<Option<String>, Refusal> {
    let Some(text) = request.arg("after") else { return Ok(None) };
    let sku = read_cursor(&text).and_then(|bytes| String::from_utf8(bytes).ok()).filter(|sku| sku::is_id(sku));
    sku.map(Some).ok_or(MALFORMED)
}

struct Page {
    rows: Vec<Vec<u8>>,
    /// The last SKU that was looked at, if more may follow.
    after: Option<String>,
}

impl Search {
    fn read(request: &Request<'_>) -> Result<Self, Refusal> {
        let text = |name: &str, fits: &dyn Fn(&str) -> bool| match request.arg(name) {
            Some(text) if !fits(&text) => Err(MALFORMED),
            text => Ok(text.map(Cow::into_owned)),
        };
        let within = |bytes_max: usize| move |text: &str| (1..=bytes_max).contains(&text.len()) && !text.contains('\0');
        let number = |name: &str| request.number(name).transpose().map_err(|_| MALFORMED);
        let price = (number("price_min")?, number("price_max")?);
        let currency = text("currency", &|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()))?;
        if currency.is_none() && price != (None, None) {
            return Err(MALFORMED);
        }
        Ok(Self {
            words: searched_words(request)?,
            tag: text("tag", &within(TAG_BYTES_MAX))?,
            category: text("category", &within(CATEGORY_BYTES_MAX))?,
            owner: text("owner", &is_principal)?,
            currency,
            price: (price.0.unwrap_or(0), price.1.unwrap_or(u64::MAX)),
        })
    }

    /// The front of the keys that are walked; behind it stands the SKU.
    fn front(&self) -> Key {
        let words = self.words.first().map(|word| BY_WORD.key().text(word));
        let tag = || self.tag.as_ref().map(|tag| BY_TAG.key().text(tag));
        let owner = || self.owner.as_ref().map(|owner| BY_OWNER.key().text(owner));
        let category = || self.category.as_ref().map(|category| BY_CATEGORY.key().text(category));
        words.or_else(tag).or_else(owner).or_else(category).unwrap_or_else(|| LISTED.key())
    }

    fn page(&self, state: &mut Snapshot, limit: usize, after: Option<&str>) -> Page {
        let front = self.front();
        let mut range = front.within();
        if let Some(after) = after {
            range = range.after(front.clone().text(after).as_bytes());
        }
        let (mut rows, mut shown, mut examined) = (Vec::new(), None, 0);
        loop {
            let skus = next_skus(state, &range, &front);
            for (sku, row) in skus.iter().zip(self.rows(state, &skus)) {
                let Some(row) = row else { continue };
                if rows.len() == limit {
                    return Page { rows, after: shown };
                }
                rows.push(row);
                shown = Some(sku.clone());
            }
            examined += skus.len();
            match skus.last() {
                Some(last) if skus.len() == CHUNK as usize && examined >= EXAMINED_MAX => {
                    return Page { rows, after: Some(last.clone()) };
                }
                Some(last) if skus.len() == CHUNK as usize => {
                    range = range.after(front.clone().text(last).as_bytes());
                }
                _ => return Page { rows, after: None },
            }
        }
    }

    /// What is shown of each SKU, if it fits.
    fn rows(&self, state: &mut Snapshot, skus: &[String]) -> Vec<Option<Vec<u8>>> {
        let rows = state.get_many(&skus.iter().map(|sku| Listed::key(sku)).collect::<Vec<_>>());
        let others = self.words.get(1..).unwrap_or_default();
        let mut entries = Vec::with_capacity(skus.len() * others.len());
        for sku in skus {
            entries.extend(others.iter().map(|word| BY_WORD.key().text(word).text(sku)));
        }
        let has_words = state.get_many(&entries);
        let has_words = |at: usize| has_words.iter().skip(at * others.len()).take(others.len()).all(Option::is_some);
        let decoded = rows.into_iter().enumerate().map(|(at, row)| {
            let listed = row.as_deref().and_then(Listed::decode)?;
            (has_words(at) && self.fits(&listed)).then_some(listed.shown)
        });
        decoded.collect()
    }

    fn fits(&self, listed: &Listed) -> bool {
        let is = |wanted: &Option<String>, found: &String| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.category, &listed.category)
            && is(&self.owner, &listed.owner)
            && is(&self.currency, &listed.currency)
            && self.tag.as_ref().is_none_or(|tag| listed.tags.contains(tag))
            && (self.price.0..=self.price.1).contains(&listed.amount)
    }
}

/// The words of `q`, each once. The longest is likely the rarest; which one leads must not depend on what is listed, or two
/// pages of one search could differ in it.
fn searched_words(request: &Request<'_>) -> Result<Vec<String>, Refusal> {
    let Some(text) = request.arg("q") else { return Ok(Vec::new()) };
    if text.len() > TEXT_BYTES_MAX {
        return Err(MALFORMED);
    }
    let mut found: Vec<String> = words(&text).collect();
    found.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    found.dedup();
    if (1..=WORDS_MAX).contains(&found.len()) { Ok(found) } else { Err(MALFORMED) }
}

fn next_skus(state: &mut Snapshot, range: &Range, front: &Key) -> Vec<String> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    state.scan(range, CHUNK, |key, _| keys.push(key.into()));
    keys.iter().filter_map(|key| sku_of(key, front)).collect()
}

/// The SKU at the end of a key: an id has no byte that a key escapes, so it stands there as it is, closed by two bytes.
fn sku_of(key: &[u8], front: &Key) -> Option<String> {
    let behind = key.strip_prefix(front.as_bytes())?;
    let sku = behind.get(..behind.len().checked_sub(2)?)?;
    String::from_utf8(sku.to_vec()).ok()
}
