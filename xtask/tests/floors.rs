//! The floors and rooms hold in this workspace, and a planted violation of each is found.

use xtask::check::{Finding, floors, laws, links, prose, rooms};
use xtask::tree::Tree;

const LINTS: &str = "[lints]\nworkspace = true\n";

fn texts(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// One crate with one dependency section.
fn crate_with(folder: &str, name: &str, dependencies: &str) -> Tree {
    let manifest = format!("[package]\nname = \"{name}\"\n{LINTS}{dependencies}");
    Tree::of(&[(&format!("{folder}/Cargo.toml"), &manifest), (&format!("{folder}/src/lib.rs"), "use bytes::Bytes;\n")])
}

fn here() -> Tree {
    Tree::read(&xtask::shell::root()).expect("git lists the files")
}

#[test]
fn every_crate_stays_on_its_floor() {
    assert_eq!(texts(&floors::check(&here())), [""; 0]);
}

#[test]
fn protocol_and_merkle_have_no_way_to_do_io_or_read_a_clock() {
    for package in ["tally-protocol", "tally-merkle"] {
        for on in ["tally-storage", "tally-core", "tally-api", "tally-client"] {
            assert!(!floors::allowed(package, on), "{package} could reach {on}");
        }
    }
    let banned = ["std::fs", "std::net", "std::io", "std::env", "std::process", "std::thread", "SystemTime", "Instant"];
    for (file, source) in here().sources() {
        if !file.starts_with("sdk/protocol/src/") && !file.starts_with("sdk/merkle/src/") {
            continue;
        }
        for (line, code) in source.production() {
            for word in banned.iter().chain(&["async", "tokio", "getrandom"]) {
                assert!(!xtask::source::has_word(code, word), "{file}:{line} names {word}");
            }
        }
    }
}

#[test]
fn the_verifier_shares_only_protocol_and_merkle_with_the_server() {
    let server = ["tally-core", "tally-storage", "tally-gateway", "tally", "tally-api", "tally-client"];
    assert!(server.iter().all(|on| !floors::allowed("tally-verify", on)));
    let verify = here().packages().into_iter().find(|package| package.manifest.name == "tally-verify");
    let inside: Vec<String> = verify
        .expect("the workspace has tally-verify")
        .manifest
        .of_kind(xtask::manifest::Kind::Normal)
        .map(|dependency| dependency.name.clone())
        .filter(|name| name.starts_with("tally"))
        .collect();
    assert_eq!(inside, ["tally-protocol", "tally-merkle"]);
}

#[test]
fn a_planted_step_off_the_floor_is_found() {
    let found = |dependencies| floors::check(&crate_with("storage", "tally-storage", dependencies)).len();
    assert_eq!(found("[dependencies]\ntally-protocol.workspace = true\n"), 0);
    assert_eq!(found("[dependencies]\ntally-merkle.workspace = true\n"), 1);
    assert_eq!(found("[build-dependencies]\ntally-merkle.workspace = true\n"), 1);
    assert_eq!(found("[dev-dependencies]\ntally-merkle.workspace = true\n"), 0);
    assert_eq!(found("[dev-dependencies]\nxtask.workspace = true\n"), 1);
    assert_eq!(floors::check(&crate_with("attic", "tally-attic", "")).len(), 1, "a crate without a floor");
    assert_eq!(floors::check(&crate_with("attic", "tally-storage", "")).len(), 1, "a crate in another folder");
}

#[test]
fn every_outside_dependency_has_one_room() {
    assert_eq!(texts(&rooms::check(&here())), [""; 0]);
}

#[test]
fn a_planted_dependency_outside_its_room_is_found() {
    let found = |dependencies| rooms::check(&crate_with("sdk/merkle", "tally-merkle", dependencies)).len();
    assert_eq!(found("[dependencies]\nbytes.workspace = true\n"), 0);
    assert_eq!(found("[dev-dependencies]\nrocksdb.workspace = true\n"), 0);
    assert_eq!(found("[dependencies]\nbytes.workspace = true\nthiserror.workspace = true\n"), 1, "never named");
    assert_eq!(found("[dependencies]\nrocksdb.workspace = true\n"), 2, "another crate's room, and never named");
    assert_eq!(found("[dev-dependencies]\nserde_yaml = \"1\"\n"), 1, "no room at all");
}

#[test]
fn a_planted_name_outside_its_room_is_found() {
    let found = |file, code| rooms::check(&Tree::of(&[(file, code)])).len();
    assert_eq!(found("storage/src/event_log.rs", "use rocksdb::DB;"), 1);
    assert_eq!(found("storage/src/engine.rs", "use rocksdb::DB;"), 0);
    assert_eq!(found("storage/src/event_log.rs", "use crate::rocksdb::DB;"), 0);
    assert_eq!(found("storage/src/event_log.rs", "#[cfg(test)]\nmod tests { use rocksdb::DB; }"), 0);
}

#[test]
fn a_crate_off_the_map_and_a_law_without_its_test_are_found() {
    let laws_page: String = (1..=12).map(|n| format!("{n}. Law. `tally-x::ordering::holds`\n")).collect();
    let tree = |page: &str| {
        Tree::of(&[
            ("ARCHITECTURE.md", page),
            ("x/Cargo.toml", "[package]\nname = \"tally-x\"\n"),
            ("x/tests/ordering.rs", "#[test]\nfn holds() {}\n"),
        ])
    };
    let good = format!("`tally-x` in `x/`\n## Laws\n{laws_page}");
    assert_eq!(texts(&laws::check(&tree(&good))), [""; 0]);
    assert_eq!(texts(&laws::map(&tree(&good))), [""; 0]);
    assert_eq!(laws::map(&tree("nothing")).len(), 1);
    assert_eq!(laws::check(&tree(&good.replace("3. Law. `tally-x::ordering::holds`", "3. Law."))).len(), 1);
    assert_eq!(laws::check(&tree(&good.replacen("::holds", "::gone", 1))).len(), 1);
    assert_eq!(laws::check(&tree(&good.replace("12. Law", "Law"))).len(), 1);
    assert_eq!(laws::check(&tree(&good.replace("3. Law. `tally-x::ordering::holds`", "3. *Not built yet*."))), []);
}

#[test]
fn a_planted_dead_link_is_found() {
    let found = |text: &str| links::check(&Tree::of(&[("docs/a.md", text), ("docs/b/c.md", "# Head one\n")])).len();
    assert_eq!(found("[x](b/c.md#head-one) [y](b/) [z](https://example.org/) [w](../docs/a.md)"), 0);
    assert_eq!(found("[x](gone.md)"), 1);
    assert_eq!(found("[x](b/c.md#head-two)"), 1);
}

#[test]
fn a_planted_word_of_the_list_is_found() {
    let found = |text: &str| prose::check_with(&Tree::of(&[("docs/a.md", text)]), &["hush".to_owned()]).len();
    assert_eq!(found("quiet"), 0);
    assert_eq!(found("Hush now"), 1);
    assert_eq!(found("// TODO later\n"), 1);
    assert_eq!(found("// TODO(#12): later\n"), 0);
    assert_eq!(found(concat!("in /", "home/someone/x")), 1);
}
