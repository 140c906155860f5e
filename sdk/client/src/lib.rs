//! tally-client
