//! Split rules: what adds up, and the flat list against exact rationals.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::desk::{Desk, cases, draft, split, with};

fn ruled(rule: Value) -> Value {
    with(draft(), "split", rule)
}

fn refused() -> Result<(), String> {
    Err("split".into())
}

#[test]
fn a_rule_that_does_not_add_up_or_names_the_wrong_parties_is_refused() {
    let whole = |owner: u64, platform: u64| split(&[("o", owner, "owner"), ("platform", platform, "platform")], &[]);
    let wide: Vec<_> = (0..33).map(|at| format!("p{at}")).collect();
    let wide: Vec<_> = wide.iter().map(|party| (party.as_str(), 303, "owner")).collect();
    let mut desk = Desk::new();
    desk.put(2, "base", 1, &draft()).expect("published");
    for rule in [
        whole(9_000, 999),
        whole(9_000, 1_001),
        whole(10_000, 10_000),
        whole((1 << 53) - 1, (1 << 53) - 1),
        whole(0, 10_000),
        split(&[], &[]),
        split(&[("o", 10_000, "owner")], &[]),
        split(&[("t", 9_000, "third"), ("platform", 1_000, "platform")], &[]),
        split(&[("platform", 9_000, "owner"), ("platform", 1_000, "platform")], &[]),
        split(&[("o", 9_000, "owner"), ("fees", 1_000, "platform")], &[]),
        split(&[("o", 9_000, "owner"), ("platform", 1_000, "third")], &[]),
        split(&[("o", 9_000, "owner"), ("platform", 500, "platform"), ("p2", 500, "platform")], &[]),
        split(&[("o", 4_500, "owner"), ("o", 4_500, "third"), ("platform", 1_000, "platform")], &[]),
        split(&[("o", 9_000, "owner"), ("t", 0, "third"), ("platform", 1_000, "platform")], &[]),
        split(&[("o", 9_000, "owner"), ("platform", 1_000, "platform")], &[("base", 1, 0)]),
        split(&[("o", 8_000, "owner"), ("platform", 1_000, "platform")], &[("base", 1, 500), ("base", 1, 500)]),
        split(&[("o", 9_000, "owner"), ("platform", 1_000, "platform")], &[("base", 1, 1)]),
        split(&wide, &[]),
    ] {
        assert_eq!(desk.put(1, "lamp", 1, &ruled(rule.clone())), refused(), "{rule}");
    }
    // A platform that takes nothing is still named.
    assert_eq!(desk.put(1, "lamp", 1, &ruled(whole(10_000, 0))), Ok(()));
    let parties = &desk.offer().expect("an offer")["parties"];
    assert_eq!(parties, &json!([{"party": "o", "weight": 10_000}, {"party": "platform", "weight": 0}]));
}

#[test]
fn a_source_must_be_published_and_not_retired() {
    let mut desk = Desk::new();
    let derived = ruled(split(&[("o", 8_000, "owner"), ("platform", 1_000, "platform")], &[("base", 1, 1_000)]));
    let later = ruled(split(&[("o", 8_000, "owner"), ("platform", 1_000, "platform")], &[("base", 2, 1_000)]));
    let none = ruled(split(&[("o", 8_000, "owner"), ("platform", 1_000, "platform")], &[("base", 0, 1_000)]));
    assert_eq!(desk.put(1, "lamp", 1, &derived), refused(), "unknown");
    desk.draft(2, "base", &draft()).expect("a draft");
    assert_eq!(desk.put(1, "lamp", 1, &derived), refused(), "a draft");
    desk.publish(2, "base", 1, &draft()).expect("published");
    assert_eq!(desk.put(1, "lamp", 1, &later), refused(), "a version that is not there");
    assert_eq!(desk.put(1, "lamp", 1, &none), refused(), "no version at all");
    assert_eq!(desk.put(1, "lamp", 1, &derived), Ok(()));
    desk.retire(2, "base").expect("retired");
    assert_eq!(desk.put(1, "lamp", 2, &derived), refused(), "retired");
    let (_, shown) = desk.ask("sku", &[("id", "lamp")]);
    assert_eq!((&shown["version"], &shown["status"]), (&json!(1), &json!("published")), "what was published stays");
}

