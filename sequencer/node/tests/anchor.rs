//! Anchoring through the real binary on a real chain: from `tally dev --chain` to the contract's own word about an event, and
//! what a node does whose chain says otherwise.
//!
//! Needs `TALLY_ANVIL`, or anvil on the path; a test without it fails.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Home, Node, code, copy_folder, err, json_lines, out, run, tally};
use serde_json::Value;
use tally::anchoring::ClientLogs;
use tally::anchoring::development::{DevAnchors, DevChain};
use tally_anchor::source::{LogKind, LogSource as _};
use tally_client::{Client, Trust};
use tally_verify::TrustRoot;

/// Anchors come every two seconds, finality is four blocks away.
const WAIT_MAX: Duration = Duration::from_secs(120);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < WAIT_MAX, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One event more; gives its index.
fn submit(home: &Home, id: &str) -> u64 {
    let args = ["submit", "--event-type", "order.placed", "--entity-type", "order", "--entity-id", id, "--json"];
    let output = home.tally(&args);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    json_lines(&output)[0]["index"].as_u64().unwrap()
}

fn get(home: &Home, path: &str) -> Value {
    let host = home.listen.to_string();
    let text = http(&host, "GET", path, "");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn http(host: &str, method: &str, path: &str, body: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let head = format!("Host: {host}\r\nContent-Type: application/json\r\nConnection: close");
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn rung(home: &Home, name: &str) -> u64 {
    get(home, "/v1/ladder")[name].as_u64().unwrap()
}

#[test]
fn a_development_chain_anchors_the_log_and_its_contract_bears_an_event_out() {
    let home = Home::new();
    let mut dev = home.dev();
    dev.arg("--chain");
    let node = Node::start(dev).unwrap();
    let chain = &node.ready["chain"];
    let text = |name: &str| chain[name].as_str().unwrap().to_owned();
    let index = submit(&home, "o-1");
    until("final", || rung(&home, "anchored") > index);
    assert!(rung(&home, "published") >= rung(&home, "anchored"));

    let known = format!("{}:{}:{}", chain["chain_id"], text("contract"), text("authority"));
    let file = home.path().join("anchored.json");
    let (number, path, rpc) = (index.to_string(), file.to_str().unwrap(), text("rpc"));
    let verified =
        home.tally(&["anchor", "verify", &number, "--chain", &known, "--rpc", &rpc, "--out", path, "--json"]);
    assert_eq!(code(&verified), 0, "{}{}", out(&verified), err(&verified));
    assert_eq!(json_lines(&verified)[0]["verified"], true, "{}", out(&verified));
    // The file alone, offline; then against the chain; then under a wrong idea of who may speak for the log.
    let ledger = home.profile().ledger_id.to_hex();
    let verify = |more: &[&str]| run(tally(&[&["verify", path, "--ledger", &ledger, "--json"], more].concat()));
    assert_eq!(code(&verify(&["--chain", &known])), 0);
    assert_eq!(code(&verify(&["--chain", &known, "--rpc", &rpc])), 0);
    let stranger = format!("{}:{}:0x{}", chain["chain_id"], text("contract"), "11".repeat(20));
    let refused = verify(&["--chain", &stranger]);
    assert_eq!(code(&refused), 3, "{}", out(&refused));
    assert!(out(&refused).contains("anchor_authority"), "{}", out(&refused));
    // A bundle whose event's neighbour stands in its place: the path is another's.
    let mut bundle: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let node_hash = bundle["anchors"][0]["event"]["inclusion_path"][0].as_str().unwrap().to_owned();
    let changed = format!("{}{}", if node_hash.starts_with('0') { "1" } else { "0" }, &node_hash[1..]);
    bundle["anchors"][0]["event"]["inclusion_path"][0] = changed.into();
    let forged = home.path().join("forged.json");
    std::fs::write(
        &forged,
        tally_protocol::jcs::to_canonical(&tally_protocol::jcs::parse(bundle.to_string().as_bytes()).unwrap()),
    )
    .unwrap();
    let refused = run(tally(&["verify", forged.to_str().unwrap(), "--ledger", &ledger, "--chain", &known]));
    assert_eq!(code(&refused), 3, "{}", out(&refused));

    let anchors = get(&home, "/v1/anchors");
    assert_eq!(anchors["chains"][0]["events"]["finalized"]["size"].as_u64().unwrap(), rung(&home, "anchored"));
    assert!(anchors["chains"][0]["outcomes"]["latest"]["size"].as_u64().unwrap() > 0, "{anchors:#}");
    let metrics = http(&home.listen.to_string(), "GET", "/metrics", "");
    for name in ["tally_anchor_lag_events{chain=\"dev\"}", "tally_anchor_lag_seconds{chain=\"dev\"}"] {
        assert!(metrics.contains(name), "{name}");
    }
    let status = run(tally(&["anchor", "status", "--config", &text("config"), "--json"]));
    assert_eq!(code(&status), 0, "{}", err(&status));
    let status = &json_lines(&status)[0]["chains"][0];
    assert_eq!(status["worker"]["halted"], false, "{status:#}");
    let uses = run(tally(&["anchor", "uses", "--config", &text("config"), "--chain", "dev", "--json"]));
    assert_eq!(code(&uses), 0, "{}{}", out(&uses), err(&uses));
    assert_eq!(json_lines(&uses)[0]["unexplained"], serde_json::json!([]));
    node.stop();
}

/// The worker's view of a home's logs.
fn source(home: &Home) -> ClientLogs {
    let profile = home.profile();
    let trust = Trust::Given(TrustRoot::ledger(profile.ledger_id));
    ClientLogs::new(Client::builder(&profile.url).trust(trust).build().unwrap())
}

#[test]
fn outcomes_that_were_published_do_not_shrink_for_the_worker_when_a_node_starts_without_plugins() {
    let home = Home::new();
    let node = home.start();
    let index = submit(&home, "o-1");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |logs: &ClientLogs| runtime.block_on(async { logs.newest(LogKind::Outcomes).await });
    let newest = || ask(&source(&home)).unwrap();
    until("published", || newest().is_some_and(|newest| newest.size.get() > index));
    let known = source(&home);
    assert!(ask(&known).unwrap().is_some());
    let index = submit(&home, "o-2");
    until("published again", || newest().is_some_and(|newest| newest.size.get() > index));
    let before = newest().unwrap();
    node.stop();
    let mut bare = home.dev();
    bare.arg("--no-plugins");
    let node = Node::start(bare).unwrap();
    assert_eq!(rung(&home, "applied"), 0, "this start applies nothing");
    assert_eq!(newest(), Some(before), "a worker that finds its log shorter halts until an operator clears it");
    // No proof from what this worker saw, on a start that serves none: an error, which it tries again, and not "never".
    let unproven = ask(&known);
    assert!(unproven.is_err(), "{unproven:?}");
    node.stop();
}

/// A chain in the hands of the test, with the contract for a home's ledger.
fn chain_for(home: &Home, folder: &Path, url: &str) -> (DevChain, DevAnchors) {
    let chain = DevChain::start(folder).unwrap();
    let anchors = chain.deploy(Path::new(common::TALLY), url, home.profile().ledger_id).unwrap();
    (chain, anchors)
}

fn watching(home: &Home, file: &Path) -> std::process::Command {
    let mut dev = home.dev();
    dev.arg("--watch-chains").arg(file);
    dev
}

/// A copy of the watched chains with one text replaced.
fn changed(file: &Path, from: &str, to: &str) -> PathBuf {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    let other = file.with_file_name("changed.toml");
    std::fs::write(&other, text.replace(from, to)).unwrap();
    other
}

#[test]
fn a_node_whose_chain_or_contract_is_another_one_does_not_start() {
    let home = Home::new();
    let node = home.start();
    let (_chain, anchors) = chain_for(&home, &home.path().join("chain"), node.url());
    node.stop();
    let other_chain = changed(&anchors.watch_file, "chain_id = 84532001", "chain_id = 84532002");
    let ended = Node::start(watching(&home, &other_chain)).err().unwrap();
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("84532002"), "{ended}");
    let nobody = format!("0x{}", "22".repeat(20));
    let other_contract = changed(&anchors.watch_file, &anchors.contract, &nobody);
    let ended = Node::start(watching(&home, &other_contract)).err().unwrap();
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("contract"), "{ended}");
    Node::start(watching(&home, &anchors.watch_file)).unwrap().stop();
}

