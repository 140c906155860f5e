//! Effects over the death of a node: each is done once by the provider and answered once in the log.
//!
//! The node that dies is this test's own program, started again as a process of its own ([`child`]); the provider lives in
//! this process and keeps the books. With the feature `failpoints` the node aborts at each named step of dispatching;
//! without, it is killed at arbitrary moments.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use common::market::{Market, Place};
use common::provider::{CONNECTOR, Dispatching, Fault, Provider, answers, ask, listed, states, until_all, with_payer};

const PLACE: &str = "TALLY_TEST_PLACE";
const PROVIDER: &str = "TALLY_TEST_PROVIDER";
const ASK: &str = "TALLY_TEST_ASK";

/// Runs in a process of its own: asks for effects, and dispatches until all are answered.
#[test]
#[ignore = "a process that the others start and kill"]
fn child() {
    let Ok(dir) = std::env::var(PLACE) else { return };
    let place = Place::at(dir.as_ref());
    let node = place.start();
    let dispatching = Dispatching::start(&node, std::env::var(PROVIDER).unwrap().parse().unwrap());
    let market = Market::new(place.genesis.ledger_id());
    for round in 0..std::env::var(ASK).unwrap().parse().unwrap() {
        node.accept(["\"pa\"", "\"pb\"", "\"pa\""].map(|body| ask(&market, body)).into());
        println!("asked {round}");
    }
    node.caught_up();
    until_all(&node, "answered", states(&node).len());
    drop(dispatching);
    node.stop();
}

fn spawn(place: &Place, provider: &Provider, ask: usize, failpoint: Option<String>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]).env(PLACE, place.path());
    command.env(PROVIDER, provider.address.to_string()).env(ASK, ask.to_string());
    command.env_remove("TALLY_FAILPOINT").envs(failpoint.map(|point| ("TALLY_FAILPOINT", point)));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A ledger on which the plugin runs and the connector's agent has its key, stopped.
fn prepared() -> Place {
    let place = Place::new();
    let (node, market) = with_payer(&place);
    node.accept(vec![market.key_registered(CONNECTOR)]);
    node.caught_up();
    node.stop();
    place
}

/// A node without a fail point ends what is left; then the provider's books and the log agree.
fn check(place: &Place, provider: &Provider) -> usize {
    assert!(spawn(place, provider, 0, None).wait().unwrap().success());
    let node = place.start();
    node.caught_up();
    let effects = listed(&node);
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    provider.done().into_iter().for_each(|(key, _)| *done.entry(key).or_default() += 1);
    let mut answered: BTreeMap<String, usize> = BTreeMap::new();
    answers(&node).into_iter().for_each(|(effect, ..)| *answered.entry(effect).or_default() += 1);
    let once: BTreeMap<String, usize> =
        effects.iter().map(|(_, record)| (record["effect_id"].as_str().unwrap().to_owned(), 1)).collect();
    assert_eq!(done, once, "each done once");
    assert_eq!(answered, once, "each answered once");
    assert!(states(&node).iter().all(|state| state == "answered"));
    node.stop();
    effects.len()
}

/// What goes wrong outside while the node dies.
fn trouble(provider: &Provider) {
    provider.will("\"pa\"", [Fault::DoneAndBroken, Fault::Away, Fault::Broken, Fault::DoneAndGarbled]);
}

#[cfg(not(feature = "failpoints"))]
#[test]
fn a_node_that_is_killed_while_it_dispatches_does_everything_once() {
    let (place, provider) = (prepared(), Provider::start(false));
    for round in 0..5 {
        trouble(&provider);
        let mut child = spawn(&place, &provider, 30, None);
        let moment = 300 + 150 * round + u64::from(tally::random::bytes::<1>().unwrap()[0]);
        std::thread::sleep(std::time::Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(check(&place, &provider) > 6, "nothing was under way");
}

#[cfg(feature = "failpoints")]
#[test]
fn a_node_that_dies_between_any_two_steps_of_an_effect_does_it_once_and_answers_it_once() {
    use std::os::unix::process::ExitStatusExt as _;

    const SIGABRT: i32 = 6;
    for honours_keys in [true, false] {
        let (place, provider) = (prepared(), Provider::start(honours_keys));
        for point in tally::effects::FAIL_POINTS {
            for nth in [1, 3] {
                trouble(&provider);
                let status = spawn(&place, &provider, 2, Some(format!("{point}:{nth}"))).wait().unwrap();
                assert_eq!(status.signal(), Some(SIGABRT), "{point} was not passed {nth} times");
                check(&place, &provider);
            }
        }
    }
}
