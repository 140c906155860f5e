//! Every command's happy path and its exit codes, through the real binary.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{
    Home, Node, code, err, event_lines, free_address, json_lines, out, run, run_with_input, submit_lines, tally,
};
use serde_json::Value;

#[test]
fn a_first_start_shows_the_api_keys_once_and_keeps_them_private() {
    let home = Home::new();
    let data = home.data();
    let text = |home: &Home| {
        let mut command = tally(&["dev", "--data", data.to_str().unwrap(), "--listen", &home.listen.to_string()]);
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut lines = Vec::new();
        for line in std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap())) {
            let line = line.unwrap();
            let last = line.starts_with("running on");
            lines.push(line);
            if last {
                break;
            }
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        lines.join("\n")
    };
    let first = text(&home);
    let key = std::fs::read_to_string(home.profile().api_key_file).unwrap();
    assert!(key.starts_with("sk_test_"));
    assert_eq!(first.matches("sk_test_").count(), 2, "{first}");
    assert!(first.contains(key.trim_end()));
    let second = text(&home);
    assert_eq!(second.matches("sk_test_").count(), 0, "{second}");
    assert!(second.contains(home.profile().api_key_file.to_str().unwrap()));

    for folder in ["keys", "dev"] {
        for entry in std::fs::read_dir(data.join(folder)).unwrap() {
            let entry = entry.unwrap();
            // The profile names files, the certificate is for everyone.
            if entry.file_name() != "profile.json" && entry.file_name() != "quic-certificate.pem" {
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
            }
        }
    }
    let profile = std::fs::read_to_string(home.profile_path()).unwrap();
    assert!(!profile.contains("sk_test_") && !profile.contains("seed"));
    // The database holds no API key in clear (S-065).
    let secret = key.trim_end().trim_start_matches("sk_test_").as_bytes();
    // Neither do the obsolete logs beside it.
    assert!(data.join("db/CURRENT").is_file());
    for folder in [data.join("db"), data.join("db/archive")] {
        let paths = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        for file in paths.filter(|path| path.is_file()) {
            let bytes = std::fs::read(file).unwrap();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
}

#[test]
fn events_are_submitted_watched_bundled_and_verified() {
    let home = Home::new();
    let node = home.start();
    let bundles = home.path().join("bundles");
    let one = home.tally(&[
        "submit",
        "--json",
        "--event-type",
        "order.placed",
        "--entity-type",
        "order",
        "--entity-id",
        "o-1",
        "--payload",
        "{\"sku\": \"s-1\", \"quantity\": 2}",
        "--bundle-dir",
        bundles.to_str().unwrap(),
    ]);
    assert_eq!(code(&one), 0, "{}", err(&one));
    let receipt = &json_lines(&one)[0];
    assert_eq!((receipt["status"].as_str(), receipt["sequence"].as_u64()), (Some("accepted"), Some(1)));
    let receipts = submit_lines(&home, &event_lines("many", 250));
    assert_eq!(receipts.len(), 250);
    assert!(receipts.iter().zip(2..).all(|(receipt, sequence)| receipt["sequence"] == sequence));

    watch(&home);
    verify(&home, &receipt["index"], &bundles);
    node.stop();
    let report = home.fsck();
    // Genesis, the tenant, its agent's key, and the events.
    assert_eq!(report["size"], 3 + 251);
}

fn watch(home: &Home) {
    let all = home.tally(&["watch", "--no-follow", "--json"]);
    assert_eq!(code(&all), 0, "{}", err(&all));
    let events = json_lines(&all);
    let orders: Vec<&Value> = events.iter().filter(|event| event["event_type"] == "order.placed").collect();
    assert_eq!(orders.len(), 251);
    assert_eq!(orders[0]["payload"]["quantity"], 2);

    // In parts, over a resume file: the same events, none twice.
    let file = home.path().join("resume");
    let mut parts = Vec::new();
    loop {
        let args = ["watch", "--no-follow", "--json", "--count", "100", "--resume-file", file.to_str().unwrap()];
        let part = json_lines(&home.tally(&args));
        if part.is_empty() {
            break;
        }
        parts.extend(part);
    }
    let indexes = |events: &[Value]| events.iter().map(|event| event["index"].clone()).collect::<Vec<_>>();
    assert_eq!(indexes(&parts), indexes(&events));

    let from = events[100]["index"].as_u64().unwrap().to_string();
    let rest = json_lines(&home.tally(&["watch", "--no-follow", "--json", "--from", &from]));
    assert_eq!(indexes(&rest), indexes(&events[100..]));
    let resumed = json_lines(&home.tally(&[
        "watch",
        "--no-follow",
        "--json",
        "--resume",
        events[100]["resume"].as_str().unwrap(),
    ]));
    assert_eq!(indexes(&resumed), indexes(&events[101..]));
}

fn verify(home: &Home, index: &Value, bundles: &std::path::Path) {
    let ledger = home.profile().ledger_id.to_hex();
    let saved = bundles.join(format!("{index}.json"));
    let saved = saved.to_str().unwrap();
    let ok = run(tally(&["verify", saved, "--ledger", &ledger]));
    assert_eq!(code(&ok), 0, "{}", err(&ok));
    for check in ["genesis", "ledger_id", "agent_signature", "leaf", "checkpoint_signature", "inclusion"] {
        assert!(out(&ok).contains(check), "{check} is not named:\n{}", out(&ok));
    }
    let other = run(tally(&["verify", saved, "--ledger", &"00".repeat(32)]));
    assert_eq!(code(&other), 3);

    let fetched = home.path().join("fetched.json");
    let got = home.tally(&["bundle", &index.to_string(), "--out", fetched.to_str().unwrap()]);
    assert_eq!(code(&got), 0, "{}", err(&got));
    let bundle: Value = serde_json::from_slice(&std::fs::read(&fetched).unwrap()).unwrap();
    let vkeys: Vec<&str> =
        bundle["verifier_keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();

    let proof = home.path().join("event.tlog-proof");
    let proof = proof.to_str().unwrap();
    assert_eq!(code(&home.tally(&["bundle", &index.to_string(), "--proof", "--out", proof])), 0);
    let mut with_keys = vec!["verify", proof];
    vkeys.iter().for_each(|vkey| with_keys.extend(["--vkey", vkey]));
    let ok = run(tally(&with_keys));
    assert_eq!(code(&ok), 0, "{}{}", out(&ok), err(&ok));
    assert_eq!(code(&run(tally(&["verify", proof]))), 2, "a proof file without a key to trust");

    // Any change is found.
    let text = std::fs::read_to_string(saved).unwrap();
    let bad = home.path().join("bad.json");
    std::fs::write(&bad, text.replace("\"sequence\":1,", "\"sequence\":2,")).unwrap();
    let found = run(tally(&["verify", bad.to_str().unwrap(), saved, "--json"]));
    assert_eq!(code(&found), 3);
    let verified: Vec<_> = json_lines(&found).iter().map(|line| line["verified"].clone()).collect();
    assert_eq!(verified, [false, true], "every file is checked");
    assert_eq!(code(&run(tally(&["verify", home.path().join("none.json").to_str().unwrap()]))), 2);
}

#[test]
fn submit_tells_rejected_from_unanswered_and_the_same_event_from_a_new_one() {
    let home = Home::new();
    let node = home.start();
    let id = "0a0b0c0d-0102-4304-8506-0708090a0b0c";
    let submit = |payload: &str| {
        let args = [
            "submit",
            "--json",
            "--event-type",
            "order.placed",
            "--entity-type",
            "order",
            "--entity-id",
            "o-1",
            "--event-id",
            id,
            "--created-at",
            "2026-01-01T00:00:00Z",
            "--payload",
            payload,
            "--timeout",
            "2",
        ];
        home.tally(&args)
    };
    let first = json_lines(&submit("{\"n\":1}")).remove(0);
    let again = json_lines(&submit("{\"n\":1}")).remove(0);
    assert_eq!((first["status"].as_str(), again["status"].as_str()), (Some("accepted"), Some("duplicate")));
    for field in ["index", "sequence", "sequenced_at", "leaf_hash"] {
        assert_eq!(first[field], again[field], "{field}");
    }
    let conflict = submit("{\"n\":2}");
    assert_eq!(code(&conflict), 4, "{}", err(&conflict));
    assert_eq!(json_lines(&conflict)[0]["code"], "duplicate_event_id");

    // One bad event never changes its neighbours' fate.
    let lines = format!(
        "{}{{\"entity_type\":\"order\",\"entity_id\":\"o\",\"event_type\":\"tally.reserved\"}}\n{}",
        event_lines("before", 3),
        event_lines("after", 3)
    );
    let mixed = run_with_input(home.command(&["submit", "--json"]), &lines);
    assert_eq!(code(&mixed), 4);
    let fates: Vec<Value> = json_lines(&mixed).iter().map(|line| line["status"].clone()).collect();
    assert_eq!(fates, ["accepted", "accepted", "accepted", "rejected", "accepted", "accepted", "accepted"]);

    let bad = run_with_input(home.command(&["submit"]), "{\"entity_type\":1}\n");
    assert_eq!(code(&bad), 1);
    assert!(err(&bad).contains("line 1"), "{}", err(&bad));
    node.stop();
    let unanswered = submit("{\"n\":3}");
    assert_eq!(code(&unanswered), 5, "{}", err(&unanswered));
}

#[test]
fn keys_are_listed_registered_rotated_and_revoked() {
    let home = Home::new();
    let node = home.start();
    let list = || json_lines(&home.tally(&["keys", "list", "--json"])).remove(0)["keys"].clone();
    assert_eq!(list().as_array().unwrap().len(), 1);

    let file = home.path().join("second.key");
    let made = run(tally(&["keygen", "--json", "--out", file.to_str().unwrap()]));
    assert_eq!(code(&made), 0, "{}", err(&made));
    let public = json_lines(&made)[0]["public_key"].as_str().unwrap().to_owned();
    let rotated = home.tally(&[
        "keys",
        "rotate",
        "--public-key",
        &public,
        "--previous-valid-to",
        "2999-01-01T00:00:00Z",
        "--json",
    ]);
    assert_eq!(code(&rotated), 0, "{}", err(&rotated));
    assert_eq!(list().as_array().unwrap().len(), 2);

    // Both keys work in the overlap.
    let submit = |key: &[&str]| {
        let mut args = vec!["submit", "--event-type", "a", "--entity-type", "b", "--entity-id", "c"];
        args.extend(key);
        home.tally(&args)
    };
    let second = ["--key", file.to_str().unwrap(), "--key-id", "2"];
    assert_eq!((code(&submit(&[])), code(&submit(&second))), (0, 0));
    let revoked = home.tally(&["keys", "revoke", "--key-id", "1", "--reason", "lost"]);
    assert_eq!(code(&revoked), 0, "{}", err(&revoked));
    assert_eq!((code(&submit(&[])), code(&submit(&second))), (4, 0));
    assert_eq!(list()[0]["status"], "revoked");

    // Another agent, and a key of small order.
    let agent = "11111111-2222-4333-8444-555555555555";
    let file = home.path().join("third.key");
    let made = run(tally(&["keygen", "--out", file.to_str().unwrap()]));
    let public = out(&made).split_whitespace().next().unwrap().to_owned();
    let registered = home.tally(&["keys", "register", "--agent", agent, "--public-key", &public]);
    assert_eq!(code(&registered), 0, "{}", err(&registered));
    let weak = format!("01{}", "00".repeat(31));
    assert_eq!(code(&home.tally(&["keys", "register", "--agent", agent, "--public-key", &weak])), 4);
    node.stop();
    home.fsck();
}

#[test]
fn keygen_never_overwrites_and_every_key_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.key");
    let file = file.to_str().unwrap();
    assert_eq!(code(&run(tally(&["keygen", "--out", file]))), 0);
    assert_eq!(code(&run(tally(&["keygen", "--out", file]))), 2);
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let printed = || out(&run(tally(&["keygen"])));
    let (one, two) = (printed(), printed());
    assert!(one.starts_with("tally-key-v1\nuse: production\npublic: "));
    assert_ne!(one, two);
}

/// The system call is seen where `strace` can be run.
#[test]
fn keys_come_from_the_operating_systems_random_source() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-e", "trace=getrandom", "-o"]).arg(&trace).args([common::TALLY, "keygen"]);
    let Ok(output) = strace.output() else {
        println!("skipped: strace is not installed");
        return;
    };
    if !output.status.success() {
        println!("skipped: strace may not trace here: {}", err(&output));
        return;
    }
    let calls = std::fs::read_to_string(trace).unwrap();
    let seed =
        calls.lines().any(|line| line.contains("getrandom(") && line.contains(", 32,") && line.ends_with("= 32"));
    assert!(seed, "no 32 bytes were asked of the system:\n{calls}");
}

