//! Laws of the journal: what a call has returned is there after a restart, and a torn file is never read as something else.

use proptest::prelude::*;

use super::*;

fn block(number: u64) -> BlockRef {
    BlockRef { number, hash: Hash32([7; 32]), time: 1_700_000_000 }
}

fn slot(nonce: u64, seed: u8) -> Slot {
    let claim = Claim {
        log_id: LogId::from_bytes([seed; 32]),
        prev_size: TreeSize::new(3),
        size: TreeSize::new(9),
        root: RootHash::from_bytes([seed ^ 1; 32]),
        note_hash: [seed ^ 2; 32],
    };
    let candidate = Candidate {
        tx_hash: Hash32([seed ^ 3; 32]),
        raw: vec![seed; 40],
        gas: 100_000,
        cap: 1_000_000_000_000_000_000_000 + Wei::from(seed),
        tip: 7,
        data_fee: 11,
        created_ms: 5,
        sent_ms: None,
        claims: vec![claim],
    };
    Slot {
        chain_id: 31_337,
        account: Address([9; 20]),
        nonce,
        epoch: 1,
        opened_ms: 5,
        reorgs: 0,
        state: SlotState::Signed,
        candidates: vec![candidate],
    }
}

fn landed(slot: &Slot, at_ms: u64) -> Landed {
    let tx_hash = slot.candidates[0].tx_hash;
    Landed { tx_hash, block: block(12), cost: 1_000, gas_used: 80_000, succeeded: true, seen_ms: at_ms }
}

fn open(folder: &Path) -> Result<Journal, AnchorError> {
    Journal::open(folder, 31_337, Address([9; 20]), Address([8; 20]))
}

#[test]
fn what_was_put_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).unwrap();
    journal.begin(4).unwrap();
    journal.put(slot(4, 1)).unwrap();
    journal.put(Slot { state: SlotState::Submitted, ..slot(4, 1) }).unwrap();
    drop(journal);
    let journal = open(folder.path()).unwrap();
    assert_eq!(journal.live().unwrap().state, SlotState::Submitted);
    assert_eq!(journal.live().unwrap().candidates, slot(4, 1).candidates);
    assert_eq!(journal.next_nonce(), Some(5));
}

#[test]
fn a_second_worker_on_the_folder_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(AnchorError::Locked(_))));
    drop(first);
    assert!(open(folder.path()).is_ok());
}

#[test]
fn a_folder_of_another_account_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap().begin(0).unwrap();
    let other = Journal::open(folder.path(), 31_337, Address([1; 20]), Address([8; 20]));
    assert!(matches!(other, Err(AnchorError::Config(_))));
    let other = Journal::open(folder.path(), 31_337, Address([9; 20]), Address([1; 20]));
    assert!(matches!(other, Err(AnchorError::Config(_))));
}

#[test]
fn a_slot_torn_at_any_byte_stops_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).unwrap();
    journal.put(slot(0, 1)).unwrap();
    let file = journal.slot_file(0);
    drop(journal);
    let whole = std::fs::read(&file).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&file, &whole[..cut]).unwrap();
        assert!(matches!(open(folder.path()), Err(AnchorError::Damaged { .. })), "cut at {cut}");
    }
    std::fs::write(&file, &whole).unwrap();
    assert!(open(folder.path()).is_ok());
}

#[test]
fn a_flipped_bit_anywhere_in_a_slot_stops_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).unwrap();
    journal.put(slot(0, 1)).unwrap();
    let file = journal.slot_file(0);
    drop(journal);
    let whole = std::fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&file, &bytes).unwrap();
        assert!(matches!(open(folder.path()), Err(AnchorError::Damaged { .. })), "flipped at {at}");
    }
}

#[test]
fn a_temporary_file_of_a_crash_is_dropped_because_nothing_was_sent_from_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let torn = folder.path().join("slots").join("0.tmp");
    std::fs::write(&torn, b"tally-anch").unwrap();
    assert_eq!(open(folder.path()).unwrap().open_slots(), 0);
    assert!(!torn.exists());
}

#[test]
fn a_history_torn_at_any_byte_has_its_whole_lines_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).unwrap();
    for nonce in 0..2 {
        let slot = slot(nonce, 1);
        let landed = landed(&slot, 1_000);
        journal.put(Slot { state: SlotState::Finalized(landed), ..slot }).unwrap();
        journal.close(nonce, 2_000).unwrap();
    }
    assert_eq!((journal.open_slots(), journal.next_nonce(), journal.spent(1_000, None)), (0, Some(2), 2_000));
    let file = journal.history_file(0);
    drop(journal);
    let whole = std::fs::read(&file).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in 0..=whole.len() {
        std::fs::write(&file, &whole[..cut]).unwrap();
        let history = open(folder.path()).unwrap().history(0).unwrap();
        assert_eq!(history.len(), usize::from(cut >= first) + usize::from(cut == whole.len()), "cut at {cut}");
    }
}

#[test]
fn a_crash_between_the_line_and_the_removal_closes_the_slot_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).unwrap();
    let slot = slot(6, 1);
    let landed = landed(&slot, 1_000);
    journal.put(Slot { state: SlotState::Finalized(landed), ..slot }).unwrap();
    let file = journal.slot_file(6);
    let kept = std::fs::read(&file).unwrap();
    journal.close(6, 2_000).unwrap();
    drop(journal);
    std::fs::write(&file, kept).unwrap();
    let journal = open(folder.path()).unwrap();
    assert_eq!((journal.open_slots(), journal.next_nonce(), journal.history(0).unwrap().len()), (0, Some(7), 1));
    assert_eq!(journal.spent(1_000, None), 1_000, "and its cost counts once");
}

#[test]
fn a_halt_outlives_a_restart_and_ends_only_by_an_operator() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap().halt(Halt::ForeignNonce { nonce: 3 }).unwrap();
    let mut journal = open(folder.path()).unwrap();
    assert_eq!(journal.halted(), Some(&Halt::ForeignNonce { nonce: 3 }));
    journal.clear_halt().unwrap();
    drop(journal);
    assert_eq!(open(folder.path()).unwrap().halted(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_journal_is_the_same_after_any_restart(steps in prop::collection::vec((0u8..4, any::<u8>()), 1..24)) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path()).unwrap();
        let mut model: BTreeMap<u64, Slot> = BTreeMap::new();
        let (mut next, mut spent) = (0, 0);
        for (what, seed) in steps {
            match what {
                0 | 1 => {
                    journal.put(slot(next, seed)).unwrap();
                    model.insert(next, slot(next, seed));
                    next += 1;
                }
                2 => if let Some((nonce, slot)) = model.pop_first() {
                    let landed = landed(&slot, 1_000);
                    spent += landed.cost;
                    journal.put(Slot { state: SlotState::Finalized(landed), ..slot }).unwrap();
                    journal.close(nonce, 2_000).unwrap();
                },
                _ => {
                    drop(journal);
                    journal = open(folder.path()).unwrap();
                }
            }
            prop_assert_eq!(journal.slots().cloned().collect::<Vec<_>>(), model.values().cloned().collect::<Vec<_>>());
            let reserved: Wei = model.values().map(Slot::reserve).sum();
            prop_assert_eq!(journal.spent(1_000, None), spent + reserved);
            prop_assert_eq!(journal.next_nonce().unwrap_or(0), next);
        }
    }
}
