//! What a machine has to say about a release before people do: the lint and compliance report (S-190).
//!
//! Takes a release, its module and the manifest that the module describes; gives findings in one canonical order, as
//! canonical JSON with a hash. It is a function of those bytes and of [`REPORT_VERSION`], so the report that a review names
//! can be made again by anybody, at any time. A node makes it too, and refuses an approval that names another one, or fewer
//! findings that block ([`Report::check_review`]), before it is in the log. In the log, an approval over findings that block
//! is refused unless a root agent overrides it.

use tally_protocol::hash::{self, LedgerId, ReleaseHash, ReportHash};
use tally_protocol::jcs::{self, Value};
use tally_protocol::release::{Decision, Release, Review};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::error::{HostError, Refusal};
use crate::instance::{AskError, Instance};
use crate::limits::{Limits, SHAPE, VALIDATOR_VERSION};
use crate::manifest::{Capability, Manifest};
use crate::registry::Loader;
use crate::session::Grant;
use crate::validate::{FEATURES, Valid, validate};

/// Version of the rules; a new rule is a new number.
pub const REPORT_VERSION: u32 = 2;

/// Bytes of custom sections that are worth a word.
const CUSTOM_BYTES: usize = 4_096;

/// What a finding does to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// It blocks it.
    Blocks,
    /// A person should look.
    Warns,
}

impl Weight {
    /// The weight as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Warns => "warns",
        }
    }
}

/// One thing that a rule found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// The rule.
    pub rule: &'static str,
    /// What it is about: a name out of module, manifest or release, or nothing.
    pub about: String,
    /// What it does to an approval.
    pub weight: Weight,
}

/// What was found, each finding once, by rule and subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    release: ReleaseHash,
    module_bytes: usize,
    findings: Vec<Finding>,
}

impl Report {
    /// Everything that was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings block an approval: the number that its review has to name.
    #[must_use]
    pub fn blocking(&self) -> u32 {
        let blocking = self.findings.iter().filter(|finding| finding.weight == Weight::Blocks).count();
        u32::try_from(blocking).unwrap_or(u32::MAX)
    }

    /// The report as canonical JSON, which is what is stored.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let finding = |finding: &Finding| {
            Value::object([
                ("about", Value::from(finding.about.as_str())),
                ("rule", Value::from(finding.rule)),
                ("weight", Value::from(finding.weight.as_str())),
            ])
        };
        jcs::to_canonical(&Value::object([
            ("blocking", Value::from(self.blocking())),
            ("findings", Value::Array(self.findings.iter().map(finding).collect())),
            ("module_bytes", Value::from(u32::try_from(self.module_bytes).unwrap_or(u32::MAX))),
            ("release_hash", Value::from(self.release.to_hex())),
            ("report", Value::from(REPORT_VERSION)),
            ("validator", Value::from(VALIDATOR_VERSION)),
        ]))
    }

    /// The hash that a review names.
    #[must_use]
    pub fn hash(&self) -> ReportHash {
        hash::report(&self.to_json())
    }

    /// Holds a review against this report: for the door, before the review is in the log. Only an approval is held,
    /// because whoever refuses or revokes needs no machine to agree.
    ///
    /// # Errors
    /// The review is of another release, names another report, or another number of findings that block.
    pub fn check_review(&self, review: &Review) -> Result<(), ReviewError> {
        if review.decision != Decision::Approved {
            return Ok(());
        }
        if review.release != self.release {
            return Err(ReviewError::Release);
        }
        if self.hash() != review.report {
            return Err(ReviewError::Report { computed: self.hash() });
        }
        if self.blocking() != review.blocking {
            return Err(ReviewError::Blocking { computed: self.blocking(), named: review.blocking });
        }
        Ok(())
    }
}

/// Why a review may not come into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// It is of another release than the report.
    #[error("the report is of another release")]
    Release,
    /// It names another report than the release's.
    #[error("the review names another report; the release's is {computed}")]
    Report {
        /// What it has to name.
        computed: ReportHash,
    },
    /// It names another number of findings that block.
    #[error("the report has {computed} findings that block, and the review names {named}")]
    Blocking {
        /// What it has to name.
        computed: u32,
        /// What it names.
        named: u32,
    },
}

