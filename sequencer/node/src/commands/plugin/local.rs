//! The commands that need no node: a project, its fixtures, dry runs.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use tally_plugin_author::engines::{EngineName, Engines, Plugin};
use tally_plugin_author::error::AuthorError;
use tally_plugin_author::fixture::LEDGER;
use tally_plugin_author::package::{Package, Terms};
use tally_plugin_author::play::Track;
use tally_plugin_author::source::{EventSource as _, Export, Fixtures};
use tally_plugin_author::watch::Seen;
use tally_plugin_author::{check, compile, dry_run, project, purity, shadow};
use tally_protocol::hash::{LedgerId, SchemaHash};
use tally_protocol::id::Index;
use tally_protocol::jcs;
use tally_protocol::release::Price;

use crate::cli::plugin::{
    BuildArgs, CaptureArgs, DevPluginArgs, EventsArgs, NewArgs, PackageArgs, PlaceArgs, PurityArgs, RunArgs, TestArgs,
    UpgradeArgs,
};
use crate::exit::{Exit, Failure};
use crate::output::{self, Output};

/// An author's error, with its causes.
pub(super) fn failure(error: &AuthorError) -> Failure {
    let exit = match error {
        AuthorError::Project(_) | AuthorError::NothingThere(_) => Exit::Usage,
        AuthorError::Package(_) => Exit::Invalid,
        _ => Exit::Failed,
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        message = format!("{message}: {next}");
        cause = next.source();
    }
    Failure::new(exit, message)
}

