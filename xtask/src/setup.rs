//! What a build needs beyond Rust: libclang for RocksDB's bindings, and a C++ compiler for RocksDB itself.
//!
//! Gives the environment to build with. Looks first, installs second (Debian packages when root, else the `libclang`
//! wheel from PyPI into the cache folder), and otherwise fails with one line that names what is missing.
//!
//! The environment is left alone wherever the build finds libclang by itself: a changed `LIBCLANG_PATH` makes cargo run
//! the binding generator again, and that compiles RocksDB again.

pub mod devices;
pub mod evm;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use devices::{localstripe, ministack, softhsm};
pub use evm::{Evm, evm, node};

use crate::shell::{Outcome, cache_dir, cargo, command, fail, on_path, output, run, run_aside, say};

/// Cargo, in an environment in which the whole workspace builds.
///
/// # Errors
/// If something is missing and cannot be installed; the line names it.
pub fn cargo_for_workspace() -> Outcome<Command> {
    compiler()?;
    let mut cargo = cargo();
    if let Some(folder) = libclang()? {
        cargo.env("LIBCLANG_PATH", folder);
    }
    Ok(cargo)
}

/// The target of plugins written in Rust.
pub const WASM: &str = "wasm32-unknown-unknown";

/// Whether a rustc can build for [`WASM`].
#[must_use]
pub fn has_wasm(rustc: &mut Command) -> bool {
    let sysroot = output(rustc.args(["--print", "sysroot"])).unwrap_or_default();
    Path::new(sysroot.trim()).join("lib/rustlib").join(WASM).join("lib").is_dir()
}

/// The target of plugins, for the toolchain that cargo runs with.
///
/// # Errors
/// If it is missing and rustup cannot install it.
pub fn wasm_target() -> Outcome {
    if has_wasm(&mut command("rustc")) {
        return Ok(());
    }
    say!("the target {WASM} is missing (plugins are built for it); installing it once");
    if output(command("rustup").args(["target", "add", WASM])).is_ok() && has_wasm(&mut command("rustc")) {
        return Ok(());
    }
    fail(format!("the target {WASM} is missing: `rustup target add {WASM}`"))
}

/// The tools that tests look for, by the variables they look in: a chain and its compiler, and the stand-ins for key
/// devices, object stores and payment providers.
///
/// # Errors
/// If one is missing and cannot be installed; the line names it.
pub fn tools_of_tests() -> Outcome<Vec<(&'static str, PathBuf)>> {
    let mut tools: Vec<_> = evm()?.variables().map(|(name, path)| (name, path.to_path_buf())).into();
    tools.push(("TALLY_MINISTACK", ministack()?));
    tools.push(("TALLY_SOFTHSM", softhsm()?));
    let (localstripe, python) = localstripe()?;
    tools.extend([("TALLY_LOCALSTRIPE", localstripe), ("TALLY_STRIPE_PYTHON", python)]);
    Ok(tools)
}

/// The program that balances the demo's books.
///
/// # Errors
/// If it is missing and cannot be installed.
pub fn hledger() -> Outcome {
    if on_path("hledger") || (apt_install("hledger") && on_path("hledger")) {
        return Ok(());
    }
    fail("hledger is missing (it balances the demo's books): install Debian's `hledger`")
}

/// Builds every binary and the demo, and gives the folder that holds them.
///
/// Always the whole workspace with its development dependencies, as the tests are built: another choice of packages
/// would choose other features and compile the dependencies once more.
///
/// # Errors
/// If something the build needs is missing, or the build fails.
pub fn build_binaries() -> Outcome<PathBuf> {
    let mut build = cargo_for_workspace()?;
    run_aside(build.args(["build", "--release", "--workspace", "--bins", "--example", "demo"]))?;
    let own = std::env::current_exe().or_else(|error| fail(format!("failed to find this program: {error}")))?;
    // This program is one of them.
    Ok(own.parent().map(Path::to_path_buf).unwrap_or_default())
}

fn compiler() -> Outcome {
    if std::env::var_os("CXX").is_some() || ["c++", "g++", "clang++"].iter().any(|name| on_path(name)) {
        return Ok(());
    }
    if apt_install("g++") {
        return Ok(());
    }
    fail("a C++17 compiler is missing (RocksDB is C++): install Debian's `g++` or set CXX")
}

/// The folder to set as `LIBCLANG_PATH`, or nothing where the build finds libclang by itself.
fn libclang() -> Outcome<Option<PathBuf>> {
    if let Some(given) = std::env::var_os("LIBCLANG_PATH") {
        if holds_libclang(Path::new(&given)) {
            return Ok(None);
        }
        return fail(format!("LIBCLANG_PATH={} holds no libclang.so; correct or unset it", given.to_string_lossy()));
    }
    if is_installed() {
        return Ok(None);
    }
    if holds_libclang(&wheel_folder()) {
        return Ok(Some(wheel_folder()));
    }
    say!("libclang is missing (RocksDB's bindings are made with it); installing it once");
    if apt_install("libclang-dev") && is_installed() {
        return Ok(None);
    }
    if let Some(folder) = wheel_libclang() {
        return Ok(Some(folder));
    }
    fail("libclang is missing: install Debian's `libclang-dev` (or set LIBCLANG_PATH to a folder with libclang.so)")
}

fn holds_libclang(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let wanted = |name: &str| {
        name == "libclang.so" || name == "libclang.dylib" || name.starts_with("libclang.so.") || {
            // `libclang-cpp.so` is another library, which the binding generator passes over.
            name.starts_with("libclang-") && !name.starts_with("libclang-cpp") && name.contains(".so")
        }
    };
    entries.flatten().any(|entry| wanted(&entry.file_name().to_string_lossy()))
}

/// Whether libclang lies where the binding generator looks: LLVM's own folders and the loader's.
fn is_installed() -> bool {
    let llvm = ["/usr/lib", "/usr/lib64", "/usr/local"].iter().filter_map(|parent| std::fs::read_dir(parent).ok());
    let llvm = llvm.flat_map(|entries| entries.flatten().map(|entry| entry.path()));
    let llvm = llvm.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm")));
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let plain = [multiarch.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from);
    llvm.map(|path| path.join("lib")).chain(plain).any(|folder| holds_libclang(&folder))
}

fn wheel_folder() -> PathBuf {
    cache_dir().join("libclang").join("clang").join("native")
}

fn wheel_libclang() -> Option<PathBuf> {
    let target = cache_dir().join("libclang");
    let mut pip = command("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    run(pip.arg(&target).arg("libclang==18.1.1")).ok()?;
    Some(wheel_folder()).filter(|folder| holds_libclang(folder))
}

pub(crate) fn apt_install(package: &str) -> bool {
    if !on_path("apt-get") || !is_root() {
        return false;
    }
    let apt = |arguments: &[&str]| {
        let mut apt = command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).stdout(Stdio::null());
        run(&mut apt).is_ok()
    };
    let install = ["install", "-y", "--no-install-recommends", package];
    apt(&install) || (apt(&["update"]) && apt(&install))
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}
