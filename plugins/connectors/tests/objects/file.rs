//! The folder: what others put in its way, many writers, and a real kill.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tally_connectors::objects::file::FileStore;
use tally_connectors::objects::{
    LockMode, ObjectError, ObjectStore, Retention, Source, Stored, Visibility, name_of, name_of_reader,
};
use tally_protocol::hash::ObjectHash;
use tally_protocol::time::LogTime;

const BYTES_MAX: u64 = 1024 * 1024;

fn opened(path: &Path) -> FileStore {
    FileStore::open(path, BYTES_MAX).unwrap()
}

fn folder_of(store: &Path, name: &ObjectHash) -> PathBuf {
    let hex = name.to_hex();
    store.join("sha256").join(&hex[..2]).join(&hex[2..4])
}

fn mode_of(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn an_object_comes_back_through_the_seam_from_a_file_that_only_its_owner_can_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store: Box<dyn ObjectStore> = Box::new(opened(&path));
    let source = folder.path().join("artifact");
    std::fs::write(&source, vec![3; 200_000]).unwrap();
    let name = name_of_reader(std::fs::File::open(&source).unwrap()).unwrap();
    let put = store.put(&name, Source::reader(std::fs::File::open(&source).unwrap()), None).await;
    assert_eq!((put, store.visibility()), (Ok(Stored::New), Visibility::Private));
    assert_eq!(store.get(&name, Some(199_998..200_000)).await.unwrap(), vec![3, 3]);
    assert_eq!(store.stat(&name).await.unwrap().unwrap().bytes, 200_000);
    assert_eq!(store.read_lock(&name).await, Ok(None));
    assert_eq!(store.read_lock(&ObjectHash::ZERO).await, Err(ObjectError::Absent(ObjectHash::ZERO)));

    let object = folder_of(&path, &name);
    assert_eq!(mode_of(&object.join(name.to_hex())), 0o600);
    for part in [&path, &path.join("incoming"), &path.join("sha256"), object.parent().unwrap(), &object] {
        assert_eq!(mode_of(part), 0o700, "{}", part.display());
    }
}

/// M-162: not pretended.
#[tokio::test]
async fn a_folder_promises_no_retention() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder.path().join("store"));
    let name = name_of(b"export");
    let retention = Retention { mode: LockMode::Governance, until: LogTime::MAX };
    let put = store.put(&name, b"export".to_vec().into(), Some(retention)).await;
    assert!(matches!(put, Err(ObjectError::Unsupported(_))), "{put:?}");
    assert_eq!(store.stat(&name).await, Ok(None));
}

#[test]
fn a_folder_that_others_can_use_or_a_link_to_one_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    opened(&path);
    symlink(&path, folder.path().join("link")).unwrap();
    let linked = FileStore::open(&folder.path().join("link"), BYTES_MAX);
    assert!(matches!(linked, Err(ObjectError::Unsafe(_))), "{linked:?}");
    for mode in [0o750, 0o705, 0o777] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(FileStore::open(&path, BYTES_MAX), Err(ObjectError::Unsafe(_))), "{mode:o}");
    }
}