/// Red, where somebody sees it.
fn red(text: &str) -> String {
    let seen = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if seen { format!("\u{1b}[31m{text}\u{1b}[0m") } else { text.to_owned() }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

fn module(place: &PlaceArgs) -> Result<PathBuf, Failure> {
    compile::module_of(&place.place, place.wasm.as_deref()).map_err(|error| failure(&error))
}

fn load(file: &Path, engines: &[EngineName]) -> Result<Plugin, Failure> {
    load_on(file, engines, LEDGER)
}

fn load_on(file: &Path, engines: &[EngineName], ledger: LedgerId) -> Result<Plugin, Failure> {
    let wasm = read(file)?;
    Engines::new(ledger).and_then(|made| made.load_on(&wasm, engines)).map_err(|error| failure(&error))
}

/// Where fixtures are, if nobody says so: in the project, or beside the module.
fn fixtures(given: Option<&Path>, place: &Path) -> Fixtures {
    match given {
        Some(path) => Fixtures::at(path),
        None if place.is_file() => Fixtures::at(place.parent().unwrap_or(Path::new("."))),
        None => Fixtures::at(place),
    }
}

/// The events, and the ledger they are of.
fn tracks(args: &EventsArgs, place: &Path) -> Result<(Vec<Track>, LedgerId), Failure> {
    let config = args.config.as_deref().map(config).transpose()?;
    let to = args.to.unwrap_or(Index::new(u64::MAX));
    let empty = b"{}".to_vec();
    if let Some(export) =
        args.source.as_deref().and_then(|source| Export::at(source, config.as_ref().unwrap_or(&empty)))
    {
        let tracks = export.tracks(to).map_err(|error| failure(&error))?;
        return Ok((tracks, export.ledger().map_err(|error| failure(&error))?));
    }
    let source = fixtures(args.source.as_deref(), place);
    let mut tracks = source.tracks(to).map_err(|error| failure(&error))?;
    if let Some(config) = config {
        tracks.iter_mut().for_each(|track| track.config.clone_from(&config));
    }
    Ok((tracks, LEDGER))
}

/// A configuration's file, in canonical form.
pub(super) fn config(path: &Path) -> Result<Vec<u8>, Failure> {
    jcs::canonicalize(&read(path)?)
        .map_err(|error| Failure::usage(format!("{} is no configuration: {error}", path.display())))
}

#[derive(Serialize)]
struct Made {
    id: String,
    language: &'static str,
    dir: String,
}

/// `tally plugin new`
pub(super) fn new(args: &NewArgs) -> Result<(), Failure> {
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let language = args.language.into();
    let made = project::create(&args.name, language, &folder, args.sdk.as_deref()).map_err(|error| failure(&error))?;
    let dir = folder.display().to_string();
    let text = format!("made {dir}; now:\n  tally plugin test {dir}");
    Output::new(args.json).result(&Made { id: made.id, language: language.as_str(), dir }, || text)
}

#[derive(Serialize)]
struct Built {
    module: String,
    bytes: usize,
    file: String,
}

/// `tally plugin build`
pub(super) fn build(args: &BuildArgs) -> Result<(), Failure> {
    let file = module(&args.place)?;
    let plugin = load(&file, &EngineName::ALL[..1])?;
    let built = Built { module: plugin.module.to_hex(), bytes: plugin.bytes, file: file.display().to_string() };
    let text = || format!("{}  {} bytes  module {}  {}", plugin.title(), built.bytes, built.module, built.file);
    Output::new(args.json).result(&built, text)
}

/// `tally plugin test`
pub(super) fn test(args: &TestArgs) -> Result<(), Failure> {
    let file = module(&args.place)?;
    let plugin = load(&file, &EngineName::ALL)?;
    let files = fixtures(args.fixtures.as_deref(), &args.place.place).files().map_err(|error| failure(&error))?;
    tell(&plugin, &files, args.bless, Output::new(args.json))
}

fn tell(plugin: &Plugin, files: &[PathBuf], bless: bool, output: Output) -> Result<(), Failure> {
    let mut failed = 0;
    for file in files {
        let tested = check::fixture(plugin, file, bless).map_err(|error| failure(&error))?;
        output.result(&tested, || shown(&tested))?;
        failed += usize::from(!tested.passed());
    }
    if failed > 0 {
        return Err(Failure::failed(format!("{failed} of {} fixtures failed", files.len())));
    }
    output.say(&format!("{}: {} fixtures passed", plugin.title(), files.len()))
}

fn shown(tested: &check::Tested) -> String {
    let word = match (tested.blessed, tested.passed()) {
        (true, _) => "written".to_owned(),
        (false, true) => "ok".to_owned(),
        (false, false) => red("FAILED"),
    };
    let mut lines = vec![format!(
        "{word:<8} {}  {} events, at most {} gas, on {}",
        tested.name,
        tested.events,
        tested.gas_max,
        tested.engines.join(", ")
    )];
    for failed in &tested.failures {
        lines.push(format!("  {}: {}", failed.place, failed.what));
        lines.extend(failed.diff.lines().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

/// `tally plugin run`
pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let (tracks, ledger) = tracks(&args.events, &args.place.place)?;
    let plugin = load_on(&module(&args.place)?, &EngineName::ALL[..1], ledger)?;
    let from = args.from.unwrap_or(Index::new(0));
    let report = dry_run::run(&plugin, &tracks, from).map_err(|error| failure(&error))?;
    Output::new(args.json).result(&report, || dry_run::text(&report, red))
}

/// `tally plugin capture`
pub(super) fn capture(args: &CaptureArgs) -> Result<(), Failure> {
    let (tracks, ledger) = tracks(&args.events, &args.place.place)?;
    let mut named = tracks.iter().filter(|track| args.stream.as_ref().is_none_or(|name| *name == track.name));
    let track = match (named.next(), named.next()) {
        (Some(track), None) => track,
        (None, _) => return Err(Failure::usage("the log has no such stream")),
        _ => {
            let names: Vec<&str> = tracks.iter().map(|track| track.name.as_str()).collect();
            return Err(
                Failure::usage("the log has several streams").hint(format!("--stream {}", names.join("\n        ")))
            );
        }
    };
    let plugin = load_on(&module(&args.place)?, &EngineName::ALL, ledger)?;
    let from = args.from.unwrap_or(Index::new(0));
    let tested = check::capture(&plugin, track, from, &args.out).map_err(|error| failure(&error))?;
    Output::new(args.json).result(&tested, || shown(&tested))
}

/// `tally plugin purity`
pub(super) fn purity(args: &PurityArgs) -> Result<(), Failure> {
    let (tracks, ledger) = tracks(&args.events, &args.place.place)?;
    let plugin = load_on(&module(&args.place)?, &EngineName::ALL, ledger)?;
    let purity = purity::check(&plugin, &tracks, args.seed).map_err(|error| failure(&error))?;
    Output::new(args.json).result(&purity, || purity::text(&purity, red))?;
    if purity.events == 0 {
        return Err(Failure::usage("the plugin hears none of these events: nothing was shown"));
    }
    if purity.is_pure() { Ok(()) } else { Err(Failure::failed("the plugin is not pure")) }
}

/// `tally plugin upgrade --shadow`
pub(super) fn shadow(args: &UpgradeArgs) -> Result<(), Failure> {
    let [old, new] = args.what.as_slice() else { return Err(Failure::usage("give the old and the new module")) };
    let (old, new) = (Path::new(old), Path::new(new));
    let events = EventsArgs { source: args.source.clone(), config: args.wish.config.clone(), to: args.to };
    let (tracks, ledger) = tracks(&events, new)?;
    let module = |place: &Path| compile::module_of(place, None).map_err(|error| failure(&error));
    let one = &EngineName::ALL[..1];
    let (old, new) = (load_on(&module(old)?, one, ledger)?, load_on(&module(new)?, one, ledger)?);
    let shadow = shadow::check(&old, &new, &tracks, args.last).map_err(|error| failure(&error))?;
    Output::new(args.json).result(&shadow, || shadow::text(&shadow, red))?;
    if shadow.is_same() { Ok(()) } else { Err(Failure::failed("the versions differ")) }
}

#[derive(Serialize)]
struct Packed {
    package: String,
    release: String,
    module: String,
    bytes: usize,
    fixtures: usize,
}

/// `tally plugin package`
pub(super) fn package(args: &PackageArgs) -> Result<(), Failure> {
    let file = module(&args.place)?;
    let plugin = load(&file, &EngineName::ALL[..1])?;
    let mut files = BTreeMap::new();
    // A package without fixtures is one, too.
    for path in fixtures(args.fixtures.as_deref(), &args.place.place).files().unwrap_or_default() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        files.insert(name, read(&path)?);
    }
    let price = Price { amount: args.price, currency: args.currency, per: args.per };
    let terms = Terms { price, schemas: schemas(&args.schema)? };
    let package = Package::new(&plugin, read(&file)?, files, terms).map_err(|error| failure(&error))?;
    let name = || PathBuf::from(format!("{}-{}.tally", package.release.plugin, package.release.version));
    let out = args.out.clone().unwrap_or_else(name);
    package.save(&out).map_err(|error| failure(&error))?;
    let packed = Packed {
        package: out.display().to_string(),
        release: package.release.hash().to_hex(),
        module: package.release.module.to_hex(),
        bytes: package.wasm.len(),
        fixtures: package.fixtures.len(),
    };
    let text = || format!("{}  release {}  {} fixtures", packed.package, packed.release, packed.fixtures);
    Output::new(args.json).result(&packed, text)
}

fn schemas(given: &[String]) -> Result<BTreeMap<String, SchemaHash>, Failure> {
    let schema = |text: &String| {
        let (event_type, file) =
            text.split_once('=').ok_or_else(|| Failure::usage("a schema is given as TYPE=FILE"))?;
        let json = jcs::canonicalize(&read(Path::new(file))?)
            .map_err(|error| Failure::usage(format!("{file} is no JSON: {error}")))?;
        Ok((event_type.to_owned(), tally_protocol::hash::schema(&json)))
    };
    given.iter().map(schema).collect()
}

/// `tally plugin dev`
pub(super) fn dev(args: &DevPluginArgs) -> Result<(), Failure> {
    let place = &args.place.place;
    let watched = args.place.wasm.as_deref().unwrap_or(place);
    let mut left = args.rounds.unwrap_or(u64::MAX);
    loop {
        // Before the work, so that a change while it goes on is not missed.
        let seen = Seen::now(watched).map_err(|error| failure(&error))?;
        let begun = Instant::now();
        // What is wrong is told, and the next change is waited for.
        if let Err(failure) = round(args) {
            output::write(&red(&failure.to_string()))?;
        }
        output::write(&format!("{} ms; waiting for changes\n", begun.elapsed().as_millis()))?;
        left -= 1;
        if left == 0 {
            return Ok(());
        }
        seen.changed(watched, || false).map_err(|error| failure(&error))?;
    }
}

fn round(args: &DevPluginArgs) -> Result<(), Failure> {
    let file = module(&args.place)?;
    // The compiler's engine alone: a round is for the author's eyes, `tally plugin test` asks them all.
    let plugin = load(&file, &EngineName::ALL[..1])?;
    let mut files = fixtures(args.fixtures.as_deref(), &args.place.place).files().map_err(|error| failure(&error))?;
    files.sort_by_key(|file| std::fs::metadata(file).and_then(|about| about.modified()).ok());
    let begin = files.len().saturating_sub(args.last);
    tell(&plugin, files.get(begin..).unwrap_or_default(), false, Output::new(false))
}
