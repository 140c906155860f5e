//! tally-core
