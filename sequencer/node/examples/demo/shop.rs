//! The shop under the demo's books: the payment provider's protocol server, Finance's, keys, a development node that serves
//! the market below `/market`, and whoever acts there with an API key of their own.
//!
//! The provider's server is localstripe, the node is the real binary, and callers send JSON over a socket; Finance is the
//! demo's own ([`crate::finance`]).

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally::keyfile::{self, KeyFile, Purpose};
use tally::profile::Profile;
use tally::random;
use tally_client::api::agent_key::RegisterKeyRequest;
use tally_client::api::api_key::{CreateApiKey, Role};
use tally_client::{ApiKey, Client, RetryPolicy, Trust};
use tally_core::{Clock as _, SystemClock};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::{hex, hmac_sha256};
use tally_protocol::id::{AgentId, KeyId, Stream};
use tally_protocol::key::SigningKey;
use tally_protocol::plugin_event::Config;
use tally_verify::TrustRoot;

use crate::finance::Finance;
use crate::http::{self, Answer};
use crate::node::Node;
use crate::{describe, plugins, read_key};

/// The provider's account, as it stands in facts.
pub(crate) const ACCOUNT: &str = "acct_demo";
const STRIPE_KEY: &str = "sk_test_demo";
const WEBHOOK_SECRET: &str = "whsec_demo_of_a_shop";
/// The name of the shop's key at Finance.
const SHOP_KID: &str = "shop-ed25519-1";
/// From a payout of so much on, two people must approve.
const APPROVED_FROM: u64 = 1_000;
const APPROVERS: usize = 2;
/// How long anything of the shop may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A running localstripe. Killed when dropped.
pub(crate) struct Provider {
    child: Child,
    address: String,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Provider {
    fn start(folder: &Path) -> Result<Self, String> {
        let program = std::env::var_os("TALLY_LOCALSTRIPE").unwrap_or_else(|| "localstripe".into());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(words)?.port();
        let mut command = Command::new(&program);
        command.args(["--from-scratch", "--port", &port.to_string()]).env("TMPDIR", folder).current_dir(folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| {
            format!("localstripe (PyPI) is missing: set TALLY_LOCALSTRIPE, `cargo xtask demo` does: {error}")
        })?;
        let provider = Self { child, address: format!("127.0.0.1:{port}") };
        let began = Instant::now();
        while provider.ask("GET", "/v1/payment_intents?limit=1", &[]).is_err() {
            if began.elapsed() > PATIENCE {
                return Err("localstripe does not answer".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(provider)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Result<Value, String> {
        let body: Vec<String> = form.iter().map(|(name, value)| format!("{}={value}", bracketed(name))).collect();
        let key = format!("Bearer {STRIPE_KEY}");
        let headers = [("authorization", &*key), ("content-type", "application/x-www-form-urlencoded")];
        let answer = http::ask(&self.address, method, path, &headers, body.join("&").as_bytes())?;
        match answer.status {
            200 => Ok(answer.json),
            status => Err(format!("localstripe answers {method} {path} with {status}: {}", answer.text)),
        }
    }

    /// The token of a card that pays.
    pub(crate) fn card(&self) -> Result<String, String> {
        self.card_of("4242424242424242")
    }

    /// A card's token.
    pub(crate) fn card_of(&self, number: &str) -> Result<String, String> {
        let card = [
            ("type", "card"),
            ("card[number]", number),
            ("card[exp_month]", "12"),
            ("card[exp_year]", "2040"),
            ("card[cvc]", "123"),
        ];
        let made = self.ask("POST", "/v1/payment_methods", &card)?;
        made["id"].as_str().map(str::to_owned).ok_or_else(|| format!("no token: {made}"))
    }

    /// Everything of a list.
    pub(crate) fn all(&self, what: &str) -> Result<Vec<Value>, String> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().and_then(|last| last["id"].as_str()).map(|id| format!("&starting_after={id}"));
            let page = self.ask("GET", &format!("/v1/{what}?limit=100{}", after.unwrap_or_default()), &[])?;
            all.extend(page["data"].as_array().ok_or("a list without data")?.iter().cloned());
            if page["has_more"] != true {
                return Ok(all);
            }
        }
    }

    /// Messages go to the shop's door from now on.
    fn tell(&self, shop: &str) -> Result<(), String> {
        let body = json!({"url": format!("http://{shop}/market/checkout/webhook"), "secret": WEBHOOK_SECRET});
        let headers = [("content-type", "application/json")];
        let answer = http::ask(&self.address, "POST", "/_config/webhooks/shop", &headers, body.to_string().as_bytes())?;
        if answer.status == 200 { Ok(()) } else { Err(format!("localstripe takes no webhook: {}", answer.text)) }
    }
}

fn bracketed(name: &str) -> String {
    name.replace('[', "%5B").replace(']', "%5D")
}

/// Somebody with an API key.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// `agent:UUID`.
    pub(crate) principal: String,
    key: String,
}

/// An agent that signs for the shop.
struct Agent {
    id: AgentId,
    key: SigningKey,
}

/// The agents: who signs commands, and who signs what comes of effects of each kind.
struct Agents {
    gateway: Agent,
    payment: Agent,
    finance: Agent,
}

/// The shop.
pub(crate) struct Shop {
    binary: PathBuf,
    data: PathBuf,
    sections: PathBuf,
    pub(crate) profile: Profile,
    pub(crate) provider: Provider,
    /// Where sales are settled.
    pub(crate) settlements: Finance,
    node: Option<Node>,
    operator: Client,
    /// Submits events and reads the log.
    pub(crate) clerk: Client,
    gateway: Agent,
    /// May do what the plugins let admins do.
    pub(crate) admin: Caller,
    /// May see what the books let finance see.
    pub(crate) finance: Caller,
    /// Approve payouts.
    pub(crate) approvers: [Caller; APPROVERS],
}

impl Shop {
    /// Starts the provider, Finance and a node, installs the market's plugins, and opens the door. Finance's first answers
    /// are lost, so many.
    pub(crate) async fn open(binary: &Path, folder: &Path, workspace: &Path, lost: usize) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(words)?;
        let provider = Provider::start(folder)?;
        let proof = KeyFile::create(&folder.join("proof.key"), Purpose::Development).map_err(words)?.key;
        let settlements = Finance::start(SHOP_KID, proof.public_key(), lost)?;
        let data = folder.join("data");
        let node = Node::start(binary, &data, "127.0.0.1:0".parse().map_err(words)?, None)?;
        let profile = Profile::load(&data.join("dev/profile.json")).map_err(words)?.ok_or("no profile")?;
        let operator = client(&profile, &read_key(&profile.operator_api_key_file)?)?;
        let agents = Agents {
            gateway: agent(folder, "market", &operator, &profile).await?,
            payment: agent(folder, "payment", &operator, &profile).await?,
            finance: agent(folder, "finance", &operator, &profile).await?,
        };
        let [admin, finance] = [caller(&operator, &profile).await?, caller(&operator, &profile).await?];
        let approvers = [caller(&operator, &profile).await?, caller(&operator, &profile).await?];
        let clerk = client(&profile, &api_key(&operator, &profile, None).await?)?;
        let modules = modules(&agents, &admin, &finance, &approvers)?;
        plugins::install((&operator, &clerk), &profile, workspace, &data, &modules).await?;
        let sections = folder.join("market.toml");
        write_private(folder, "stripe.key", STRIPE_KEY)?;
        write_private(folder, "webhook.secret", WEBHOOK_SECRET)?;
        let text = sections_of(&profile, &provider, &settlements, &agents, &finance.principal)?;
        std::fs::write(&sections, text).map_err(words)?;
        node.stop()?;
        let (binary, gateway) = (binary.to_owned(), agents.gateway);
        clerk.know_key(profile.tenant_id, gateway.id, KeyId::new(1), gateway.key.public_key());
        let mut shop = Self {
            binary,
            data,
            sections,
            profile,
            provider,
            settlements,
            node: None,
            operator,
            clerk,
            gateway,
            admin,
            finance,
            approvers,
        };
        shop.start(&[])?;
        shop.provider.tell(shop.address())?;
        Ok(shop)
    }

    /// A new node on the log that is there, with these in its environment.
    pub(crate) fn start(&mut self, environment: &[(&str, &str)]) -> Result<(), String> {
        let listen = self.address().parse().map_err(words)?;
        let option = ["--with".as_ref(), self.sections.as_os_str()];
        self.node = Some(Node::start_with(&self.binary, &self.data, listen, Some(option), environment)?);
        Ok(())
    }

    fn address(&self) -> &str {
        self.profile.url.trim_start_matches("http://").trim_end_matches('/')
    }

    /// SIGKILL, whatever the node is doing.
    pub(crate) fn shoot(&self) -> Result<(), String> {
        self.node.as_ref().ok_or("no node runs")?.shoot()
    }

    /// The same; gives how the node ended, which may have been by itself.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus, String> {
        self.shoot()?;
        self.node.take().ok_or("no node runs")?.kill()
    }

