//! `tally watch`: follows the log and prints each event once, in order, over broken connections and restarts.
//!
//! Takes where to begin; gives a line per event, each checked (payload, signature, leaf, place). With a resume file
//! the next run goes on behind the last event that was printed. Ends with a signal, or after what was asked for.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tally_api::feed::ResumeToken;
use tally_client::{Client, Feed, FollowFrom, LoggedEvent};
use tally_protocol::id::TreeSize;

use crate::cli::WatchArgs;
use crate::commands;
use crate::connect::{self, Caller};
use crate::exit::Failure;
use crate::output::Output;

/// How often a feed that gives nothing is asked how far it looked.
const LOOK: Duration = Duration::from_millis(200);

/// One event as it is printed.
#[derive(Serialize)]
struct Told<'a> {
    index: u64,
    tenant_id: String,
    store_id: String,
    sequence: u64,
    sequenced_at: String,
    event_id: String,
    agent_id: String,
    key_id: u32,
    entity_type: &'a str,
    entity_id: &'a str,
    event_type: &'a str,
    created_at: &'a str,
    payload: Option<&'a serde_json::value::RawValue>,
    leaf_hash: String,
    resume: &'a str,
}

/// Runs the command.
///
/// # Errors
/// The node does not answer, or sends something that does not hold.
pub fn run(args: &WatchArgs) -> Result<(), Failure> {
    let profile = connect::profile(&args.node)?;
    let client = connect::client(&args.node, profile.as_ref(), Caller::Agent)?;
    commands::runtime()?.block_on(async {
        tokio::select! {
            result = watch(args, &client) => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

async fn watch(args: &WatchArgs, client: &Client) -> Result<(), Failure> {
    let fail = |error: tally_client::ClientError| connect::failure(&error);
    let end = if args.no_follow { Some(connect::within(&args.node, client.ladder()).await?.signed) } else { None };
    let mut feed = open(args, client).await?;
    let output = Output::new(args.json);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 && !is_behind(&feed, end) {
        // Dropping the future loses nothing; it only lets us look whether the end was reached.
        let Ok(next) = tokio::time::timeout(LOOK, feed.next()).await else { continue };
        let event = next.map_err(fail)?;
        if end.is_some_and(|end| !end.holds(event.placed.index)) {
            break;
        }
        tell(output, &event, feed.token())?;
        if let Some(path) = &args.resume_file {
            save(path, feed.token())?;
        }
        left -= 1;
    }
    Ok(())
}

async fn open(args: &WatchArgs, client: &Client) -> Result<Feed, Failure> {
    let from = match (&args.from, &args.resume, &args.resume_file) {
        (Some(index), ..) => {
            let ledger = connect::within(&args.node, client.ledger()).await?;
            FollowFrom::Token(ResumeToken::new(&ledger.id(), *index).to_string())
        }
        (None, Some(token), _) => FollowFrom::Token(token.clone()),
        (None, None, Some(path)) => load(path)?.map_or(FollowFrom::Start, FollowFrom::Token),
        (None, None, None) => FollowFrom::Start,
    };
    let feed = match (args.tenant, args.store) {
        (Some(tenant), Some(store)) => client.follow_stream(from, tenant, store).await,
        (Some(tenant), None) => client.follow_tenant(from, tenant).await,
        _ => client.follow(from).await,
    };
    feed.map_err(|error| connect::failure(&error))
}

/// Whether the feed has looked at everything below `end`.
fn is_behind(feed: &Feed, end: Option<TreeSize>) -> bool {
    let next = feed.token().parse::<ResumeToken>().ok().map(|token| token.next);
    end.is_some_and(|end| end.get() <= 1 || next.is_some_and(|next| !end.holds(next)))
}

fn tell(output: Output, event: &LoggedEvent, resume: &str) -> Result<(), Failure> {
    let (frame, placed) = (&event.frame, &event.placed);
    let told = Told {
        index: placed.index.get(),
        tenant_id: frame.tenant_id().to_string(),
        store_id: frame.store_id().to_string(),
        sequence: placed.sequence.get(),
        sequenced_at: placed.sequenced_at.to_rfc3339(),
        event_id: frame.event_id().to_string(),
        agent_id: frame.agent_id().to_string(),
        key_id: frame.key_id().get(),
        entity_type: frame.entity_type(),
        entity_id: frame.entity_id(),
        event_type: frame.event_type(),
        created_at: frame.created_at(),
        payload: core::str::from_utf8(frame.payload()).ok().and_then(|text| serde_json::from_str(text).ok()),
        leaf_hash: event.leaf_hash.to_hex(),
        resume,
    };
    output.result(&told, || {
        let Told { index, sequenced_at, event_type, entity_type, entity_id, sequence, .. } = &told;
        format!("{index:>8}  {sequenced_at}  {event_type}  {entity_type}/{entity_id}  (sequence {sequence})")
    })
}

fn load(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", path, &error)),
    }
}

/// A reader of the file sees the token before or the token after, never a part.
fn save(path: &Path, token: &str) -> Result<(), Failure> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    std::fs::write(&fresh, format!("{token}\n"))
        .and_then(|()| std::fs::rename(&fresh, path))
        .map_err(|error| Failure::file("write", path, &error))
}
