//! Pages while the catalogue goes on: nothing twice, nothing left out, bounded work.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::desk::{ADMIN, Desk, cases, draft, with};
use crate::properties::drafts;

/// What is done between two pages: a new version of an SKU, or its end.
#[derive(Clone, Debug)]
enum Change {
    Publish(u8, Value),
    Retire(u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (0..30_u8, drafts()).prop_map(|(sku, draft)| Change::Publish(sku, draft)),
        1 => (0..30_u8).prop_map(Change::Retire),
    ];
    prop::collection::vec(change, 0..6)
}

/// The desk, and the newest version of what is for sale.
struct Market {
    desk: Desk,
    versions: BTreeMap<u8, u64>,
    newest: BTreeMap<String, Value>,
    retired: BTreeSet<u8>,
}

impl Market {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Publish(sku, draft) if !self.retired.contains(sku) => {
                let version = self.versions.entry(*sku).or_default();
                *version += 1;
                self.desk.put(1, &format!("s{sku}"), *version, draft).expect("published");
                self.newest.insert(format!("s{sku}"), draft.clone());
            }
            Change::Retire(sku) if self.versions.contains_key(sku) && self.retired.insert(*sku) => {
                self.desk.retire(ADMIN, &format!("s{sku}")).expect("retired");
                self.newest.remove(&format!("s{sku}"));
            }
            _ => {}
        }
    }

    fn fitting(&self, fits: fn(&Value) -> bool) -> BTreeSet<String> {
        self.newest.iter().filter(|(_, newest)| fits(newest)).map(|(sku, _)| sku.clone()).collect()
    }
}

type Filter = (&'static [(&'static str, &'static str)], fn(&Value) -> bool);

const FILTERS: [Filter; 4] = [
    (&[], |_| true),
    (&[("q", "lamp")], |newest| crate::model::words_of(newest).contains("lamp")),
    (&[("tag", "desk")], |newest| newest["tags"].as_array().is_some_and(|tags| tags.contains(&json!("desk")))),
    (&[("currency", "EUR"), ("price_min", "10"), ("price_max", "500")], |newest| {
        newest["currency"] == "EUR" && newest["amount"].as_u64().is_some_and(|amount| (10..=500).contains(&amount))
    }),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(48)))]

    #[test]
    fn what_fits_all_the_time_is_on_exactly_one_page(
        first in prop::collection::vec(drafts(), 20), between in prop::collection::vec(changes(), 12), limit in 1..6_usize, filter in 0..4_usize,
    ) {
        let (filter, fits) = FILTERS[filter];
        let mut market = Market { desk: Desk::new(), versions: BTreeMap::new(), newest: BTreeMap::new(), retired: BTreeSet::new() };
        for (sku, draft) in (0..).zip(first) {
            market.apply(&Change::Publish(sku, draft));
        }
        let limit = limit.to_string();
        let (mut seen, mut after, mut between): (Vec<String>, Option<String>, _) = (Vec::new(), None, between.into_iter());
        let mut always = market.fitting(fits);
        loop {
            let mut args = filter.to_vec();
            args.push(("limit", &limit));
            args.extend(after.as_deref().map(|after| ("after", after)));
            let (found, next) = market.desk.page(&args);
            let now = market.fitting(fits);
            prop_assert!(found.iter().all(|sku| now.contains(sku)));
            seen.extend(found);
            let Some(next) = next else { break };
            after = Some(next);
            for change in between.next().unwrap_or_default() {
                market.apply(&change);
            }
            always = always.intersection(&market.fitting(fits)).cloned().collect();
        }
        let once: BTreeSet<_> = seen.iter().cloned().collect();
        prop_assert_eq!(once.len(), seen.len(), "{:?}", seen);
        prop_assert!(always.is_subset(&once), "{:?} {:?}", always, once);
        prop_assert!(seen.is_sorted());
    }
}

#[test]
fn a_request_examines_so_many_rows_and_says_where_it_stopped() {
    let mut desk = Desk::new();
    let id = |at: u32| format!("sku-{at:04}");
    for at in 0..1_000 {
        let rare = at % 300 == 299;
        let name = if rare { "common rare thing" } else { "common thing" };
        let body = with(with(draft(), "name", json!(name)), "amount", json!(if rare { 7 } else { 1_995 }));
        desk.put(1, &id(at), 1, &body).expect("published");
    }
    let wanted: Vec<_> = [299, 599, 899].map(id).into();
    for filter in [&[("q", "rare common")][..], &[("currency", "EUR"), ("price_max", "7")]] {
        assert_eq!(desk.pages(filter, 100), wanted);
        let mut args = filter.to_vec();
        args.push(("limit", "100"));
        let (mut after, mut requests): (Option<String>, u32) = (None, 0);
        loop {
            requests += 1;
            let args: Vec<_> = args.iter().copied().chain(after.as_deref().map(|after| ("after", after))).collect();
            let (_, next) = desk.page(&args);
            let Some(next) = next else { break };
            after = Some(next);
        }
        assert!(requests >= 3, "1,000 rows are more than two requests look at: {requests}");
    }
    assert_eq!(desk.page(&[("limit", "100")]).0.len(), 100);
    assert_eq!(desk.pages(&[], 100).len(), 1_000);
    assert_eq!(desk.pages(&[("q", "common")], 33).len(), 1_000);
}