    /// What is due by the log's time is done (`market.tick`).
    pub(crate) async fn tick(&self) -> Result<(), String> {
        const BODY: &[u8] = b"{}";
        let stream = Stream::new(self.profile.tenant_id, self.profile.store_id);
        let (now, id) = (SystemClock::new().wall().to_rfc3339(), random::event_id().map_err(words)?);
        let who = (self.gateway.id, KeyId::new(1));
        let fields = EventFields::plain(stream, id, who, ("market", "tick"), "market.tick", &now, BODY);
        let frame = Frame::build(&fields, BODY, |hash| self.gateway.key.sign(hash.as_bytes())).map_err(words)?;
        for outcome in self.clerk.submit(&[frame]).await.map_err(|error| describe(&error))? {
            outcome.into_receipt().map_err(|rejected| rejected.to_string())?;
        }
        Ok(())
    }

    /// Ends the node; its log stays.
    pub(crate) fn close(&mut self) -> Result<(&Path, &Profile), String> {
        self.node.take().ok_or("no node runs")?.stop()?;
        Ok((&self.data, &self.profile))
    }

    /// Somebody new.
    pub(crate) async fn caller(&self) -> Result<Caller, String> {
        caller(&self.operator, &self.profile).await
    }

    /// A command below `/market`; its result.
    pub(crate) fn command(&self, caller: &Caller, path: &str, key: &str, body: &Value) -> Result<Value, String> {
        let answer = self.post(caller, path, key, body)?;
        match answer.json["ok"].as_bool() {
            Some(true) if answer.json["pending"] != true => Ok(answer.json["result"].clone()),
            _ => Err(format!("POST /market{path} is answered with {}: {}", answer.status, answer.text)),
        }
    }

