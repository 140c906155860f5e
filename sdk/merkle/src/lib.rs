//! The arithmetic of Tally's trees: append, store, prove, verify.
//!
//! *In scope*: the log's RFC 6962 tree (section 2.1) as a frontier, as the nodes of one run, as C2SP tiles and as
//! inclusion, consistency and multi-leaf proofs; the padded tree of VES commitments; the [`sparse`] tree of plugin
//! state.
//! *Out of scope*: what a leaf means (`tally-protocol`), where tiles are kept (storage), who signs a root. Nothing
//! here does I/O: stored nodes arrive through [`NodeSource`] or a closure.
//!
//! The way of a leaf: [`RunTree::extend`] hashes it once while it moves the [`Frontier`] and yields its path;
//! [`Edge::append_run`] takes the same nodes into tiles without hashing again; later [`inclusion_path`] and
//! [`consistency_path`] read them back through [`TileNodes`]; [`verify_inclusion`] and [`verify_consistency`] trust
//! nothing but hashes.

mod batch;
mod error;
mod frontier;
mod multiproof;
mod node;
mod prove;
mod run_tree;
mod source;
pub mod sparse;
mod tiles;
mod verify;

pub use batch::{VesTree, verify_ves_path, ves_path, ves_root};
pub use error::{FrontierError, NodeAbsent, OutOfStep, ProofError, TileError, TreeError};
pub use frontier::Frontier;
pub use multiproof::{multiproof, paths_of_multiproof, root_of_multiproof};
pub use prove::{consistency_path, consistency_proof, inclusion_path, inclusion_proof, root_at};
pub use run_tree::RunTree;
pub use source::NodeSource;
pub use tiles::{Edge, FullTile, MIDDLE_ROW_BYTES, RowedTile, TILE_BYTES, TILE_WIDTH, TileHashes, TileNodes, TileTree};
pub use verify::{verify_consistency, verify_inclusion};

pub use tally_protocol::proof::{ConsistencyProof, InclusionProof};
