//! `cargo xtask fuzz TARGET [--seconds N] [--seed N] [--keep]`: hunts for inputs that break a law.
//!
//! Without a target lists them. `--keep` adds inputs of new shapes to the corpus. Ends with 1 when a law broke; the
//! input lies in `fuzz/artifacts/` then.
#![expect(clippy::print_stdout, reason = "this binary's output is its result")]

use std::process::ExitCode;
use std::time::Duration;

use tally_fuzz::hunt::{Budget, hunt};
use tally_fuzz::{TARGETS, Target, corpus, find};

struct Options {
    target: Option<String>,
    seconds: u64,
    seed: u64,
    keep: bool,
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        println!("usage: cargo xtask fuzz [TARGET|all] [--seconds N] [--seed N] [--keep]");
        return ExitCode::from(2);
    };
    let targets: Vec<&Target> = match options.target.as_deref() {
        None => {
            TARGETS.iter().for_each(|target| println!("  {:<14} {}", target.name, target.about));
            return ExitCode::SUCCESS;
        }
        Some("all") => TARGETS.iter().collect(),
        Some(name) => match find(name) {
            Some(target) => vec![target],
            None => {
                println!("there is no target `{name}`");
                return ExitCode::from(2);
            }
        },
    };
    // A broken law is told once, by us.
    std::panic::set_hook(Box::new(|_| ()));
    let held = targets.into_iter().filter(|target| !holds(target, &options)).count() == 0;
    ExitCode::from(u8::from(!held))
}

fn parse(arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { target: None, seconds: 20, seed: 1, keep: false };
    let mut rest = arguments;
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => options.seconds = rest.next()?.parse().ok()?,
            "--seed" => options.seed = rest.next()?.parse().ok()?,
            "--keep" => options.keep = true,
            name if !name.starts_with('-') && options.target.is_none() => options.target = Some(name.to_owned()),
            _ => return None,
        }
    }
    Some(options)
}

fn holds(target: &Target, options: &Options) -> bool {
    let starts = match corpus::load(target) {
        Ok(inputs) => inputs.into_iter().map(|(_, input)| input).collect(),
        Err(error) => {
            println!("{}: failed to read the corpus: {error}", target.name);
            return false;
        }
    };
    let found = hunt(target, starts, options.seed, Budget::Time(Duration::from_secs(options.seconds)));
    println!("{:<14} {} inputs, {} of a new shape", target.name, found.inputs, found.new.len());
    if options.keep {
        for (shape, input) in &found.new {
            if let Err(error) = corpus::keep(target, shape, input) {
                println!("{}: failed to keep an input: {error}", target.name);
                return false;
            }
        }
    }
    let Some((input, said)) = found.broken else { return true };
    match corpus::keep_artifact(target, &input) {
        Ok(path) => println!("{}: BROKEN by {}: {said}", target.name, path.display()),
        Err(error) => println!("{}: BROKEN ({error}): {said}\n{input:02x?}", target.name),
    }
    false
}
