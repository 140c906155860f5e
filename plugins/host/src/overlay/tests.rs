use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Set(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Commit,
    Rollback,
    Range(Vec<u8>, Option<Vec<u8>>, usize, bool),
}

/// Few keys, so that they meet; some extend others.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(0_u8..3, 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (key(), vec(any::<u8>(), 0..3)).prop_map(|(key, value)| Step::Set(key, value)),
        2 => key().prop_map(Step::Delete),
        1 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        4 => (vec(0_u8..3, 0..3), proptest::option::of(vec(0_u8..4, 0..3)), 0_usize..8, any::<bool>())
            .prop_map(|(start, end, limit, reverse)| Step::Range(start, end, limit, reverse)),
    ]
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn rows(model: &Model, start: &[u8], end: Option<&[u8]>, limit: usize, reverse: bool) -> Vec<Row> {
    let inside = |key: &[u8]| key >= start && end.is_none_or(|end| key < end);
    let mut rows: Vec<Row> = model
        .iter()
        .filter(|(key, _)| inside(key))
        .map(|(key, value)| (Bytes::from(key.clone()), Bytes::from(value.clone())))
        .collect();
    if reverse {
        rows.reverse();
    }
    rows.truncate(limit);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_overlay_reads_like_a_plain_map_with_savepoints(base in vec((key(), vec(any::<u8>(), 0..3)), 0..12), steps in vec(step(), 0..60)) {
        let base: Model = base.into_iter().collect();
        let view: BTreeMap<Bytes, Bytes> = base.iter().map(|(k, v)| (k.clone().into(), v.clone().into())).collect();
        let mut overlay = Overlay::new(Arc::new(view));
        let (mut committed, mut open) = (base.clone(), base);
        let mut touched: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
        overlay.begin();
        for step in steps {
            match step {
                Step::Set(key, value) => {
                    overlay.write(key.clone().into(), Some(value.clone().into())).unwrap();
                    touched.insert(key.clone(), ());
                    open.insert(key, value);
                }
                Step::Delete(key) => {
                    overlay.write(key.clone().into(), None).unwrap();
                    open.remove(&key);
                    touched.insert(key, ());
                }
                Step::Commit => {
                    let expected: Vec<Write> = touched
                        .keys()
                        .map(|key| (key.clone().into(), open.get(key).map(|value| value.clone().into())))
                        .collect();
                    prop_assert_eq!(overlay.commit(), expected);
                    touched.clear();
                    committed.clone_from(&open);
                }
                Step::Rollback => {
                    overlay.rollback();
                    touched.clear();
                    open.clone_from(&committed);
                }
                Step::Range(start, end, limit, reverse) => {
                    let got = overlay.range(&start, end.as_deref(), limit, reverse).unwrap();
                    prop_assert_eq!(got, rows(&open, &start, end.as_deref(), limit, reverse));
                }
            }
            prop_assert_eq!(overlay.touched(), touched.len());
            let bytes = |model: &Model| model.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() as u64;
            prop_assert_eq!(overlay.bytes().unwrap(), bytes(&open));
            prop_assert_eq!(overlay.growth(), bytes(&open).cast_signed() - bytes(&committed).cast_signed());
            for key in [&[0][..], &[1, 1], &[2, 0, 1]] {
                prop_assert_eq!(overlay.read(key).unwrap(), overlay.get(key).unwrap());
                prop_assert_eq!(overlay.get(key).unwrap(), open.get(key).map(|value| Bytes::from(value.clone())));
            }
        }
    }
}
