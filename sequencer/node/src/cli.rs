//! The command line: what can be asked, with its help. Parsing only; each command lives in `commands/`.
//!
//! `--json` gives one JSON object per line on standard output, for scripts; progress and logs go to standard error.

pub mod anchor;
pub mod effects;
pub mod plugin;
pub mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{AgentId, EventId, Index, KeyId, StoreId, TenantId};
use tally_protocol::key::PublicKey;
use tally_verify::TrustedChain;

/// A verifiable sequencer: signed events in, proven receipts out.
#[derive(Debug, Parser)]
#[command(name = "tally", version, after_help = crate::exit::table(), propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Form of the log on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogForm::Text, env = "TALLY_LOG_FORM")]
    pub log: LogForm,
    /// What is logged: a level, or targets with levels as in `tally=debug,warn`.
    #[arg(long, global = true, default_value = "info", env = "TALLY_LOG")]
    pub log_level: String,
}

impl Cli {
    /// Whether scripts read the result.
    #[must_use]
    pub fn is_json(&self) -> bool {
        match &self.command {
            Command::Dev(args) => args.json,
            Command::Serve(args) => args.json,
            Command::Init(args) => args.json,
            Command::Keygen(args) => args.json,
            Command::Submit(args) => args.json,
            Command::Watch(args) => args.json,
            Command::Verify(args) => args.json,
            Command::Fsck(args) => args.json,
            Command::Export(args) => args.json,
            Command::Replay(args) => args.json,
            Command::Bundle(_) | Command::Completions(_) | Command::CompileModule => false,
            Command::Anchor(args) => args.action.is_json(),
            Command::Plugin(args) => args.action.is_json(),
            Command::Keys(args) => match &args.action {
                KeysAction::List(args) => args.agent.json,
                KeysAction::Register(args) => args.agent.json,
                KeysAction::Rotate(args) => args.agent.json,
                KeysAction::Revoke(args) => args.agent.json,
            },
            Command::Types(args) => match &args.action {
                TypesAction::Show(args) | TypesAction::Lift(args) => args.json,
                TypesAction::Set(args) => args.store.json,
            },
            Command::Effects(args) => args.action.is_json(),
            Command::Webhook(args) => args.json,
        }
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a development node: makes a ledger, a tenant, keys and API keys at the first start and shows them.
    Dev(DevArgs),
    /// Run a node from a configuration file.
    Serve(ServeArgs),
    /// Make what a production node needs: keys, configuration file, ledger, the first operator API key.
    Init(InitArgs),
    /// Make a signing key.
    Keygen(KeygenArgs),
    /// Sign and submit events; print their receipts.
    Submit(SubmitArgs),
    /// Follow the log: print each event, in order, none twice.
    Watch(WatchArgs),
    /// Check bundles and proof files offline.
    Verify(VerifyArgs),
    /// Check a whole data directory offline: re-derive everything from the log, name the first bad entry.
    Fsck(FsckArgs),
    /// Write what an auditor needs to execute the log again: events, outcomes, modules, checkpoints.
    Export(ExportArgs),
    /// Execute an exported log again, offline: every plugin over every event, every outcome and the state root compared.
    Replay(ReplayArgs),
    /// Fetch the offline bundle (or proof file) of one event.
    Bundle(BundleArgs),
    /// List, register, rotate and revoke agents' signing keys.
    Keys(KeysArgs),
    /// Show, set and lift the list of entity types that a store takes.
    Types(TypesArgs),
    /// List effects that plugins asked for; try dead letters again, or give them up.
    Effects(effects::EffectsArgs),
    /// Check a message of the payment provider against the secret of its webhook, offline.
    Webhook(webhook::WebhookArgs),
    /// Make, test, measure and publish plugins.
    Plugin(plugin::PluginArgs),
    /// Make, watch and check anchors on EVM chains.
    Anchor(anchor::AnchorArgs),
    /// Print a shell completion script.
    Completions(CompletionsArgs),
    /// Compiles a module from standard input; for the node itself, which runs this with bounds.
    #[command(hide = true)]
    CompileModule,
}

/// `tally dev`
#[derive(Debug, Clone, Args)]
pub struct DevArgs {
    /// Where the data goes. The fence file lies beside it.
    #[arg(long, default_value = "tally-data", env = "TALLY_DATA")]
    pub data: PathBuf,
    /// Address to listen on; loopback only. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", env = "TALLY_LISTEN")]
    pub listen: SocketAddr,
    /// Print what scripts need as JSON: one `ready` object once the node takes events.
    #[arg(long)]
    pub json: bool,
    /// Take a missing fence file as given and start a new one. Only right if this copy of the data is the newest.
    #[arg(long)]
    pub adopt_fence: bool,
    /// Run no plugins: no second log, and events about plugins are refused.
    #[arg(long)]
    pub no_plugins: bool,
    /// Also run a development chain (anvil) with the anchor contract, and the worker that anchors this ledger there.
    #[arg(long, conflicts_with = "watch_chains")]
    pub chain: bool,
    /// Watch the chains of this file, a section `[anchor]` as in tally.toml without its name.
    #[arg(long, value_name = "FILE")]
    pub watch_chains: Option<PathBuf>,
    /// Serve a marketplace and dispatch effects: the sections `[market]`, `[effects]` and `[connectors.KIND]` of this file,
    /// as in tally.toml.
    #[arg(long, value_name = "FILE", conflicts_with = "no_plugins")]
    pub with: Option<PathBuf>,
}

/// `tally serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "TALLY_CONFIG")]
    pub config: PathBuf,
    /// Check configuration and keys, then stop.
    #[arg(long)]
    pub check: bool,
    /// Print one `ready` object as JSON once the node serves.
    #[arg(long)]
    pub json: bool,
    /// Take a missing fence file as given and start a new one. Only right if this copy of the data is the newest.
    #[arg(long)]
    pub adopt_fence: bool,
}

