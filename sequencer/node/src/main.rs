//! The `tally` binary. What it does is in the library beside it, so that tests and benches can use it too.

/// Each event is made on one thread and dropped on another, and so are the pages of state trees; the C library's allocator
/// has a lock for each of those meetings, and took a quarter of the applying thread's time (docs/decisions/0027-the-background.md).
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tally::run()
}
