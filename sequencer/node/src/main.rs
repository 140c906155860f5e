//! The `tally` binary. What it does is in the library beside it, so that tests and benches can use it too.

fn main() -> std::process::ExitCode {
    tally::run()
}
