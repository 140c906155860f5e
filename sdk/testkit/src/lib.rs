//! tally-testkit
