use proptest::prelude::*;

use super::*;

fn tile(level: u8, index: u64, width: u16) -> TileId {
    TileId::new(level, index, width).unwrap()
}

#[test]
fn paths_are_those_of_the_specification() {
    for (id, path) in [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (tile(0, 1067, 5), "tile/0/x001/067.p/5"),
        (tile(63, 999, 255), "tile/63/999.p/255"),
        (tile(1, 1000, 1), "tile/1/x001/000.p/1"),
        (tile(7, u64::MAX, 256), "tile/7/x018/x446/x744/x073/x709/x551/615"),
    ] {
        assert_eq!(id.path(), path);
        assert_eq!(TileId::parse(path), Ok(id));
        let bundle = EntryBundleId::new(id.index, id.width).unwrap();
        let path = path.replacen(&format!("tile/{}/", id.level), "tile/entries/", 1);
        assert_eq!(bundle.path(), path);
        assert_eq!(EntryBundleId::parse(&path), Ok(bundle));
    }
}

#[test]
fn other_spellings_are_refused() {
    for (path, why) in [
        ("", TileError::Path),
        ("tile", TileError::Path),
        ("tile/0", TileError::Path),
        ("tile/0/", TileError::Path),
        ("/tile/0/000", TileError::Path),
        ("tile/8/0/000", TileError::Path),
        ("tile/00/000", TileError::Path),
        ("tile/+1/000", TileError::Path),
        ("tile/-1/000", TileError::Path),
        ("tile//000", TileError::Path),
        ("tile/entries/000", TileError::Path),
        ("tile/data/000", TileError::Path),
        ("tile/64/000", TileError::Level),
        ("tile/256/000", TileError::Level),
        ("tile/0/0", TileError::Path),
        ("tile/0/00", TileError::Path),
        ("tile/0/0000", TileError::Path),
        ("tile/0/x000", TileError::Path),
        ("tile/0/x000/000", TileError::Path),
        ("tile/0/x000/x001/000", TileError::Path),
        ("tile/0/001/000", TileError::Path),
        ("tile/0/X001/000", TileError::Path),
        ("tile/0/xx01/000", TileError::Path),
        ("tile/0/x001/x000", TileError::Path),
        ("tile/0/x001//000", TileError::Path),
        ("tile/0/x001/000/", TileError::Path),
        ("tile/0/+01", TileError::Path),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", TileError::IndexRange),
        ("tile/0/x001/x018/x446/x744/x073/x709/x551/615", TileError::IndexRange),
        ("tile/0/000.p", TileError::Path),
        ("tile/0/000.p/", TileError::Path),
        ("tile/0/000.p/0", TileError::Width),
        ("tile/0/000.p/01", TileError::Path),
        ("tile/0/000.p/256", TileError::Width),
        ("tile/0/000.p/1000", TileError::Path),
        ("tile/0/000.p/1/2", TileError::Path),
        ("tile/0/000.p/1.p/2", TileError::Path),
        ("tile/0/000.P/1", TileError::Path),
        ("tile/0/x001.p/1", TileError::Path),
        ("tile/0/\u{661}\u{662}\u{663}", TileError::Path),
    ] {
        assert_eq!(TileId::parse(path), Err(why), "{path}");
    }
    for path in ["tile/0/000", "tile/entries/x000/000", "tile/entries/", "entries/000"] {
        assert_eq!(EntryBundleId::parse(path), Err(TileError::Path), "{path}");
    }
}

#[test]
fn ids_out_of_range_are_refused() {
    assert_eq!(TileId::new(64, 0, 1), Err(TileError::Level));
    assert_eq!(TileId::new(0, 0, 0), Err(TileError::Width));
    assert_eq!(TileId::new(0, 0, 257), Err(TileError::Width));
    assert_eq!(EntryBundleId::new(0, 0), Err(TileError::Width));
    assert_eq!(EntryBundleId::new(0, 257), Err(TileError::Width));
}

