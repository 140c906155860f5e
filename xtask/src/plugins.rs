//! `cargo xtask plugins`: builds the guests of `plugins/` into modules, or holds the committed ones against their source.
//!
//! `build [NAME...]` writes `plugins/NAME/NAME.wasm` and the record `plugins/manifest.json`. `check` builds again elsewhere
//! and compares byte for byte. Other compilers give other bytes, so one builder is canonical (docs/decisions/0016): what
//! another one builds can be tried, and is not compared. Nothing else in this repository needs a wasm toolchain.
//!
//! Builders, in order: rustup's toolchain `RELEASE` with its wasm32 target; any other rustc that has the target;
//! Debian's `rustc-web`, which builds the standard library from `rust-web-src`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{self, WASM};
use crate::shell::{self, Failure, Outcome, cache_dir, cargo, command, fail, on_path, output, root, say};

/// The release of Rust whose bytes are committed.
const RELEASE: &str = "1.95.0";

/// The builder whose bytes are committed.
const CANONICAL: &str = "rustup-1.95.0";

/// Where the record of modules is.
const RECORD: &str = "plugins/manifest.json";

/// Flags that change bytes, beside the profile `plugin`: 64 KiB of stack instead of 1 MiB; numbers in their shortest form.
const LINK_ARGUMENTS: [&str; 2] = ["-zstack-size=65536", "--compress-relocations"];

/// Earlier releases that are kept, as their plugin, version and the feature of its crate that makes them again.
const EARLIER: [(&str, &str, &str); 1] = [("registry", "0.9.0", "state-1")];

const USAGE: &str = "usage: cargo xtask plugins build [--builder release|own|debian] [NAME...] | check";

/// Runs the task.
///
/// # Errors
/// If no builder can be had, a guest does not compile, or with `check` a module differs.
pub fn run(arguments: &[String]) -> Outcome {
    match arguments {
        [verb, flag, chosen, names @ ..] if verb == "build" && flag == "--builder" => build(&builder(chosen)?, names),
        [verb, names @ ..] if verb == "build" => build(&builder("")?, names),
        [verb] if verb == "check" => check(),
        _ => fail(USAGE),
    }
}

/// Something that can compile guests.
struct Builder {
    /// Its name in the record.
    id: String,
    /// What its rustc says of itself.
    rustc: String,
    kind: Kind,
}

enum Kind {
    /// rustup's toolchain of that release, through rustup's own `cargo`.
    Rustup,
    /// The cargo that runs this task.
    Own,
    /// Debian's, with the standard library from its sources.
    Debian,
}

fn version(rustc: &mut Command) -> Option<String> {
    output(rustc.arg("--version")).ok().map(|text| text.trim().to_owned())
}

/// A program of rustup's toolchain [`RELEASE`].
fn of_release(program: &str) -> Command {
    let mut command = command(program);
    // Rustup's own programs read this; the cargo that runs this task has set it to its own toolchain.
    command.env("RUSTUP_TOOLCHAIN", RELEASE).env_remove("RUSTC").env_remove("CARGO");
    command
}

fn release() -> Option<Builder> {
    if !on_path("rustup") {
        return None;
    }
    let rustc = version(&mut of_release("rustc")).filter(|text| text.starts_with(&format!("rustc {RELEASE} ")))?;
    if !setup::has_wasm(&mut of_release("rustc")) {
        output(command("rustup").args(["target", "add", "--toolchain", RELEASE, WASM])).ok()?;
    }
    Some(Builder { id: CANONICAL.to_owned(), rustc, kind: Kind::Rustup })
}

fn own() -> Option<Builder> {
    let rustc = version(&mut command("rustc"))?;
    let number = rustc.split(' ').nth(1).unwrap_or_default().to_owned();
    setup::has_wasm(&mut command("rustc")).then(|| Builder { id: format!("rustc-{number}"), rustc, kind: Kind::Own })
}