#[test]
fn a_production_node_is_made_checked_and_served() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tally.toml");
    let config = config.to_str().unwrap();
    let listen = free_address().to_string();
    assert_eq!(code(&run(tally(&["serve", "--config", config]))), 2, "there is no file");
    let made =
        run(tally(&["init", "--config", config, "--origin", "log.example.com/market", "--listen", &listen, "--json"]));
    assert_eq!(code(&made), 0, "{}", err(&made));
    let made = json_lines(&made).remove(0);
    let key = made["api_key"].as_str().unwrap();
    assert!(key.starts_with("sk_live_"));
    // Again: nothing is made twice.
    let again = json_lines(&run(tally(&["init", "--config", config, "--existing", "--json"]))).remove(0);
    assert_eq!((&again["ledger_id"], &again["api_key"]), (&made["ledger_id"], &Value::Null));
    assert_eq!(code(&run(tally(&["serve", "--config", config, "--check"]))), 0);

    let node = Node::start(tally(&["serve", "--config", config, "--json"])).unwrap_or_else(|ended| panic!("{ended}"));
    assert_eq!((node.state(), &node.ready["ledger_id"]), ("running", &made["ledger_id"]));
    let mut list = tally(&[
        "keys",
        "list",
        "--url",
        node.url(),
        "--tenant",
        "11111111-2222-4333-8444-555555555555",
        "--agent",
        "11111111-2222-4333-8444-555555555555",
        "--json",
    ]);
    list.env("TALLY_API_KEY", key);
    let output = run(list);
    assert!(matches!(code(&output), 0 | 4), "{}", err(&output));
    // A second process on the same data, at another address.
    let text = std::fs::read_to_string(config).unwrap();
    let other = dir.path().join("other.toml");
    std::fs::write(&other, text.replace(&listen, &free_address().to_string())).unwrap();
    assert_eq!(code(&run(tally(&["serve", "--config", other.to_str().unwrap()]))), 6);
    node.stop();
}

