//! `tally plugin` through the real binary: projects, tests, dry runs, packages, and how each ends.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::path::{Path, PathBuf};

use common::{code, err, json_lines, out, run, tally};
use serde_json::Value;

/// A committed module of a template, or of a guest.
fn module(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").join(name).to_str().unwrap().to_owned()
}

fn project(dir: &Path, language: &str) -> PathBuf {
    let folder = dir.join(language);
    let made =
        run(tally(&["plugin", "new", "starter", "--language", language, "--dir", folder.to_str().unwrap(), "--json"]));
    assert_eq!(code(&made), 0, "{}", err(&made));
    assert_eq!(json_lines(&made)[0]["language"], language);
    folder
}

#[test]
fn a_new_project_passes_its_test() {
    let dir = tempfile::tempdir().unwrap();
    for language in ["rust", "c", "assemblyscript"] {
        let folder = project(dir.path(), language);
        let wasm = module(&format!("templates/{language}/starter.wasm"));
        let test = |extra: &[&str]| {
            let mut args = vec!["plugin", "test", folder.to_str().unwrap(), "--wasm", &wasm];
            args.extend(extra);
            run(tally(&args))
        };
        let passed = test(&[]);
        assert_eq!(code(&passed), 0, "{}{}", out(&passed), err(&passed));
        assert!(out(&passed).contains("starter 0.1.0: 2 fixtures passed"), "{}", out(&passed));
        assert!(!out(&passed).contains('\u{1b}'), "no colour in a pipe");

        let file = folder.join("fixtures/stock.json");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("\"accepted\"", "\"trapped\"", 1)).unwrap();
        let failed = test(&["--json"]);
        assert_eq!(code(&failed), 1);
        let lines = json_lines(&failed);
        let told: &Value = lines.iter().find(|line| line["name"] == "stock").unwrap();
        assert_eq!(told["failures"][0]["what"], "expected trapped, found accepted");
        assert_eq!(code(&test(&["--bless"])), 0);
        assert_eq!(std::fs::read_to_string(&file).unwrap().matches("\"trapped\"").count(), 0);
        assert_eq!(code(&test(&[])), 0);
    }
}

#[test]
fn a_dry_run_purity_and_a_shadow_answer_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = project(dir.path(), "c");
    let (place, wasm) = (folder.to_str().unwrap(), module("templates/c/starter.wasm"));
    let report = run(tally(&["plugin", "run", place, "--wasm", &wasm, "--json"]));
    assert_eq!(code(&report), 0, "{}", err(&report));
    let report = &json_lines(&report)[0];
    assert_eq!((&report["heard"], &report["outcomes"]["rejected(none-left)"]), (&8.into(), &1.into()), "{report:#}");
    assert!(report["gas"]["item.added"]["p99"].as_u64().unwrap() > 0);

    let pure = run(tally(&["plugin", "purity", place, "--wasm", &wasm]));
    assert_eq!(code(&pure), 0, "{}{}", out(&pure), err(&pure));
    assert!(out(&pure).contains("pure: starter 0.1.0 over 8 events"), "{}", out(&pure));

    let other = module("templates/assemblyscript/starter.wasm");
    let fixtures = folder.join("fixtures");
    let shadow = |new: &str| {
        run(tally(&["plugin", "upgrade", "--shadow", &wasm, new, "--events", fixtures.to_str().unwrap(), "--json"]))
    };
    let same = shadow(&other);
    assert_eq!(code(&same), 0, "{}{}", out(&same), err(&same));
    assert_eq!(code(&shadow(&module("counter/counter.wasm"))), 1, "another plugin is no upgrade");
}

#[test]
fn a_watch_runs_the_fixtures_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = project(dir.path(), "c");
    let wasm = module("templates/c/starter.wasm");
    let watch = run(tally(&["plugin", "dev", folder.to_str().unwrap(), "--wasm", &wasm, "--rounds", "1"]));
    assert_eq!(code(&watch), 0, "{}", err(&watch));
    assert!(
        out(&watch).contains("2 fixtures passed") && out(&watch).contains("waiting for changes"),
        "{}",
        out(&watch)
    );
}

#[test]
fn a_package_is_signed_by_its_publisher_and_is_the_same_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let folder = project(dir.path(), "rust");
    let (place, wasm) = (folder.to_str().unwrap(), module("templates/rust/starter.wasm"));
    let pack = |name: &str| {
        let file = dir.path().join(name);
        let out = file.to_str().unwrap();
        let packed = run(tally(&["plugin", "package", place, "--wasm", &wasm, "--out", out, "--json"]));
        assert_eq!(code(&packed), 0, "{}", err(&packed));
        assert_eq!(json_lines(&packed)[0]["fixtures"], 2);
        file
    };
    let (one, two) = (pack("one.tally"), pack("two.tally"));
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());

    let key = dir.path().join("publisher.key");
    assert_eq!(code(&run(tally(&["keygen", "--out", key.to_str().unwrap()]))), 0);
    let id = "01890000-0000-7000-8000-000000000001";
    let sign = |file: &Path| {
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        run(tally(&["plugin", "sign", file, "--key", key, "--agent", id, "--tenant", id, "--store", id, "--json"]))
    };
    let signed = sign(&one);
    assert_eq!(code(&signed), 0, "{}", err(&signed));
    assert_eq!(json_lines(&signed)[0]["publisher"], id);
    assert_ne!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());

    let mut bytes = std::fs::read(&two).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&two, bytes).unwrap();
    assert_eq!(code(&sign(&two)), 3, "a changed package is not signed");
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let folder = project(dir.path(), "c");
    let again = run(tally(&["plugin", "new", "starter", "--dir", folder.to_str().unwrap()]));
    assert_eq!(code(&again), 2);
    assert!(err(&again).contains("is there already"), "{}", err(&again));
    let mut without = tally(&["plugin", "build", folder.to_str().unwrap()]);
    without.env("PATH", dir.path());
    let without = run(without);
    assert_eq!(code(&without), 2);
    assert!(err(&without).contains("a C compiler for wasm32 is missing") && err(&without).contains("--wasm FILE"));
    let nothing = run(tally(&["plugin", "test", dir.path().to_str().unwrap()]));
    assert_eq!(code(&nothing), 2);
    let junk = dir.path().join("junk.wasm");
    std::fs::write(&junk, b"no module").unwrap();
    let refused = run(tally(&["plugin", "build", junk.to_str().unwrap()]));
    assert_eq!(code(&refused), 1);
    assert!(err(&refused).contains("the host refuses the module"), "{}", err(&refused));
}
