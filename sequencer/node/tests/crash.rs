//! What a crash leaves: nothing acknowledged is lost, nothing is there twice, no second root for a size is ever signed.
//!
//! The node is the real binary in a child process. With the feature `failpoints` it aborts at each named point of the
//! pipeline; without it, it is killed at arbitrary moments.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::time::{Duration, Instant};

use common::load::Load;
use common::{Home, Node, copy_folder, dev_on};

#[test]
fn nothing_acknowledged_is_lost_by_kills_at_arbitrary_moments() {
    let home = Home::new();
    drop(home.start());
    let mut load = Load::new(&home);
    for round in 0..5u64 {
        let mut node = home.start();
        assert_eq!(node.state(), "running", "{}", node.why());
        let moment = Duration::from_millis(u64::from(random_byte()) * 4 + round);
        let began = Instant::now();
        load.drive(|_| began.elapsed() >= moment);
        // Load goes on while the node dies.
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(u64::from(random_byte()) / 2));
                node.signal(rustix::process::Signal::KILL);
                node.wait_for_end()
            });
            load.drive(|_| killer.is_finished());
            killer.join().unwrap();
        });
        let node = home.start();
        load.check();
        node.stop();
        home.fsck();
    }
    assert!(load.acked.len() > 100, "the load was none: {}", load.acked.len());
}

fn random_byte() -> u8 {
    tally::random::bytes::<1>().unwrap()[0]
}

#[test]
fn a_restored_backup_comes_up_read_only_and_says_what_is_missing() {
    let home = Home::new();
    let node = home.start();
    let mut load = Load::new(&home);
    load.send(200);
    node.stop();
    let backup = home.path().join("backup");
    copy_folder(&home.data(), &backup);

    let node = home.start();
    load.send(200);
    node.stop();
    let newest = home.path().join("newest");
    std::fs::rename(home.data(), &newest).unwrap();
    std::fs::rename(&backup, home.data()).unwrap();

    let node = home.start();
    assert_eq!(node.state(), "read_only");
    assert!(node.why().contains("are missing"), "{}", node.why());
    // It serves what was published and still holds, takes nothing, and signs nothing.
    let refused =
        home.tally(&["submit", "--event-type", "a", "--entity-type", "b", "--entity-id", "c", "--timeout", "1"]);
    assert_eq!(common::code(&refused), 5, "{}", common::err(&refused));
    node.stop();

    // The newest copy is taken back as if nothing had happened.
    std::fs::remove_dir_all(home.data()).unwrap();
    std::fs::rename(&newest, home.data()).unwrap();
    let node = home.start();
    assert_eq!(node.state(), "running", "{}", node.why());
    load.check();
    node.stop();
    home.fsck();
}

#[test]
fn a_copied_data_directory_never_signs_beside_the_original() {
    let home = Home::new();
    let node = home.start();
    let mut load = Load::new(&home);
    load.send(100);
    node.stop();

    // A copy without the fence does not know how far the original has gone.
    let copy = home.path().join("copy");
    copy_folder(&home.data(), &copy);
    let second = Node::start(dev_on(&copy, common::free_address())).unwrap();
    assert_eq!(second.state(), "read_only");
    assert!(second.why().contains("no record"), "{}", second.why());
    second.stop();

    // An operator who knows better says so; from then on this is the one that goes on.
    std::fs::remove_file(home.path().join("copy.fence")).unwrap();
    let mut adopt = dev_on(&copy, common::free_address());
    adopt.arg("--adopt-fence");
    let second = Node::start(adopt).unwrap();
    assert_eq!(second.state(), "running");
    second.stop();

    // The original is untouched by all that.
    let node = home.start();
    load.check();
    node.stop();
    home.fsck();
}

#[test]
fn two_nodes_never_share_a_directory_or_a_fence() {
    let home = Home::new();
    let node = home.start();
    // The same directory, another address.
    let ended = Node::start(dev_on(&home.data(), common::free_address())).err().expect("a second node started");
    assert_eq!(ended.status.code(), Some(6), "{ended}");
    assert!(ended.stderr.contains("another process"), "{ended}");
    // Another directory by name, the same fence by link.
    let other = home.path().join("other");
    copy_folder(&home.data(), &other);
    std::os::unix::fs::symlink(home.fence(), home.path().join("other.fence")).unwrap();
    let ended = Node::start(dev_on(&other, common::free_address())).err().expect("a second node started");
    assert_eq!(ended.status.code(), Some(6), "{ended}");
    assert!(ended.stderr.contains("fence"), "{ended}");
    // The same address.
    let ended = Node::start(dev_on(&home.path().join("third"), home.listen)).err().expect("a second node started");
    assert_eq!(ended.status.code(), Some(6), "{ended}");
    node.stop();
    home.fsck();
}

