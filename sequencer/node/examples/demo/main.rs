//! The demo: this workspace's own dependencies as a marketplace, over HTTP, through a crash, proven to the last event.
//!
//! `cargo xtask demo` builds and runs it. It reads the lock file and the local cargo cache, starts a development node
//! in a temporary folder on a free port, lets sellers list the packages and buyers order them (20,000 events and
//! more), kills the node with SIGKILL in the middle and starts it again, then verifies every receipt offline, compares
//! the log with what was acknowledged, runs `tally fsck`, and checks one event with a proof file. Two plugins run all the
//! while; at the end the log is exported, and every plugin is executed again over every event: `replay ok: ...`.
//! The last line is `demo ok: ...`; otherwise it ends with 1 and says in one line what failed.

mod catalogue;
mod market;
mod node;
mod plugins;
mod proofs;
mod trade;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use catalogue::Catalogue;
use clap::Parser;
use market::Market;
use node::Node;
use tally::profile::Profile;
use tally_client::api::api_key::{CreateApiKey, Role};
use tally_client::{ApiKey, Client, RetryPolicy, Trust};
use tally_core::{Clock as _, SystemClock};
use tally_protocol::id::Stream;
use tally_verify::TrustRoot;
use trade::Traded;

/// Real events through a real node, killed on the way and proven at the end.
#[derive(Debug, Parser)]
#[command(name = "tally-demo")]
struct Args {
    /// How many events: the listings, and orders up to this number.
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// How many buyers.
    #[arg(long, default_value_t = 120)]
    buyers: usize,
    /// Work in this new folder and leave it there.
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(last) => {
            say(&last);
            ExitCode::SUCCESS
        }
        Err(why) => {
            let why = why.replace('\n', "; ");
            tally::output::report(&tally::exit::Failure::failed(format!("demo failed: {why}")), false);
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn say(line: &str) {
    // A closed pipe is no reason to stop: the exit code tells.
    let _ = tally::output::write(line);
}

fn run(args: &Args) -> Result<String, String> {
    let binary = node::binary()?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let catalogue = catalogue::read(&workspace)?;
    say(&format!(
        "read   {} of {} locked packages, {} MiB of crates in {}",
        catalogue.items.len(),
        catalogue.locked,
        catalogue.items.iter().map(|item| item.size_bytes).sum::<u64>() >> 20,
        catalogue.cache.display()
    ));
    let (_guard, folder) = work_folder(args)?;
    let data = folder.join("data");
    let node = Node::start(&binary, &data, "127.0.0.1:0".parse().map_err(|_| "no loopback")?)?;
    let profile = Profile::load(&data.join("dev/profile.json"))
        .map_err(|failure| failure.to_string())?
        .ok_or("the node wrote no profile")?;
    say(&format!("start  tally dev on {}, ledger {}", node.text("url"), profile.ledger_id));
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("failed to start the runtime: {error}"))?;
    let demo = Demo { binary, data, folder, profile, catalogue };
    runtime.block_on(demo.play(args, node))
}

/// A temporary folder that goes with the demo, or the one that was asked for.
fn work_folder(args: &Args) -> Result<(Option<tempfile::TempDir>, PathBuf), String> {
    match &args.keep {
        Some(folder) => {
            std::fs::create_dir(folder).map_err(|error| format!("failed to create {}: {error}", folder.display()))?;
            Ok((None, folder.clone()))
        }
        None => {
            let dir = tempfile::tempdir().map_err(|error| format!("failed to create a folder: {error}"))?;
            let path = dir.path().to_owned();
            Ok((Some(dir), path))
        }
    }
}

struct Demo {
    binary: PathBuf,
    data: PathBuf,
    folder: PathBuf,
    profile: Profile,
    catalogue: Catalogue,
}

impl Demo {
    async fn play(&self, args: &Args, node: Node) -> Result<String, String> {
        let stream = Stream::new(self.profile.tenant_id, self.profile.store_id);
        let items = &self.catalogue.items;
        let market = Market::new(stream, items.len(), args.buyers.max(1)).map_err(|failure| failure.to_string())?;
        let began = Instant::now();
        let client = self.open_market(&market).await?;
        say(&format!(
            "enrol  {} sellers and {} buyers with a key each, in {:.1} s",
            market.sellers.len(),
            market.buyers.len(),
            began.elapsed().as_secs_f64()
        ));

        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let operator = self.client(&read_key(&self.profile.operator_api_key_file)?)?;
        plugins::install(&operator, &client, &self.profile, &workspace, &self.data).await?;

        let began = Instant::now();
        let now = SystemClock::new().wall().to_rfc3339();
        let orders = args.events.saturating_sub(items.len()).max(1);
        let mut frames = market.listings(items, &now).map_err(|failure| failure.to_string())?;
        frames.extend(market.orders(items, orders, &now).map_err(|failure| failure.to_string())?);
        let count = frames.len();
        say(&format!("sign   {} listings and {orders} orders, in {:.1} s", items.len(), began.elapsed().as_secs_f64()));

        let (traded, node) = trade::run(&client, frames, node, &self.binary, &self.data).await?;
        self.say_traded(&traded, count);
        let verified = proofs::verify_receipts(&self.profile, &client, &traded.receipts).await?;
        proofs::compare_with_log(&client, stream, &traded.receipts).await?;
        let proof = proofs::fetch_proof(&client, &traded.receipts, &self.folder).await?;
        node.stop()?;
        let end = proofs::fsck(&self.binary, &self.data, &self.profile)?;
        proofs::verify_files(&self.binary, &proof, &self.profile)?;
        say(&plugins::replay(&self.binary, &self.data, &self.folder, &self.profile)?);
        say(&format!("final  {}", end.checkpoint.trim_end().replace('\n', "\n       ")));
        Ok(format!("demo ok: {count} events, {verified} receipts verified, size {}, root {}", end.size, end.root))
    }