#[test]
fn no_sku_derives_from_itself_by_any_way() {
    let mut desk = Desk::new();
    let from = |sku: &str, version: u64| {
        ruled(split(&[("o", 8_000, "owner"), ("platform", 1_000, "platform")], &[(sku, version, 1_000)]))
    };
    assert_eq!(desk.put(1, "a", 1, &from("a", 1)), refused(), "itself, not yet there");
    desk.put(1, "a", 1, &draft()).expect("published");
    assert_eq!(desk.put(1, "a", 2, &from("a", 1)), refused(), "an earlier version of itself");
    desk.put(1, "b", 1, &from("a", 1)).expect("published");
    assert_eq!(desk.put(1, "a", 2, &from("b", 1)), refused(), "what derives from it");
    desk.put(1, "c", 1, &from("b", 1)).expect("published");
    assert_eq!(desk.put(1, "a", 2, &from("c", 1)), refused(), "what derives from what derives from it");
    assert_eq!(desk.put(1, "d", 1, &from("c", 1)), refused(), "a fourth level");
    assert_eq!(desk.put(1, "d", 1, &from("b", 1)), Ok(()));
}

#[test]
fn equal_parties_are_merged_and_levels_multiply() {
    let mut desk = Desk::new();
    desk.put(1, "a", 1, &ruled(split(&[("x", 9_999, "owner"), ("platform", 1, "platform")], &[]))).expect("published");
    let second =
        split(&[("y", 6_000, "owner"), ("platform", 1_000, "platform"), ("x", 1, "third")], &[("a", 1, 2_999)]);
    desk.put(1, "b", 1, &ruled(second)).expect("published");
    let parties = desk.offer().expect("an offer")["parties"].clone();
    assert_eq!(
        parties,
        json!([
            {"party": "platform", "weight": 10_002_999},
            {"party": "x", "weight": 10_000 + 2_999 * 9_999},
            {"party": "y", "weight": 60_000_000},
        ])
    );
    let third = split(&[("z", 1, "owner"), ("platform", 0, "platform")], &[("a", 1, 1), ("b", 1, 9_998)]);
    desk.put(1, "c", 1, &ruled(third)).expect("published");
    let parties = desk.offer().expect("an offer")["parties"].clone();
    let sum: u64 = parties.as_array().expect("parties").iter().filter_map(|party| party["weight"].as_u64()).sum();
    assert_eq!(sum, 1_000_000_000_000);
    assert_eq!(parties[3], json!({"party": "z", "weight": 100_000_000}));
}

/// A number of the form n/d, as small as it can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ratio(u128, u128);

impl Ratio {
    fn new(n: u128, d: u128) -> Self {
        let (mut a, mut b) = (n, d);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self(n / a, d / a)
    }

    fn plus(self, other: Self) -> Self {
        Self::new(self.0 * other.1 + other.0 * self.1, self.1 * other.1)
    }

    fn times(self, other: Self) -> Self {
        Self::new(self.0 * other.0, self.1 * other.1)
    }
}

/// A rule as the generator makes it: parties by number, and how many have bps beside their sources.
#[derive(Clone, Debug)]
struct Work {
    sku: usize,
    /// Number of each party, and how heavy it is.
    parties: Vec<(u8, u64)>,
    /// Which of the published versions so far, and how heavy.
    sources: Vec<(prop::sample::Index, u64)>,
    base: bool,
}

/// A published version of the model.
#[derive(Clone, Debug)]
struct Published {
    sku: usize,
    version: u64,
    parties: Vec<(String, u64)>,
    sources: Vec<(usize, u64)>,
}

fn works() -> impl Strategy<Value = Vec<Work>> {
    let parties = prop::collection::vec((0..24_u8, 1..400_u64), 1..14);
    let sources = prop::collection::vec((any::<prop::sample::Index>(), 1..400_u64), 0..4);
    let work = (0..9_usize, parties, sources, any::<bool>()).prop_map(|(sku, parties, sources, base)| Work {
        sku,
        parties,
        sources,
        base,
    });
    prop::collection::vec(work, 1..14)
}

