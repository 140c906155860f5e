//! The folder against a map: whatever a kill leaves, what is there is whole, and a put ends what a killed one began.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Ends a put after so many of its steps, as a kill would: nothing is cleaned up.
#[derive(Debug)]
pub(super) struct Stop {
    steps_left: AtomicUsize,
}

impl Stop {
    pub(super) fn after(&self, _step: Step) -> Result<(), ObjectError> {
        let left = self.steps_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() { Err(ObjectError::Unavailable("killed".to_owned())) } else { Ok(()) }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.steps_left.load(Ordering::SeqCst) == 0
    }
}

const BYTES_MAX: u64 = 200_000;

fn opened(folder: &TempDir) -> FileStore {
    FileStore::open(&folder.path().join("store"), BYTES_MAX).unwrap()
}

fn stopping(folder: &TempDir, steps_left: usize) -> FileStore {
    let mut inner = Inner::open(&folder.path().join("store"), BYTES_MAX).unwrap();
    inner.stop = Some(Stop { steps_left: AtomicUsize::new(steps_left) });
    FileStore(Arc::new(inner))
}

/// Where an object is, by the format's own words.
fn file_of(folder: &TempDir, name: &ObjectHash) -> PathBuf {
    let hex = name.to_hex();
    folder.path().join("store/sha256").join(&hex[..2]).join(&hex[2..4]).join(hex)
}

fn drafts(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path().join("store/incoming")).unwrap().count()
}

fn cases() -> u32 {
    std::env::var("TALLY_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(32)
}

/// What may happen to object `0`, a small number.
#[derive(Debug, Clone)]
enum Happening {
    Put(u8),
    /// A put of other bytes under the name.
    Lie(u8),
    /// A put that is killed after so many steps.
    Killed(u8, usize),
    /// A bit of the file turns.
    Flip(u8, usize),
    /// The file is cut, and syncs were for nothing.
    Cut(u8),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let object = 0..4u8;
    prop_oneof![
        3 => object.clone().prop_map(Happening::Put),
        1 => object.clone().prop_map(Happening::Lie),
        3 => (object.clone(), 0..8usize).prop_map(|(object, steps)| Happening::Killed(object, steps)),
        2 => (object.clone(), any::<usize>()).prop_map(|(object, bit)| Happening::Flip(object, bit)),
        1 => object.prop_map(Happening::Cut),
        1 => Just(Happening::Restart),
    ]
}

/// Empty, small, exactly one piece, several pieces.
fn bytes_of(object: u8) -> Vec<u8> {
    let length = [0, 10, PIECE_BYTES, 2 * PIECE_BYTES + 7][usize::from(object)];
    (0..length).map(|at| u8::try_from(at % 251).unwrap() ^ object).collect()
}

/// What the model knows of an object: never put, whole, or broken behind the store's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Whole,
    Broken,
    /// A killed put may have come that far or not.
    MaybeWhole,
    /// The same, over a broken one.
    MaybeMended,
}

fn agree(store: &FileStore, model: &mut BTreeMap<u8, Known>) {
    for object in 0..4 {
        let bytes = bytes_of(object);
        let name = crate::objects::name_of(&bytes);
        let got = store.get_now(&name, None);
        let whole = got.as_ref().is_ok_and(|got| got[..] == bytes[..]);
        match (model.get(&object), &got) {
            (Some(Known::Whole | Known::MaybeWhole | Known::MaybeMended), Ok(_)) if whole => {
                model.insert(object, Known::Whole);
            }
            (Some(Known::Broken | Known::MaybeMended), Err(ObjectError::Damaged(damaged))) if *damaged == name => {
                model.insert(object, Known::Broken);
            }
            (None | Some(Known::MaybeWhole), Err(ObjectError::Absent(absent))) if *absent == name => {
                model.remove(&object);
            }
            (known, got) => panic!("object {object}: {known:?}, but {:?}", got.as_ref().map(Bytes::len)),
        }
    }
}

