//! `cargo xtask`: the manual and its tasks.
//!
//! Takes a task's name and its arguments, gives the task's exit code: 0 done, 1 the task failed, 2 the command line
//! was not understood. Without arguments it prints the manual.

use std::process::ExitCode;

use xtask::shell::{Outcome, say};
use xtask::{bench, check, contract, crash, demo, fuzz, plugins, requirements, sim, suite, vectors};

/// One line of the manual and what it runs.
struct Task {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

const TASKS: &[Task] = &[
    Task {
        name: "demo",
        usage: "demo [ARGS]",
        about: "real events through a real node, killed midway, every receipt verified offline",
        run: demo::run,
    },
    Task {
        name: "test",
        usage: "test [--package P] [--verbose]",
        about: "every test of the workspace, doc tests and crash tests included; ends with the sum",
        run: suite::run,
    },
    Task {
        name: "check",
        usage: "check [--fast] [RULE...]",
        about: "format, clippy, docs, floors, rooms, laws, requirements, links, source lints (--fast: without cargo)",
        run: check::run,
    },
    Task {
        name: "bench",
        usage: "bench [NAME] [--json] [ARGS]",
        about: "ingest, http, hot-stream, hostile, growth, reads, load, pipeline, stages, plugins; none: all, into docs/benchmarks",
        run: bench::run,
    },
    Task {
        name: "sim",
        usage: "sim [--seeds N] [--seed S] [--json]",
        about: "seeds of simulated faults against the core, an auditor after every step; same seed, same bytes",
        run: sim::run,
    },
    Task {
        name: "crash",
        usage: "crash [--kills N] [--seed S] [--write]",
        about: "kill the real node N times under load; every acknowledged receipt must survive (--write: the report)",
        run: crash::run,
    },
    Task {
        name: "soak",
        usage: "soak [--minutes M] [--write]",
        about: "a tenth of full load for M minutes; memory must stay flat (--write: the report)",
        run: crash::soak,
    },
    Task {
        name: "vectors",
        usage: "vectors [--check]",
        about: "rewrite the golden vectors from the code, to be reviewed as code",
        run: vectors::run,
    },
    Task {
        name: "plugins",
        usage: "plugins build [NAME...] | check",
        about: "compile the guests of plugins/ to modules; check: the committed ones, byte for byte",
        run: plugins::run,
    },
    Task {
        name: "contract",
        usage: "contract build|check|test|vectors|gas",
        about: "the anchor contract: compile, compare byte for byte, forge, its vectors and its gas table",
        run: contract::run,
    },
    Task {
        name: "requirements",
        usage: "requirements",
        about: "hold docs/requirements.md against the tests it names",
        run: requirements::run,
    },
    Task {
        name: "fuzz",
        usage: "fuzz TARGET [--seconds N]",
        about: "mutate the corpus of one decoder and run its check; without TARGET lists the targets",
        run: fuzz::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = arguments.first() else {
        manual();
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        manual();
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        say!("xtask: there is no task `{name}`");
        manual();
        return ExitCode::from(2);
    };
    match (task.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say!("xtask {name}: {failure}");
            ExitCode::from(1)
        }
    }
}

fn manual() {
    say!("The manual. Every task installs what it needs or says in one line what is missing.\n");
    for task in TASKS {
        say!("  cargo xtask {:<36} {}", task.usage, task.about);
    }
    say!(
        "\nFirst: `cargo xtask demo`, then `cargo xtask test`. The first build compiles RocksDB (about 32 CPU-minutes);"
    );
    say!("it is kept outside the checkout and shared by every clone (.cargo/config.toml, `build-dir`).");
}
