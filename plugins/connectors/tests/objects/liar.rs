//! The bucket on a server that answers what the test says: what a broken or hostile service could do, and no real one does
//! on request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tally_connectors::objects::config::{ObjectsConfig, open};
use tally_connectors::objects::{LockMode, ObjectError, ObjectStore, Retention, Stored, Visibility, name_of};
use tally_protocol::time::LogTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::ministack::clock;

const BLOCKED: &str = "<PublicAccessBlockConfiguration>\
    <BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>\
    <BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets>\
    </PublicAccessBlockConfiguration>";
const ABSENT: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const FINE: &str = "HTTP/1.1 200 OK\r\nx-amz-version-id: v1\r\ncontent-length: 0\r\n\r\n";

/// Answers one request per connection from a list, and keeps what was asked.
struct Liar {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Liar {
    async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = hear(&mut stream).await;
                heard.lock().unwrap().push(head);
                let answer = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { url, asked }
    }

    async fn open(&self, more: &str) -> Result<Box<dyn ObjectStore>, ObjectError> {
        let place =
            format!("kind = \"s3\"\nendpoint = \"{}\"\nregion = \"eu-central-1\"\nbucket = \"exports\"", self.url);
        let rest = "credentials = { from = \"environment\" }\ndevelopment = true\nbackoff_ms = 1";
        let config: ObjectsConfig = toml::from_str(&format!("{place}\n{rest}\n{more}")).unwrap();
        let pair = |name: &str| (name.to_owned(), "secret".to_owned());
        let environment = BTreeMap::from([pair("AWS_ACCESS_KEY_ID"), pair("AWS_SECRET_ACCESS_KEY")]);
        open(&config, &environment, clock()).await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads a request whole, and gives its head.
async fn hear(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= head.len() + 4 + length {
                return head.to_owned();
            }
        }
        let count = stream.read_buf(&mut bytes).await.unwrap();
        assert!(count > 0, "the request ends early: {text}");
    }
}