#[test]
fn deleting_every_derived_family_gives_the_same_roots() {
    let home = Home::new();
    let node = home.start();
    let mut load = Load::new(&home);
    load.send(1500);
    node.stop();
    let before = home.fsck();
    {
        let engine = tally_storage::open_rocks(&home.data().join("db"), &tally_storage::RocksConfig::SMALL).unwrap();
        tally_storage::clear_derived(engine.as_ref()).unwrap();
    }
    let node = home.start();
    assert_eq!(node.state(), "running", "{}", node.why());
    load.check();
    node.stop();
    let after = home.fsck();
    assert_eq!((&before["size"], &before["root"]), (&after["size"], &after["root"]));
    assert_eq!(before["tiles"], after["tiles"]);
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let Some(disk) = Disk::of_mib(48) else {
        println!("skipped: a small file system needs root and mount");
        return;
    };
    let data = disk.0.join("data");
    std::fs::create_dir(&data).unwrap();
    let home = Home::new();
    std::os::unix::fs::symlink(&data, home.data()).unwrap();
    let mut node = home.start();
    let mut load = Load::new(&home);
    // Something else takes the rest of the disk.
    disk.fill();
    let deadline = Instant::now() + Duration::from_secs(60);
    while load.unknown.is_empty() && Instant::now() < deadline {
        let began = Instant::now();
        load.drive(|_| began.elapsed() > Duration::from_millis(500));
    }
    assert!(!load.unknown.is_empty(), "the disk was never full: {} events", load.acked.len());
    // It refuses in words, and still serves.
    let refused =
        home.tally(&["submit", "--event-type", "a", "--entity-type", "b", "--entity-id", "c", "--timeout", "1"]);
    assert_eq!(common::code(&refused), 5, "{}", common::err(&refused));
    assert!(!node.has_ended(), "a full disk is no reason to die");
    node.kill();
    disk.free();
    let node = home.start();
    assert_eq!(node.state(), "running", "{}", node.why());
    load.check();
    node.stop();
    home.fsck();
}

/// A small file system of its own, unmounted at the end.
struct Disk(std::path::PathBuf, #[expect(dead_code, reason = "keeps the mount point")] tempfile::TempDir);

impl Disk {
    fn of_mib(size: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}m"), "tmpfs"]).arg(&path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(path, dir))
    }

    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        let block = vec![0u8; 64 << 10];
        while file.write_all(&block).is_ok() {}
        // Leave a little, so that the node meets the end while it works.
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(1 << 20)).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[cfg(feature = "failpoints")]
mod failpoints {
    use std::collections::VecDeque;
    use std::os::unix::process::ExitStatusExt as _;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::common::load::Load;
    use super::common::{Home, Node};

    const SIGABRT: i32 = 6;
    /// Commitments are cut every ten seconds; everything else happens much more often.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Runs one case per fail point, two at a time.
    fn at_every_fail_point(case: impl Fn(&str) + Sync) {
        let points = Mutex::new(tally_core::FAIL_POINTS.iter().copied().collect::<VecDeque<_>>());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let Some(point) = points.lock().unwrap().pop_front() else { return };
                        println!("at {point}");
                        case(point);
                    }
                });
            }
        });
    }

    fn with_failpoint(home: &Home, point: &str, nth: u64) -> std::process::Command {
        let mut command = home.dev();
        command.env("TALLY_FAILPOINT", format!("{point}:{nth}"));
        command
    }

    #[test]
    fn a_crash_at_any_fail_point_under_load_loses_nothing() {
        at_every_fail_point(|point| {
            let home = Home::new();
            drop(home.start());
            let mut load = Load::new(&home);
            if point.starts_with("recover.") {
                // Passed at a start, with something to recover.
                let mut node = home.start();
                load.send(200);
                node.signal(rustix::process::Signal::KILL);
                node.wait_for_end();
                let ended = Node::start(with_failpoint(&home, point, 1)).err();
                assert_eq!(ended.expect("it started").status.signal(), Some(SIGABRT), "{point}");
            } else {
                let nth = if point.starts_with("commit.") || point.starts_with("publish.") { 1 } else { 5 };
                let mut node = Node::start(with_failpoint(&home, point, nth)).unwrap_or_else(|ended| panic!("{ended}"));
                assert!(load.drive_until_gone(&mut node, PATIENCE), "{point} was never passed");
                let status = node.wait_for_end().unwrap();
                assert_eq!(status.signal(), Some(SIGABRT), "{point}");
            }
            let node = home.start();
            assert_eq!(node.state(), "running", "{point}: {}", node.why());
            load.check();
            node.stop();
            home.fsck();
        });
    }

    #[test]
    fn a_crash_at_any_fail_point_of_the_first_start_leaves_a_node_that_starts() {
        at_every_fail_point(|point| {
            let home = Home::new();
            // Some points are only passed later: then the node is simply killed while it is young.
            if let Ok(node) = Node::start(with_failpoint(&home, point, 1)) {
                node.kill();
            }
            let node = home.start();
            assert_eq!(node.state(), "running", "{point}: {}", node.why());
            let mut load = Load::new(&home);
            load.send(40);
            load.check();
            node.stop();
            home.fsck();
        });
    }
}
