//! The command line of `tally plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tally_plugin_author::project::Language;
use tally_protocol::id::{AgentId, Index, KeyId, PluginId};
use tally_protocol::plugin_event::Registry;
use tally_protocol::release::{Decision, PricePer, Version};

use super::{NodeArgs, SignerArgs, parse_index, parse_key_id};

mod import;

pub use import::{ImportArgs, ImportReleaseArgs, ImportTemplateArgs, ImportWhat};

/// `tally plugin`
#[derive(Debug, Args)]
pub struct PluginArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: PluginAction,
}

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum PluginAction {
    /// Make a new project that passes its test.
    New(NewArgs),
    /// Build a project's module.
    Build(BuildArgs),
    /// Run fixtures on the shipped module in the real host, on every engine.
    Test(TestArgs),
    /// Dry run over fixtures or a log: outcomes, state difference, gas, limits.
    Run(RunArgs),
    /// Make a fixture of events of a log, with the state before them and what comes of them.
    Capture(CaptureArgs),
    /// Watch a project: build and run its fixtures whenever something changes.
    Dev(DevPluginArgs),
    /// Look for anything carried outside the state: instances cut anywhere, every engine, one root.
    Purity(PurityArgs),
    /// Put another version in the place of the one that runs; with --shadow only compare them, event by event.
    Upgrade(UpgradeArgs),
    /// Pack module, manifest and fixtures as one file.
    Package(PackageArgs),
    /// Sign a package as its publisher.
    Sign(SignArgs),
    /// Submit a signed package to a registry.
    Submit(SubmitPackageArgs),
    /// Approve, reject or revoke a release as a reviewer.
    Review(ReviewArgs),
    /// Take in what a foreign registry sealed: a release, or a template of an installation.
    Import(ImportArgs),
    /// Let an approved release run in a store.
    Install(InstallArgs),
    /// Give what runs another configuration, and end a quarantine.
    Configure(ConfigureArgs),
    /// Take a plugin out of a store; its state there ends.
    Remove(RemoveArgs),
    /// Releases, and what runs in a store, as the log says.
    List(ListArgs),
    /// What a plugin logged lately, as the node tells it.
    Logs(LogsArgs),
}

impl PluginAction {
    pub(super) const fn is_json(&self) -> bool {
        match self {
            Self::New(args) => args.json,
            Self::Build(args) => args.json,
            Self::Test(args) => args.json,
            Self::Run(args) => args.json,
            Self::Capture(args) => args.json,
            Self::Dev(_) => false,
            Self::Purity(args) => args.json,
            Self::Upgrade(args) => args.json,
            Self::Package(args) => args.json,
            Self::Sign(args) => args.json,
            Self::Submit(args) => args.life.json,
            Self::Review(args) => args.life.json,
            Self::Import(args) => args.is_json(),
            Self::Install(args) => args.life.json,
            Self::Configure(args) => args.life.json,
            Self::Remove(args) => args.life.json,
            Self::List(args) => args.life.json,
            Self::Logs(args) => args.json,
        }
    }
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LanguageArg {
    /// Rust, with the guest crate.
    Rust,
    /// C, with a header.
    C,
    /// AssemblyScript.
    Assemblyscript,
}

impl From<LanguageArg> for Language {
    fn from(language: LanguageArg) -> Self {
        match language {
            LanguageArg::Rust => Self::Rust,
            LanguageArg::C => Self::C,
            LanguageArg::Assemblyscript => Self::AssemblyScript,
        }
    }
}

/// `tally plugin new`
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The plugin's id: 1 to 64 of a-z, 0-9 and -, with a letter first.
    pub name: String,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = LanguageArg::Rust)]
    pub language: LanguageArg,
    /// The new folder. Default: the name.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Use the guest crate of this checkout instead of a copy (Rust).
    #[arg(long, value_name = "PATH")]
    pub sdk: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A plugin: its project or its module.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// A project's folder, or a module.
    #[arg(value_name = "DIR|FILE.wasm", default_value = ".")]
    pub place: PathBuf,
    /// Take this module instead of building the project.
    #[arg(long, value_name = "FILE")]
    pub wasm: Option<PathBuf>,
}

