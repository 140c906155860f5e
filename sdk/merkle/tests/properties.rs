//! The laws of the log's tree: every way to the same hashes gives the same hashes, and every proof verifies.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tally_merkle::{
    ConsistencyProof, Edge, Frontier, FullTile, InclusionProof, NodeSource, RunTree, TILE_BYTES, TileError, TileHashes,
    TileNodes, TileTree, TreeError, consistency_path, inclusion_path, inclusion_proof, root_at, verify_consistency,
    verify_inclusion,
};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::tile::TileId;

#[allow(dead_code, reason = "each test file uses its part of the oracle")]
mod reference;

use reference::Hash;

fn leaf_hashes(hashes: &[Hash]) -> Vec<LeafHash> {
    hashes.iter().copied().map(LeafHash::from_bytes).collect()
}

fn raw(hashes: &[NodeHash]) -> Vec<Hash> {
    hashes.iter().map(|hash| *hash.as_bytes()).collect()
}

fn root_of(hashes: &[Hash]) -> RootHash {
    RootHash::from_bytes(reference::mth(hashes))
}

fn frontier_of(leaves: &[LeafHash]) -> Frontier {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier
}

/// All nodes of a tree of these leaves.
fn whole(leaves: &[LeafHash]) -> RunTree {
    RunTree::extend(&mut Frontier::new(), leaves)
}

fn size(n: usize) -> TreeSize {
    TreeSize::new(n as u64)
}

fn index(n: usize) -> Index {
    Index::new(n as u64)
}

/// Full tiles by level and index, as a store holds them.
type Store = BTreeMap<(u8, u64), std::sync::Arc<[u8]>>;

fn keep(store: &mut Store, tiles: Vec<FullTile>) {
    for tile in tiles {
        assert_eq!(tile.bytes.len(), TILE_BYTES);
        assert_eq!(TileId::full(tile.level, tile.index), Ok(tile.id()));
        assert!(store.insert((tile.level, tile.index), tile.bytes).is_none(), "a full tile is given once");
    }
}

fn read(store: &Store) -> impl Fn(u8, u64) -> Result<Option<std::sync::Arc<[u8]>>, std::convert::Infallible> {
    |level, index| Ok(store.get(&(level, index)).cloned())
}

#[test]
fn the_frontier_has_the_naive_root_at_every_size() {
    let hashes = reference::some_leaves(600);
    let mut frontier = Frontier::new();
    for n in 0..=600 {
        assert_eq!(frontier.size(), size(n));
        assert_eq!(frontier.root(), root_of(&hashes[..n]), "size {n}");
        if let Some(hash) = hashes.get(n) {
            frontier.append(LeafHash::from_bytes(*hash));
        }
    }
}

#[test]
fn every_inclusion_path_is_the_naive_path_and_verifies() {
    let hashes = reference::some_leaves(130);
    let leaves = leaf_hashes(&hashes);
    for n in 1..=130 {
        let tree = whole(&leaves[..n]);
        let root = root_of(&hashes[..n]);
        assert_eq!(tree.root(), root);
        for (m, leaf) in leaves[..n].iter().enumerate() {
            let path = tree.path(index(m));
            assert_eq!(raw(&path), reference::path(m, &hashes[..n]), "leaf {m} of {n}");
            assert_eq!(inclusion_path(&tree, index(m), size(n)).unwrap(), path);
            let proof = InclusionProof { index: index(m), size: size(n), path };
            verify_inclusion(leaf, &proof, &root).unwrap();
        }
    }
}

#[test]
fn a_large_tree_serves_every_smaller_size() {
    let hashes = reference::some_leaves(200);
    let tree = whole(&leaf_hashes(&hashes));
    for n in 0..=200 {
        assert_eq!(root_at(&tree, size(n)).unwrap(), root_of(&hashes[..n]));
        for m in (0..n).step_by(7) {
            assert_eq!(raw(&inclusion_path(&tree, index(m), size(n)).unwrap()), reference::path(m, &hashes[..n]));
        }
    }
}

#[test]
fn every_consistency_path_is_the_naive_proof_and_verifies() {
    let hashes = reference::some_leaves(130);
    let tree = whole(&leaf_hashes(&hashes));
    let roots: Vec<_> = (0..=130).map(|n| root_of(&hashes[..n])).collect();
    for new in 0..=130 {
        for old in 0..=new {
            let path = consistency_path(&tree, size(old), size(new)).unwrap();
            let naive = if old == 0 { Vec::new() } else { reference::proof(old, &hashes[..new]) };
            assert_eq!(raw(&path), naive, "{old} to {new}");
            let proof = ConsistencyProof { old: size(old), new: size(new), path };
            verify_consistency(&proof, &roots[old], &roots[new]).unwrap();
        }
    }
}