#[test]
fn an_unsafe_configuration_refuses_to_start_and_names_every_finding() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tally.toml");
    let path = config.to_str().unwrap();
    assert_eq!(code(&run(tally(&["init", "--config", path, "--origin", "log.example.com/market"]))), 0);
    let good = std::fs::read_to_string(&config).unwrap();
    let refused = |text: &str, words: &str| {
        std::fs::write(&config, text).unwrap();
        let output = run(tally(&["serve", "--config", path]));
        assert_eq!(code(&output), 2, "{words}");
        assert!(err(&output).contains(words), "{words}: {}", err(&output));
    };
    refused(&good.replace("127.0.0.1:8080", "0.0.0.0:8080"), "no listen.tls");
    refused(&good.replace("fence/tally.fence", "data/tally.fence"), "data.fence lies inside");
    refused(&good.replace("[pipeline]", "[pipeline]\nturbo = true"), "turbo");
    refused(&good.replace("origin = \"log.example.com/market\"", "origin = \"other.example.com\""), "genesis says");
    std::fs::set_permissions(dir.path().join("keys/receipt.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let both = good.replace("127.0.0.1:8080", "0.0.0.0:8080");
    refused(&both, "0644");
    refused(&both, "no listen.tls");
}

#[test]
fn a_development_key_is_refused_by_serve_and_a_public_address_by_dev() {
    let home = Home::new();
    let data = home.data();
    let output = run(tally(&["dev", "--data", data.to_str().unwrap(), "--listen", "0.0.0.0:0"]));
    assert_eq!(code(&output), 2);
    drop(home.start());

    let config = home.path().join("tally.toml");
    let path = config.to_str().unwrap();
    assert_eq!(
        code(&run(tally(&["init", "--config", path, "--origin", "log.example.com/market", "--data", "prod"]))),
        0
    );
    let text = std::fs::read_to_string(&config).unwrap();
    let dev_key = data.join("keys/receipt.key");
    let text = text.replace("\"keys/receipt.key\"", &format!("{:?}", dev_key.to_str().unwrap()));
    std::fs::write(&config, text).unwrap();
    let output = run(tally(&["serve", "--config", path, "--check"]));
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("made for development"), "{}", err(&output));
}

#[test]
fn completions_help_and_errors_are_for_scripts_too() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(tally(&["completions", shell]));
        assert_eq!(code(&output), 0);
        assert!(out(&output).contains("tally"), "{shell}");
    }
    let help = out(&run(tally(&["--help"])));
    assert!(help.contains("Exit codes:") && help.contains("6  another process"), "{help}");
    assert_eq!(code(&run(tally(&["no-such-command"]))), 2);
    let output = run(tally(&["verify", "/no/such/file", "--json"]));
    let error: Value = serde_json::from_str(err(&output).trim_end()).unwrap();
    assert_eq!((error["error"]["code"].as_str(), error["error"]["exit"].as_u64()), (Some("usage"), Some(2)));
}