/// What a party has of a version: by the definition, over and over.
fn part(all: &[Published], of: usize, party: &str) -> Ratio {
    let bps = |bps: u64| Ratio::new(u128::from(bps), 10_000);
    let own = all[of].parties.iter().filter(|(name, _)| name == party).map(|(_, share)| bps(*share));
    let theirs = all[of].sources.iter().map(|(source, share)| bps(*share).times(part(all, *source, party)));
    own.chain(theirs).fold(Ratio::new(0, 1), Ratio::plus)
}

fn depth(all: &[Published], of: usize) -> u32 {
    1 + all[of].sources.iter().map(|(source, _)| depth(all, *source)).max().unwrap_or(0)
}

fn parties_of(all: &[Published], of: usize) -> BTreeSet<String> {
    let theirs = all[of].sources.iter().flat_map(|(source, _)| parties_of(all, *source));
    all[of].parties.iter().map(|(party, _)| party.clone()).chain(theirs).collect()
}

fn skus_of(all: &[Published], of: usize) -> BTreeSet<usize> {
    all[of].sources.iter().flat_map(|(source, _)| skus_of(all, *source).into_iter().chain([all[*source].sku])).collect()
}

impl Work {
    /// The candidate: the platform has what is left of the whole.
    fn candidate(&self, all: &[Published], version: u64) -> Published {
        let parties: BTreeMap<String, u64> =
            self.parties.iter().map(|(party, bps)| (format!("p{party}"), *bps)).collect();
        let mut sources: BTreeMap<usize, (usize, u64)> = BTreeMap::new();
        for (index, bps) in self.sources.iter().filter(|_| !all.is_empty()) {
            let source = index.index(all.len());
            sources.insert(all[source].sku, (source, *bps));
        }
        let sources: Vec<_> = sources.into_values().collect();
        let given = parties.values().sum::<u64>() + sources.iter().map(|(_, bps)| bps).sum::<u64>();
        let parties = parties.into_iter().chain([("platform".to_owned(), 10_000 - given)]).collect();
        Published { sku: self.sku, version, parties, sources }
    }
}

fn rule(work: &Work, candidate: &Published, all: &[Published]) -> Value {
    let names: Vec<_> =
        candidate.sources.iter().map(|(source, bps)| (format!("s{}", all[*source].sku), *source, *bps)).collect();
    let sources: Vec<_> = names.iter().map(|(sku, source, bps)| (sku.as_str(), all[*source].version, *bps)).collect();
    let role = |party: &str| if party == "platform" { "platform" } else { "owner" };
    let parties: Vec<_> = candidate.parties.iter().map(|(party, bps)| (party.as_str(), *bps, role(party))).collect();
    with(split(&parties, &sources), "base", json!(if work.base { "gross" } else { "net" }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(96)))]

    #[test]
    fn the_flat_list_is_the_exact_part_of_everybody(works in works()) {
        let mut desk = Desk::new();
        let mut all: Vec<Published> = Vec::new();
        for work in &works {
            let version = 1 + all.iter().filter(|published| published.sku == work.sku).count() as u64;
            let candidate = work.candidate(&all, version);
            let body = ruled(rule(work, &candidate, &all));
            all.push(candidate);
            let at = all.len() - 1;
            let fits = depth(&all, at) <= 3 && parties_of(&all, at).len() <= 32 && !skus_of(&all, at).contains(&work.sku);
            let verdict = desk.put(1, &format!("s{}", work.sku), version, &body);
            prop_assert_eq!(&verdict, &if fits { Ok(()) } else { refused() });
            if !fits {
                all.pop();
                continue;
            }
            let offer = desk.offer().expect("an offer").clone();
            let parties = offer["parties"].as_array().expect("parties");
            let names: Vec<_> = parties.iter().map(|party| party["party"].as_str().expect("a party").to_owned()).collect();
            // In order of their bytes, each once.
            prop_assert_eq!(&names, &parties_of(&all, at).into_iter().collect::<Vec<_>>());
            let weights: Vec<u128> = parties.iter().map(|party| u128::from(party["weight"].as_u64().expect("a weight"))).collect();
            let whole = weights.iter().sum::<u128>();
            prop_assert_eq!(whole, 10_000_u128.pow(depth(&all, at)));
            for (name, weight) in names.iter().zip(weights) {
                prop_assert_eq!(Ratio::new(weight, whole), part(&all, at, name), "{}", name);
            }
            prop_assert_eq!(&offer["base"], &body["split"]["base"]);
        }
    }
}