    /// Registers everybody's key, and makes one API key for the whole market.
    async fn open_market(&self, market: &Market) -> Result<Client, String> {
        let operator = self.client(&read_key(&self.profile.operator_api_key_file)?)?;
        let tenant = self.profile.tenant_id;
        let request = CreateApiKey {
            tenant_id: Some(tenant),
            store_ids: None,
            agent_id: None,
            roles: vec![Role::Agent, Role::Reader, Role::Auditor],
            label: "demo".to_owned(),
            expires_at: None,
        };
        let made = operator.create_api_key(&request).await.map_err(|error| describe(&error))?;
        let client = self.client(&made.api_key)?;
        trade::enrol(&operator, tenant, market).await?;
        for person in market.people() {
            client.know_agent(person);
        }
        Ok(client)
    }

    fn client(&self, key: &str) -> Result<Client, String> {
        // A killed node is back in seconds; the pauses together are well above that.
        let retry =
            RetryPolicy { attempts_max: 60, pause_max: std::time::Duration::from_secs(1), ..RetryPolicy::STANDARD };
        Client::builder(&self.profile.url)
            .api_key(ApiKey::new(key))
            .trust(Trust::Given(TrustRoot::ledger(self.profile.ledger_id)))
            .retry(retry)
            .build()
            .map_err(|error| describe(&error))
    }

    fn say_traded(&self, traded: &Traded, count: usize) {
        say(&format!(
            "submit {count} events in batches of {}: {:.1} s, {:.0} events/s, with the crash; {:.0} events/s before it",
            trade::BATCH,
            traded.seconds,
            count as f64 / traded.seconds,
            traded.rate_before_kill
        ));
        say(&format!(
            "crash  SIGKILL after {} receipts; running again {:.2} s later; {} events were sent twice, and came back \
             with their first place",
            traded.acknowledged_before_kill, traded.restart_seconds, traded.duplicates
        ));
    }
}

fn read_key(path: &Path) -> Result<String, String> {
    let text = tally::keyfile::read_private(path).map_err(|failure| failure.to_string())?;
    Ok(text.trim_end().to_owned())
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &tally_client::ClientError) -> String {
    tally::connect::failure(error).message
}
