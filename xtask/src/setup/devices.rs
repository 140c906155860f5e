//! What stands in for the world outside in tests: an AWS-protocol server for KMS and S3, a Stripe-protocol server, and a
//! software token for PKCS#11.
//!
//! Takes them from `TALLY_MINISTACK`, `TALLY_LOCALSTRIPE` with `TALLY_STRIPE_PYTHON`, and `TALLY_SOFTHSM` where these are set,
//! else from where they usually are, else installs them: the servers with pip into environments of their own in the cache
//! folder, the token as a Debian package when root.
//! Fails with one line that names what is missing.

use std::path::{Path, PathBuf};

use crate::setup::apt_install;
use crate::shell::{Outcome, cache_dir, command, fail, on_path, run_aside, say};

/// The AWS-protocol server's version on PyPI.
const MINISTACK: &str = "1.5.33";
/// What its KMS signs with, which it takes for granted; the version on PyPI.
const CRYPTOGRAPHY: &str = "50.0.2";
/// The Stripe-protocol server's version on PyPI.
const LOCALSTRIPE: &str = "1.15.10";
/// The version of the provider's own library on PyPI.
const STRIPE: &str = "16.1.0";

/// The program of the AWS-protocol server.
///
/// # Errors
/// If Python or its `venv` is missing, or the package cannot be installed.
pub fn ministack() -> Outcome<PathBuf> {
    let packages = [("ministack", MINISTACK), ("cryptography", CRYPTOGRAPHY)];
    given("TALLY_MINISTACK").map_or_else(|| python_program("ministack", &packages), Ok)
}

/// The Stripe-protocol server, and a Python that has the provider's own library: it signs and checks webhooks in tests.
///
/// # Errors
/// As [`ministack`].
pub fn localstripe() -> Outcome<(PathBuf, PathBuf)> {
    let given = (given("TALLY_LOCALSTRIPE"), given("TALLY_STRIPE_PYTHON"));
    if let (Some(program), Some(python)) = given {
        return Ok((program, python));
    }
    let packages = [("localstripe", LOCALSTRIPE), ("stripe", STRIPE), ("cryptography", CRYPTOGRAPHY)];
    let program = python_program("localstripe", &packages)?;
    let python = program.with_file_name("python");
    Ok((program, python))
}

/// A program of a Python package, in an environment of its own in the cache folder, with exactly these packages.
fn python_program(name: &str, packages: &[(&str, &str)]) -> Outcome<PathBuf> {
    let versions: Vec<&str> = packages.iter().map(|(_, version)| *version).collect();
    let folder = cache_dir().join(format!("{name}-{}", versions.join("-")));
    let (program, done) = (folder.join("bin").join(name), folder.join("installed"));
    if done.is_file() && program.is_file() {
        return Ok(program);
    }
    if !on_path("python3") {
        return fail(format!("python3 is missing ({name} of the tests is Python): install Debian's `python3-venv`"));
    }
    say!("installing {name} {} once, into {}", versions.join(", "), folder.display());
    let venv = || run_aside(command("python3").args(["-m", "venv", "--clear"]).arg(&folder));
    if venv().is_err() && !(apt_install("python3-venv") && venv().is_ok()) {
        return fail(format!("Python's venv is missing ({name} lives in one): install Debian's `python3-venv`"));
    }
    let mut pip = command(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    run_aside(pip.args(packages.iter().map(|(package, version)| format!("{package}=={version}"))))?;
    if !program.is_file() || std::fs::write(&done, versions.join("\n")).is_err() {
        return fail(format!("{name} did not install its program"));
    }
    Ok(program)
}

/// The PKCS#11 module of SoftHSM2; its tools and opensc's `pkcs11-tool` are on the path then.
///
/// # Errors
/// If the packages are missing and cannot be installed.
pub fn softhsm() -> Outcome<PathBuf> {
    if let Some(given) = given("TALLY_SOFTHSM") {
        return Ok(given);
    }
    let tools = || on_path("softhsm2-util") && on_path("pkcs11-tool");
    if !tools() || module().is_none() {
        let _ = apt_install("softhsm2") && apt_install("opensc");
    }
    match module() {
        Some(module) if tools() => Ok(module),
        _ => fail("a PKCS#11 token is missing: install Debian's `softhsm2` and `opensc` (or set TALLY_SOFTHSM)"),
    }
}

fn given(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn module() -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu/softhsm", std::env::consts::ARCH);
    let folders = ["/usr/lib/softhsm", &multiarch, "/usr/local/lib/softhsm", "/usr/lib64/pkcs11"];
    folders.iter().map(|folder| Path::new(folder).join("libsofthsm2.so")).find(|path| path.is_file())
}
