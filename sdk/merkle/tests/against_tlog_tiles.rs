//! Foreign code reads our tiles: the `tlog_tiles` crate authenticates them against our root, makes its own proofs out
//! of them, and checks ours.

use std::collections::BTreeMap;

use tally_merkle::{Edge, FullTile, TileNodes, consistency_path, inclusion_path};
use tally_protocol::hash::{LeafHash, NodeHash, leaf};
use tally_protocol::id::{Index, TreeSize};
use tlog_tiles::{
    Error, Hash, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree, tree_hash,
};

/// What a tlog-tiles server would serve at the edge's size.
struct Served {
    edge: Edge,
    full: BTreeMap<(u8, u64), FullTile>,
}

impl Served {
    fn new(leaves: &[LeafHash]) -> Self {
        let mut edge = Edge::new();
        let full = edge.append(leaves).into_iter().map(|tile| ((tile.level, tile.index), tile)).collect();
        Self { edge, full }
    }

    fn tile(&self, tile: &Tile) -> Vec<u8> {
        let width = tile.width() as usize * 32;
        let partial = || self.edge.partial(tile.level()).iter().flat_map(|hash| *hash.as_bytes()).collect();
        let bytes = self.full.get(&(tile.level(), tile.level_index())).map_or_else(partial, |full| full.bytes.to_vec());
        bytes[..width].to_vec()
    }
}

impl TileReader for Served {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        Ok(tiles.iter().map(|tile| self.tile(tile)).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn theirs(hashes: &[NodeHash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash(*hash.as_bytes())).collect()
}

#[test]
fn foreign_code_authenticates_our_tiles_and_agrees_on_every_proof() {
    for size in [1u64, 2, 255, 256, 257, 511, 600, 66_000] {
        let leaves: Vec<_> = (0..size).map(|i| leaf(&i.to_be_bytes())).collect();
        let served = Served::new(&leaves);
        let root = Hash(*served.edge.root().as_bytes());
        let reader = TileHashReader::new(size, root, &served);
        assert_eq!(tree_hash(size, &reader).unwrap(), root);

        let fetch = |level: u8, index: u64| {
            Ok::<_, std::convert::Infallible>(served.full.get(&(level, index)).map(|tile| tile.bytes.clone()))
        };
        let nodes = TileNodes::new(&served.edge, fetch);
        for index in [0, 1, size / 3, size / 2, size - 1].into_iter().filter(|index| *index < size) {
            let path = inclusion_path(&nodes, Index::new(index), TreeSize::new(size)).unwrap();
            let path = theirs(&path);
            assert_eq!(path, prove_record(size, index, &reader).unwrap(), "{index} of {size}");
            check_record(&path, size, root, index, Hash(*leaves[index as usize].as_bytes())).unwrap();

            let old = index + 1;
            let path = theirs(&consistency_path(&nodes, TreeSize::new(old), TreeSize::new(size)).unwrap());
            assert_eq!(path, prove_tree(size, old, &reader).unwrap(), "{old} to {size}");
            let was = tree_hash(old, &reader).unwrap();
            check_tree(&path, size, root, old, was).unwrap();
        }
    }
}