/// `tally init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The configuration file; written if it does not exist.
    #[arg(long, value_name = "FILE", env = "TALLY_CONFIG")]
    pub config: PathBuf,
    /// The log's name: a host and path without scheme, such as `log.example.com/market`. For a new configuration.
    #[arg(long, required_unless_present = "existing")]
    pub origin: Option<String>,
    /// Where the data goes. For a new configuration.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
    /// The fence file, outside the data; best on another disk. For a new configuration.
    #[arg(long, default_value = "fence/tally.fence")]
    pub fence: PathBuf,
    /// Folder of the key files. For a new configuration.
    #[arg(long, default_value = "keys")]
    pub keys: PathBuf,
    /// Address to listen on. For a new configuration.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Use the configuration file as it is.
    #[arg(long, conflicts_with = "origin")]
    pub existing: bool,
    /// Make another operator API key, though there are API keys already.
    #[arg(long)]
    pub operator_key: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally keygen`
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Write the key to this new file (mode 0600) and print the public key. Without it the key is printed.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where the node is and who calls.
#[derive(Clone, Args)]
pub struct NodeArgs {
    /// The node's address. Default: the profile's.
    #[arg(long, env = "TALLY_URL")]
    pub url: Option<String>,
    /// File that holds the API key (mode 0600). The variable TALLY_API_KEY goes before it. Default: the profile's.
    #[arg(long, value_name = "FILE", env = "TALLY_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// The API key itself; from the variable only, because others can read a command line.
    #[arg(long, hide = true, env = "TALLY_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// A profile as `tally dev` writes it: address, keys and ids.
    #[arg(long, value_name = "FILE", env = "TALLY_PROFILE", default_value = "tally-data/dev/profile.json")]
    pub profile: PathBuf,
    /// The ledger id that must be served. Default: the profile's.
    #[arg(long, value_name = "HEX", value_parser = parse_ledger)]
    pub ledger: Option<LedgerId>,
    /// How long to retry, in seconds, before giving up.
    #[arg(long, default_value_t = 30)]
    pub timeout: u64,
}

impl std::fmt::Debug for NodeArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeArgs").field("url", &self.url).field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Who signs, and into which stream.
#[derive(Debug, Clone, Args)]
pub struct SignerArgs {
    /// The agent's key file. Default: the profile's.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The agent. Default: the profile's.
    #[arg(long, value_name = "UUID")]
    pub agent: Option<AgentId>,
    /// The number of the agent's key. Default: the profile's.
    #[arg(long, value_name = "N", value_parser = parse_key_id)]
    pub key_id: Option<KeyId>,
    /// The tenant. Default: the profile's.
    #[arg(long, value_name = "UUID")]
    pub tenant: Option<TenantId>,
    /// The store. Default: the profile's.
    #[arg(long, value_name = "UUID")]
    pub store: Option<StoreId>,
}

/// `tally submit`
#[derive(Debug, Args)]
#[command(after_help = "Without --event-type, events are read from standard input, one JSON object per line:\n  \
    {\"entity_type\":\"order\",\"entity_id\":\"o-1\",\"event_type\":\"order.placed\",\"payload\":{\"sku\":\"s-1\"}}\n\
    with optional \"event_id\" and \"created_at\". Events without an id get a random one; give ids to make a\n\
    repeated submission safe: the same event twice gets the same receipt.")]
pub struct SubmitArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// What happened, such as `order.placed`.
    #[arg(long, requires_all = ["entity_type", "entity_id"])]
    pub event_type: Option<String>,
    /// Kind of the entity, such as `order`.
    #[arg(long, requires = "event_type")]
    pub entity_type: Option<String>,
    /// The entity, such as an order number. Must not be personal data.
    #[arg(long, requires = "event_type")]
    pub entity_id: Option<String>,
    /// The payload as JSON; `@FILE` reads a file.
    #[arg(long, default_value = "{}", requires = "event_type")]
    pub payload: String,
    /// The event's id.
    #[arg(long, value_name = "UUID", requires = "event_type")]
    pub event_id: Option<EventId>,
    /// The agent's time, RFC 3339. Default: now.
    #[arg(long, value_name = "TIME", requires = "event_type")]
    pub created_at: Option<String>,
    /// Events per request.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub batch: u32,
    /// Save an offline bundle per event in this folder, as `INDEX.json`.
    #[arg(long, value_name = "DIR")]
    pub bundle_dir: Option<PathBuf>,
    /// Print receipts as JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// `tally watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Start at this position of the log. Default: the beginning.
    #[arg(long, value_name = "INDEX", value_parser = parse_index, conflicts_with = "resume")]
    pub from: Option<Index>,
    /// Start after this token.
    #[arg(long, value_name = "TOKEN")]
    pub resume: Option<String>,
    /// Keep the newest token in this file and start after it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "from"])]
    pub resume_file: Option<PathBuf>,
    /// Only events of this tenant.
    #[arg(long, value_name = "UUID")]
    pub tenant: Option<TenantId>,
    /// Only events of this store.
    #[arg(long, value_name = "UUID", requires = "tenant")]
    pub store: Option<StoreId>,
    /// Stop after so many events.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Stop when everything that is in the log at the start was printed.
    #[arg(long)]
    pub no_follow: bool,
    /// Print JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// `tally verify`
