//! What the kernel counted for a process: CPU per thread name, memory, bytes sent to the disk.
//!
//! Takes a process id (or `self`), gives numbers; what cannot be read is 0. Linux only, as the node's measurements are.
//! Thread names are the core's stages (`tally-verify-0`), so CPU per event and stage needs no profiler.

use std::collections::BTreeMap;
use std::fs;

/// A process whose counts are read.
#[derive(Debug, Clone)]
pub struct Proc(String);

/// Nanoseconds of CPU by thread name, numbers cut off: `tally-verify-0` and `tally-verify-1` are one.
pub type CpuByName = BTreeMap<String, u64>;

/// Bytes of a process's reads and writes that reached the block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes read from the device.
    pub read: u64,
    /// Bytes sent to the device; a page written twice between two syncs counts once.
    pub written: u64,
}

impl Proc {
    /// This process.
    #[must_use]
    pub fn own() -> Self {
        Self("/proc/self".to_owned())
    }

    /// Another process.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self(format!("/proc/{pid}"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(format!("{}/{name}", self.0)).unwrap_or_default()
    }

    /// Seconds of CPU of the whole process, ended threads included.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let stat = self.read("stat");
        // The name in parentheses may hold spaces; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        // Linux counts in hundredths of a second on every platform this runs on.
        ticks as f64 / 100.0
    }

    /// CPU of the threads that live now.
    #[must_use]
    pub fn cpu_by_thread(&self) -> CpuByName {
        let mut by_name = CpuByName::new();
        let Ok(threads) = fs::read_dir(format!("{}/task", self.0)) else { return by_name };
        for thread in threads.flatten() {
            let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let name = read("comm");
            let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
            // The first number is time on a CPU, in nanoseconds.
            let nanos = read("schedstat").split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
            *by_name.entry(name.to_owned()).or_default() += nanos.unwrap_or(0);
        }
        by_name
    }

    /// The most memory it ever had, bytes.
    #[must_use]
    pub fn rss_bytes_max(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// The memory it has now, bytes.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// What reached the device.
    #[must_use]
    pub fn io(&self) -> Io {
        let io = self.read("io");
        let field = |name: &str| {
            let value = io.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Io { read: field("read_bytes:"), written: field("write_bytes:") }
    }
}

/// Nanoseconds of CPU the calling thread has used.
#[must_use]
pub fn own_thread_nanos() -> u64 {
    let own = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    own.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// What was used between two readings, by name; a thread that ended in between is left out.
#[must_use]
pub fn used(before: &CpuByName, after: &CpuByName) -> CpuByName {
    let since = |(name, nanos): (&String, &u64)| {
        let used = nanos.saturating_sub(before.get(name).copied().unwrap_or(0));
        (used > 0).then(|| (name.clone(), used))
    };
    after.iter().filter_map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_seen_by_its_name() {
        let before = Proc::own().cpu_by_thread();
        let (done, wait) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let work = || {
                let mut sum = 0_u64;
                while Proc::own().cpu_by_thread().get("bench-worker").copied().unwrap_or(0) < 2_000_000 {
                    sum = std::hint::black_box((0..10_000_u64).fold(sum, u64::wrapping_add));
                }
                done.wait();
                wait.wait();
            };
            std::thread::Builder::new().name("bench-worker-7".to_owned()).spawn_scoped(scope, work).unwrap();
            done.wait();
            let used = used(&before, &Proc::own().cpu_by_thread());
            assert!(used["bench-worker"] >= 2_000_000);
            wait.wait();
        });
        assert!(Proc::own().rss_bytes() > 0 && Proc::own().rss_bytes_max() >= Proc::own().rss_bytes());
    }
}
