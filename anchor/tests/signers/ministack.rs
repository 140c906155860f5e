//! A server of the KMS protocol, with a user of its own who may use one key and nothing else. It checks request
//! signatures and keeps its keys across restarts.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Running, client, free_port, program, until_up};
use crate::softhsm::write_private;

pub(crate) struct Ministack {
    running: Option<Running>,
    port: u16,
    client: reqwest::Client,
    pub(crate) folder: TempDir,
    /// The id of a secp256k1 key.
    pub(crate) key: String,
}

impl Ministack {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { running: None, port: 0, client: client(), folder, key: String::new() };
        while server.running.is_none() {
            server.port = free_port();
            server.come_back().await;
        }
        let made = json!({"KeySpec": "ECC_SECG_P256K1", "KeyUsage": "SIGN_VERIFY"});
        let made = server.administer("TrentService.CreateKey", &made).await;
        server.key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        server.make_user().await;
        server
    }

    /// Starts the server, at the port and with the keys it had; gives up if something else took the port.
    pub(crate) async fn come_back(&mut self) {
        let mut command = Command::new(program("TALLY_MINISTACK", "ministack"));
        command
            .env("GATEWAY_PORT", self.port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("AUTH", "true")
            .env("SERVICES", "kms,iam,sts")
            .env("IOT_MTLS_ENABLED", "0")
            .env("PERSIST_STATE", "1")
            .env("STATE_DIR", self.folder.path().join("state"))
            .current_dir(self.folder.path());
        let mut running = Running::start(&mut command);
        let health = format!("{}/_ministack/health", self.url());
        let ask = || async { self.client.get(&health).send().await.is_ok_and(|answer| answer.status() == 200) };
        if until_up(&mut running, ask).await {
            self.running = Some(running);
        }
    }

    pub(crate) fn go_away(&mut self) {
        self.running.take().unwrap().stop();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn credentials_file(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// The settings of a signer for the key, as its user.
    pub(crate) fn settings(&self) -> String {
        let (key, url, file) = (&self.key, self.url(), self.credentials_file());
        let credentials = format!("credentials = {{ from = \"file\", path = \"{}\" }}", file.display());
        let service = format!("region = \"us-east-1\"\nendpoint = \"{url}\"\ndevelopment = true");
        format!("kind = \"kms\"\nkey = \"{key}\"\n{service}\n{credentials}")
    }

    /// What an administrator does to keys.
    pub(crate) async fn administer(&self, target: &str, body: &Value) -> Value {
        let request = self.client.post(self.url()).header("x-amz-target", target);
        let request = request.header("content-type", "application/x-amz-json-1.1");
        let request = request.header("authorization", root("kms")).body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{target}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn iam(&self, form: &str) -> String {
        let request = self.client.post(self.url()).header("content-type", "application/x-www-form-urlencoded");
        let request = request.header("authorization", root("iam")).body(format!("{form}&Version=2010-05-08"));
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{form}: {text}");
        text
    }

    async fn make_user(&self) {
        self.iam("Action=CreateUser&UserName=anchor").await;
        let allowed = "%5B%22kms%3ASign%22%2C%22kms%3AGetPublicKey%22%5D";
        let statement =
            format!("%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A{allowed}%2C%22Resource%22%3A%22%2A%22%7D");
        let policy = format!("%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B{statement}%5D%7D");
        self.iam(&format!("Action=PutUserPolicy&UserName=anchor&PolicyName=sign&PolicyDocument={policy}")).await;
        let made = self.iam("Action=CreateAccessKey&UserName=anchor").await;
        let (id, secret) = (between(&made, "AccessKeyId"), between(&made, "SecretAccessKey"));
        self.write_credentials(id, secret);
    }

    pub(crate) fn write_credentials(&self, id: &str, secret: &str) {
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        write_private(&self.credentials_file(), &text);
    }

    /// The user's identity and secret.
    pub(crate) fn credentials(&self) -> (String, String) {
        let text = std::fs::read_to_string(self.credentials_file()).unwrap();
        let mut values = text.lines().filter_map(|line| line.split_once(" = ")).map(|(_, value)| value.to_owned());
        (values.next().unwrap(), values.next().unwrap())
    }
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