#[derive(Debug, Args)]
#[command(after_help = "Nothing is read but the files; no network is used. A bundle carries the genesis entry of its \
    ledger, and so the keys. That proves consistency with *some* ledger: give --ledger to say which one you trust. \
    A .tlog-proof file needs --vkey.")]
pub struct VerifyArgs {
    /// Bundles (.json) and proof files (.tlog-proof).
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The ledger id you trust (64 hex digits).
    #[arg(long, value_name = "HEX", value_parser = parse_ledger)]
    pub ledger: Option<LedgerId>,
    /// Verifier keys you trust for checkpoints, as in `name+id+key`.
    #[arg(long, value_name = "VKEY")]
    pub vkey: Vec<String>,
    /// A chain you know, as `ID:CONTRACT:AUTHORITY[,AUTHORITY..]`: anchors there must be of this contract and authority.
    #[arg(long = "chain", value_name = "CHAIN", value_parser = anchor::parse_chain)]
    pub chains: Vec<TrustedChain>,
    /// JSON-RPC endpoint of a chain: also asks it whether it has the anchors' transactions and heads. Several are asked
    /// each for the chain that it is of.
    #[arg(long, value_name = "URL")]
    pub rpc: Vec<String>,
    /// The entry that a .tlog-proof file is about, if the file does not hold it itself.
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
    /// Print JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// `tally fsck`
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// The data directory of a node that is not running.
    #[arg(value_name = "DIR")]
    pub data: PathBuf,
    /// The fence file to check as well. Default: `DIR.fence`, if it exists.
    #[arg(long, value_name = "FILE")]
    pub fence: Option<PathBuf>,
    /// The ledger id you trust (64 hex digits).
    #[arg(long, value_name = "HEX", value_parser = parse_ledger)]
    pub ledger: Option<LedgerId>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The data directory of a node that is not running.
    #[arg(long, value_name = "DIR", env = "TALLY_DATA")]
    pub data: PathBuf,
    /// The directory to write; must not exist.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print what was written as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally replay`
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is read but the export; no network is used. It carries the genesis entry of its ledger, \
    and so the keys: give --ledger to say which ledger you mean. Plugins' state is held in memory."
)]
pub struct ReplayArgs {
    /// An export, as `tally export` writes it.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// What executes the modules.
    #[arg(long, value_enum, default_value_t = ReplayEngine::Optimised)]
    pub engine: ReplayEngine,
    /// The ledger id you trust (64 hex digits).
    #[arg(long, value_name = "HEX", value_parser = parse_ledger)]
    pub ledger: Option<LedgerId>,
    /// Verifier keys you trust for checkpoints, as in `name+id+key`.
    #[arg(long, value_name = "VKEY")]
    pub vkey: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// An engine that executes modules. All of them come to the same outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReplayEngine {
    /// The compiler as a node uses it.
    Optimised,
    /// The compiler without optimisation.
    Baseline,
    /// An interpreter by other people; slow.
    Wasmi,
}