fn with_body(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// What a look at the object `x` is answered: its own length and checksum, and these headers.
fn seen(headers: &str) -> String {
    let checksum = STANDARD.encode(name_of(b"x").as_bytes());
    format!("HTTP/1.1 200 OK\r\nx-amz-checksum-sha256: {checksum}\r\n{headers}content-length: 1\r\n\r\n")
}

fn retention() -> Retention {
    Retention { mode: LockMode::Compliance, until: LogTime::parse_rfc3339("2040-01-01T00:00:00Z").unwrap() }
}

async fn put_against(answers: &[&str], retention: Option<Retention>) -> (Result<Stored, ObjectError>, Vec<String>) {
    let blocked = with_body(BLOCKED);
    let answers = [&[blocked.as_str()], answers].concat();
    let liar = Liar::start(answers.iter().map(|answer| (*answer).to_owned()).collect()).await;
    let store = liar.open("attempts_max = 3").await.unwrap();
    let put = store.put(&name_of(b"x"), b"x".to_vec().into(), retention).await;
    (put, liar.asked())
}

/// M-162: "stored" is not "locked".
#[tokio::test]
async fn a_lock_that_is_not_read_back_as_asked_is_a_failed_put() {
    let until = "x-amz-object-lock-retain-until-date: 2040-01-01T00:00:00Z\r\n";
    let whole = format!("x-amz-version-id: v1\r\nx-amz-object-lock-mode: COMPLIANCE\r\n{until}");
    let good = put_against(&[ABSENT, FINE, &seen(&whole)], Some(retention())).await.0;
    assert_eq!(good, Ok(Stored::New));
    for (from, to) in [
        ("x-amz-version-id: v1\r\n", ""),
        ("x-amz-version-id: v1", "x-amz-version-id: null"),
        ("COMPLIANCE", "GOVERNANCE"),
        ("COMPLIANCE", "compliance"),
        ("x-amz-object-lock-mode: COMPLIANCE\r\n", ""),
        ("2040-01-01", "2039-12-31"),
        (until, ""),
    ] {
        let changed = whole.replace(from, to);
        assert_ne!(changed, whole);
        let put = put_against(&[ABSENT, FINE, &seen(&changed)], Some(retention())).await.0;
        assert!(matches!(put, Err(ObjectError::NotLocked(_) | ObjectError::Wrong(_))), "{changed}: {put:?}");
    }
}

#[tokio::test]
async fn a_put_that_the_service_kept_otherwise_is_damage_and_not_success() {
    let longer = seen("").replace("content-length: 1", "content-length: 2");
    let checksum = STANDARD.encode(name_of(b"x").as_bytes());
    let other = seen("").replace(&checksum, &STANDARD.encode(name_of(b"y").as_bytes()));
    // Without a checksum all of it is read.
    let silent = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
    let (good, bad) = (format!("{silent}x"), format!("{silent}y"));
    for (answers, expected) in [
        (vec![ABSENT, FINE, &longer], Err(ObjectError::Damaged(name_of(b"x")))),
        (vec![ABSENT, FINE, &other], Err(ObjectError::Damaged(name_of(b"x")))),
        (vec![ABSENT, FINE, ABSENT], Err(ObjectError::Damaged(name_of(b"x")))),
        (vec![ABSENT, FINE, silent, &bad], Err(ObjectError::Damaged(name_of(b"x")))),
        (vec![ABSENT, FINE, silent, &good], Ok(Stored::New)),
    ] {
        assert_eq!(put_against(&answers, None).await.0, expected);
    }
}

#[tokio::test]
async fn what_passes_is_asked_again_and_what_does_not_is_not() {
    let down = "HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let (put, asked) = put_against(&[down, ABSENT, down, cut, FINE, &seen("")], None).await;
    assert_eq!((put, asked.len()), (Ok(Stored::New), 7));
    let (put, asked) = put_against(&[down, down, down], None).await;
    assert!(matches!(put, Err(ObjectError::Unavailable(_))), "{put:?}");
    assert_eq!(asked.len(), 4);
    for (status, expected) in
        [("403 Forbidden", "refused"), ("301 Moved", "a wrong answer"), ("206 Partial", "a wrong")]
    {
        let answer = format!("HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
        let (put, asked) = put_against(&[&answer], None).await;
        assert!(put.unwrap_err().to_string().starts_with(expected));
        assert_eq!(asked.len(), 2, "{status}");
    }
}

#[tokio::test]
async fn no_request_asks_for_a_grant_and_every_request_signs_its_body() {
    let (put, asked) = put_against(&[ABSENT, FINE, &seen("")], None).await;
    put.unwrap();
    for head in asked {
        assert!(!head.contains("x-amz-acl") && !head.contains("x-amz-grant"), "{head}");
        let body = if head.starts_with("PUT ") { name_of(b"x") } else { name_of(b"") };
        assert!(head.contains(&format!("x-amz-content-sha256: {body}")), "{head}");
        assert!(head.contains("SignedHeaders=") && head.contains(";x-amz-content-sha256;"), "{head}");
    }
}

#[tokio::test]
async fn a_longer_object_than_the_settings_allow_is_not_read_to_its_end() {
    let long = with_body(&"x".repeat(2000));
    let liar = Liar::start(vec![with_body(BLOCKED), long]).await;
    let store = liar.open("object_bytes_max = 1000").await.unwrap();
    assert_eq!(store.get(&name_of(b"x"), None).await, Err(ObjectError::TooLong { bytes_max: 1000 }));
}

#[tokio::test]
async fn a_service_that_does_not_tell_who_may_read_is_refused_unless_accepted_and_a_public_one_always() {
    let (unknown, listing) = ("HTTP/1.1 501 No\r\ncontent-length: 0\r\n\r\n", "<ListBucketResult></ListBucketResult>");
    let public = with_body("<PolicyStatus><IsPublic>true</IsPublic></PolicyStatus>");
    let private = with_body("<PolicyStatus><IsPublic>false</IsPublic></PolicyStatus>");
    let everybody = with_body("<Grantee><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>");
    let listing = with_body(listing);
    let (accept, refuse) = ("accept_unknown_exposure = true", "");
    for (answers, more, expected) in [
        ([unknown, unknown, unknown], refuse, None),
        ([unknown, unknown, unknown], accept, Some(Visibility::Unknown)),
        ([&listing, &listing, &listing], accept, Some(Visibility::Unknown)),
        ([unknown, &private, &listing], accept, Some(Visibility::Unknown)),
        ([unknown, &private, &listing], refuse, None),
        ([unknown, &public, &listing], accept, None),
        ([unknown, &private, &everybody], accept, None),
    ] {
        let liar = Liar::start(answers.iter().map(|answer| (*answer).to_owned()).collect()).await;
        let opened = liar.open(more).await.map(|store| store.visibility());
        match expected {
            Some(visibility) => assert_eq!(opened, Ok(visibility)),
            None => assert!(matches!(opened, Err(ObjectError::Exposed(_))), "{opened:?}"),
        }
    }
}

#[tokio::test]
async fn settings_that_could_leave_the_bucket_or_the_secret_open_are_refused() {
    let base = "kind = \"s3\"\nregion = \"eu-central-1\"\ncredentials = { from = \"environment\" }\n";
    let environment: BTreeMap<_, _> =
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name.to_owned(), "s".to_owned())).into();
    for wrong in [
        "bucket = \"exports\"\nendpoint = \"http://127.0.0.1:1\"",
        "bucket = \"exports\"\nendpoint = \"https://user@127.0.0.1:1\"",
        "bucket = \"exports\"\nendpoint = \"https://127.0.0.1:1/path\"",
        "bucket = \"../etc\"",
        "bucket = \"a?acl\"",
        "bucket = \"exports\"\nprefix = \"a/../b\"",
        "bucket = \"exports\"\nprefix = \"/a\"",
        "bucket = \"exports\"\nobject_bytes_max = 0",
        "bucket = \"exports\"\nattempts_max = 0",
    ] {
        let config: ObjectsConfig = toml::from_str(&format!("{base}{wrong}")).unwrap();
        let opened = open(&config, &environment, clock()).await.map(|_| ());
        assert!(matches!(opened, Err(ObjectError::Config(_) | ObjectError::Unsafe(_))), "{wrong}: {opened:?}");
    }
    assert!(toml::from_str::<ObjectsConfig>(&format!("{base}bucket = \"exports\"\nacl = \"public-read\"")).is_err());
}

#[tokio::test]
async fn a_credentials_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    std::fs::write(&path, "[default]\naws_access_key_id = a\naws_secret_access_key = b\n").unwrap();
    let from = format!("from = \"file\", path = \"{}\"", path.display());
    for (mode, refused) in [(0o644, true), (0o640, true), (0o600, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let liar = Liar::start(vec![with_body(BLOCKED)]).await;
        let place =
            format!("kind = \"s3\"\nendpoint = \"{}\"\nregion = \"eu-central-1\"\nbucket = \"exports\"", liar.url);
        let config: ObjectsConfig =
            toml::from_str(&format!("{place}\ncredentials = {{ {from} }}\ndevelopment = true")).unwrap();
        let opened = open(&config, &BTreeMap::new(), clock()).await.map(|_| ());
        assert_eq!(matches!(opened, Err(ObjectError::Unsafe(_))), refused, "{mode:o}: {opened:?}");
        assert_eq!(liar.asked().is_empty(), refused);
    }
}
