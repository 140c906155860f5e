//! tally-fuzz