impl ReplayEngine {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Optimised => "optimised",
            Self::Baseline => "baseline",
            Self::Wasmi => "wasmi",
        }
    }
}

/// `tally bundle`
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Position of the event in the log.
    #[arg(value_parser = parse_index)]
    pub index: Index,
    /// Write to this new file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Give a C2SP tlog-proof file instead of a bundle.
    #[arg(long)]
    pub proof: bool,
}

/// `tally keys`
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub action: KeysAction,
}

/// What to do with agents' keys.
#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// All keys of an agent, with their history.
    List(KeysListArgs),
    /// Register an agent's key; it gets the next number.
    Register(KeysRegisterArgs),
    /// Register the successor of the agent's newest key, which stays valid for a while.
    Rotate(KeysRotateArgs),
    /// Revoke a key: from the answer on, nothing under it is admitted.
    Revoke(KeysRevokeArgs),
}

/// Whose keys.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The agent's tenant. Default: the profile's.
    #[arg(long, value_name = "UUID")]
    pub tenant: Option<TenantId>,
    /// The agent. Default: the profile's.
    #[arg(long, value_name = "UUID")]
    pub agent: Option<AgentId>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally keys list`
#[derive(Debug, Args)]
pub struct KeysListArgs {
    /// Whose keys.
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// `tally keys register`
#[derive(Debug, Args)]
pub struct KeysRegisterArgs {
    /// Whose key.
    #[command(flatten)]
    pub agent: AgentArgs,
    /// The public key (64 hex digits).
    #[arg(long, value_name = "HEX", value_parser = parse_public_key)]
    pub public_key: PublicKey,
    /// Valid from this time on, RFC 3339. Default: registration.
    #[arg(long, value_name = "TIME")]
    pub valid_from: Option<String>,
    /// Valid before this time, RFC 3339. Default: for good.
    #[arg(long, value_name = "TIME")]
    pub valid_to: Option<String>,
}

/// `tally keys rotate`
#[derive(Debug, Args)]
pub struct KeysRotateArgs {
    /// Whose key.
    #[command(flatten)]
    pub agent: AgentArgs,
    /// The new public key (64 hex digits).
    #[arg(long, value_name = "HEX", value_parser = parse_public_key)]
    pub public_key: PublicKey,
    /// The old key stays valid before this time, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub previous_valid_to: String,
    /// The new key is valid before this time, RFC 3339. Default: for good.
    #[arg(long, value_name = "TIME")]
    pub valid_to: Option<String>,
}

/// `tally keys revoke`
#[derive(Debug, Args)]
pub struct KeysRevokeArgs {
    /// Whose key.
    #[command(flatten)]
    pub agent: AgentArgs,
    /// The key's number.
    #[arg(long, value_name = "N", value_parser = parse_key_id)]
    pub key_id: KeyId,
    /// Why; it is stored in the log for good.
    #[arg(long)]
    pub reason: String,
}

/// `tally types`
#[derive(Debug, Args)]
pub struct TypesArgs {
    /// What to do with the list.
    #[command(subcommand)]
    pub action: TypesAction,
}

/// What to do with the list of entity types that a store takes.
#[derive(Debug, Subcommand)]
pub enum TypesAction {
    /// The list, and what plugins bring beside it.
    Show(StoreArgs),
    /// Set the list, in place of the one before: from the answer on, the store takes no other types.
    Set(TypesSetArgs),
    /// Lift the list: the store takes every type.
    Lift(StoreArgs),
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The store's tenant. Default: the profile's.
    #[arg(long, value_name = "UUID")]
    pub tenant: Option<TenantId>,
    /// The store. Default: the profile's.
    #[arg(long, value_name = "UUID")]
    pub store: Option<StoreId>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally types set`
#[derive(Debug, Args)]
pub struct TypesSetArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The whole list.
    #[arg(value_name = "TYPE", required_unless_present = "none")]
    pub types: Vec<String>,
    /// An empty list: the store takes only what plugins bring.
    #[arg(long, conflicts_with = "types")]
    pub none: bool,
}

/// `tally completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

fn parse_ledger(text: &str) -> Result<LedgerId, String> {
    LedgerId::from_hex(text).map_err(|error| error.to_string())
}

fn parse_public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_hex(text.strip_prefix("0x").unwrap_or(text)).map_err(|error| error.to_string())
}

fn parse_key_id(text: &str) -> Result<KeyId, String> {
    text.parse::<u32>().map(KeyId::new).map_err(|error| error.to_string())
}

pub(crate) fn parse_index(text: &str) -> Result<Index, String> {
    text.parse::<u64>().map(Index::new).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for exit in crate::exit::Exit::ALL {
            assert!(help.contains(exit.meaning()), "{}", exit.name());
        }
    }
}
