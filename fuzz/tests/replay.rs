//! The corpus of every target, its seeds, and a fixed number of their mutants, on every test run.

use tally_fuzz::hunt::{Budget, hunt, run};
use tally_fuzz::{TARGETS, corpus};

/// Mutants a target, enough to reach most refusals and few enough for a test.
const MUTANTS: u64 = 20_000;

#[test]
fn every_kept_input_and_every_seed_holds_the_laws() {
    for target in TARGETS {
        let kept = corpus::load(target).expect("the corpus can be read");
        let seeds = (target.seeds)().into_iter().map(|seed| ("seed".to_owned(), seed));
        for (name, input) in kept.into_iter().chain(seeds) {
            if let Err(said) = run(target, &input) {
                panic!("{} breaks on {name}: {said}", target.name);
            }
        }
    }
}

#[test]
fn no_mutant_breaks_a_law() {
    for target in TARGETS {
        let kept = corpus::load(target).expect("the corpus can be read");
        let starts = kept.into_iter().map(|(_, input)| input).collect();
        let found = hunt(target, starts, 0x7a11, Budget::Inputs(MUTANTS));
        assert!(found.broken.is_none(), "{} breaks: {:02x?}", target.name, found.broken);
        assert_eq!(found.inputs, MUTANTS);
    }
}

#[test]
fn every_target_has_a_corpus_and_lawful_seeds() {
    for target in TARGETS {
        assert!(!corpus::load(target).expect("the corpus can be read").is_empty(), "{} keeps nothing", target.name);
        assert!(!(target.seeds)().is_empty(), "{} starts from nothing", target.name);
    }
}

#[test]
fn every_file_that_decodes_is_under_fire() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut missing = Vec::new();
    for folder in ["sdk/protocol/src", "sdk/merkle/src", "sdk/verify/src"] {
        for file in rust_files(&root, folder) {
            let text = std::fs::read_to_string(root.join(&file)).expect("the file can be read");
            let decodes = ["fn decode", "fn parse", "fn open(", "fn from_hex", "fn from_str", "fn is_canonical"];
            let public = |line: &str| line.contains("pub fn") || line.trim_start().starts_with("fn from_str");
            let reads = text.lines().any(|line| public(line) && decodes.iter().any(|name| line.contains(name)));
            if reads && !TARGETS.iter().any(|target| target.files.contains(&file.as_str())) {
                missing.push(file);
            }
        }
    }
    assert_eq!(missing, [""; 0], "these files decode and no target reaches them");
}

fn rust_files(root: &std::path::Path, folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.join(folder)).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files.extend(rust_files(root, &name));
        } else if name.ends_with(".rs") {
            files.push(name);
        }
    }
    files
}