/// A home whose chain holds more than the copy of its data that is made here.
struct Anchored {
    home: Home,
    backup: PathBuf,
    anchors: DevAnchors,
    /// What the chain holds at least.
    size: u64,
    _chain: DevChain,
}

impl Anchored {
    fn new() -> Self {
        let home = Home::new();
        let node = home.start();
        submit(&home, "o-1");
        let (chain, anchors) = chain_for(&home, &home.path().join("chain"), node.url());
        node.stop();
        let backup = home.path().join("backup");
        copy_folder(&home.data(), &backup);
        let node = Node::start(watching(&home, &anchors.watch_file)).unwrap();
        let mut worker = anchors.worker(Path::new(common::TALLY));
        let mut worker = worker.stdout(Stdio::null()).spawn().unwrap();
        let index = submit(&home, "o-2");
        let anchored = || get(&home, "/v1/anchors")["chains"][0]["events"]["latest"]["size"].as_u64();
        until("on the chain", || anchored().is_some_and(|size| size > index));
        let size = anchored().unwrap();
        worker.kill().unwrap();
        worker.wait().unwrap();
        node.stop();
        Self { home, backup, anchors, size, _chain: chain }
    }

    /// The copy in the place of the data, without the fence's file: only the chain knows better.
    fn restore(&self) {
        std::fs::remove_dir_all(self.home.data()).unwrap();
        copy_folder(&self.backup, &self.home.data());
        std::fs::remove_file(self.home.fence()).unwrap();
    }
}

