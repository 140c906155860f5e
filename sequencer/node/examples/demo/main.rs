//! The demo: this workspace's own dependencies as a marketplace, over HTTP, through a crash, proven to the last event.
//!
//! `cargo xtask demo` builds and runs it. It reads the lock file and the local cargo cache, starts a development node
//! in a temporary folder on a free port, lets sellers list the packages and buyers order them (20,000 events and
//! more), kills the node with SIGKILL in the middle and starts it again, then verifies every receipt offline, compares
//! the log with what was acknowledged, runs `tally fsck`, and checks one event with a proof file. Two plugins run all the
//! while, one is upgraded in between with a migration of its state; at the end the log is exported, and every plugin is
//! executed again over every event: `replay ok: ...`. Beside it all a process anchors the log on an EVM chain; it is
//! killed between signing and sending, the chain is reorganised, and at the end its contract is asked about one event:
//! `on-chain ok: ...`. Then a shop on a node of its own: packages as signed SKUs, buyers who pay through a server of the
//! payment provider's protocol, a Finance that settles every sale and proves it, a refund, a dispute, payouts that people
//! approve, a kill in the middle; the books balance, also in another program, and agree with the provider's and Finance's:
//! `books ok: ...`.
//! The last line is `demo ok: ...`; otherwise it ends with 1 and says in one line what failed.

mod books;
mod catalogue;
mod chain;
mod finance;
mod gate;
mod http;
mod market;
mod node;
mod payouts;
mod plugins;
mod proofs;
mod shop;
mod trade;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use catalogue::Catalogue;
use chain::Chain;
use clap::Parser;
use market::Market;
use node::Node;
use tally::profile::Profile;
use tally_client::api::api_key::{CreateApiKey, Role};
use tally_client::{ApiKey, Client, RetryPolicy, Trust};
use tally_core::{Clock as _, SystemClock};
use tally_protocol::id::{Stream, TreeSize};
use tally_protocol::plugin_event::Config;
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
    let node = Node::start(&binary, &data, "127.0.0.1:0".parse().map_err(|_| "no loopback")?, None)?;
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
        let modules = plugins::TRADED.map(|module| (module, Config::empty()));
        let clients = (&operator, &client);
        let mut office = plugins::install(clients, &self.profile, &workspace, &self.data, &modules).await?;

        let mut chain = tokio::task::block_in_place(|| Chain::start(&self.binary, &self.folder, &self.profile))?;
        let watch = chain.watch_file().to_owned();

        let began = Instant::now();
        let now = SystemClock::new().wall().to_rfc3339();
        let orders = args.events.saturating_sub(items.len()).max(1);
        let mut frames = market.listings(items, &now).map_err(|failure| failure.to_string())?;
        frames.extend(market.orders(items, orders, &now).map_err(|failure| failure.to_string())?);
        let count = frames.len();
        say(&format!("sign   {} listings and {orders} orders, in {:.1} s", items.len(), began.elapsed().as_secs_f64()));

        chain.hold_transactions();
        let meanwhile = async {
            tokio::task::block_in_place(|| chain.kill_between_signing_and_sending())?;
            office.upgrade().await
        };
        let places = (self.data.as_path(), watch.as_path());
        let (traded, node) = trade::run(&client, frames, node, &self.binary, places, meanwhile).await?;
        self.say_traded(&traded, count);
        let verified = proofs::verify_receipts(&self.profile, &client, &traded.receipts).await?;
        proofs::compare_with_log(&client, stream, &traded.receipts).await?;
        let proof = proofs::fetch_proof(&client, &traded.receipts, &self.folder).await?;
        let last = traded.receipts.iter().map(|receipt| receipt.placed.index).max().ok_or("no receipt")?;
        plugins::ask(&client, stream, last, items).await?;
        chain.final_at(&client, TreeSize::new(last.get() + 1)).await?;
        // One more anchor, which is then taken back, and has to come again.
        self.one_more(&client, &market).await?;
        let size = client.ladder().await.map_err(|error| describe(&error))?.signed;
        chain.included_at(&client, size).await?;
        chain.reorganise()?;
        chain.final_at(&client, size).await?;
        let on_chain = chain.prove(&self.binary, &client, &self.profile, &traded.receipts, &self.folder).await?;
        node.stop()?;
        let end = proofs::fsck(&self.binary, &self.data, &self.profile)?;
        proofs::verify_files(&self.binary, &proof, &self.profile)?;
        say(&plugins::replay(&self.binary, &self.data, &self.folder, &self.profile)?);
        say(&on_chain);
        let shop = self.folder.join("shop");
        say(&books::keep(&self.binary, &shop, &workspace, items).await?);
        say(&format!("final  {}", end.checkpoint.trim_end().replace('\n', "\n       ")));
        Ok(format!("demo ok: {count} events, {verified} receipts verified, size {}, root {}", end.size, end.root))
    }

    /// An order behind everything that is final.
    async fn one_more(&self, client: &Client, market: &Market) -> Result<(), String> {
        let now = SystemClock::new().wall().to_rfc3339();
        let items = &self.catalogue.items;
        let frames = market.orders_from(items, usize::MAX / 2..usize::MAX / 2 + 1, &now);
        let frames = frames.map_err(|failure| failure.to_string())?;
        for outcome in client.submit(&frames).await.map_err(|error| describe(&error))? {
            outcome.into_receipt().map_err(|rejected| rejected.to_string())?;
        }
        Ok(())
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