fn happen(folder: &TempDir, store: &mut FileStore, model: &mut BTreeMap<u8, Known>, what: &Happening) {
    match *what {
        Happening::Put(object) => {
            let bytes = bytes_of(object);
            let stored = store.put_now(&crate::objects::name_of(&bytes), bytes.into(), None).unwrap();
            let expected = match model.insert(object, Known::Whole) {
                None => Stored::New,
                Some(Known::Broken) => Stored::Mended,
                Some(_) => Stored::Present,
            };
            assert_eq!(stored, expected);
        }
        Happening::Lie(object) => {
            let name = crate::objects::name_of(&bytes_of(object));
            let lie = store.put_now(&name, bytes_of((object + 1) % 4).into(), None);
            assert_eq!(lie, Err(ObjectError::Mismatch(name)));
        }
        Happening::Killed(object, steps) => {
            let (bytes, killed) = (bytes_of(object), stopping(folder, steps));
            let put = killed.put_now(&crate::objects::name_of(&bytes), bytes.into(), None);
            let known = match (put, model.get(&object)) {
                (Ok(_), _) | (Err(_), Some(Known::Whole)) => Known::Whole,
                (Err(_), Some(Known::Broken)) => Known::MaybeMended,
                (Err(_), _) => Known::MaybeWhole,
            };
            model.insert(object, known);
        }
        Happening::Flip(object, bit) => damage(folder, model, object, |bytes| {
            let bit = bit % (bytes.len() * 8).max(1);
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }),
        Happening::Cut(object) => damage(folder, model, object, |bytes| bytes.truncate(bytes.len() / 2)),
        Happening::Restart => {
            *store = opened(folder);
            assert_eq!(drafts(folder), 0, "a start takes away what kills left");
        }
    }
}

fn damage(folder: &TempDir, model: &mut BTreeMap<u8, Known>, object: u8, how: impl FnOnce(&mut Vec<u8>)) {
    let good = bytes_of(object);
    let path = file_of(folder, &crate::objects::name_of(&good));
    let Ok(mut bytes) = std::fs::read(&path) else { return };
    how(&mut bytes);
    std::fs::write(&path, &bytes).unwrap();
    model.insert(object, if bytes == good { Known::Whole } else { Known::Broken });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_map_whatever_is_killed_or_turned(happenings in prop::collection::vec(happening(), 1..24)) {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, mut model) = (opened(&folder), BTreeMap::new());
        for what in &happenings {
            happen(&folder, &mut store, &mut model, what);
            agree(&store, &mut model);
        }
    }

    #[test]
    fn a_range_is_that_part_of_the_bytes_or_an_error(start in 0..20u64, end in 0..20u64) {
        let folder = tempfile::tempdir().unwrap();
        let (store, bytes) = (opened(&folder), bytes_of(1));
        let name = crate::objects::name_of(&bytes);
        store.put_now(&name, bytes.clone().into(), None).unwrap();
        let expected = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
        let expected = bytes.get(expected).map(Bytes::copy_from_slice).ok_or(ObjectError::Range);
        prop_assert_eq!(store.get_now(&name, Some(start..end)), expected);
    }
}

/// The property above reaches every step: a put of two pieces has six places to be killed at.
#[test]
fn a_put_killed_at_any_step_leaves_the_object_whole_or_absent() {
    let bytes = bytes_of(3);
    let name = crate::objects::name_of(&bytes);
    let mut ends = Vec::new();
    for steps in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let put = stopping(&folder, steps).put_now(&name, bytes.clone().into(), None);
        let left = drafts(&folder);
        let store = opened(&folder);
        let got = store.get_now(&name, None);
        ends.push((put.is_ok(), left, got.is_ok()));
        assert!(matches!(got, Ok(_) | Err(ObjectError::Absent(_))), "{got:?}");
        assert_eq!(drafts(&folder), 0);
        store.put_now(&name, bytes.clone().into(), None).unwrap();
        assert_eq!(store.get_now(&name, None).unwrap(), bytes);
    }
    // Created, three pieces and a synced file leave a draft; after the rename the object is there; then the put is done.
    let mut expected = vec![(false, 1, false); 5];
    expected.extend([(false, 0, true), (true, 0, true), (true, 0, true)]);
    assert_eq!(ends, expected);
}

#[test]
fn a_start_leaves_the_draft_of_a_living_put() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    let (file, draft) = store.0.draft(&ObjectHash::ZERO).unwrap();
    opened(&folder);
    assert!(store.0.incoming.holds(&draft, &file).unwrap());
    drop(file);
    opened(&folder);
    assert_eq!(drafts(&folder), 0);
}

/// A source that fails in its middle.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| std::io::Error::other("gone"))?;
        into.fill(1);
        Ok(into.len())
    }
}

#[test]
fn what_is_refused_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    let name = crate::objects::name_of(b"x");
    let long = usize::try_from(BYTES_MAX).unwrap() + 1;
    let too_long = store.put_now(&crate::objects::name_of(&vec![0; long]), vec![0; long].into(), None);
    assert_eq!(too_long, Err(ObjectError::TooLong { bytes_max: BYTES_MAX }));
    assert_eq!(store.put_now(&name, b"y".to_vec().into(), None), Err(ObjectError::Mismatch(name)));
    let broken = store.put_now(&name, Source::reader(Broken(2)), None);
    assert_eq!(broken, Err(ObjectError::Source("gone".to_owned())));
    assert_eq!((drafts(&folder), store.stat_now(&name)), (0, Ok(None)));
}