/// `tally plugin build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The project.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally plugin test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The plugin.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// A fixture or a folder of them. Default: `fixtures` in the project or beside the module.
    #[arg(long, value_name = "PATH")]
    pub fixtures: Option<PathBuf>,
    /// Write what came as what is expected. Read the difference before you commit it.
    #[arg(long)]
    pub bless: bool,
    /// Print a JSON object per fixture.
    #[arg(long)]
    pub json: bool,
}

/// Which events.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// A fixture, a folder of them, or an export of a node's log. Default: `fixtures` in the project or beside the module.
    #[arg(long = "events", value_name = "PATH")]
    pub source: Option<PathBuf>,
    /// Configuration for `init`, a JSON file. Fixtures have their own.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Stop before this index.
    #[arg(long, value_name = "INDEX", value_parser = parse_index)]
    pub to: Option<Index>,
}

/// `tally plugin run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The plugin.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Which events.
    #[command(flatten)]
    pub events: EventsArgs,
    /// Tell of the events from this index on; those before it run for the state they leave.
    #[arg(long, value_name = "INDEX", value_parser = parse_index)]
    pub from: Option<Index>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally plugin capture`
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// The plugin.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Which events.
    #[command(flatten)]
    pub events: EventsArgs,
    /// From this index on.
    #[arg(long, value_name = "INDEX", value_parser = parse_index)]
    pub from: Option<Index>,
    /// The stream, `TENANT/STORE`, if the log has more than one; or a fixture's name.
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// The new fixture.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally plugin dev`
#[derive(Debug, Args)]
pub struct DevPluginArgs {
    /// The plugin.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// A fixture or a folder of them.
    #[arg(long, value_name = "PATH")]
    pub fixtures: Option<PathBuf>,
    /// Run the newest so many fixtures.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub last: usize,
    /// Stop after so many rounds.
    #[arg(long, value_name = "N", hide = true)]
    pub rounds: Option<u64>,
}

/// `tally plugin purity`
#[derive(Debug, Args)]
pub struct PurityArgs {
    /// The plugin.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Which events.
    #[command(flatten)]
    pub events: EventsArgs,
    /// Seed of the places where instances are cut.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally plugin upgrade`
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The plugin and the version that shall run; with --shadow the old and the new module.
    #[arg(required = true, num_args = 2, value_names = ["PLUGIN|OLD", "VERSION|NEW"])]
    pub what: Vec<String>,
    /// Run both side by side; nothing is submitted.
    #[arg(long)]
    pub shadow: bool,
    /// Which events, with --shadow.
    #[arg(long = "events", value_name = "PATH", requires = "shadow")]
    pub source: Option<PathBuf>,
    /// Stop before this index, with --shadow.
    #[arg(long, value_name = "INDEX", value_parser = parse_index, requires = "shadow")]
    pub to: Option<Index>,
    /// Compare the last so many events of each stream; the old module alone runs those before. With --shadow.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub last: usize,
    /// What is granted and configured.
    #[command(flatten)]
    pub wish: WishArgs,
    /// Where, and who signs.
    #[command(flatten)]
    pub life: NodeLifeArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally plugin package`
#[derive(Debug, Args)]
pub struct PackageArgs {
    /// The plugin.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// A fixture or a folder of them. Default: `fixtures` in the project or beside the module.
    #[arg(long, value_name = "PATH")]
    pub fixtures: Option<PathBuf>,
    /// The package's file. Default: `ID-VERSION.tally`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// What it costs, in minor units.
    #[arg(long, default_value_t = 0)]
    pub price: u64,
    /// In which currency.
    #[arg(long, default_value = "EUR", value_parser = parse_currency)]
    pub currency: [u8; 3],
    /// For what: install, month, event or `million_gas`.
    #[arg(long, default_value = "month", value_parser = parse_per)]
    pub per: PricePer,
    /// The JSON schema of an event type that it declares.
    #[arg(long, value_name = "TYPE=FILE")]
    pub schema: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally plugin sign`
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The package; the signature is written into it.
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
    /// The profile that names the publisher.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The publisher.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where, and who signs the event itself.
#[derive(Debug, Clone, Args)]
pub struct NodeLifeArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// The root agent's key file, which signs what goes into a control stream. Default: the development node's.
    #[arg(long, value_name = "FILE")]
    pub root_key: Option<PathBuf>,
    /// The root agent. Default: the ledger's.
    #[arg(long, value_name = "UUID")]
    pub root_agent: Option<AgentId>,
    /// The number of the root agent's key.
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_key_id)]
    pub root_key_id: KeyId,
    /// The registry: the ledger's, for every tenant, or the tenant's own.
    #[arg(long, default_value = "tenant", value_parser = parse_registry)]
    pub registry: Registry,
    /// Agent, key, tenant and store. Default: the profile's.
    #[command(flatten)]
    pub signer: SignerArgs,
}

