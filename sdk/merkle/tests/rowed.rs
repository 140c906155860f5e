//! The laws of tiles read with their middle row: the same nodes as from the hashes alone, and from a naive tree.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;
use tally_merkle::{
    Edge, FullTile, MIDDLE_ROW_BYTES, NodeSource, RowedTile, TILE_BYTES, TileHashes, TileNodes, TileTree,
    consistency_path, inclusion_path,
};
use tally_protocol::hash::{LeafHash, NodeHash};
use tally_protocol::id::{Index, TreeSize};

#[allow(dead_code, reason = "each test file uses its part of the oracle")]
mod reference;

use reference::Hash;

fn raw(hashes: &[NodeHash]) -> Vec<Hash> {
    hashes.iter().map(|hash| *hash.as_bytes()).collect()
}

fn leaf_hashes(hashes: &[Hash]) -> Vec<LeafHash> {
    hashes.iter().copied().map(LeafHash::from_bytes).collect()
}

/// Any 256 hashes as a tile, with the row they have.
fn some_tile(hashes: &[Hash]) -> FullTile {
    Edge::new().append(&leaf_hashes(hashes)).remove(0)
}

fn rowed(tile: &FullTile) -> RowedTile<&[u8]> {
    RowedTile::new(&*tile.bytes, &*tile.middle_row).expect("a whole tile")
}

/// Every tile of a log, by level and number.
struct Stored {
    edge: Edge,
    tiles: BTreeMap<(u8, u64), FullTile>,
}

impl Stored {
    fn of(hashes: &[Hash]) -> Self {
        let mut edge = Edge::new();
        let tiles = edge.append(&leaf_hashes(hashes));
        Self { edge, tiles: tiles.into_iter().map(|tile| ((tile.level, tile.index), tile)).collect() }
    }

    fn source<'a, T: TileHashes + 'a>(
        &'a self,
        of: impl Fn(&'a FullTile) -> T + 'a,
    ) -> impl NodeSource<Error = impl std::fmt::Debug> + 'a {
        TileNodes::new(&self.edge, move |level, index| Ok::<_, Infallible>(self.tiles.get(&(level, index)).map(&of)))
    }
}

#[test]
fn a_tile_with_its_row_has_every_node_of_its_hashes_in_any_order() {
    let tile = some_tile(&reference::some_leaves(256));
    assert_eq!((tile.bytes.len(), tile.middle_row.len()), (TILE_BYTES, MIDDLE_ROW_BYTES));
    let tree = TileTree::new(&tile.bytes).unwrap();
    assert_eq!(tree.middle_row(), &*tile.middle_row);
    let one = rowed(&tile);
    for height in (0..12).chain((0..9).rev()) {
        for at in 0..300 {
            assert_eq!(one.subtree(height, at), tree.subtree(height, at), "{at} at height {height}");
            assert_eq!(rowed(&tile).subtree(height, at), tree.subtree(height, at), "{at} at height {height}, fresh");
        }
    }
    assert_eq!(one.subtree(u32::MAX, 0).or(one.subtree(0, usize::MAX)), None);
}

#[test]
fn bytes_and_rows_of_other_lengths_are_no_tile() {
    let tile = some_tile(&reference::some_leaves(256));
    let (bytes, row) = (&*tile.bytes, &*tile.middle_row);
    assert!(RowedTile::new(bytes, row).is_some());
    for (bytes, row) in [(&bytes[1..], row), (bytes, &row[1..]), (bytes, bytes), (row, row), (bytes, &[][..])] {
        assert!(RowedTile::new(bytes, row).is_none());
    }
}

#[test]
fn a_wrong_row_is_not_the_row_that_the_hashes_give() {
    let mut tile = some_tile(&reference::some_leaves(256));
    let tree = TileTree::new(&tile.bytes).unwrap();
    for at in (0..MIDDLE_ROW_BYTES).step_by(7) {
        let mut row = tree.middle_row();
        row[at] ^= 1;
        assert_ne!(tree.middle_row(), row);
        // And nothing else would have said so: the row is believed where it is read.
        tile.middle_row = row.into();
        assert_ne!(rowed(&tile).subtree(8, 0), tree.subtree(8, 0));
        assert_eq!(rowed(&tile).subtree(3, 5), tree.subtree(3, 5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn paths_with_rows_without_them_and_from_a_naive_tree_are_equal(
        n in 1usize..5000,
        picks in proptest::collection::vec(any::<(u32, u32)>(), 12),
    ) {
        let hashes = reference::some_leaves(n);
        let stored = Stored::of(&hashes);
        let with_rows = stored.source(rowed);
        let (hashed, bare) = (stored.source(|tile| TileTree::new(&tile.bytes).unwrap()), stored.source(|tile| tile.bytes.to_vec()));
        for (index, size) in picks {
            // Half of them at the edge's own size, whose border is remembered.
            let size = if index % 2 == 0 { n } else { 1 + size as usize % n };
            let index = index as usize % size;
            let naive = reference::path(index, &hashes[..size]);
            let (at, of) = (Index::new(index as u64), TreeSize::new(size as u64));
            prop_assert_eq!(&raw(&inclusion_path(&with_rows, at, of).unwrap()), &naive);
            prop_assert_eq!(&raw(&inclusion_path(&hashed, at, of).unwrap()), &naive);
            prop_assert_eq!(&raw(&inclusion_path(&bare, at, of).unwrap()), &naive);
            let (old, naive) = (TreeSize::new(index as u64 + 1), reference::proof(index + 1, &hashes[..size]));
            prop_assert_eq!(&raw(&consistency_path(&with_rows, old, of).unwrap()), &naive);
        }
    }

    #[test]
    fn an_edge_that_was_asked_for_paths_forgets_them_when_it_grows(n in 1usize..2000, more in 0usize..600) {
        let hashes = reference::some_leaves(n + more);
        let mut stored = Stored::of(&hashes[..n]);
        for size in [n, n + more] {
            if size > n {
                let tiles = stored.edge.append(&leaf_hashes(&hashes[n..]));
                stored.tiles.extend(tiles.into_iter().map(|tile| ((tile.level, tile.index), tile)));
            }
            let source = stored.source(rowed);
            for index in [0, size / 2, size - 1] {
                let path = inclusion_path(&source, Index::new(index as u64), TreeSize::new(size as u64)).unwrap();
                prop_assert_eq!(raw(&path), reference::path(index, &hashes[..size]));
            }
        }
    }

    #[test]
    fn every_tile_that_a_log_completes_has_the_row_of_its_hashes(
        n in 60_000usize..70_000,
        cut in 0usize..70_000,
    ) {
        let leaves = leaf_hashes(&reference::some_leaves(n));
        let (first, second) = leaves.split_at(cut.min(n));
        let mut edge = Edge::new();
        for tile in [edge.append(first), edge.append(second)].concat() {
            prop_assert_eq!(TileTree::new(&tile.bytes).unwrap().middle_row(), &*tile.middle_row, "{:?}", tile);
        }
    }
}