fn debian() -> Option<Builder> {
    for package in ["rustc-web", "cargo-web", "rust-web-src"] {
        if !Path::new("/usr/share/doc").join(package).exists() && !setup::apt_install(package) {
            return None;
        }
    }
    let rustc = version(&mut command("/usr/bin/rustc"))?;
    let number = rustc.split(' ').nth(1).unwrap_or_default().to_owned();
    Some(Builder { id: format!("debian-{number}"), rustc, kind: Kind::Debian })
}

/// The builder of that name, or the first there is.
fn builder(chosen: &str) -> Outcome<Builder> {
    let found = match chosen {
        "" => release().or_else(own).or_else(debian),
        "release" => release(),
        "own" => own(),
        "debian" => debian(),
        _ => return fail(USAGE),
    };
    found.map_or_else(
        || {
            fail(format!(
                "no compiler for {WASM}: `rustup toolchain install {RELEASE} --target {WASM}`, or Debian's rustc-web, \
                 cargo-web and rust-web-src"
            ))
        },
        Ok,
    )
}

/// The guests: crates of `plugins/` that export a plugin, and what is kept of them.
fn guests() -> Outcome<Vec<String>> {
    let folder = root().join("plugins");
    let entries =
        std::fs::read_dir(&folder).map_err(|error| Failure(format!("failed to list {}: {error}", folder.display())))?;
    let exports = |path: &Path| {
        std::fs::read_to_string(path.join("src/lib.rs")).is_ok_and(|text| text.contains("tally_plugin::export!"))
    };
    let found = entries.flatten().filter(|entry| exports(&entry.path()));
    let mut names: Vec<String> = found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.extend(EARLIER.map(|(plugin, version, _)| format!("{plugin}-{version}")));
    names.sort();
    Ok(names)
}

/// A guest's plugin, and the feature that makes it what it is.
fn source(name: &str) -> (&str, Option<&'static str>) {
    let earlier = EARLIER.iter().find(|(plugin, version, _)| {
        name.strip_prefix(plugin).and_then(|rest| rest.strip_prefix('-')) == Some(version)
    });
    earlier.map_or((name, None), |(plugin, _, feature)| (plugin, Some(feature)))
}

impl Builder {
    fn flags(checkout: &str, cargo_home: &str) -> Vec<String> {
        let mut flags =
            vec![format!("--remap-path-prefix={checkout}=/src"), format!("--remap-path-prefix={cargo_home}=/cargo")];
        flags.extend(LINK_ARGUMENTS.map(|argument| format!("-Clink-arg={argument}")));
        flags
    }

    /// Compiles one guest into a folder and gives the module's place.
    fn compile(&self, name: &str, folder: &Path) -> Outcome<PathBuf> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        let home = home.unwrap_or_default();
        let flags = Self::flags(&root().to_string_lossy(), &home.to_string_lossy());
        let mut cargo = match self.kind {
            Kind::Rustup => of_release("cargo"),
            Kind::Own => cargo(),
            Kind::Debian => debian_cargo()?,
        };
        cargo.args(["rustc", "--quiet", "--locked", "--profile", "plugin", "--target", WASM, "--lib"]);
        let (plugin, feature) = source(name);
        cargo.args(["--package", &format!("tally-{plugin}"), "--crate-type", "cdylib"]);
        cargo.args(feature.iter().flat_map(|feature| ["--features", feature]));
        // Apart, or one's module would lie where the other's did.
        let folder = feature.map_or_else(|| folder.to_owned(), |_| folder.join(name));
        if matches!(self.kind, Kind::Debian) {
            cargo.args(["-Zbuild-std=core,alloc,panic_abort", "-Zbuild-std-features=compiler-builtins-mem"]);
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")).env_remove("RUSTFLAGS");
        cargo.env("CARGO_TARGET_DIR", &folder).env("CARGO_BUILD_BUILD_DIR", &folder);
        shell::run(&mut cargo)?;
        Ok(folder.join(WASM).join("plugin").join(format!("tally_{plugin}.wasm")))
    }
}

