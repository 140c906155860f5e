//! `tally plugin import`: what a foreign registry sealed comes in, as a package to sign or as an installation.
//!
//! Takes a trust file first, with every secret that it names; without it nothing else is read. Then the seal is verified,
//! and only then does anything of the import count. Nothing here makes a seal: a release is written unsigned, a template
//! becomes an event that the root agent signs as for `tally plugin install`. Neither seal nor secret goes any further.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;
use tally_plugin_author::engines::{EngineName, Engines};
use tally_plugin_author::fixture::LEDGER;
use tally_plugin_author::package::Package;
use tally_protocol::id::Stream;
use tally_protocol::import::{IMPORT_BYTES_MAX, ImportError, Imported, Template, Trust};
use tally_protocol::plugin_event::PluginEvent;
use tally_protocol::release::Release;

use super::life::{self, Life};
use super::local::{failure, read};
use crate::cli::plugin::{ImportArgs, ImportReleaseArgs, ImportTemplateArgs, ImportWhat};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::trustfile::{self, ruled};

/// Runs the command.
pub(super) fn run(args: &ImportArgs) -> Result<(), Failure> {
    match &args.what {
        ImportWhat::Release(args) => release(args),
        ImportWhat::Template(args) => template(args),
    }
}

/// What was verified, and of whom.
#[derive(Serialize)]
struct Verified {
    plugin: String,
    version: String,
    release: String,
    publisher: String,
    key_id: u32,
    profile: &'static str,
    signed_at: String,
}

impl Verified {
    fn of<T>(imported: &Imported<T>, plugin: String, version: String, release: String) -> Self {
        let sealed = imported.sealed();
        Self {
            plugin,
            version,
            release,
            publisher: sealed.agent_id.to_string(),
            key_id: sealed.key_id.get(),
            profile: sealed.profile.as_str(),
            signed_at: sealed.signed_at.to_rfc3339(),
        }
    }

    fn text(&self) -> String {
        let Self { plugin, version, release, publisher, key_id, profile, signed_at } = self;
        format!(
            "{plugin} {version}  release {release}\n  sealed by {publisher} with key {key_id}, {profile}, at {signed_at}"
        )
    }
}

/// Reads an import no further than one can be, and verifies its seal.
fn verified<T>(path: &Path, verify: impl FnOnce(&[u8]) -> Result<T, ImportError>) -> Result<T, Failure> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(IMPORT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    file.map_err(|error| Failure::file("read", path, &error))?;
    verify(&bytes).map_err(|error| Failure::invalid(format!("{}: {}", path.display(), ruled(&error))))
}

#[derive(Serialize)]
struct Packed {
    package: String,
    module: String,
    #[serde(flatten)]
    verified: Verified,
}

/// `tally plugin import release`
fn release(args: &ImportReleaseArgs) -> Result<(), Failure> {
    let trust = trustfile::load(&args.trust)?;
    let imported = verified(&args.package, |bytes| trust.import_release(bytes, life::now()))?;
    let package = hold(imported.value(), read(&args.wasm)?)?;
    let Release { plugin, version, module, .. } = &package.release;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{plugin}-{version}.tally")));
    create(&out, &package.encode())?;
    let packed = Packed {
        package: out.display().to_string(),
        module: module.to_hex(),
        verified: Verified::of(&imported, plugin.to_string(), version.to_string(), package.release.hash().to_hex()),
    };
    Output::new(args.json).result(&packed, || {
        let Packed { package, module, verified } = &packed;
        format!("{}\n  module {module}\n{package} is not signed; tally plugin sign {package}", verified.text())
    })
}

/// The package of a release and what claims to be its module: hash first, then what it describes under the host.
fn hold(release: &Release, wasm: Vec<u8>) -> Result<Package, Failure> {
    let lies = |what: String| Failure::invalid(format!("refused by the rule `module`: {what}"));
    release.check_module(&wasm).map_err(|error| lies(error.to_string()))?;
    let engines = Engines::new(LEDGER).map_err(|error| failure(&error))?;
    let plugin = engines.load_on(&wasm, &EngineName::ALL[..1]).map_err(|error| lies(failure(&error).message))?;
    let package = Package::of_release(release.clone(), plugin.manifest_bytes.to_vec(), wasm);
    package.map_err(|error| lies(error.to_string()))
}

/// A new file, whole or not there.
fn create(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} exists; it is never overwritten", path.display()))
        }
        _ => Failure::file("create", path, &error),
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a package is none; what cannot be taken away either is refused when it is read.
        let _ = std::fs::remove_file(path);
        Failure::file("write", path, &error)
    })
}

#[derive(Serialize)]
struct Named<'t> {
    template: &'t str,
    #[serde(flatten)]
    verified: Verified,
}

/// `tally plugin import template`
fn template(args: &ImportTemplateArgs) -> Result<(), Failure> {
    let trust = trustfile::load(&args.trust)?;
    let imported = verified(&args.template, |bytes| trust.import_template(bytes, life::now()))?;
    life::with(&args.life, args.json, |life| async move { install(&life, &trust, &imported, args.dry_run).await })
}

async fn install(life: &Life<'_>, trust: &Trust, imported: &Imported<Template>, dry_run: bool) -> Result<(), Failure> {
    who_signs_verifies_nothing_of_its_own(life, trust)?;
    let Template { name, plugin, version, release, .. } = imported.value();
    let named = Named {
        template: name,
        verified: Verified::of(imported, plugin.to_string(), version.to_string(), release.to_hex()),
    };
    if life.past.register().installed(&life.target(), plugin).is_some() {
        return Err(Failure::usage(format!("{plugin} runs in this store, and a template only installs"))
            .hint(format!("tally plugin upgrade {plugin} {version}")));
    }
    let event = life.past.install_template(life.target(), life.args.registry, imported);
    let event = event.map_err(|error| Failure::new(Exit::Rejected, failure(&error).message))?;
    let stream = Stream::control(life.signing.agent.tenant());
    if dry_run {
        life.judge(stream, &event).await?;
    }
    life.output.result(&named, || format!("template {name:?}: {}", named.verified.text()))?;
    if dry_run {
        return show(life, stream, &event);
    }
    life.go_on(stream, &event, &format!("{plugin} {version} runs in store {}", life.signing.store)).await
}

/// What this command signs with must not be able to seal what it verifies (S-174).
fn who_signs_verifies_nothing_of_its_own(life: &Life<'_>, trust: &Trust) -> Result<(), Failure> {
    let own = [life.root.public_key(), life.signing.agent.public_key()];
    if own.iter().any(|key| trust.trusts(key)) {
        return Err(Failure::usage(
            "the trust file names a key that signs here: who verifies never signs what it verifies",
        )
        .hint("let somebody else bring it in, or take the key out of the trust file"));
    }
    Ok(())
}

#[derive(Serialize)]
struct Shown<'e> {
    event_type: &'static str,
    tenant_id: String,
    store_id: String,
    payload: &'e RawValue,
}

/// The event that would be submitted.
fn show(life: &Life<'_>, stream: Stream, event: &PluginEvent) -> Result<(), Failure> {
    let payload = event.payload();
    let payload: &RawValue = serde_json::from_slice(&payload)
        .map_err(|error| Failure::failed(format!("the event's payload is no JSON: {error}")))?;
    let shown = Shown {
        event_type: event.event_type(),
        tenant_id: stream.tenant.to_string(),
        store_id: stream.store.to_string(),
        payload,
    };
    life.output.result(&shown, || format!("{} would be submitted:\n{payload}", shown.event_type))
}