/// Looks a release over with an engine: the module is loaded under the release's own limits and asked to describe itself.
///
/// # Errors
/// The host cannot go on; what the module does wrong is a finding.
pub fn made_with<L: Loader>(loader: &L, ledger: LedgerId, release: &Release, wasm: &[u8]) -> Result<Report, HostError> {
    let mut limits = Limits::default();
    for (name, value) in &release.limits {
        // What cannot be set is a finding.
        let _ = limits.set(name, *value);
    }
    let program = match loader.load(wasm, &limits) {
        Err(HostError::Module(_)) => return Ok(report(release, wasm, None)),
        loaded => loaded?,
    };
    let asked = Grant { limits, ..Grant::nothing(ledger, release.plugin.clone()) };
    match Instance::new(program, asked).describe_bytes() {
        Ok(manifest) => Ok(report(release, wasm, Some(&manifest))),
        Err(AskError::Host(error)) => Err(error),
        Err(_) => Ok(report(release, wasm, None)),
    }
}

/// Looks a release over. Without a manifest, its module did not describe itself.
#[must_use]
pub fn report(release: &Release, wasm: &[u8], manifest: Option<&[u8]>) -> Report {
    let mut found = Found(Vec::new());
    let limits = limits(release, &mut found);
    if release.check_module(wasm).is_err() {
        found.blocks("module.differs", "");
    }
    let valid = module(wasm, &limits, &mut found);
    price(release, &mut found);
    let manifest = described(release, manifest, &mut found);
    if let Some(manifest) = &manifest {
        asked(manifest, &mut found);
        declared(release, manifest, &mut found);
        if let Some(valid) = &valid {
            used(manifest, valid, &mut found);
        }
    }
    let Found(mut findings) = found;
    findings.sort();
    findings.dedup();
    Report { release: release.hash(), module_bytes: wasm.len(), findings }
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, weight: Weight, rule: &'static str, about: impl Into<String>) {
        self.0.push(Finding { rule, about: about.into(), weight });
    }

    fn blocks(&mut self, rule: &'static str, about: impl Into<String>) {
        self.add(Weight::Blocks, rule, about);
    }

    fn warns(&mut self, rule: &'static str, about: impl Into<String>) {
        self.add(Weight::Warns, rule, about);
    }
}

fn limits(release: &Release, found: &mut Found) -> Limits {
    let mut limits = Limits::default();
    for (name, value) in &release.limits {
        if limits.set(name, *value).is_err() {
            found.blocks("limit.unknown", name);
        }
    }
    let defaults = Limits::default().entries();
    for ((name, value), (_, default)) in limits.entries().into_iter().zip(defaults) {
        if value > default {
            found.warns("limit.high", name);
        }
    }
    limits
}

/// The rules about the module's bytes.
fn module<'a>(wasm: &'a [u8], limits: &Limits, found: &mut Found) -> Option<Valid<'a>> {
    if wasm.len() > SHAPE.module_bytes / 2 {
        found.warns("module.large", "");
    }
    let custom = Parser::new(0).parse_all(wasm).filter_map(Result::ok).map(|payload| match payload {
        Payload::CustomSection(section) => section.data().len(),
        _ => 0,
    });
    if custom.sum::<usize>() > CUSTOM_BYTES {
        found.warns("module.custom_sections", "");
    }
    match validate(wasm, limits) {
        Ok(valid) => Some(valid),
        Err(error) => {
            let floats = matches!(error.refusal, Refusal::Invalid(_)) && is_valid(wasm, WasmFeatures::FLOATS);
            found.blocks(if floats { "module.floats" } else { "module.refused" }, named(&error.refusal));
            None
        }
    }
}

