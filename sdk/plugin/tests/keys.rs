//! Keys sort as their parts do, are told apart, and ranges hold exactly what begins with their front.

use proptest::prelude::*;
use tally_plugin::{Key, Table};

const T: Table = Table::new("t/");

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Parts {
    name: Vec<u8>,
    number: u64,
    signed: i64,
    id: [u8; 4],
}

fn parts() -> impl Strategy<Value = Parts> {
    let byte = prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()];
    (prop::collection::vec(byte, 0..6), any::<u64>(), any::<i64>(), any::<[u8; 4]>())
        .prop_map(|(name, number, signed, id)| Parts { name, number, signed, id })
}

fn key(parts: &Parts) -> Key {
    T.key().bytes(&parts.name).u64(parts.number).i64(parts.signed).id(&parts.id)
}

proptest! {
    #[test]
    fn bytes_sort_as_the_parts_do(a in parts(), b in parts()) {
        prop_assert_eq!(key(&a).as_bytes().cmp(key(&b).as_bytes()), a.cmp(&b));
    }

    #[test]
    fn parts_come_back_out(a in parts()) {
        let key = key(&a);
        let mut reader = T.read(key.as_bytes()).expect("a key of this table");
        let back = (reader.bytes(), reader.u64(), reader.i64(), reader.id());
        prop_assert_eq!(back, (Some(a.name), Some(a.number), Some(a.signed), Some(a.id)));
        prop_assert!(reader.rest().is_empty());
    }

    #[test]
    fn a_front_holds_exactly_the_keys_that_begin_with_its_parts(a in parts(), b in parts()) {
        let front = T.key().bytes(&a.name);
        let inside = key(&b).as_bytes().starts_with(front.as_bytes());
        prop_assert_eq!(inside, a.name == b.name);
        prop_assert_eq!(front.within().contains(key(&b).as_bytes()), inside);
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let key = [b"t/", bytes.as_slice()].concat();
        let mut reader = T.read(&key).expect("a key of this table");
        let _ = (reader.bytes(), reader.text(), reader.u64(), reader.i64(), reader.id::<4>());
    }
}
