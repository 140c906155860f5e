//! The manual of this repository: `cargo xtask`.
fn main() {}
