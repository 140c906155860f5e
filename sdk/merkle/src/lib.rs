//! tally-merkle
