//! A server of the S3 protocol, with a user of its own who may use the buckets. It checks request signatures, keeps its
//! objects across restarts, and refuses to delete what is locked.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use tally_connectors::objects::config::{ObjectsConfig, open};
use tally_connectors::objects::{Clock, ObjectError, ObjectStore};
use tally_protocol::time::LogTime;
use tempfile::TempDir;

pub(crate) struct Ministack {
    running: Option<Running>,
    port: u16,
    client: reqwest::Client,
    folder: TempDir,
    /// The user's identity and secret.
    pub(crate) credentials: (String, String),
}

/// What an administrator was answered.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) version: Option<String>,
    pub(crate) body: String,
}

impl Ministack {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (folder, credentials) = (tempfile::tempdir().unwrap(), (String::new(), String::new()));
        let mut server = Self { running: None, port: 0, client, folder, credentials };
        while server.running.is_none() {
            server.port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            server.come_back().await;
        }
        server.make_user().await;
        server
    }

    /// Starts the server, at the port and with the objects it had; gives up if something else took the port.
    pub(crate) async fn come_back(&mut self) {
        let mut running = self.spawn();
        let (end, health) = (Instant::now() + Duration::from_secs(120), format!("{}/_ministack/health", self.url()));
        while Instant::now() < end && running.0.try_wait().unwrap().is_none() {
            if self.client.get(&health).send().await.is_ok_and(|answer| answer.status() == 200) {
                self.running = Some(running);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn spawn(&self) -> Running {
        let mut command = Command::new(program());
        command
            .env("GATEWAY_PORT", self.port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("AUTH", "true")
            .env("SERVICES", "s3,iam,sts")
            .env("IOT_MTLS_ENABLED", "0")
            .env("PERSIST_STATE", "1")
            .env("STATE_DIR", self.folder.path().join("state"))
            .env("S3_PERSIST", "1")
            .env("S3_DATA_DIR", self.folder.path().join("objects"))
            .current_dir(self.folder.path());
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Asks it to end, which is when it keeps its users, and starts it again.
    pub(crate) async fn restart(&mut self) {
        let mut running = self.running.take().unwrap();
        let id = rustix::process::Pid::from_child(&running.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        running.0.wait().unwrap();
        self.come_back().await;
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        drop(self.running.take().unwrap());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A bucket; its objects can be locked, or not.
    pub(crate) async fn make_bucket(&self, name: &str, locks: bool) {
        let headers = [("x-amz-bucket-object-lock-enabled", if locks { "true" } else { "false" })];
        let made = self.administer(Method::PUT, name, &headers, b"").await;
        assert_eq!(made.status, 200, "{}", made.body);
    }

    /// What somebody does who may do everything, behind the store's back.
    pub(crate) async fn administer(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Told {
        let mut request = self.client.request(method, format!("{}/{path}", self.url())).body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.header("authorization", root("s3")).send().await.unwrap();
        let version = answer.headers().get("x-amz-version-id").map(|value| value.to_str().unwrap().to_owned());
        Told { status: answer.status().as_u16(), version, body: answer.text().await.unwrap() }
    }

    /// A request that nobody signed.
    pub(crate) async fn ask_as_nobody(&self, path: &str) -> u16 {
        self.client.get(format!("{}/{path}", self.url())).send().await.unwrap().status().as_u16()
    }

    /// Opens a store from the text of its settings, as its user.
    pub(crate) async fn open(&self, bucket: &str, more: &str) -> Result<Box<dyn ObjectStore>, ObjectError> {
        open_at(&self.url(), &format!("bucket = \"{bucket}\"\n{more}"), &self.credentials).await
    }

    async fn iam(&self, form: &str) -> String {
        let request = self.client.post(self.url()).header("content-type", "application/x-www-form-urlencoded");
        let request = request.header("authorization", root("iam")).body(format!("{form}&Version=2010-05-08"));
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{form}: {text}");
        text
    }

    async fn make_user(&mut self) {
        self.iam("Action=CreateUser&UserName=objects").await;
        let statement = "%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D";
        let policy = format!("%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B{statement}%5D%7D");
        self.iam(&format!("Action=PutUserPolicy&UserName=objects&PolicyName=use&PolicyDocument={policy}")).await;
        let made = self.iam("Action=CreateAccessKey&UserName=objects").await;
        self.credentials = (between(&made, "AccessKeyId").to_owned(), between(&made, "SecretAccessKey").to_owned());
    }
}

/// Opens a store at an address, with an identity and its secret.
pub(crate) async fn open_at(
    url: &str,
    more: &str,
    credentials: &(String, String),
) -> Result<Box<dyn ObjectStore>, ObjectError> {
    let names = "from = \"environment\", access_key_id = \"OBJECTS_ID\", secret_key = \"OBJECTS_SECRET\"";
    let place = format!("endpoint = \"{url}\"\nregion = \"us-east-1\"");
    let text = format!("kind = \"s3\"\n{place}\ncredentials = {{ {names} }}\ndevelopment = true\n{more}");
    let config: ObjectsConfig = toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let (id, secret) = credentials.clone();
    let environment = BTreeMap::from([("OBJECTS_ID".to_owned(), id), ("OBJECTS_SECRET".to_owned(), secret)]);
    open(&config, &environment, clock()).await
}

/// A child process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program by its variable, or on the path.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("TALLY_MINISTACK") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("ministack")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("ministack is missing: set TALLY_MINISTACK, or run `cargo xtask test`"))
}

#[expect(clippy::disallowed_methods, reason = "the test is the process that owns the clock")]
pub(crate) fn clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        LogTime::from_micros(u64::try_from(since.as_micros()).unwrap())
    })
}

fn between<'a>(xml: &'a str, tag: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{tag}>")).unwrap();
    rest.split_once('<').unwrap().0
}

/// The server does not check the signature of its own root.
fn root(service: &str) -> String {
    let scope = format!("test/20260101/us-east-1/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00")
}