#[test]
fn a_restored_directory_that_a_chain_is_ahead_of_comes_up_read_only_even_without_its_fence() {
    let anchored = Anchored::new();
    anchored.restore();
    let mut dev = watching(&anchored.home, &anchored.anchors.watch_file);
    dev.arg("--adopt-fence");
    let node = Node::start(dev).unwrap();
    assert_eq!(node.state(), "read_only", "{}", node.why());
    until("an alarm", || get(&anchored.home, "/v1/anchors")["chains"][0]["halted"].as_str().is_some());
    let told = get(&anchored.home, "/v1/anchors");
    assert!(told["chains"][0]["halted"].as_str().unwrap().contains("parted"), "{told:#}");
    assert_eq!(rung(&anchored.home, "anchored"), 0, "a chain that holds something else moves nothing");
    node.stop();
}

#[test]
fn a_log_that_was_rewritten_with_its_real_keys_is_found_by_the_chain() {
    let anchored = Anchored::new();
    anchored.restore();
    // With every real key, and nobody who remembers: another history grows past what the chain holds.
    let mut dev = anchored.home.dev();
    dev.arg("--adopt-fence");
    let node = Node::start(dev).unwrap();
    assert_eq!(node.state(), "running", "{}", node.why());
    let mut event = 0;
    until("past the chain", || {
        event += 1;
        submit(&anchored.home, &format!("forged-{event}")) > anchored.size
    });
    node.stop();
    let node = Node::start(watching(&anchored.home, &anchored.anchors.watch_file)).unwrap();
    assert_eq!(node.state(), "read_only", "{}", node.why());
    until("an alarm", || get(&anchored.home, "/v1/anchors")["chains"][0]["halted"].as_str().is_some());
    let told = get(&anchored.home, "/v1/anchors");
    assert!(told["chains"][0]["halted"].as_str().unwrap().contains("parted"), "{told:#}");
    assert_eq!(rung(&anchored.home, "anchored"), 0);
    // Nor does the worker anchor it: it halts, and says so until an operator has looked.
    let config = anchored.anchors.config.to_str().unwrap();
    let mut worker = anchored.anchors.worker(Path::new(common::TALLY));
    let mut worker = worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status =
        || json_lines(&run(tally(&["anchor", "status", "--config", config, "--json"])))[0]["chains"][0].clone();
    until("halted", || status()["worker"]["halted"] == true);
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(
        status()["heads"]["latest"]["logs"]["events"]["size"].as_u64(),
        Some(anchored.size),
        "nothing came on top"
    );
    node.stop();
}

