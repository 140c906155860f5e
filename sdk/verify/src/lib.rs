//! tally-verify