fn is_valid(wasm: &[u8], besides: WasmFeatures) -> bool {
    Validator::new_with_features(FEATURES.union(besides)).validate_all(wasm).is_ok()
}

/// A refusal in a word. The validator's own text may change with its version; a report may not.
const fn named(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::ModuleBytes { .. } => "bytes",
        Refusal::Invalid(_) => "invalid",
        Refusal::NotACoreModule => "not_a_core_module",
        Refusal::ForeignImport { .. } | Refusal::UnknownImport { .. } | Refusal::ImportSignature { .. } => "import",
        Refusal::ImportTwice { .. } => "import_twice",
        Refusal::UnknownExport { .. } | Refusal::ExportType { .. } | Refusal::ExportMissing { .. } => "export",
        Refusal::Start => "start",
        Refusal::Memories | Refusal::MemoryPages { .. } => "memory",
        Refusal::Tables | Refusal::TableGrows | Refusal::TableInstruction => "table",
        Refusal::SegmentBounds { .. } | Refusal::ElementKind { .. } => "segment",
        Refusal::TooMany { what, .. } => what,
    }
}

fn price(release: &Release, found: &mut Found) {
    // ISO 4217: no currency, and the one for tests.
    if release.price.amount > 0 && matches!(release.price.currency(), "XXX" | "XTS") {
        found.blocks("price.currency", release.price.currency());
    }
}

fn described(release: &Release, manifest: Option<&[u8]>, found: &mut Found) -> Option<Manifest> {
    let Some(bytes) = manifest else {
        found.blocks("manifest.missing", "");
        return None;
    };
    if release.check_manifest(bytes).is_err() {
        found.blocks("manifest.differs", "");
    }
    let manifest = Manifest::parse(bytes).ok();
    if manifest.is_none() {
        found.blocks("manifest.malformed", "");
    }
    manifest
}

/// The rules about what is asked for.
fn asked(manifest: &Manifest, found: &mut Found) {
    if manifest.events.is_empty() {
        found.warns("events.none", "");
    }
    for pattern in manifest.events.iter().filter(|pattern| *pattern == "*") {
        found.warns("events.all", pattern);
    }
    for capability in &manifest.capabilities {
        match capability {
            Capability::Emit => {}
            Capability::Effect(kind) => found.warns("capability.effect", kind),
            // It opens a store to what the store's list does not name.
            Capability::EntityType(entity_type) => found.warns("capability.entity_type", entity_type),
        }
    }
    for route in &manifest.routes {
        let Some(event) = &route.event else { continue };
        if !manifest.events.iter().any(|pattern| hears(pattern, event)) {
            found.blocks("route.unheard", &route.name);
        }
    }
}

fn hears(pattern: &str, event_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(stem) => event_type.len() > stem.len() && event_type.starts_with(stem),
        None => pattern == event_type,
    }
}

/// The rules about the event types that the release declares.
fn declared(release: &Release, manifest: &Manifest, found: &mut Found) {
    for event in manifest.events.iter().filter(|pattern| !pattern.ends_with('*')) {
        if !release.schemas.contains_key(event) {
            found.warns("schema.missing", event);
        }
    }
}

/// The rules about what the module calls, against what it asks for.
fn used(manifest: &Manifest, valid: &Valid<'_>, found: &mut Found) {
    let imports = |name: &str| valid.imports().contains(&name);
    let effects = manifest.capabilities.iter().any(|capability| matches!(capability, Capability::Effect(_)));
    let emits = manifest.capabilities.contains(&Capability::Emit);
    for (import, asked) in [("emit", emits), ("effect", effects)] {
        match (imports(import), asked) {
            // Each such call would trap.
            (true, false) => found.blocks("capability.missing", import),
            (false, true) => found.blocks("capability.unused", import),
            _ => {}
        }
    }
    let writes = imports("kv_set") || imports("kv_delete");
    if writes && manifest.prefixes.is_empty() {
        found.blocks("prefixes.missing", "");
    }
    if !writes && !manifest.prefixes.is_empty() {
        found.warns("prefixes.unused", "");
    }
}