#[test]
fn the_specification_s_tree_of_seventy_thousand_has_these_tiles() {
    let size = TreeSize::new(70_000);
    assert_eq!(TileId::in_tree(0, 272, size), Some(tile(0, 272, 256)));
    assert_eq!(TileId::in_tree(0, 273, size), Some(tile(0, 273, 112)));
    assert_eq!(TileId::in_tree(0, 274, size), None);
    assert_eq!(TileId::in_tree(1, 0, size), Some(tile(1, 0, 256)));
    assert_eq!(TileId::in_tree(1, 1, size), Some(tile(1, 1, 17)));
    assert_eq!(TileId::in_tree(2, 0, size), Some(tile(2, 0, 1)));
    assert_eq!(TileId::in_tree(3, 0, size), None);
    assert_eq!(TileId::in_tree(1, 0, TreeSize::new(256)), Some(tile(1, 0, 1)));
    assert_eq!(TileId::in_tree(63, 0, TreeSize::new(u64::MAX)), None);
    assert_eq!(TileId::in_tree(0, u64::MAX, TreeSize::new(u64::MAX)), None);
}

#[test]
fn a_bundle_is_read_with_its_width_only() {
    let entries: [&[u8]; 3] = [b"a", b"", b"ccc"];
    let bundle = encode_bundle(&entries).unwrap();
    assert_eq!(bundle, b"\x00\x01a\x00\x00\x00\x03ccc");
    assert_eq!(decode_bundle(&bundle, 3).unwrap(), entries);
    assert_eq!(decode_bundle(&bundle, 2), Err(TileError::BundleCount));
    assert_eq!(decode_bundle(&bundle, 4), Err(TileError::BundleTruncated));
    assert_eq!(decode_bundle(&bundle, 0), Err(TileError::BundleCount));
    assert_eq!(decode_bundle(&bundle, 257), Err(TileError::BundleCount));
    assert_eq!(decode_bundle(&bundle[..bundle.len() - 1], 3), Err(TileError::BundleTruncated));
    assert_eq!(decode_bundle(&bundle[..4], 3), Err(TileError::BundleTruncated));
}

#[test]
fn a_bundle_holds_one_to_256_entries_of_16_bit_length() {
    assert_eq!(encode_bundle::<&[u8]>(&[]), Err(TileError::BundleCount));
    assert_eq!(encode_bundle(&vec![b"e"; 257]), Err(TileError::BundleCount));
    assert_eq!(encode_bundle(&[vec![0; 65_536]]), Err(TileError::EntryTooLong));
    assert_eq!(encode_bundle(&[vec![0; 65_535]]).unwrap().len(), 65_537);
}

proptest! {
    #[test]
    fn path_and_parse_are_identities(level in 0u8..64, index in prop_oneof![any::<u64>(), 0u64..2_000_000], width in 1u16..=256) {
        let id = tile(level, index, width);
        prop_assert_eq!(TileId::parse(&id.path()), Ok(id));
        let bundle = EntryBundleId::new(index, width).unwrap();
        prop_assert_eq!(EntryBundleId::parse(&bundle.path()), Ok(bundle));
    }

    #[test]
    fn what_parses_is_the_id_s_own_path(path in "tile/[0-9]{1,2}(/x[0-9]{3}){0,2}/[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(id) = TileId::parse(&path) {
            prop_assert_eq!(id.path(), path);
        }
    }

    #[test]
    fn the_tiles_of_a_tree_are_within_it_and_wider_ones_are_not(level in 0u8..4, index in 0u64..70, size in 0u64..1_000_000) {
        let size = TreeSize::new(size);
        match TileId::in_tree(level, index, size) {
            Some(id) => {
                prop_assert!(id.is_within(size));
                prop_assert!(id.width == TILE_WIDTH || !tile(level, index, id.width + 1).is_within(size));
                prop_assert!(level > 0 || EntryBundleId::new(index, id.width).unwrap().is_within(size));
            }
            None => prop_assert!(!tile(level, index, 1).is_within(size)),
        }
    }

    #[test]
    fn bundles_read_back_and_have_one_spelling(
        entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..=256),
        noise in proptest::collection::vec(0u8..4, 0..64), width in 1u16..16,
    ) {
        let bundle = encode_bundle(&entries).unwrap();
        let count = u16::try_from(entries.len()).unwrap();
        prop_assert_eq!(decode_bundle(&bundle, count).unwrap(), entries);
        if let Ok(read) = decode_bundle(&noise, width) {
            prop_assert_eq!(encode_bundle(&read).unwrap(), noise);
        }
    }
}