#[test]
fn questions_without_an_answer_are_refused() {
    let tree = whole(&leaf_hashes(&reference::some_leaves(5)));
    assert!(matches!(inclusion_path(&tree, index(5), size(5)), Err(TreeError::IndexBeyondSize { .. })));
    assert!(matches!(inclusion_path(&tree, index(0), size(0)), Err(TreeError::IndexBeyondSize { .. })));
    assert!(matches!(inclusion_path(&tree, index(0), size(6)), Err(TreeError::Source(_))));
    assert!(matches!(consistency_path(&tree, size(4), size(3)), Err(TreeError::SizesReversed { .. })));
    assert!(matches!(consistency_path(&tree, size(4), size(9)), Err(TreeError::Source(_))));
}

/// Appends leaves in the given cuts and checks everything the runs say on the way.
fn run_by_run(hashes: &[Hash], cuts: &[usize]) -> (Frontier, Edge, Store) {
    let leaves = leaf_hashes(hashes);
    let (mut frontier, mut edge, mut store) = (Frontier::new(), Edge::new(), Store::new());
    let mut from = 0;
    for to in cuts.iter().copied().chain([hashes.len()]) {
        let run = RunTree::extend(&mut frontier, &leaves[from..to]);
        assert_eq!((run.start(), run.size()), (size(from), size(to)));
        assert_eq!(run.root(), frontier.root());
        assert_eq!(run.root(), root_of(&hashes[..to]));
        let shared = run.shared_path();
        assert_eq!(shared.len(), run.shared_path_len());
        for m in from..to {
            let path = run.path(index(m));
            assert_eq!(raw(&path), reference::path(m, &hashes[..to]), "leaf {m} of run {from}..{to}");
            assert_eq!([run.own_path(index(m)), shared.clone()].concat(), path);
        }
        keep(&mut store, edge.append_run(&run).expect("the edge keeps step with the frontier"));
        from = to;
    }
    (frontier, edge, store)
}

#[test]
fn every_single_cut_of_a_small_tree_gives_the_same_tree() {
    for n in 0..=34 {
        let hashes = reference::some_leaves(n);
        let one = run_by_run(&hashes, &[]);
        for cut in 0..=n {
            assert_eq!(run_by_run(&hashes, &[cut]), one);
        }
    }
}