/// The same, with the form of the answer.
#[derive(Debug, Clone, Args)]
pub struct LifeArgs {
    /// Where, and who signs.
    #[command(flatten)]
    pub at: NodeLifeArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally plugin submit`
#[derive(Debug, Args)]
pub struct SubmitPackageArgs {
    /// The signed package.
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
    /// Where, and who signs.
    #[command(flatten)]
    pub life: LifeArgs,
}

/// `tally plugin review`
#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// The plugin.
    pub plugin: PluginId,
    /// Which version.
    #[arg(value_parser = parse_version)]
    pub version: Version,
    /// approved, rejected or revoked. Without it the report is shown, and nothing is decided.
    #[arg(long, value_parser = parse_decision, requires = "reason")]
    pub decision: Option<Decision>,
    /// Why; it is stored in the log for good.
    #[arg(long, requires = "decision")]
    pub reason: Option<String>,
    /// Set aside what blocks; only a root agent may.
    #[arg(long = "override")]
    pub overrides: bool,
    /// Where, and who signs: the signer is the reviewer.
    #[command(flatten)]
    pub life: LifeArgs,
}

/// What is granted and configured.
#[derive(Debug, Clone, Args)]
pub struct WishArgs {
    /// The configuration, a JSON file. Default: `{}`.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Grant only these of the permissions that it asks for. Default: all.
    #[arg(long, value_name = "NAME")]
    pub grant: Vec<String>,
    /// Grant nothing.
    #[arg(long, conflicts_with = "grant")]
    pub grant_nothing: bool,
    /// A limit below the one that it asks for.
    #[arg(long, value_name = "NAME=VALUE")]
    pub limit: Vec<String>,
}

/// `tally plugin install`
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The plugin.
    pub plugin: PluginId,
    /// Which version.
    #[arg(value_parser = parse_version)]
    pub version: Version,
    /// What is granted and configured.
    #[command(flatten)]
    pub wish: WishArgs,
    /// Where, and who signs.
    #[command(flatten)]
    pub life: LifeArgs,
}

/// `tally plugin configure`
#[derive(Debug, Args)]
pub struct ConfigureArgs {
    /// The plugin.
    pub plugin: PluginId,
    /// The configuration, a JSON file.
    #[arg(value_name = "FILE")]
    pub config: PathBuf,
    /// Where, and who signs.
    #[command(flatten)]
    pub life: LifeArgs,
}

/// `tally plugin remove`
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The plugin.
    pub plugin: PluginId,
    /// Why; it is stored in the log for good.
    #[arg(long)]
    pub reason: String,
    /// Where, and who signs.
    #[command(flatten)]
    pub life: LifeArgs,
}

/// `tally plugin list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Where.
    #[command(flatten)]
    pub life: LifeArgs,
}

/// `tally plugin logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The plugin.
    pub plugin: PluginId,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Tenant and store. Default: the profile's.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// Only lines of events behind this index.
    #[arg(long, value_name = "INDEX", value_parser = parse_index)]
    pub after: Option<Index>,
    /// At most so many lines.
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// Print JSON lines.
    #[arg(long)]
    pub json: bool,
}

fn parse_currency(text: &str) -> Result<[u8; 3], String> {
    let capitals = text.bytes().all(|c| c.is_ascii_uppercase());
    text.as_bytes().try_into().ok().filter(|_| capitals).ok_or_else(|| "three capitals, as in EUR".to_owned())
}

/// The one of these that has this name.
fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str, text: &str) -> Result<T, String> {
    let names = || all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", ");
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| format!("one of {}", names()))
}

fn parse_per(text: &str) -> Result<PricePer, String> {
    named(&PricePer::ALL, PricePer::as_str, text)
}

fn parse_registry(text: &str) -> Result<Registry, String> {
    named(&Registry::ALL, Registry::as_str, text)
}

fn parse_decision(text: &str) -> Result<Decision, String> {
    named(&Decision::ALL, Decision::as_str, text)
}

fn parse_version(text: &str) -> Result<Version, String> {
    Version::parse(text).map_err(|error| error.to_string())
}