/// Debian's cargo, with a linker: its own rustc brings none for wasm.
fn debian_cargo() -> Outcome<Command> {
    let sysroot = output(command("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    let bundled = Path::new(sysroot.trim()).join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
    let linker = [bundled, PathBuf::from("/usr/bin/rust-lld"), PathBuf::from("/usr/bin/wasm-ld")];
    let Some(linker) = linker.into_iter().find(|linker| linker.exists()) else {
        return fail("a linker for wasm is missing: install Debian's `lld`");
    };
    let mut cargo = command("/usr/bin/cargo");
    cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    Ok(cargo)
}

/// The record of modules that lie at these places.
fn record(builder: &Builder, modules: &[(String, PathBuf)]) -> Outcome<String> {
    let mut tool = cargo();
    tool.args(["run", "--quiet", "--release", "--package", "tally-plugin-check", "--", "record"]);
    tool.args([&builder.id, &builder.rustc, &Builder::flags("CHECKOUT", "CARGO_HOME").join(" ")]);
    tool.args(modules.iter().map(|(name, file)| format!("{name}={}", file.display())));
    output(&mut tool)
}

fn committed(name: &str) -> PathBuf {
    root().join("plugins").join(source(name).0).join(format!("{name}.wasm"))
}

fn work_folder(builder: &Builder) -> PathBuf {
    cache_dir().join("plugins").join(&builder.id)
}

fn build(builder: &Builder, names: &[String]) -> Outcome {
    let guests = guests()?;
    if let Some(unknown) = names.iter().find(|name| !guests.contains(name)) {
        return fail(format!("there is no guest `{unknown}`; there are {}", guests.join(", ")));
    }
    say!("builder: {} ({})", builder.id, builder.rustc);
    for name in guests.iter().filter(|name| names.is_empty() || names.contains(name)) {
        let made = builder.compile(name, &work_folder(builder))?;
        let bytes = std::fs::copy(&made, committed(name))
            .map_err(|error| Failure(format!("failed to copy {}: {error}", made.display())))?;
        say!("{name:<14} {bytes} bytes");
    }
    let modules: Vec<_> = guests.iter().map(|name| (name.clone(), committed(name))).collect();
    write_text(&root().join(RECORD), &record(builder, &modules)?)?;
    if builder.id != CANONICAL {
        say!("these are not the bytes to commit: the canonical builder is {CANONICAL}");
    }
    Ok(())
}

fn write_text(file: &Path, text: &str) -> Outcome {
    std::fs::write(file, text).map_err(|error| Failure(format!("failed to write {}: {error}", file.display())))
}

/// Holds the committed modules against their source.
///
/// # Errors
/// If a module or the record differs, or a guest does not compile.
pub fn check() -> Outcome {
    let Some(builder) = release() else {
        say!("plugins        nothing compared: the canonical builder {CANONICAL} is not here");
        say!("               (`rustup toolchain install {RELEASE} --target {WASM}`)");
        return Ok(());
    };
    let mut differing = Vec::new();
    let mut modules = Vec::new();
    for name in guests()? {
        let made = builder.compile(&name, &work_folder(&builder))?;
        let (ours, theirs) = (std::fs::read(&made).ok(), std::fs::read(committed(&name)).ok());
        let same = ours.is_some() && ours == theirs;
        say!("{name:<14} {}", if same { "the same bytes" } else { "DIFFERS from its source" });
        if !same {
            differing.push(name.clone());
        }
        modules.push((name, made));
    }
    if record(&builder, &modules)? != std::fs::read_to_string(root().join(RECORD)).unwrap_or_default() {
        differing.push(RECORD.to_owned());
    }
    if differing.is_empty() {
        return Ok(());
    }
    fail(format!("{}: build with `cargo xtask plugins build` and review", differing.join(", ")))
}
