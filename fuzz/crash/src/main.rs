//! `tally-crash`: `kills [--kills N] [--seed S]` and `soak [--minutes M]`, on the real binary.
//!
//! Further arguments: `--binary PATH` (target/release/tally), `--json`, `--write` (the page under docs/benchmarks).
//! Ends with 1 when a law broke; the data directory then stays for whoever looks into it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tally_crash::kills::write_page;
use tally_crash::node::Home;
use tally_crash::{Failure, kills, soak};

struct Arguments {
    task: String,
    number: u64,
    seed: u64,
    binary: PathBuf,
    json: bool,
    write: bool,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(why) => {
            say(&format!(
                "tally-crash: {why}; usage: kills [--kills N] [--seed S] | soak [--minutes M]; [--json] [--write]"
            ));
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&format!("tally-crash: {why}"));
            ExitCode::from(1)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let progress = |line: &str| {
        if !arguments.json {
            say(line);
        }
    };
    let home = Home::new(&arguments.binary, Path::new("target"), &arguments.task)?;
    let kept = |why: Failure| format!("{why}\nthe data is in {}", home.folder.display());
    let (json, text, page) = if arguments.task == "soak" {
        let report = soak::run(&home, arguments.number, progress).map_err(kept)?;
        (report.json(), report.text(), report.page())
    } else {
        let report = kills::run(&home, arguments.number, arguments.seed, progress).map_err(kept)?;
        (report.json(), report.text(), report.page())
    };
    say(if arguments.json { json.to_string() } else { text }.trim_end());
    if arguments.write {
        let name = if arguments.task == "soak" { "soak.md" } else { "crash.md" };
        write_page(&page, &Path::new("docs/benchmarks").join(name))?;
    }
    std::fs::remove_dir_all(&home.folder).map_err(|error| format!("failed to clean up: {error}"))
}

fn arguments() -> Result<Arguments, String> {
    let mut rest = std::env::args().skip(1);
    let task = rest.next().filter(|task| task == "kills" || task == "soak").ok_or("which task?")?;
    let number = if task == "soak" { 30 } else { 300 };
    let binary = PathBuf::from("target/release/tally");
    let mut arguments = Arguments { task, number, seed: 1, binary, json: false, write: false };
    while let Some(name) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{name} takes a value"));
        let number = |text: String| text.parse().map_err(|_| format!("`{text}` is no number"));
        match name.as_str() {
            "--kills" | "--minutes" => arguments.number = number(value()?)?,
            "--seed" => arguments.seed = number(value()?)?,
            "--binary" => arguments.binary = PathBuf::from(value()?),
            "--json" => arguments.json = true,
            "--write" => arguments.write = true,
            other => return Err(format!("`{other}` is not understood")),
        }
    }
    Ok(arguments)
}

fn say(line: &str) {
    // Whoever closed the pipe has read enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}