#[test]
fn a_worker_with_a_private_key_in_its_environment_does_not_start() {
    let home = Home::new();
    let config = home.path().join("anchor.toml");
    let key = "{ kind = \"remote\", url = \"https://127.0.0.1:1/\", key = \"k\", address = \"0x1111111111111111111111111111111111111111\", token_file = \"t\" }";
    let chain = "name = \"x\"\nchain_id = 1\ncontract = \"0x2222222222222222222222222222222222222222\"\n\
        code_hash = \"0x3333333333333333333333333333333333333333333333333333333333333333\"\nproviders = []\n\
        providers_agree_min = 1\ntrust_one_provider = true\nepoch = 1\nrequest_timeout_ms = 1\nprovider_lag_max_ms = 1\n\
        interval_ms = 1\nsize_trigger = 1\npoll_ms = 1\nreconcile_ms = 1\nreplace_after_ms = 1\nrebroadcast_after_ms = 1\n\
        unfinal_slots_max = 1\n[chain.fees]\ncap_max_wei = 2\ntip_min_wei = 1\ntarget_ms = 1\nbudget_gwei_per_day = 1\n\
        balance_floor_gwei = 1\ngas_max = 1\nop_data_fee = false\n";
    let text = format!(
        "journal = \"journal\"\n[node]\nurl = \"http://127.0.0.1:1\"\nledger = \"{}\"\n[keys]\ngas = {key}\nauthority = {key}\n[[chain]]\n{chain}",
        "ab".repeat(32)
    );
    std::fs::write(&config, text).unwrap();
    let secret = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";
    for name in ["TALLY_ANCHOR_KEY", "PRIVATE_KEY", "SEQUENCER_PRIVATE_KEY"] {
        let mut command = tally(&["anchor", "run", "--config", config.to_str().unwrap()]);
        command.env(name, format!("0x{secret}"));
        let output = run(command);
        assert_eq!(code(&output), 2, "{}", err(&output));
        assert!(err(&output).contains(name) && !err(&output).contains(secret), "{}", err(&output));
        assert!(!out(&output).contains(secret));
    }
    // Without one it gets further: to the file that it is told to read.
    let output = run(tally(&["anchor", "run", "--config", config.to_str().unwrap()]));
    assert!(!err(&output).contains("PRIVATE_KEY"), "{}", err(&output));
}

#[test]
fn a_configuration_that_contradicts_itself_is_named() {
    let home = Home::new();
    let config = home.path().join("anchor.toml");
    for (text, named) in [("", "journal"), ("journal = 1", "journal"), ("colour = 1\njournal = \"j\"", "colour")] {
        std::fs::write(&config, text).unwrap();
        let output = run(tally(&["anchor", "status", "--config", config.to_str().unwrap()]));
        assert_eq!(code(&output), 2);
        assert!(err(&output).contains(named), "{}", err(&output));
    }
    let missing = run(tally(&["anchor", "run", "--config", "no-such-file.toml"]));
    assert_eq!(code(&missing), 2, "{}", err(&missing));
}
