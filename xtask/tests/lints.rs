//! The source lints find what they are for: every rule sees a planted violation and passes the lawful twin.

use xtask::check::{Finding, hashes, random, secrets, shape, sql, weak};
use xtask::tree::Tree;

/// What one rule says about one production file.
fn found(rule: fn(&Tree) -> Vec<Finding>, code: &str) -> Vec<String> {
    found_in(rule, "sequencer/gateway/src/auth.rs", code)
}

fn found_in(rule: fn(&Tree) -> Vec<Finding>, file: &str, code: &str) -> Vec<String> {
    rule(&Tree::of(&[(file, code)])).iter().map(ToString::to_string).collect()
}

fn locked(rule: fn(&Tree) -> Vec<Finding>, package: &str) -> usize {
    rule(&Tree::of(&[("Cargo.lock", &format!("[[package]]\nname = \"{package}\"\nversion = \"1.0.0\"\n"))])).len()
}

#[test]
fn no_sql_statement_and_no_sql_client_is_in_the_workspace() {
    assert_eq!(sql::check(&here()), []);
}

#[test]
fn a_planted_sql_statement_is_found() {
    for statement in
        ["SELECT a FROM b WHERE c = {x}", "insert into events values ({x})", "update t set a = 1", "DELETE FROM events"]
    {
        assert_eq!(
            found(sql::check, &format!("fn f() {{ let q = format!(\"{statement}\"); }}")).len(),
            1,
            "{statement}"
        );
    }
    assert_eq!(found(sql::check, "fn f() { g(\"select one of these\"); h(\"update the set\"); }"), [""; 0]);
    assert_eq!(locked(sql::check, "rusqlite"), 1);
    assert_eq!(locked(sql::check, "rocksdb"), 0);
}

#[test]
fn only_the_operating_system_gives_randomness() {
    assert_eq!(random::check(&here()), []);
}

#[test]
fn a_planted_generator_is_found() {
    for code in [
        "fn f() { let r = rand::rng(); }",
        "use rand::rngs::StdRng;",
        "fn f() { let r = SmallRng::seed_from_u64(1); }",
        "fn f() { fastrand::u64(..); }",
    ] {
        assert_eq!(found(random::check, code).len(), 1, "{code}");
    }
    assert_eq!(found(random::check, "fn f() { getrandom::fill(&mut seed)?; }"), [""; 0]);
    assert_eq!(found(random::check, "#[cfg(test)]\nmod tests { use rand::rngs::StdRng; }"), [""; 0]);
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nrand = \"1\"\n[dev-dependencies]\nrand_chacha = \"1\"\n";
    assert_eq!(random::check(&Tree::of(&[("x/Cargo.toml", manifest)])).len(), 1);
}

#[test]
fn secrets_are_compared_in_constant_time() {
    assert_eq!(secrets::check(&here()), []);
}

#[test]
fn a_planted_plain_comparison_of_a_secret_is_found() {
    for code in [
        "if stored.secret == given {",
        "if mac != expected_mac {",
        "let same = key_hash.as_bytes() == other;",
        "found.iter().any(|c| c.key_hash == *hash)",
        "if body_digest == header.digest() {",
        "#[derive(Clone, PartialEq)]\npub struct ApiKey([u8; 32]);",
    ] {
        assert_eq!(found(secrets::check, code).len(), 1, "{code}");
    }
    for code in [
        "if ct_eq(stored.secret.as_bytes(), given) {",
        "if credential.role == Role::Admin {",
        "if token.len() != 43 {",
        "if root == other_root {",
        "#[derive(Clone)]\npub struct ApiKey([u8; 32]);",
    ] {
        assert_eq!(found(secrets::check, code), [""; 0], "{code}");
    }
}

#[test]
fn weak_algorithms_are_absent() {
    let tree = here();
    assert!(tree.text("Cargo.lock").is_some_and(|lock| lock.contains("name = \"sha2\"")), "the lock file was not read");
    assert_eq!(weak::check(&tree), []);
}

#[test]
fn a_planted_weak_algorithm_is_found() {
    for package in ["md-5", "sha1", "cbc", "ecb", "rc4", "openssl-sys"] {
        assert_eq!(locked(weak::check, package), 1, "{package}");
    }
    assert_eq!(locked(weak::check, "sha2"), 0);
    assert_eq!(found(weak::check, "use md5::Md5;").len(), 1);
    assert_eq!(found(weak::check, "let h = digest(&SHA1_FOR_LEGACY_USE_ONLY, b);").len(), 1);
    assert_eq!(found(weak::check, "// MD5 is weak\nlet s = \"MD5\";"), [""; 0]);
}

#[test]
fn a_hash_call_outside_its_room_is_found() {
    assert_eq!(hashes::check(&here()), []);
    assert_eq!(found(hashes::check, "fn f() { sha2::Sha256::digest(b); }").len(), 1);
    assert_eq!(found(hashes::check, "fn f() { blake3::hash(b); }").len(), 1);
    assert_eq!(found_in(hashes::check, "sdk/protocol/src/hash.rs", "use sha2::Sha256;"), [""; 0]);
    assert_eq!(found_in(hashes::check, "storage/tests/oracle.rs", "use sha2::Sha256;"), [""; 0]);
}

#[test]
fn a_file_out_of_shape_is_found() {
    assert_eq!(found(shape::check, "fn f() {}\n").len(), 1);
    assert_eq!(found_in(shape::check, "storage/src/utils.rs", "//! Head.\n").len(), 1);
    let long = format!("//! Head.\n{}", "fn f() {}\n".repeat(901));
    assert_eq!(found(shape::check, &long).len(), 1);
    assert_eq!(found(shape::check, "//! Head.\nfn f() {}\n"), [""; 0]);
}

fn here() -> Tree {
    Tree::read(&xtask::shell::root()).expect("git lists the files")
}
