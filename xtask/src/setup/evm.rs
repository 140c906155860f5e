//! The EVM's tools: anvil, forge and cast as native binaries, and solc as npm's package.
//!
//! Takes them from `TALLY_ANVIL`, `TALLY_FORGE`, `TALLY_CAST`, `TALLY_SOLC` where these are set, else installs them once with
//! npm into the cache folder, pinned by version and digest in `anchor/contract/build/tools/package-lock.json`. Install scripts
//! do not run: the packages of the platform hold the binaries themselves. Fails with one line that names what is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::apt_install;
use crate::shell::{Failure, Outcome, cache_dir, command, fail, on_path, root, run_aside, say};

/// Where the pinned versions are.
const TOOLS: &str = "anchor/contract/build/tools";

/// The platform whose binaries the lock file pins; elsewhere the variables say where they are.
const PLATFORM: &str = "linux-amd64";

/// Where the tools are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evm {
    /// The chain.
    pub anvil: PathBuf,
    /// The test runner.
    pub forge: PathBuf,
    /// The signer of tests.
    pub cast: PathBuf,
    /// The folder of npm's solc package.
    pub solc: PathBuf,
}

impl Evm {
    /// The variables by which tests find them.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, &Path); 4] {
        [
            ("TALLY_ANVIL", &self.anvil),
            ("TALLY_FORGE", &self.forge),
            ("TALLY_CAST", &self.cast),
            ("TALLY_SOLC", &self.solc),
        ]
    }
}

/// The tools, installed where they are not.
///
/// # Errors
/// If npm is missing or cannot install them, or this platform has no pinned binaries.
pub fn evm() -> Outcome<Evm> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let all = (given("TALLY_ANVIL"), given("TALLY_FORGE"), given("TALLY_CAST"), given("TALLY_SOLC"));
    if let (Some(anvil), Some(forge), Some(cast), Some(solc)) = all.clone() {
        return Ok(Evm { anvil, forge, cast, solc });
    }
    let modules = installed()?.join("node_modules");
    let binary = |given: Option<PathBuf>, name: &str| {
        let path = given.unwrap_or_else(|| modules.join(format!("@foundry-rs/{name}-{PLATFORM}/bin/{name}")));
        let missing = || {
            fail(format!("{name} is pinned for {PLATFORM} only: install 1.7.1 and set TALLY_{}", name.to_uppercase()))
        };
        if path.is_file() { Ok(path) } else { missing() }
    };
    Ok(Evm {
        anvil: binary(all.0, "anvil")?,
        forge: binary(all.1, "forge")?,
        cast: binary(all.2, "cast")?,
        solc: all.3.unwrap_or_else(|| modules.join("solc")),
    })
}

/// A command of Node.js.
///
/// # Errors
/// If it is missing and cannot be installed.
pub fn node() -> Outcome<Command> {
    if on_path("node") || apt_install("nodejs") {
        return Ok(command("node"));
    }
    fail("Node.js is missing (solc runs in it): install Debian's `nodejs`")
}

/// The folder that holds what the committed lock file names.
fn installed() -> Outcome<PathBuf> {
    let folder = cache_dir().join("evm");
    let lock = |folder: &Path| std::fs::read(folder.join("package-lock.json")).ok();
    let wanted = lock(&root().join(TOOLS));
    if wanted.is_some() && lock(&folder) == wanted {
        return Ok(folder);
    }
    if !on_path("npm") && !apt_install("npm") {
        return fail("npm is missing (anvil, forge, cast and solc come from it): install Debian's `npm`");
    }
    say!("installing anvil, forge, cast and solc once (200 MB in {})", folder.display());
    // Aside first: another task may be installing, and a half installation must never be taken for a whole one.
    let aside = cache_dir().join(format!("evm-{}", std::process::id()));
    let done = install(&aside);
    if done.is_ok() {
        let _ = std::fs::remove_dir_all(&folder);
        if std::fs::rename(&aside, &folder).is_err() && lock(&folder) != wanted {
            return fail(format!("failed to move {} to {}", aside.display(), folder.display()));
        }
    }
    let _ = std::fs::remove_dir_all(&aside);
    done.map(|()| folder)
}

fn install(folder: &Path) -> Outcome {
    let broken = |error: std::io::Error| Failure(format!("failed to fill {}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(broken)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(root().join(TOOLS).join(name), folder.join(name)).map_err(broken)?;
    }
    let mut npm = command("npm");
    npm.current_dir(folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
    run_aside(&mut npm)
}
