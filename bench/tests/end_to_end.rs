//! The generator against the real node, small: what is counted and checked, never how fast it was.
//!
//! The node's binary lies beside the bench's own. A run of the whole workspace has built it; a run of this crate alone
//! builds it if it is missing.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn node_binary() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_tally-load")).with_file_name("tally");
    if !beside.is_file() {
        let build = ["build", "--release", "--package", "tally", "--bin", "tally"];
        let status = Command::new(env!("CARGO")).args(build).status().unwrap();
        assert!(status.success() && beside.is_file(), "there is no {}", beside.display());
    }
    beside
}

/// Runs a binary of this crate in a folder of its own; its output is one JSON object and nothing else.
fn figures(binary: &str, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary);
    command.args(arguments).arg("--json").arg("--binary").arg(node_binary()).current_dir(folder.path());
    let output = command.output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
}

fn load(arguments: &[&str]) -> Value {
    figures(env!("CARGO_BIN_EXE_tally-load"), &[arguments, &["--raw-seconds", "0.1", "--warm-up", "400"]].concat())
}

fn table(arguments: &[&str]) -> Value {
    let short = ["--seconds", "0.2", "--rounds", "1", "--connections", "4", "--window", "4"];
    figures(env!("CARGO_BIN_EXE_bench-table"), &[arguments, &short].concat())
}

#[test]
fn every_event_is_counted_and_its_proof_checked_over_every_way() {
    for (way, mixed) in [("quic", true), ("quic", false), ("frames", true), ("json", true), ("ves", false)] {
        let mut arguments = vec!["--way", way, "--events", "1200", "--connections", "4", "--window", "4"];
        if mixed {
            arguments.push("--mixed");
        }
        let figures = load(&arguments);
        assert_eq!(figures["events"], 1200, "{way}: {figures}");
        assert_eq!(figures["refused"], 0, "{way}: {figures}");
        // The first of each fifty submissions is the sample.
        assert_eq!(figures["receipts_checked"], 100, "{way}: {figures}");
    }
}

#[test]
fn bad_signatures_are_refused_singly_and_a_flood_beside_them_all_the_way() {
    for way in ["quic", "frames"] {
        let callers = ["--callers", "4", "--connections", "4", "--bad-one-in", "60", "--bad-callers", "2"];
        let figures = load(&[&["--way", way, "--events", "2400", "--flood", "1"][..], &callers].concat());
        assert_eq!(figures["events"], 2360, "{way}: {figures}");
        assert_eq!(figures["refused"], 40, "{way}: {figures}");
        assert!(figures["flood_refused_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{way}: {figures}");
    }
}

#[test]
fn an_open_loop_sends_what_its_schedule_holds() {
    // 100 a request at 4000/s: a request every 25 ms, so eight fit into the first 200 ms.
    let figures = load(&["--rate", "4000", "--seconds", "0.2", "--events", "100000", "--connections", "4"]);
    assert_eq!(figures["events"], 800, "{figures}");
}

#[test]
fn ingest_figures_are_one_object_with_the_promised_keys() {
    let figures = table(&["ingest", "--events", "1000"]);
    for key in ["events_per_s", "raw_verify_per_s", "ratio", "p50_ms", "p99_ms", "rss_mb", "write_amplification"] {
        assert!(figures[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {figures}");
    }
    assert!(figures["receipts_checked"].as_u64().is_some_and(|checked| checked > 0), "{figures}");
}

#[test]
fn growth_restarts_the_node_and_goes_on_with_its_log() {
    let figures = table(&["growth", "--events", "2000"]);
    let sizes = figures["sizes"].as_array().unwrap();
    let events: Vec<u64> = sizes.iter().map(|at| at["events"].as_u64().unwrap()).collect();
    assert_eq!(events.len(), 2, "{figures}");
    assert!(events[0] >= 1000 && events[1] >= 2000 && events[0] < events[1], "{figures}");
}

#[test]
fn every_other_page_of_the_table_is_measured() {
    let hostile = table(&["hostile", "--events", "1600"]);
    assert!(hostile["receipts_checked"].as_u64().is_some_and(|checked| checked > 0), "{hostile}");
    let hot = table(&["hot-stream", "--events", "1600"]);
    assert!(hot["receipts_checked"].as_u64().is_some_and(|checked| checked > 0), "{hot}");
    let reads = table(&["reads", "--events", "3000"]);
    assert!(reads["reads"]["inclusion proofs"]["per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{reads}");
}
