//! Write-ahead logs that are no longer needed, deleted in small steps.
//!
//! On many file systems deleting a large file takes a while inside the journal, and every sync waits for it: a receipt
//! in flight then waits a tenth of a second (`docs/benchmarks/tail.md`). So RocksDB only moves obsolete logs aside,
//! into `archive/`, and a thread shortens them a step at a time until nothing is left. What a crash leaves there is
//! taken by the next start; nothing reads these files. What cannot be deleted is tried again and shows on the disk only.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Where RocksDB moves them.
const FOLDER: &str = "archive";
/// Cut off a file at once: a millisecond or two of the journal.
const STEP_BYTES: u64 = 1 << 20;
/// Between steps, so that syncs get their turn: 100 MB/s at most, more than any log grows.
const STEP_PAUSE: Duration = Duration::from_millis(8);
/// Between looks into the folder.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The thread that deletes; ends when this is dropped.
pub(crate) struct OldLogs {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl OldLogs {
    /// Deletes the obsolete logs of a database from now on.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn sweep(database: &Path) -> io::Result<Self> {
        let folder = database.join(FOLDER);
        let (stop, stopped) = channel();
        let pause = move |time| stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
        let thread = thread::Builder::new().name("tally-old-logs".into()).spawn(move || {
            while pause(LOOK_EVERY) {
                // What fails now is found again at the next look.
                let files = list(&folder).unwrap_or_default();
                if !files.iter().all(|file| delete(file, &pause).unwrap_or(true)) {
                    return;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for OldLogs {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, files are left for the next start.
            let _ = thread.join();
        }
    }
}

/// The logs in the folder, which RocksDB makes when it first needs it.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect())
}

/// Deletes a file from its end. `false`: the engine is closed meanwhile.
fn delete(path: &Path, pause: &impl Fn(Duration) -> bool) -> io::Result<bool> {
    let file = File::options().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    while left > STEP_BYTES {
        left -= STEP_BYTES;
        file.set_len(left)?;
        if !pause(STEP_PAUSE) {
            return Ok(false);
        }
    }
    fs::remove_file(path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn logs_are_deleted_and_nothing_else_and_a_missing_folder_is_waited_for() {
        let database = tempfile::tempdir().unwrap();
        let sweep = OldLogs::sweep(database.path()).unwrap();
        let folder = database.path().join(FOLDER);
        let here = [database.path().join("000007.log"), folder.join("notes.txt")];
        fs::create_dir(&folder).unwrap();
        for path in here.iter().chain(&[folder.join("000003.log"), folder.join("000004.log")]) {
            fs::write(path, vec![7; 3 << 20]).unwrap();
        }
        let began = Instant::now();
        while !list(&folder).unwrap().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(60), "old logs are left");
            thread::sleep(Duration::from_millis(20));
        }
        drop(sweep);
        assert!(here.iter().all(|path| fs::metadata(path).unwrap().len() == 3 << 20));
        // Once it is dropped nothing is touched.
        fs::write(folder.join("000005.log"), b"later").unwrap();
        thread::sleep(LOOK_EVERY * 2);
        assert_eq!(list(&folder).unwrap().len(), 1);
    }
}