#[test]
fn the_shared_path_is_as_long_as_it_can_be() {
    let leaves = leaf_hashes(&reference::some_leaves(70));
    for from in 0..70 {
        for to in from + 1..=70 {
            let mut frontier = frontier_of(&leaves[..from]);
            let run = RunTree::extend(&mut frontier, &leaves[from..to]);
            let paths: Vec<_> = (from..to).map(|m| run.path(index(m))).collect();
            let ends =
                |len: usize| paths.iter().all(|p| p.len() >= len && p[p.len() - len..] == run.shared_path()[..len]);
            assert!(ends(run.shared_path_len()), "{from}..{to}");
            if to - from == 1 {
                assert_eq!(run.shared_path_len(), paths[0].len());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_leaves_are_cut_into_runs_changes_nothing(
        n in 0usize..320,
        mut cuts in proptest::collection::vec(0usize..320, 0..12),
    ) {
        let hashes = reference::some_leaves(n);
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(n));
        cuts.sort_unstable();
        let one = run_by_run(&hashes, &[]);
        prop_assert_eq!(run_by_run(&hashes, &cuts), one);
    }

    #[test]
    fn appending_leaf_hashes_or_runs_gives_the_same_tiles(
        n in 0usize..3000,
        mut cuts in proptest::collection::vec(0usize..3000, 0..8),
    ) {
        let leaves = leaf_hashes(&reference::some_leaves(n));
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(n));
        cuts.sort_unstable();
        let (mut by_run, mut by_leaf) = (Edge::new(), Edge::new());
        let mut frontier = Frontier::new();
        let mut from = 0;
        for to in cuts.into_iter().chain([n]) {
            let run = RunTree::extend(&mut frontier, &leaves[from..to]);
            prop_assert_eq!(by_run.append_run(&run).unwrap(), by_leaf.append(&leaves[from..to]));
            prop_assert_eq!(&by_run, &by_leaf);
            prop_assert_eq!(by_leaf.root(), frontier.root());
            prop_assert_eq!(by_leaf.frontier(), frontier.clone());
            from = to;
        }
    }

    #[test]
    fn a_random_tree_has_the_naive_root_and_paths(n in 1usize..5000, picks in proptest::collection::vec(any::<u32>(), 6)) {
        let hashes = reference::some_leaves(n);
        let leaves = leaf_hashes(&hashes);
        prop_assert_eq!(frontier_of(&leaves).root(), root_of(&hashes));
        let tree = whole(&leaves);
        for pick in picks {
            let m = pick as usize % n;
            prop_assert_eq!(raw(&tree.path(index(m))), reference::path(m, &hashes));
            let proof = consistency_path(&tree, size(m + 1), size(n)).unwrap();
            prop_assert_eq!(raw(&proof), reference::proof(m + 1, &hashes));
        }
    }
}

/// What C2SP tlog-tiles says tile `n` of level `l` holds at `width`.
fn naive_tile(hashes: &[Hash], level: u8, tile: u64, width: usize) -> Vec<u8> {
    let span = 256usize.pow(level.into());
    let first = tile as usize * 256;
    (first..first + width).flat_map(|i| reference::mth(&hashes[i * span..(i + 1) * span])).collect()
}

#[test]
fn the_edge_gives_the_naive_tiles() {
    // Three levels: a full tile of level 1 and two hashes of level 2 need 2 * 65,536 leaves.
    let n = 2 * 65_536 + 3 * 256 + 17;
    let hashes = reference::some_leaves(n);
    let (mut edge, mut store) = (Edge::new(), Store::new());
    for chunk in leaf_hashes(&hashes).chunks(4099) {
        keep(&mut store, edge.append(chunk));
    }
    let (level0, level1) = (n / 256, n / 65_536);
    assert_eq!(store.len(), level0 + level1);
    for (&(level, tile), bytes) in &store {
        assert!(bytes[..] == naive_tile(&hashes, level, tile, 256)[..], "tile {tile} of level {level}");
    }
    let partial = |level: u8| raw(edge.partial(level)).concat();
    assert_eq!(partial(0), naive_tile(&hashes, 0, level0 as u64, 17));
    assert_eq!(partial(1), naive_tile(&hashes, 1, level1 as u64, 3));
    assert_eq!(partial(2), naive_tile(&hashes, 2, 0, 2));
    for level in 3..=255 {
        assert!(edge.partial(level).is_empty());
    }
    assert_eq!(edge.root(), root_of(&hashes));

    // After a restart only the stored tiles and the last leaves are left.
    let fetch = |level: u8, tile: u64| Ok::<_, std::convert::Infallible>(store.get(&(level, tile)).map(|b| b.to_vec()));
    let tail = leaf_hashes(&hashes[level0 * 256..]);
    assert_eq!(Edge::restore(size(n), fetch, &tail).unwrap(), edge);

    // And every node and old size is served from both together.
    let nodes = TileNodes::new(&edge, read(&store));
    for old in [1, 257, 65_536, 65_537, n - 1] {
        assert_eq!(root_at(&nodes, size(old)).unwrap(), root_of(&hashes[..old]), "{old}");
        for m in [old / 3, old - 1] {
            assert_eq!(raw(&inclusion_path(&nodes, index(m), size(old)).unwrap()), reference::path(m, &hashes[..old]));
        }
        let path = raw(&consistency_path(&nodes, size(old), size(n)).unwrap());
        assert_eq!(path, reference::proof(old, &hashes));
    }
}

#[test]
fn an_edge_restored_at_any_size_equals_the_original() {
    let hashes = reference::some_leaves(1100);
    let leaves = leaf_hashes(&hashes);
    let (mut edge, mut store) = (Edge::new(), Store::new());
    for n in 0..=1100usize {
        let fetch = |level: u8, tile: u64| Ok::<_, ()>(store.get(&(level, tile)).map(|bytes| bytes.to_vec()));
        let tail = &leaves[n / 256 * 256..n];
        assert_eq!(Edge::restore(size(n), fetch, tail).unwrap(), edge, "{n}");
        keep(&mut store, edge.append(&leaves[n..(n + 1).min(1100)]));
    }
}

#[test]
fn a_damaged_store_does_not_restore() {
    let leaves = leaf_hashes(&reference::some_leaves(600));
    let mut edge = Edge::new();
    let mut store = Store::new();
    keep(&mut store, edge.append(&leaves));
    let good = |level, tile| Ok::<_, &str>(store.get(&(level, tile)).map(|bytes| bytes.to_vec()));
    let restore = |fetch: &dyn Fn(u8, u64) -> Result<Option<Vec<u8>>, &'static str>, tail: &[LeafHash]| {
        Edge::restore(size(600), fetch, tail).unwrap_err()
    };
    let tail = &leaves[512..];
    assert_eq!(restore(&good, &tail[1..]), TileError::Tail { expected: 88, given: 87 });
    assert_eq!(restore(&|_, _| Ok(None), tail), TileError::Missing { level: 0, index: 0 });
    assert_eq!(restore(&|_, _| Ok(Some(vec![0; 8191])), tail), TileError::Malformed { level: 0, index: 0 });
    assert_eq!(restore(&|_, _| Err("disk"), tail), TileError::Fetch("disk"));
    // A tile that is well formed but wrong shows in the root.
    let wrong = |_, _| Ok::<_, &str>(Some(vec![7; 8192]));
    assert_ne!(Edge::restore(size(600), wrong, tail).unwrap().root(), edge.root());
}

