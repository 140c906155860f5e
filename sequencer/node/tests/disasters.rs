//! What must never happen: two roots for one size, whatever is done to the data directory; and what is refused instead.
//!
//! Restored backups, copied directories, shared directories and fences, deleted derived families, a full disk; each on
//! the real binary in a child process.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::time::{Duration, Instant};

use common::load::Load;
use common::{Home, Node, copy_folder, dev_on};

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
    let Some(disk) = Disk::of_mib(192) else {
        println!("skipped: a small file system needs root and mount");
        return;
    };
    let data = disk.0.join("data");
    std::fs::create_dir(&data).unwrap();
    let home = Home::new();
    std::os::unix::fs::symlink(&data, home.data()).unwrap();
    let mut node = home.start();
    let mut load = Load::new(&home);
    // Something else takes the rest of the disk; what the database has set aside for its log is filled too.
    load.payload_bytes = 16 << 10;
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

#[test]
fn a_node_does_not_start_on_a_full_disk_and_says_so() {
    let Some(disk) = Disk::of_mib(192) else {
        println!("skipped: a small file system needs root and mount");
        return;
    };
    let data = disk.0.join("data");
    std::fs::create_dir(&data).unwrap();
    let home = Home::new();
    std::os::unix::fs::symlink(&data, home.data()).unwrap();
    let node = home.start();
    let mut load = Load::new(&home);
    load.send(100);
    node.kill();
    disk.fill_to_the_last_byte();
    let ended = Node::start(home.dev()).err().expect("it started on a full disk");
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert!(ended.stderr.contains("make room"), "{ended}");
    disk.free();
    let node = home.start();
    assert_eq!(node.state(), "running", "{}", node.why());
    load.check();
    node.stop();
    home.fsck();
}

#[test]
fn a_write_that_the_system_refuses_stops_the_node_and_loses_nothing() {
    let home = Home::new();
    home.start().stop();
    // No file may grow past 4 MiB: the write-ahead log meets an I/O error in the middle of its work.
    let mut node = Node::start(with_file_size_limit(&home, 4)).unwrap_or_else(|ended| panic!("{ended}"));
    let mut load = Load::new(&home);
    load.payload_bytes = 16 << 10;
    let deadline = Instant::now() + Duration::from_secs(60);
    while load.unknown.is_empty() && Instant::now() < deadline {
        let began = Instant::now();
        load.drive(|_| began.elapsed() > Duration::from_millis(200));
    }
    assert!(!load.unknown.is_empty(), "no write was ever refused: {} events", load.acked.len());
    assert!(!load.acked.is_empty(), "nothing was acknowledged before");
    let refused =
        home.tally(&["submit", "--event-type", "a", "--entity-type", "b", "--entity-id", "c", "--timeout", "1"]);
    assert_eq!(common::code(&refused), 5, "{}", common::err(&refused));
    assert!(!node.has_ended(), "an I/O error is no reason to die");
    node.kill();
    let node = home.start();
    assert_eq!(node.state(), "running", "{}", node.why());
    load.check();
    node.stop();
    home.fsck();
}

/// The node with a bound on the size of every file it writes, and without the signal that would end it there.
fn with_file_size_limit(home: &Home, mib: u64) -> std::process::Command {
    let dev = home.dev();
    let mut shell = std::process::Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", mib * 2048);
    shell.args(["-c", &script]).arg(dev.get_program()).args(dev.get_args()).stdin(std::process::Stdio::null());
    for (name, value) in dev.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
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
        file.set_len(length.saturating_sub(2 << 20)).unwrap();
    }

    fn fill_to_the_last_byte(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        for block in [64 << 10, 1 << 10, 1] {
            while file.write_all(&vec![0u8; block]).is_ok() {}
        }
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
