//! The command line of `tally plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tally_plugin_author::project::Language;
use tally_protocol::id::Index;

use super::parse_index;

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
    /// Watch a project: build and run its fixtures whenever something changes.
    Dev(DevPluginArgs),
    /// Look for anything carried outside the state: instances cut anywhere, every engine, one root.
    Purity(PurityArgs),
    /// Compare a new version with the old one, event by event.
    Upgrade(UpgradeArgs),
}

impl PluginAction {
    pub(super) const fn is_json(&self) -> bool {
        match self {
            Self::New(args) => args.json,
            Self::Build(args) => args.json,
            Self::Test(args) => args.json,
            Self::Run(args) => args.json,
            Self::Dev(_) => false,
            Self::Purity(args) => args.json,
            Self::Upgrade(args) => args.json,
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
    #[arg(long, value_name = "PATH")]
    pub log: Option<PathBuf>,
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
    /// The old module, then the new one.
    #[arg(required = true, num_args = 2, value_names = ["OLD", "NEW"])]
    pub modules: Vec<PathBuf>,
    /// Run both side by side; nothing is submitted.
    #[arg(long, required = true)]
    pub shadow: bool,
    /// Which events.
    #[command(flatten)]
    pub events: EventsArgs,
    /// Compare the last so many events of each stream; the old module alone runs those before.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub last: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
