//! `anchor-call` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tally_fuzz::fire("anchor-call", input));
