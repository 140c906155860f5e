//! One canonical JSON for all: the host's routine, a guest's writer in WebAssembly, the Python verifier's and V8's give
//! the same bytes for the golden vectors, non-ASCII texts among them (S-038, S-279).
//!
//! Python 3 and Node must be on the machine; they need no packages.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use common::host::{State, event, program};
use tally_plugin_host::instance::{Cuts, Instance};
use tally_plugin_host::limits::Limits;
use tally_plugin_host::session::{Event, Grant};
use tally_plugin_host::state::StateView;
use tally_protocol::hash::LedgerId;
use tally_protocol::id::PluginId;
use tally_protocol::jcs::{self, Value};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/protocol/tests/vectors")
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A chapter of the golden vectors: each case's members, in hex.
fn chapter(name: &str, member: &str) -> Vec<Vec<u8>> {
    let file = std::fs::read(vectors().join("jcs.json")).expect("the vectors");
    let all = jcs::parse(&file).expect("JSON");
    let cases = all.get(name).and_then(Value::as_array).expect("a chapter");
    cases.iter().map(|case| unhex(case.get(member).and_then(Value::as_str).expect("hex"))).collect()
}

/// What a program says of texts: the canonical form, and whether it is the text.
fn foreign(program: &str, arguments: &[&Path], texts: &[Vec<u8>]) -> Vec<(Option<Vec<u8>>, bool)> {
    let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "");
    let name = format!("canonical-{}-{thread}-{program}.json", std::process::id());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let given = Value::Array(texts.iter().map(|text| Value::String(hex(text))).collect());
    std::fs::write(&file, jcs::to_canonical(&given)).expect("written");
    let output = Command::new(program).args(arguments).arg(&file).output();
    let output = output.unwrap_or_else(|error| panic!("this test needs `{program}` in the path: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(&file).expect("it is there");
    let said = String::from_utf8(output.stdout).expect("text");
    let line = |line: &str| {
        let (form, is) = line.split_once(' ').expect("two words");
        ((form != "-").then(|| unhex(form)), is == "true")
    };
    let lines: Vec<_> = said.lines().map(line).collect();
    assert_eq!(lines.len(), texts.len());
    lines
}

fn v8(texts: &[Vec<u8>]) -> Vec<(Option<Vec<u8>>, bool)> {
    foreign("node", &[&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/v8/canonical.mjs")], texts)
}

fn python(texts: &[Vec<u8>]) -> Vec<(Option<Vec<u8>>, bool)> {
    foreign("python3", &[&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/v8/canonical.py"), &vectors()], texts)
}

#[test]
fn host_python_and_v8_give_the_golden_form_of_every_text() {
    let (texts, forms) = (chapter("forms", "text"), chapter("forms", "canonical"));
    assert!(texts.len() > 50 && forms.iter().any(|form| !form.is_ascii()));
    let (node, snake) = (v8(&texts), python(&texts));
    for (at, (text, form)) in texts.iter().zip(&forms).enumerate() {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(jcs::canonicalize(text).as_ref(), Ok(form), "{shown}");
        assert_eq!(node[at], (Some(form.clone()), text == form), "V8: {shown}");
        assert_eq!(snake[at], (Some(form.clone()), text == form), "Python: {shown}");
    }
}

#[test]
fn what_the_host_refuses_is_canonical_to_nobody() {
    let refused = chapter("refused", "text");
    for (text, (_, is)) in refused.iter().zip(v8(&refused)) {
        assert!(jcs::is_canonical(text).is_err() && !is, "{}", String::from_utf8_lossy(text));
    }
}

/// Every string in a value, names too.
fn strings(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(members) => {
            for (name, value) in members {
                into.push(name.clone());
                strings(value, into);
            }
        }
        _ => {}
    }
}

#[test]
fn a_guest_writes_the_texts_of_the_vectors_as_host_python_and_v8_do() {
    let mut names = Vec::new();
    for form in chapter("forms", "canonical") {
        strings(&jcs::parse(&form).expect("JSON"), &mut names);
    }
    names.extend(
        (1_u32..0x30)
            .chain(0x7e..0xa0)
            .chain([0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x1_0000, 0x1_f600, 0x10_ffff])
            .filter_map(char::from_u32)
            .map(|c| format!("a{c}z")),
    );
    // What the plugin takes for a name.
    names.retain(|name| (1..=112).contains(&name.len()) && !name.contains('\0'));
    names.sort();
    names.dedup();
    assert!(names.len() > 100 && names.iter().any(|name| name.contains('\u{1f600}')), "{}", names.len());

    let file = format!("{}/../registry/registry.wasm", env!("CARGO_MANIFEST_DIR"));
    let wasm = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let ledger = LedgerId::from_bytes([9; 32]);
    let nothing = Grant::nothing(ledger, PluginId::new("unknown").expect("an id"));
    let machine = program(&wasm, &Limits::default());
    let manifest = Instance::new(machine.clone(), nothing).describe().expect("it describes itself");
    let guest = Instance::new(machine, Grant::all(ledger, &manifest));
    let empty: Arc<dyn StateView> = Arc::new(State::new());
    let steps = guest.apply(names.iter().enumerate().map(listing).collect(), empty, Cuts::Live).expect("goes on");
    let mut state = State::new();
    for step in &steps {
        assert!(step.code.is_accepted(), "{}: {}", names[usize::try_from(step.index.get() - 101).unwrap()], step.code);
        state.extend(step.writes.iter().map(|(key, value)| (key.clone(), value.clone().expect("only sets"))));
    }
    let state: Arc<dyn StateView> = Arc::new(state);
    let answers: Vec<Vec<u8>> = (0..names.len())
        .map(|at| {
            let request = format!(r#"{{"args":{{"sku":"sku-{at}"}},"route":"item"}}"#);
            guest.query(request.as_bytes(), Arc::clone(&state)).expect("an answer").0
        })
        .collect();
    let (node, snake) = (v8(&answers), python(&answers));
    for (at, answer) in answers.iter().enumerate() {
        let shown = String::from_utf8_lossy(answer);
        let said = jcs::parse(answer).expect("JSON");
        assert_eq!(said.get("body").and_then(|body| body.get("name")).and_then(Value::as_str), Some(&names[at][..]));
        assert_eq!(jcs::canonicalize(answer).as_ref(), Ok(answer), "{shown}");
        assert_eq!(node[at], (Some(answer.clone()), true), "V8: {shown}");
        assert_eq!(snake[at], (Some(answer.clone()), true), "Python: {shown}");
    }
}

fn listing((at, name): (usize, &String)) -> Event {
    let text = |text: &str| Value::String(text.to_owned());
    let number = |number| Value::integer(number).expect("small");
    let body = Value::object([
        ("name", text(name)),
        ("version", text("1.0.0")),
        ("sha256", text(&"ab".repeat(32))),
        ("size_bytes", number(1_000)),
        ("price_cents", number(100)),
        ("currency", text("EUR")),
    ]);
    let mut event = event(at as u64 + 1, &jcs::to_canonical(&body));
    event.event_type = "catalog.item.listed".to_owned();
    event.entity_type = "item".to_owned();
    event.entity_id = format!("sku-{at}");
    event.body = Bytes::from(jcs::to_canonical(&body));
    event
}
