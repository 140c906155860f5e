//! From a project to its module, by the compiler of its language. Nothing is installed: what is missing is named.
//!
//! Takes a project's folder; gives the module's file, `ID.wasm` in that folder. The compiler's own words go to standard
//! error as they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::AuthorError;
use crate::project::{Language, PROJECT_FILE, Project};

const TARGET: &str = "wasm32-unknown-unknown";

/// The module that a place means: the file itself, the one given, or what a project is built into.
///
/// # Errors
/// The place is no module and no project, or the project does not build.
pub fn module_of(place: &Path, given: Option<&Path>) -> Result<PathBuf, AuthorError> {
    if let Some(file) = given {
        return Ok(file.to_owned());
    }
    if place.is_file() {
        return Ok(place.to_owned());
    }
    match Project::load(place)? {
        Some(project) => build(place, &project),
        None => Err(AuthorError::Project(format!(
            "{} is neither a module nor a project (it has no {PROJECT_FILE})",
            place.display()
        ))),
    }
}

/// Builds a project's module.
///
/// # Errors
/// The compiler is missing (the text says what to install), or finds errors.
pub fn build(folder: &Path, project: &Project) -> Result<PathBuf, AuthorError> {
    let module = project.module(folder);
    match project.language {
        Language::Rust => rust(folder, project, &module)?,
        Language::C => c(folder, &module)?,
        Language::AssemblyScript => assemblyscript(folder, &module)?,
    }
    Ok(module)
}

/// Whether a program can be started.
fn there(program: &Path) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok()
}

fn missing(what: &str, install: &str) -> AuthorError {
    AuthorError::Project(format!(
        "{what} is missing: {install}\n  or build elsewhere and give the module with --wasm FILE"
    ))
}

fn run(command: &mut Command) -> Result<(), AuthorError> {
    let program = command.get_program().to_string_lossy().into_owned();
    // Standard output belongs to the result.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(AuthorError::Project(format!("{program} did not build the plugin ({status})"))),
        Err(error) => Err(AuthorError::Project(format!("failed to start {program}: {error}"))),
    }
}

fn rust(folder: &Path, project: &Project, module: &Path) -> Result<(), AuthorError> {
    let asked = Command::new("rustc").current_dir(folder).args(["--print", "sysroot"]).stderr(Stdio::null()).output();
    let asked = asked.map_err(|_| missing("Rust", &format!("https://rustup.rs, then `rustup target add {TARGET}`")))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    if !sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        let install = format!("`rustup target add {TARGET}`");
        return Err(missing(&format!("Rust's standard library for {TARGET}"), &install));
    }
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder).args(["build", "--quiet", "--release", "--lib", "--target", TARGET]);
    // Where the project is built is its own matter, not that of whoever called.
    let target = folder.join("target");
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let target = std::path::absolute(&target).map_err(AuthorError::file("find", &target))?;
    cargo.env("CARGO_TARGET_DIR", &target).env("CARGO_BUILD_BUILD_DIR", &target);
    run(&mut cargo)?;
    let built = target.join(TARGET).join("release").join(format!("{}.wasm", project.id.replace('-', "_")));
    std::fs::copy(&built, module).map_err(AuthorError::file("copy", &built))?;
    Ok(())
}

/// What both C compilers are told. Only what the host's profile has: no floats come of integers.
const C_FLAGS: &[&str] =
    &["-Os", "-nostdlib", "-ffreestanding", "-fno-builtin", "-Wall", "-Wextra", "-Wno-unused-function"];
const C_LINK: &[&str] = &["-Wl,--no-entry", "-Wl,-z,stack-size=65536", "-Wl,--strip-all"];

fn c(folder: &Path, module: &Path) -> Result<(), AuthorError> {
    let (clang, zig) = (Path::new("clang"), Path::new("zig"));
    let mut command;
    if there(Path::new("wasm-ld")) && there(clang) {
        command = Command::new(clang);
        command.args(["--target=wasm32-unknown-unknown", "-mcpu=mvp", "-mbulk-memory", "-msign-ext"]);
    } else if there(zig) {
        command = Command::new(zig);
        command.args(["cc", "--target=wasm32-freestanding", "-mcpu=mvp+bulk_memory+sign_ext"]);
    } else {
        let install = "`pip install ziglang` gives zig (put it on the path), or install clang and lld";
        return Err(missing("a C compiler for wasm32", install));
    }
    let module = std::path::absolute(module).map_err(AuthorError::file("find", module))?;
    command.current_dir(folder).args(C_FLAGS).args(C_LINK).arg("-o").arg(module).arg("plugin.c");
    run(&mut command)
}

fn assemblyscript(folder: &Path, module: &Path) -> Result<(), AuthorError> {
    let own = std::path::absolute(folder).map_err(AuthorError::file("find", folder))?.join("node_modules/.bin/asc");
    let asc = if there(&own) { own } else { PathBuf::from("asc") };
    if !there(&asc) {
        return Err(missing("asc", "`npm install` in the project (Node.js 20 or newer)"));
    }
    let module = std::path::absolute(module).map_err(AuthorError::file("find", module))?;
    let mut command = Command::new(asc);
    command.current_dir(folder).args(["assembly/index.ts", "-O3", "--converge", "--runtime", "stub", "-o"]).arg(module);
    run(&mut command)
}
