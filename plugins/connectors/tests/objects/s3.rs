//! The bucket on a real server of the protocol.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use tally_connectors::objects::{
    Class, Lock, LockMode, ObjectError, ObjectStore, Retention, Source, Stat, Stored, Visibility, name_of,
};
use tally_protocol::hash::ObjectHash;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::ministack::{Ministack, clock, open_at};

const DAY: Duration = Duration::from_secs(86_400);

fn path_of(bucket: &str, name: &ObjectHash) -> String {
    let hex = name.to_hex();
    format!("{bucket}/sha256/{}/{}/{hex}", &hex[..2], &hex[2..4])
}

fn for_days(mode: LockMode, days: u32) -> Retention {
    Retention { mode, until: clock()().saturating_add(DAY * days) }
}

async fn put(store: &dyn ObjectStore, bytes: &'static [u8]) -> Result<Stored, ObjectError> {
    store.put(&name_of(bytes), bytes.to_vec().into(), None).await
}

async fn put_locked(store: &dyn ObjectStore, bytes: &'static [u8], lock: Retention) -> Result<Stored, ObjectError> {
    store.put(&name_of(bytes), bytes.to_vec().into(), Some(lock)).await
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_put_and_is_put_once() {
    let server = Ministack::start().await;
    server.make_bucket("artifacts", false).await;
    let store = server.open("artifacts", "").await.unwrap();
    assert_eq!((store.visibility(), store.describe()), (Visibility::Private, "s3:artifacts/".to_owned()));
    for length in [0, 1, 64 * 1024, 3 * 1024 * 1024 + 1] {
        let bytes: Vec<u8> = (0..length).map(|at: u32| u8::try_from(at % 251).unwrap()).collect();
        let name = name_of(&bytes);
        assert_eq!(store.get(&name, None).await, Err(ObjectError::Absent(name)));
        assert_eq!(store.stat(&name).await, Ok(None));
        let reader = std::io::Cursor::new(bytes.clone());
        assert_eq!(store.put(&name, Source::reader(reader), None).await, Ok(Stored::New));
        assert_eq!(store.put(&name, bytes.clone().into(), None).await, Ok(Stored::Present));
        assert_eq!(store.get(&name, None).await.unwrap(), bytes);
        assert_eq!(store.stat(&name).await, Ok(Some(Stat { bytes: u64::from(length) })));
        assert_eq!(store.read_lock(&name).await, Ok(None));
    }
    let name = name_of(b"0123456789");
    put(&*store, b"0123456789").await.unwrap();
    assert_eq!(store.get(&name, Some(2..5)).await.unwrap(), "234");
    assert_eq!(store.get(&name, Some(2..11)).await, Err(ObjectError::Range));
}

/// M-031, and nothing of it is in the bucket.
#[tokio::test]
async fn bytes_that_are_not_those_of_the_name_are_refused() {
    let server = Ministack::start().await;
    server.make_bucket("artifacts", false).await;
    let store = server.open("artifacts", "object_bytes_max = 10").await.unwrap();
    let name = name_of(b"good");
    let lie = store.put(&name, b"evil".to_vec().into(), None).await;
    assert_eq!((lie.clone(), lie.unwrap_err().class()), (Err(ObjectError::Mismatch(name)), Class::Reject));
    let long = store.put(&name_of(&[0; 11]), vec![0; 11].into(), None).await;
    assert_eq!(long, Err(ObjectError::TooLong { bytes_max: 10 }));
    let listed = server.administer(Method::GET, "artifacts", &[], b"").await;
    assert!(!listed.body.contains("<Key>"), "{}", listed.body);
}

/// M-031: what somebody wrote over an object is never given out, and a good put mends it.
#[tokio::test]
async fn an_object_that_was_changed_behind_the_stores_back_is_found_and_mended() {
    for versions in [false, true] {
        let server = Ministack::start().await;
        server.make_bucket("artifacts", versions).await;
        let store = server.open("artifacts", "").await.unwrap();
        let name = name_of(b"the artifact");
        let path = path_of("artifacts", &name);
        put(&*store, b"the artifact").await.unwrap();
        for other in [&b"the artefact"[..], b"shorter", b""] {
            assert_eq!(server.administer(Method::PUT, &path, &[], other).await.status, 200);
            assert_eq!(store.get(&name, None).await, Err(ObjectError::Damaged(name)));
            assert_eq!(store.get(&name, Some(0..1)).await, Err(ObjectError::Damaged(name)));
            assert_eq!(store.read_lock(&name).await, Err(ObjectError::Damaged(name)));
            store.put(&name, b"the artifact".to_vec().into(), None).await.unwrap();
            assert_eq!(store.get(&name, None).await.unwrap(), "the artifact");
        }
        assert_eq!(server.administer(Method::DELETE, &path, &[], b"").await.status, 204);
        assert_eq!(store.get(&name, None).await, Err(ObjectError::Absent(name)));
        assert_eq!(put(&*store, b"the artifact").await, Ok(Stored::New));
    }
}

/// M-162, the store's part: mode and end are read back, and the server keeps them.
#[tokio::test]
async fn a_locked_object_is_read_back_as_locked_and_cannot_be_deleted() {
    let server = Ministack::start().await;
    server.make_bucket("exports", true).await;
    let store = server.open("exports", "prefix = \"eu/1\"").await.unwrap();
    let name = name_of(b"export");
    let path = path_of("exports/eu/1", &name);
    let asked = for_days(LockMode::Compliance, 30);
    assert_eq!(put_locked(&*store, b"export", asked).await, Ok(Stored::New));
    let lock = store.read_lock(&name).await.unwrap().unwrap();
    assert_eq!(lock.mode, LockMode::Compliance);
    assert!(lock.until >= asked.until && lock.until < asked.until.saturating_add(Duration::from_secs(1)));

    let seen = server.administer(Method::HEAD, &path, &[], b"").await;
    let version = format!("{path}?versionId={}", seen.version.unwrap());
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    assert_eq!(server.administer(Method::DELETE, &version, &bypass, b"").await.status, 403);
    let shorter =
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate></Retention>";
    let weaken = server.administer(Method::PUT, &format!("{version}&retention"), &bypass, shorter.as_bytes()).await;
    assert_eq!(weaken.status, 403, "{}", weaken.body);

    // A mark that it is deleted hides the object; the locked version is still there.
    assert_eq!(server.administer(Method::DELETE, &path, &[], b"").await.status, 204);
    assert_eq!(store.get(&name, None).await, Err(ObjectError::Absent(name)));
    assert_eq!(server.administer(Method::GET, &version, &[], b"").await.body, "export");
}

#[tokio::test]
async fn a_put_is_there_already_only_if_its_lock_is_as_firm_and_as_long() {
    let server = Ministack::start().await;
    server.make_bucket("exports", true).await;
    let store = server.open("exports", "").await.unwrap();
    let name = name_of(b"export");
    let (soft, firm) = (for_days(LockMode::Governance, 5), for_days(LockMode::Compliance, 3));
    let longer = Retention { until: soft.until.saturating_add(DAY), ..firm };
    assert_eq!(put(&*store, b"export").await, Ok(Stored::New));
    assert_eq!(put_locked(&*store, b"export", soft).await, Ok(Stored::Locked));
    assert_eq!(put_locked(&*store, b"export", soft).await, Ok(Stored::Present));
    assert_eq!(put(&*store, b"export").await, Ok(Stored::Present));
    assert_eq!(put_locked(&*store, b"export", firm).await, Ok(Stored::Locked));
    assert_eq!(put_locked(&*store, b"export", longer).await, Ok(Stored::Locked));
    assert_eq!(put_locked(&*store, b"export", soft).await, Ok(Stored::Present));
    let Lock { mode, until } = store.read_lock(&name).await.unwrap().unwrap();
    assert!(mode == LockMode::Compliance && until >= longer.until);
}

/// M-162: never downgraded.
#[tokio::test]
async fn a_lock_that_the_bucket_cannot_keep_is_a_failed_put() {
    let server = Ministack::start().await;
    server.make_bucket("artifacts", false).await;
    let store = server.open("artifacts", "").await.unwrap();
    put(&*store, b"export").await.unwrap();
    let failed = put_locked(&*store, b"export", for_days(LockMode::Governance, 1)).await;
    assert!(matches!(failed, Err(ObjectError::NotLocked(_))), "{failed:?}");
    let passed = Retention { mode: LockMode::Governance, until: clock()() };
    assert!(matches!(put_locked(&*store, b"export", passed).await, Err(ObjectError::Unsupported(_))));
}

#[tokio::test]
async fn a_bucket_that_may_be_public_is_not_opened() {
    let server = Ministack::start().await;
    server.make_bucket("open", false).await;
    let path = "open?publicAccessBlock";
    let parts = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    for hole in parts {
        let line = |part: &&str| format!("<{part}>{}</{part}>", *part != hole);
        let body: String = parts.iter().map(line).collect();
        let body = format!("<PublicAccessBlockConfiguration>{body}</PublicAccessBlockConfiguration>");
        assert_eq!(server.administer(Method::PUT, path, &[], body.as_bytes()).await.status, 200);
        let opened = server.open("open", "accept_unknown_exposure = true").await.map(|_| ());
        assert!(matches!(opened, Err(ObjectError::Exposed(_))), "{hole}: {opened:?}");
    }
    assert_eq!(server.administer(Method::DELETE, path, &[], b"").await.status, 204);
    let opened = server.open("open", "accept_unknown_exposure = true").await.map(|_| ());
    assert!(matches!(opened, Err(ObjectError::Exposed(_))), "{opened:?}");
}

#[tokio::test]
async fn nobody_reads_what_was_put_without_credentials() {
    let server = Ministack::start().await;
    server.make_bucket("artifacts", false).await;
    let store = server.open("artifacts", "").await.unwrap();
    put(&*store, b"paid for").await.unwrap();
    let path = path_of("artifacts", &name_of(b"paid for"));
    assert_eq!(server.ask_as_nobody(&path).await, 403);
    let grants = server.administer(Method::GET, &format!("{path}?acl"), &[], b"").await;
    assert!(grants.body.contains("FULL_CONTROL") && !grants.body.contains("/groups/"), "{}", grants.body);
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_not_tried_again() {
    let server = Ministack::start().await;
    server.make_bucket("artifacts", false).await;
    let (id, secret) = server.credentials.clone();
    for (id, secret) in [(id, format!("{secret}x")), ("AKIAIOSFODNN7EXAMPLE".to_owned(), secret)] {
        // A second attempt would wait longer than any test runs.
        let more = "bucket = \"artifacts\"\nbackoff_ms = 60000\nbackoff_ms_max = 60000\naccept_unknown_exposure = true";
        let opened = open_at(&server.url(), more, &(id, secret.clone())).await.map(|_| ());
        let error = opened.unwrap_err();
        assert!(matches!(error, ObjectError::Refused(_)), "{error:?}");
        assert!(!error.to_string().contains(&secret));
    }
    let absent = server.open("nothing-here", "").await.map(|_| ());
    assert!(matches!(absent, Err(ObjectError::Refused(_))), "{absent:?}");
}

#[tokio::test]
async fn a_server_that_is_killed_midway_is_an_error_and_the_same_put_ends_it() {
    let mut server = Ministack::start().await;
    server.make_bucket("exports", true).await;
    server.restart().await;
    let wire = Wire::to(&server.url()).await;
    let more = "bucket = \"exports\"\nattempts_max = 1\ntimeout_ms = 60000";
    let hasty = open_at(&wire.url, more, &server.credentials).await.unwrap();
    let patient = server.open("exports", "attempts_max = 20\nbackoff_ms_max = 500").await.unwrap();
    let bytes = vec![7; 8 * 1024 * 1024];
    let (name, asked) = (name_of(&bytes), for_days(LockMode::Governance, 1));

    let (cut, ()) = tokio::join!(hasty.put(&name, bytes.clone().into(), Some(asked)), async {
        wire.midway.notified().await;
        server.kill();
        wire.cut.notify_one();
    });
    assert!(matches!(cut, Err(ObjectError::Unavailable(_))), "{cut:?}");
    assert_eq!(cut.unwrap_err().class(), Class::Retry);
    assert!(matches!(hasty.get(&name, None).await, Err(ObjectError::Unavailable(_))));

    // A put that is under way while nobody answers goes through when the server is back.
    let (put, ()) = tokio::join!(patient.put(&name, bytes.clone().into(), Some(asked)), server.come_back());
    assert_eq!(put, Ok(Stored::New));
    assert!(patient.read_lock(&name).await.unwrap().unwrap().holds(&asked));
    assert_eq!(patient.get(&name, None).await.unwrap(), bytes);
}

/// What is between a store and its server: says when a megabyte of requests has gone by, and waits to be told on.
struct Wire {
    url: String,
    midway: Arc<Notify>,
    cut: Arc<Notify>,
}

impl Wire {
    async fn to(server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = server.trim_start_matches("http://").to_owned();
        let (midway, cut) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (says, hears) = (Arc::clone(&midway), Arc::clone(&cut));
        tokio::spawn(async move {
            let mut left = 1024 * 1024;
            while let Ok((mut near, _)) = listener.accept().await {
                let Ok(mut far) = TcpStream::connect(&server).await else { continue };
                left = pass(&mut near, &mut far, left).await;
                if left == 0 {
                    says.notify_one();
                    hears.notified().await;
                    return;
                }
            }
        });
        Self { url, midway, cut }
    }
}

/// Passes bytes both ways until one side ends or so many have gone to the far one; gives how many are left.
async fn pass(near: &mut TcpStream, far: &mut TcpStream, mut left: usize) -> usize {
    let (mut there, mut back) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    while left > 0 {
        tokio::select! {
            read = near.read(&mut there) => {
                let Ok(count @ 1..) = read else { return left };
                far.write_all(&there[..count]).await.unwrap();
                left = left.saturating_sub(count);
            }
            read = far.read(&mut back) => {
                let Ok(count @ 1..) = read else { return left };
                near.write_all(&back[..count]).await.unwrap();
            }
        }
    }
    left
}

#[tokio::test]
async fn puts_of_one_object_at_once_leave_one_good_object() {
    let server = Ministack::start().await;
    server.make_bucket("artifacts", false).await;
    let store = server.open("artifacts", "").await.unwrap();
    let (one, two, three) = tokio::join!(put(&*store, b"same"), put(&*store, b"same"), put(&*store, b"same"));
    assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
    assert_eq!(store.get(&name_of(b"same"), None).await.unwrap(), "same");
}
