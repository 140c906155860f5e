//! `tally verify`: checks bundles and proof files, offline. The verifier shares nothing with the server but the
//! formats (`tally-verify`). With `--rpc` it also asks chains about the anchors in them.
//!
//! Takes files and what the caller trusts; gives a report per file, each check by name. Fails if any file does; all
//! files are checked all the same.

use std::path::Path;

use serde_json::{Value, json};
use tally_protocol::jcs;
use tally_protocol::note::VerifierKey;
use tally_protocol::proof::TlogProof;
use tally_verify::{BUNDLE_BYTES_MAX, Bundle, Report, TrustRoot, verify_tlog_proof};

use crate::cli::VerifyArgs;
use crate::commands::{self, anchor::ask_chains};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// A file cannot be read, or does not verify.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let output = Output::new(args.json);
    let trust =
        TrustRoot { ledger_id: args.ledger, verifier_keys: verifier_keys(&args.vkey)?, chains: args.chains.clone() };
    let mut failed = Vec::new();
    for file in &args.files {
        let report = check(file, &trust, args)?;
        let name = file.display();
        let verified = report.is_ok_and_shown(file, output)?;
        if !(verified && on_chain(file, args, output)?) {
            failed.push(name.to_string());
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "{} of {} files did not verify: {}",
        failed.len(),
        args.files.len(),
        failed.join(", ")
    )))
}

/// Whether the chains bear a bundle's anchors out, if any were named.
fn on_chain(file: &Path, args: &VerifyArgs, output: Output) -> Result<bool, Failure> {
    if args.rpc.is_empty() {
        return Ok(true);
    }
    let Ok(bundle) = Bundle::decode(&read_bounded(file)?) else { return Ok(true) };
    let answers = commands::runtime()?.block_on(ask_chains(&bundle, &args.rpc))?;
    let name = file.display().to_string();
    if answers.is_empty() {
        let value = json!({ "file": name, "on_chain": [], "verified": false });
        output.result(&value, || format!("{name}\nNOT VERIFIED: it holds no anchor to ask a chain about"))?;
        return Ok(false);
    }
    let holds = answers.iter().all(|answer| answer.holds);
    let said: Vec<&str> = answers.iter().map(|answer| answer.said.as_str()).collect();
    output.result(&json!({ "file": name, "on_chain": said, "verified": holds }), || said.join("\n"))?;
    Ok(holds)
}

pub(super) fn verifier_keys(texts: &[String]) -> Result<Vec<VerifierKey>, Failure> {
    let parse = |text: &String| {
        text.parse::<VerifierKey>().map_err(|error| Failure::usage(format!("--vkey {text} is refused: {error}")))
    };
    texts.iter().map(parse).collect()
}

/// What became of one file: a report, or why it is not even a bundle.
enum Checked {
    Report(Box<Report>),
    Malformed(String),
}

impl Checked {
    fn is_ok_and_shown(&self, file: &Path, output: Output) -> Result<bool, Failure> {
        let name = file.display().to_string();
        match self {
            Self::Report(report) => {
                let verified = report.verified();
                output.result(&to_json(&name, report)?, || format!("{name}\n{report}"))?;
                Ok(verified)
            }
            Self::Malformed(why) => {
                let value = json!({ "file": name, "verified": false, "malformed": why });
                output.result(&value, || format!("{name}\nNOT VERIFIED: {why}"))?;
                Ok(false)
            }
        }
    }
}

fn to_json(file: &str, report: &Report) -> Result<Value, Failure> {
    let text = jcs::to_canonical(&report.to_json());
    let mut value: Value =
        serde_json::from_slice(&text).map_err(|error| Failure::failed(format!("failed to write JSON: {error}")))?;
    if let Some(object) = value.as_object_mut() {
        object.insert("file".to_owned(), file.into());
    }
    Ok(value)
}

fn check(file: &Path, trust: &TrustRoot, args: &VerifyArgs) -> Result<Checked, Failure> {
    let bytes = read_bounded(file)?;
    if file.extension().is_some_and(|extension| extension == "tlog-proof") || bytes.starts_with(b"c2sp.org/tlog-proof")
    {
        return check_proof(file, &bytes, trust, args);
    }
    match Bundle::decode(&bytes) {
        Ok(bundle) => Ok(Checked::Report(Box::new(bundle.verify(trust)))),
        Err(error) => Ok(Checked::Malformed(error.to_string())),
    }
}

/// A proof file carries its entry in the `extra` line; one from elsewhere may not, then `--entry` names it.
fn check_proof(file: &Path, bytes: &[u8], trust: &TrustRoot, args: &VerifyArgs) -> Result<Checked, Failure> {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return Ok(Checked::Malformed("a proof file is UTF-8 text".to_owned()));
    };
    if trust.verifier_keys.is_empty() {
        return Err(Failure::usage(format!("{} names no ledger; say which key you trust with --vkey", file.display())));
    }
    let proof = match TlogProof::parse(text) {
        Ok(proof) => proof,
        Err(error) => return Ok(Checked::Malformed(error.to_string())),
    };
    let entry = match (&args.entry, proof.extra) {
        (Some(path), _) => read_bounded(path)?,
        (None, Some(entry)) => entry,
        (None, None) => {
            let what = format!("{} does not hold the entry it is about; name its file with --entry", file.display());
            return Err(Failure::usage(what));
        }
    };
    Ok(Checked::Report(Box::new(verify_tlog_proof(text, &entry, &trust.verifier_keys))))
}

fn read_bounded(file: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::Usage } else { Exit::Failed };
        Failure::new(exit, format!("failed to read {}: {error}", file.display()))
    };
    let length = std::fs::metadata(file).map_err(fail)?.len();
    if length > BUNDLE_BYTES_MAX as u64 {
        return Err(Failure::invalid(format!("{} is longer than {BUNDLE_BYTES_MAX} bytes", file.display())));
    }
    std::fs::read(file).map_err(fail)
}
