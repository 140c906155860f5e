//! Submits events to a running node, keeps the proof of each as a file, and follows the log until all are seen again.
//!
//! `cargo run --release -p tally-client --example submit_and_prove -- URL API_KEY TENANT STORE AGENT KEY_ID SEED_HEX`
//!
//! With `tally dev` running, these values are in `tally-data/dev/` (see `docs/operating/cli.md`).

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;

use tally_client::{Agent, Client, EventDraft, FollowFrom, SubmitOutcome, new_event_id};
use tally_protocol::hash::SigningHash;
use tally_protocol::key::SigningKey;
use tally_protocol::time::LogTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, api_key, tenant, store, agent, key_id, seed] = arguments.as_slice() else {
        return Err("usage: submit_and_prove URL API_KEY TENANT STORE AGENT KEY_ID SEED_HEX".into());
    };
    // 32 bytes in hexadecimal digits, like a hash.
    let seed = *SigningHash::from_hex(seed)?.as_bytes();
    let agent = Agent::new(tenant.parse()?, agent.parse()?, key_id.parse()?, SigningKey::from_seed(seed));

    let client = Client::new(url, api_key)?;
    client.know_agent(&agent);
    println!("ledger {}", client.ledger().await?.id());

    let mut feed = client.follow(FollowFrom::Now).await?;
    let mut events = Vec::new();
    for number in 1..=10 {
        events.push(agent.sign(&EventDraft {
            store: store.parse()?,
            event_id: new_event_id()?,
            entity_type: "Order".to_owned(),
            entity_id: format!("ORD-{number}"),
            event_type: "order.created".to_owned(),
            created_at: LogTime::EPOCH.to_rfc3339(),
            payload: format!(r#"{{"amount":{number}}}"#).into_bytes(),
        })?);
    }
    for outcome in client.submit(&events).await? {
        match outcome {
            SubmitOutcome::Accepted(receipt) | SubmitOutcome::Duplicate(receipt) => {
                let file = format!("event-{}.tally.json", receipt.placed.index);
                std::fs::write(&file, receipt.bundle().encode())?;
                println!("sequence {} is proven by {file}", receipt.placed.sequence);
            }
            SubmitOutcome::Rejected(rejected) => println!("{rejected}"),
        }
    }
    while let Some(missing) = events.len().checked_sub(1) {
        let event = feed.next().await?;
        events.retain(|own| own.event_id() != event.frame.event_id());
        println!("seen in the feed: index {}, {missing} to go", event.placed.index);
    }
    println!("to follow on from here: {}", feed.token());
    if let Some(seen) = client.seen().await {
        println!("newest checkpoint, to keep for the next run:\n{}", seen.note);
    }
    Ok(())
}
