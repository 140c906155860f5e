//! The seams of other rooms, implemented over this process's database and keys.

pub mod control;
pub mod credentials;
