//! Prints the record of modules, for `cargo xtask plugins`: `record BUILDER RUSTC FLAGS NAME=FILE...`.
//!
//! Ends with 1 and one line on standard error if a module cannot be read or is not one of the contract.

use std::io::Write;
use std::process::ExitCode;

use tally_plugin_check::record::{Builder, line};

fn lines(arguments: &[String]) -> Result<Vec<String>, String> {
    let [command, id, rustc, flags, modules @ ..] = arguments else { return Err("too few arguments".to_owned()) };
    if command != "record" {
        return Err(format!("`{command}` is not understood"));
    }
    let builder = Builder { id, rustc, flags };
    let each = |module: &String| {
        let (name, file) = module.split_once('=').ok_or("a module is NAME=FILE")?;
        let wasm = std::fs::read(file).map_err(|error| format!("failed to read {file}: {error}"))?;
        line(name, &wasm, &builder).map_err(|error| format!("{name}: {error}"))
    };
    modules.iter().map(each).collect()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match lines(&arguments) {
        Ok(lines) => {
            let text = format!("[\n  {}\n]\n", lines.join(",\n  "));
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "tally-plugin-check: {problem}");
            ExitCode::FAILURE
        }
    }
}