#[test]
fn a_link_a_pipe_or_a_folder_in_an_objects_way_is_never_followed() {
    let name = name_of(b"object");
    let hex = name.to_hex();
    type Trap = fn(&Path, &Path, &str);
    let traps: [(&str, Trap); 5] = [
        ("a link in the object's place", |outside, folder, hex| {
            std::fs::create_dir_all(folder).unwrap();
            symlink(outside.join("secret"), folder.join(hex)).unwrap();
        }),
        ("a link that leads nowhere", |outside, folder, hex| {
            std::fs::create_dir_all(folder).unwrap();
            symlink(outside.join("new"), folder.join(hex)).unwrap();
        }),
        ("a folder in the object's place", |_, folder, hex| std::fs::create_dir_all(folder.join(hex)).unwrap()),
        ("a pipe in the object's place", |_, folder, hex| {
            std::fs::create_dir_all(folder).unwrap();
            assert!(Command::new("mkfifo").arg(folder.join(hex)).status().unwrap().success());
        }),
        ("a link on the way", |outside, folder, _| {
            std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
            symlink(outside, folder).unwrap();
        }),
    ];
    for (what, trap) in traps {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // The right bytes, so that nothing but the link itself is wrong.
        std::fs::write(outside.path().join("secret"), b"object").unwrap();
        std::fs::write(outside.path().join(&hex), b"object").unwrap();
        let path = folder.path().join("store");
        let store = opened(&path);
        trap(outside.path(), &folder_of(&path, &name), &hex);
        for end in [
            store.get_now(&name, None).map(|_| ()),
            store.stat_now(&name).map(|_| ()),
            store.put_now(&name, b"object".to_vec().into(), None).map(|_| ()),
        ] {
            assert!(matches!(end, Err(ObjectError::Unsafe(_))), "{what}: {end:?}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 2, "{what}");
        assert_eq!(std::fs::read_dir(path.join("incoming")).unwrap().count(), 0, "{what}");
    }
}

#[test]
fn no_text_but_a_hash_is_a_name() {
    let good = name_of(b"object").to_hex();
    assert!(ObjectHash::from_hex(&good).is_ok());
    for hostile in [
        "",
        "..",
        "../../etc/passwd",
        &good[1..],
        &good.to_uppercase(),
        &format!("{good}0"),
        &format!("{}/", &good[1..]),
        &format!("{}\0", &good[1..]),
    ] {
        assert!(ObjectHash::from_hex(hostile).is_err(), "{hostile:?}");
    }
}

#[test]
fn many_puts_of_one_object_at_once_leave_one_good_object() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let bytes = vec![9; 300_000];
    let name = name_of(&bytes);
    for round in 0..4 {
        if round > 0 {
            std::fs::write(folder_of(&path, &name).join(name.to_hex()), b"damaged").unwrap();
        }
        std::thread::scope(|scope| {
            // Each opens the folder itself, as other processes would, so that starts sweep while others put.
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| opened(&path).put_now(&name, bytes.clone().into(), None))).collect();
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
        assert_eq!(opened(&path).get_now(&name, None).unwrap(), bytes);
        assert_eq!(std::fs::read_dir(path.join("incoming")).unwrap().count(), 0);
    }
}

const CHILD: &str = "TALLY_OBJECTS_CHILD";

fn numbered(number: u32) -> Vec<u8> {
    let length = usize::try_from(number % 7).unwrap() * 40_000 + 4;
    number.to_be_bytes().into_iter().cycle().take(length).collect()
}

#[test]
#[ignore = "it never ends: the process that the next test kills"]
fn a_child_that_puts_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = opened(Path::new(&path));
    for number in 0.. {
        let bytes = numbered(number);
        store.put_now(&name_of(&bytes), bytes.into(), None).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_only_whole_objects_in_the_order_of_its_puts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for round in 1..=5u32 {
        kill_after(&path, round * 13);
        let store = opened(&path);
        assert_eq!(std::fs::read_dir(path.join("incoming")).unwrap().count(), 0);
        let there = (0..).take_while(|number| is_whole(&store, *number)).count();
        assert!(there >= usize::try_from(round).unwrap() * 13);
        // A put ends before the next begins: behind the first that is not there, none is.
        let files = count_files(&path.join("sha256"));
        assert_eq!(files, there);
    }
}

fn is_whole(store: &FileStore, number: u32) -> bool {
    let bytes = numbered(number);
    match store.get_now(&name_of(&bytes), None) {
        Ok(got) => got == bytes,
        Err(ObjectError::Absent(_)) => false,
        Err(error) => panic!("object {number}: {error}"),
    }
}

/// Starts a child, waits until so many objects are there, and kills it.
fn kill_after(path: &Path, count: u32) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "file::a_child_that_puts_until_it_is_killed", "--ignored"]).env(CHILD, path);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (last, end) = (name_of(&numbered(count - 1)), Instant::now() + Duration::from_secs(120));
    let last = folder_of(path, &last).join(last.to_hex());
    while !last.exists() {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "the child does not get on");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn count_files(folder: &Path) -> usize {
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() { count_files(&path) } else { 1 }
    };
    std::fs::read_dir(folder).map_or(0, |entries| entries.map(count).sum())
}