    /// The same with the whole answer.
    pub(crate) fn post(&self, caller: &Caller, path: &str, key: &str, body: &Value) -> Result<Answer, String> {
        let bearer = format!("Bearer {}", caller.key);
        let headers = [("authorization", &*bearer), ("content-type", "application/json"), ("idempotency-key", key)];
        self.ask("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Asks, and asks again where the door says to come later: not now, or taken and not answered yet.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, String> {
        let began = Instant::now();
        loop {
            let answer = http::ask(self.address(), method, &format!("/market{path}"), headers, body)?;
            let later =
                matches!(answer.status, 202 | 429 | 503) || answer.json["error"]["code"] == "IDEMPOTENCY_IN_FLIGHT";
            if !later || began.elapsed() > PATIENCE {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A question below `/market`; its result.
    pub(crate) fn question(&self, caller: &Caller, path: &str) -> Result<Value, String> {
        let bearer = format!("Bearer {}", caller.key);
        let answer = http::ask(self.address(), "GET", &format!("/market{path}"), &[("authorization", &*bearer)], b"")?;
        if answer.status == 200 {
            Ok(answer.json["result"].clone())
        } else {
            Err(format!("GET /market{path} is answered with {}: {}", answer.status, answer.text))
        }
    }

    /// Waits until a question has an answer that is wanted.
    pub(crate) fn wait(&self, caller: &Caller, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let began = Instant::now();
        loop {
            let answer = self.question(caller, path)?;
            if wanted(&answer) {
                return Ok(answer);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("GET /market{path} still says {answer}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A message of the provider, signed as it signs (or with another secret); the status it is answered with.
    pub(crate) fn message(&self, event: &Value, secret: Option<&str>) -> Result<u16, String> {
        let body = event.to_string();
        let now = SystemClock::new().wall().micros() / 1_000_000;
        let key = secret.unwrap_or(WEBHOOK_SECRET).as_bytes();
        let signature = format!("t={now},v1={}", hex(&hmac_sha256(key, format!("{now}.{body}").as_bytes())));
        let headers = [("stripe-signature", &*signature), ("content-type", "application/json")];
        Ok(self.ask("POST", "/checkout/webhook", &headers, body.as_bytes())?.status)
    }
}

fn client(profile: &Profile, key: &str) -> Result<Client, String> {
    let trust = Trust::Given(TrustRoot::ledger(profile.ledger_id));
    let builder = Client::builder(&profile.url).api_key(ApiKey::new(key)).trust(trust).retry(RetryPolicy::STANDARD);
    builder.build().map_err(|error| describe(&error))
}

/// The market's plugins, configured.
fn modules(
    agents: &Agents,
    admin: &Caller,
    finance: &Caller,
    approvers: &[Caller; APPROVERS],
) -> Result<Vec<(&'static str, Config)>, String> {
    let connectors = json!({"finance": [agents.finance.id.to_string()], "payment": [agents.payment.id.to_string()]});
    let (admins, finance) = ([&admin.principal], [&finance.principal]);
    let gateways = [agents.gateway.id.to_string()];
    let approvers = approvers.each_ref().map(|approver| &approver.principal);
    let configs = [
        ("catalog/catalog", json!({"admins": admins, "gateways": gateways})),
        (
            "checkout/checkout",
            json!({
                "account": ACCOUNT, "admins": admins, "connectors": connectors, "finance": finance, "gateways": gateways,
                "livemode": false, "order_s": 3600, "provider": "stripe", "quote_s": 900,
            }),
        ),
        (
            "royalty/royalty",
            // Money is held for a second: a demo does not wait for the end of two weeks.
            json!({
                "account": ACCOUNT, "admins": admins, "approval_s": 86_400,
                "approvals": [{"count": APPROVERS, "currency": "EUR", "from": APPROVED_FROM}], "connectors": connectors,
                "finance": finance, "gateways": gateways, "hold_s": 1, "livemode": false, "payout_approvers": approvers,
                "provider": "stripe", "schedule": [], "settle": true,
            }),
        ),
    ];
    let config = |config: Value| Config::new(config.to_string().as_bytes()).map_err(words);
    configs.into_iter().map(|(module, members)| Ok((module, config(members)?))).collect()
}

/// An agent with a key file of its name, registered.
async fn agent(folder: &Path, name: &str, operator: &Client, profile: &Profile) -> Result<Agent, String> {
    let key = KeyFile::create(&folder.join(format!("{name}.key")), Purpose::Development).map_err(words)?.key;
    let id = random::agent_id().map_err(words)?;
    let request = RegisterKeyRequest {
        tenant_id: profile.tenant_id,
        agent_id: id,
        key_id: Some(KeyId::new(1)),
        public_key: key.public_key().to_hex(),
        valid_from: None,
        valid_to: None,
        key_algorithm: None,
    };
    operator.register_key(&request).await.map_err(|error| describe(&error))?;
    Ok(Agent { id, key })
}

async fn api_key(operator: &Client, profile: &Profile, agent: Option<AgentId>) -> Result<String, String> {
    let request = CreateApiKey {
        tenant_id: Some(profile.tenant_id),
        store_ids: None,
        agent_id: agent,
        roles: vec![Role::Agent, Role::Reader],
        label: "shop".to_owned(),
        expires_at: None,
    };
    Ok(operator.create_api_key(&request).await.map_err(|error| describe(&error))?.api_key)
}

async fn caller(operator: &Client, profile: &Profile) -> Result<Caller, String> {
    let agent = random::agent_id().map_err(words)?;
    Ok(Caller { principal: format!("agent:{agent}"), key: api_key(operator, profile, Some(agent)).await? })
}

fn write_private(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    keyfile::create_private(&folder.join(name), text.as_bytes()).map_err(words)
}

fn sections_of(
    profile: &Profile,
    provider: &Provider,
    settlements: &Finance,
    agents: &Agents,
    finance: &str,
) -> Result<String, String> {
    let Agents { gateway, payment, finance: settler } = agents;
    let (provider, url, (kid, key)) = (&provider.address, settlements.url(), settlements.key());
    let (tenant, store, key) = (profile.tenant_id, profile.store_id, key.to_hex());
    let mut text = String::from("[effects]\nbackoff_first_ms = 200\nbackoff_max_ms = 2000\nsettle_ms = 1000\n\n");
    write!(
        text,
        "[connectors.payment]\nagent = \"{}\"\nkey = \"payment.key\"\napi_key_file = \
         \"stripe.key\"\nwebhook_secret_files = [\"webhook.secret\"]\nurl = \"http://{provider}\"\naccount = \
         \"{ACCOUNT}\"\nlivemode = false\nsearch = false\npayout_by = \"payout\"\ndevelopment = true\n\n",
        payment.id
    )
    .map_err(words)?;
    write!(
        text,
        "[connectors.finance]\nagent = \"{}\"\nkey = \"finance.key\"\nproof_key = \"proof.key\"\nurl = \
         \"{url}\"\nsigner_kid = \"{SHOP_KID}\"\nkeys = [{{ signer_kid = \"{kid}\", public_key = \"{key}\" \
         }}]\ndevelopment = true\n\n",
        settler.id
    )
    .map_err(words)?;
    writeln!(
        text,
        "[market]\ntenant = \"{tenant}\"\nstore = \"{store}\"\nplugins = [\"catalog\", \"checkout\", \
         \"royalty\"]\nagent = \"{}\"\nsigning_key = \"market.key\"\npublic = [\"skus\", \
         \"sku\"]\n\n[market.roles]\nfinance = [\"{finance}\"]",
        gateway.id
    )
    .map_err(words)?;
    Ok(text)
}

/// A seller: a caller with the key that its manifests are signed with.
pub(crate) struct Seller {
    pub(crate) caller: Caller,
    pub(crate) key: SigningKey,
}

impl Seller {
    pub(crate) async fn new(shop: &Shop) -> Result<Self, String> {
        Ok(Self { caller: shop.caller().await?, key: random::signing_key().map_err(words)? })
    }
}
