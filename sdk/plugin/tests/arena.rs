//! The allocator's arithmetic against a list of live blocks.

use proptest::prelude::*;
use tally_plugin::arena::Arena;

const BASE: usize = 1_000;

#[derive(Clone, Debug)]
enum Act {
    Alloc { size: usize, align: usize },
    Free(prop::sample::Index),
    Resize(prop::sample::Index, usize),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..300_usize, 0..5_u32).prop_map(|(size, power)| Act::Alloc { size, align: 1 << power }),
        3 => any::<prop::sample::Index>().prop_map(Act::Free),
        1 => (any::<prop::sample::Index>(), 1..300_usize).prop_map(|(at, size)| Act::Resize(at, size)),
    ]
}

proptest! {
    #[test]
    fn live_blocks_never_overlap_and_an_empty_heap_begins_at_its_base(list in prop::collection::vec(acts(), 1..80)) {
        let mut arena = Arena::new(BASE, usize::MAX);
        let mut live: Vec<(usize, usize)> = Vec::new();
        for act in list {
            match act {
                Act::Alloc { size, align } => {
                    let (start, stop) = arena.place(size, align).expect("it fits");
                    arena.take(stop);
                    prop_assert_eq!((start % align, stop - start), (0, size));
                    live.push((start, size));
                }
                Act::Free(at) if !live.is_empty() => {
                    let (start, size) = live.remove(at.index(live.len()));
                    arena.free(start, size);
                }
                Act::Resize(at, size) if !live.is_empty() => {
                    let at = at.index(live.len());
                    let (start, old) = live[at];
                    if arena.is_last(start, old) {
                        arena.resize_last(start + size);
                        live[at] = (start, size);
                    }
                }
                Act::Free(_) | Act::Resize(..) => {}
            }
            let mut sorted = live.clone();
            sorted.sort_unstable();
            for pair in sorted.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
            }
            prop_assert!(sorted.first().is_none_or(|(start, _)| *start >= BASE));
            prop_assert_eq!(arena.live(), live.len());
            let next = arena.place(0, 1).expect("it fits").0;
            prop_assert!(sorted.iter().all(|(start, size)| start + size <= next));
            if live.is_empty() {
                prop_assert_eq!(next, BASE);
            }
        }
    }
}

#[test]
fn what_does_not_fit_an_address_is_refused() {
    let arena = Arena::new(usize::MAX - 10, usize::MAX);
    assert_eq!(arena.place(11, 1), None);
    assert_eq!(arena.place(1, 4096), None);
}