#[test]
fn tiles_serve_exactly_the_nodes_that_exist() {
    let hashes = reference::some_leaves(1000);
    let leaves = leaf_hashes(&hashes);
    let tree = whole(&leaves);
    let (mut edge, mut store) = (Edge::new(), Store::new());
    keep(&mut store, edge.append(&leaves));
    let prepared: BTreeMap<_, _> =
        store.iter().map(|(at, bytes)| (*at, std::sync::Arc::new(TileTree::new(bytes).unwrap()))).collect();
    let by_bytes = TileNodes::new(&edge, read(&store));
    let by_tree = TileNodes::new(&edge, |l, i| Ok::<_, std::convert::Infallible>(prepared.get(&(l, i)).cloned()));
    for level in 0..70 {
        let count = 1000u64.checked_shr(level).unwrap_or(0);
        for at in 0..count + 3 {
            let (one, two) = (by_bytes.node(level, at), by_tree.node(level, at));
            assert_eq!(one, two);
            if at < count {
                assert_eq!(one.unwrap(), tree.node(level, at).unwrap(), "node {at} of level {level}");
            } else {
                assert_eq!(one, Err(TileError::BeyondEdge { level, index: at, size: size(1000) }));
            }
        }
        assert!(by_bytes.node(level, u64::MAX).is_err());
    }
}

#[test]
fn a_missing_or_damaged_tile_is_named() {
    let leaves = leaf_hashes(&reference::some_leaves(300));
    let mut edge = Edge::new();
    edge.append(&leaves);
    let none = TileNodes::new(&edge, |_, _| Ok::<Option<Vec<u8>>, &str>(None));
    assert_eq!(none.node(3, 1), Err(TileError::Missing { level: 0, index: 0 }));
    let short = TileNodes::new(&edge, |_, _| Ok::<_, &str>(Some(vec![0u8; 32])));
    assert_eq!(short.node(0, 1), Err(TileError::Malformed { level: 0, index: 0 }));
    let broken = TileNodes::new(&edge, |_, _| Err::<Option<Vec<u8>>, _>("disk"));
    assert_eq!(broken.node(0, 1), Err(TileError::Fetch("disk")));
    // What the edge holds needs no store.
    assert_eq!(broken.node(2, 64).unwrap(), whole(&leaves).node(2, 64).unwrap());
}

#[test]
fn a_prepared_tile_equals_its_bytes() {
    let bytes = naive_tile(&reference::some_leaves(256), 0, 0, 256);
    let tree = TileTree::new(&bytes).unwrap();
    for height in 0..12 {
        for at in 0..300 {
            let inside = height <= 8 && at < 256 >> height;
            assert_eq!(bytes.subtree(height, at).is_some(), inside);
            assert_eq!(tree.subtree(height, at), bytes.subtree(height, at), "{at} at height {height}");
        }
    }
    assert_eq!(TileTree::new(&bytes[1..]), None);
    assert_eq!(TileTree::new(&[bytes.clone(), vec![0; 32]].concat()), None);
}

#[test]
fn a_reader_keeps_its_snapshot_while_the_writer_appends() {
    let leaves = leaf_hashes(&reference::some_leaves(700));
    let mut edge = Edge::new();
    let mut snapshots = Vec::new();
    for (n, leaf) in leaves.iter().enumerate() {
        snapshots.push((n, edge.clone()));
        edge.append(&[*leaf]);
    }
    for (n, snapshot) in snapshots {
        assert_eq!(snapshot.size(), size(n));
        assert_eq!(snapshot.root(), frontier_of(&leaves[..n]).root());
    }
}

#[test]
fn a_run_out_of_step_is_refused_and_changes_nothing() {
    let leaves = leaf_hashes(&reference::some_leaves(20));
    let mut edge = Edge::new();
    edge.append(&leaves[..10]);
    let before = edge.clone();
    let run = RunTree::extend(&mut frontier_of(&leaves[..9]), &leaves[9..]);
    assert!(edge.append_run(&run).is_err());
    assert_eq!(edge, before);
}

#[test]
fn proofs_out_of_a_frontier_grown_in_runs_verify_against_its_root() {
    let leaves = leaf_hashes(&reference::some_leaves(300));
    let mut frontier = frontier_of(&leaves[..123]);
    let run = RunTree::extend(&mut frontier, &leaves[123..]);
    for m in 123..300 {
        let proof = InclusionProof { index: index(m), size: run.size(), path: run.path(index(m)) };
        verify_inclusion(&leaves[m], &proof, &frontier.root()).unwrap();
        assert_eq!(proof, inclusion_proof(&whole(&leaves), index(m), size(300)).unwrap());
    }
}
