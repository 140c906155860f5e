//! `tally webhook`, as an operator runs it (M-212).

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tally_protocol::hash::{hex, hmac_sha256};

const SECRET: &str = "whsec_of_a_test";
const AT: u64 = 1_760_000_000;
const BODY: &str = r#"{"id":"evt_1","object":"event","type":"charge.dispute.created","livemode":false,"data":{"object":{"id":"dp_1","object":"dispute","amount":1999,"currency":"eur","livemode":false,"payment_intent":"pi_1","status":"needs_response"}}}"#;

fn write(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

fn signature(secret: &str, body: &str) -> String {
    format!("t={AT},v1={}", hex(&hmac_sha256(secret.as_bytes(), format!("{AT}.{body}").as_bytes())))
}

fn check(folder: &Path, signature: &str, at: u64) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
    command.args(["webhook", "--json", "--signature", signature, "--at", &at.to_string(), "--account", "acct_1"]);
    command.arg("--body").arg(folder.join("body")).arg("--secret-file").arg(folder.join("secret"));
    command.output().unwrap()
}

#[test]
fn a_message_is_checked_by_a_command_that_fails_where_it_is_not_the_providers() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("secret"), &format!("{SECRET}\n"));
    write(&folder.path().join("body"), BODY);
    let good = check(folder.path(), &signature(SECRET, BODY), AT + 300);
    let told: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert!(good.status.success(), "{told}");
    assert_eq!((&told["facts"][0]["object"], &told["facts"][0]["state"]), (&"dispute".into(), &"open".into()));
    for (signature, at, why) in [
        (signature("whsec_other", BODY), AT, "no signature matches"),
        (signature(SECRET, "{}"), AT, "no signature matches"),
        (signature(SECRET, BODY), AT + 301, "too old"),
        (signature(SECRET, BODY), AT - 301, "in the future"),
        ("t=1".to_owned(), AT, "no v1"),
        (String::new(), AT, "malformed"),
    ] {
        let bad = check(folder.path(), &signature, at);
        let said = String::from_utf8_lossy(&bad.stderr).into_owned() + &String::from_utf8_lossy(&bad.stdout);
        assert!(!bad.status.success() && said.contains(why), "{why}: {said}");
        assert!(!said.contains(SECRET), "a secret is never shown");
    }
}
