//! Threads for work that nobody waits for.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Steps of priority below the stages that a receipt waits for (`nice`): where cores are short, such a thread waits, but
/// is never without its tenth (`docs/decisions/0027-the-background.md`).
const NICENESS: i32 = 10;
/// Between two breaths.
const BREATH_EVERY: Duration = Duration::from_micros(500);
/// Of a breath. What counts is that the core looks for other work when it begins; a shorter one is over before that.
const BREATH: Duration = Duration::from_micros(20);

thread_local! {
    /// When this thread took its last breath; `None` if it is none of the background.
    static BREATHED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lowers this thread's priority for the rest of its life. Where that cannot be had it competes with the others, and is as
/// right.
///
/// Such a thread may be stopped anywhere for long. It must hold nothing then that others wait for: it writes nothing into
/// a database itself. And it calls [`breathe`] often.
pub fn enter() {
    // Of this thread alone, on Linux.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    // Else the shortest sleep takes 50 microseconds more than it should.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    BREATHED.set(Some(Instant::now()));
}

/// Leaves the core for a moment if this thread is of the background and has not for half a millisecond.
///
/// Priorities count within a core, and cores are evened out in ticks: a core that runs such a thread alone takes nothing
/// over from one where others wait, for 20 ms and more as measured on Linux 6.18. One that falls idle does so at once.
pub fn breathe() {
    if let Some(last) = BREATHED.get()
        && last.elapsed() >= BREATH_EVERY
    {
        std::thread::sleep(BREATH);
        BREATHED.set(Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BREATHED, breathe, enter};

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_thread_that_enters_it_gives_way() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let entered = std::thread::spawn(move || {
            enter();
            niceness()
        });
        assert!(entered.join().unwrap() > before);
        assert_eq!(niceness(), before);
    }

    #[test]
    fn a_thread_of_the_background_breathes_when_it_is_time_and_no_other_does() {
        breathe();
        assert_eq!(BREATHED.get(), None);
        std::thread::spawn(|| {
            enter();
            let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
            BREATHED.set(Some(long_ago));
            breathe();
            assert!(BREATHED.get().unwrap() > long_ago);
        })
        .join()
        .unwrap();
    }
}
