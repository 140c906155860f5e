//! A plugin from its project to its end on a development node, through the real binary alone.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::path::Path;

use common::{Home, code, err, json_lines, out};
use serde_json::Value;

const REVIEWER: &str = "01890000-0000-7000-8000-000000000002";

fn done(home: &Home, args: &[&str]) -> Value {
    let output = home.tally(args);
    assert_eq!(code(&output), 0, "{args:?}: {}{}", out(&output), err(&output));
    // Without `--json` it is text for people.
    if args.contains(&"--json") { json_lines(&output).pop().unwrap_or(Value::Null) } else { Value::Null }
}

#[test]
fn a_plugin_goes_from_its_project_to_a_store_and_out_again() {
    let home = Home::new();
    let _node = home.start();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (folder, package, key) = (path("stock"), path("stock.tally"), path("reviewer.key"));
    let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/templates/c/starter.wasm");
    done(&home, &["plugin", "new", "starter", "--language", "c", "--dir", &folder]);
    done(&home, &["plugin", "package", &folder, "--wasm", wasm.to_str().unwrap(), "--out", &package]);

    let unsigned = home.tally(&["plugin", "submit", &package]);
    assert_eq!(code(&unsigned), 1, "{}", err(&unsigned));
    assert!(err(&unsigned).contains("not signed"), "{}", err(&unsigned));
    done(&home, &["plugin", "sign", &package]);
    let submitted = done(&home, &["plugin", "submit", &package, "--json"]);
    assert_eq!(submitted["event_type"], "tally.plugin.submitted");

    // Nobody approves their own.
    let decision = ["plugin", "review", "starter", "0.1.0", "--decision", "approved", "--reason", "read it", "--json"];
    let own = home.tally(&decision);
    assert_eq!(code(&own), 4, "{}{}", out(&own), err(&own));
    let made = done(&home, &["keygen", "--out", &key, "--json"]);
    let public = made["public_key"].as_str().unwrap();
    done(&home, &["keys", "register", "--agent", REVIEWER, "--public-key", public, "--json"]);
    let report = done(&home, &["plugin", "review", "starter", "0.1.0", "--json"]);
    assert_eq!(report["blocking"], 0, "{report:#}");
    let early = home.tally(&["plugin", "install", "starter", "0.1.0"]);
    assert_eq!(code(&early), 4, "not approved yet: {}", err(&early));
    done(&home, &[&decision[..], &["--key", &key, "--agent", REVIEWER]].concat());

    let installed = done(&home, &["plugin", "install", "starter", "0.1.0", "--json"]);
    assert_eq!(installed["outcome"], "accepted", "{installed:#}");
    let twice = home.tally(&["plugin", "install", "starter", "0.1.0"]);
    assert_eq!(code(&twice), 2, "{}", err(&twice));
    let added = ["submit", "--event-type", "item.added", "--entity-type", "item", "--entity-id", "lamp", "--json"];
    assert_eq!(done(&home, &added)["status"], "accepted");

    let listed = done(&home, &["plugin", "list", "--json"]);
    assert_eq!(listed["releases"][0]["status"], "approved", "{listed:#}");
    assert_eq!(
        (&listed["installed"][0]["plugin"], &listed["installed"][0]["version"]),
        (&"starter".into(), &"0.1.0".into())
    );
    done(&home, &["plugin", "logs", "starter", "--json"]);
    done(&home, &["plugin", "remove", "starter", "--reason", "not used", "--json"]);
    let listed = done(&home, &["plugin", "list", "--json"]);
    assert_eq!(listed["installed"].as_array().map(Vec::len), Some(0), "{listed:#}");
}
