//! tally-gateway
