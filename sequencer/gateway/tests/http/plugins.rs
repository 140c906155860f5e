//! Modules, plugins, questions, state, effects and logs at the door: scopes, limits, errors, proofs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::follower::{COUNT, Counting, counter};
use crate::common::{Answer, Setup, TestServer, scope};
use crate::port::{REFUSED_MODULE, TestPort};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tally_gateway::PluginPortError;
use tally_gateway::plugins::{EffectInfo, LogLineInfo, PluginPort};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::hash::{self, ManifestHash, ModuleHash, StatesRoot};
use tally_protocol::id::{Index, PluginId, Stream};
use tally_protocol::note::VerifierKey;
use tally_protocol::outcome_log;
use tally_protocol::plugin_event::encode_release;
use tally_protocol::release::{Price, PricePer, Release, Version};
use tally_verify::{StateAnswer, StateAt, verify_state_absent, verify_state_value};

pub(crate) async fn server() -> (TestServer, Arc<Counting>, Arc<TestPort>) {
    server_with(Setup::new()).await
}

pub(crate) async fn server_with(setup: Setup) -> (TestServer, Arc<Counting>, Arc<TestPort>) {
    let counting = Arc::new(Counting::default());
    let port = TestPort::new(&counting);
    let mut setup = setup.followed_by(&counting);
    setup.plugins = Some(Arc::clone(&port) as Arc<dyn PluginPort>);
    (setup.start().await, counting, port)
}

pub(crate) fn base(stream: Stream) -> String {
    format!("/v1/streams/{}/{}", stream.tenant, stream.store)
}

async fn put(server: &TestServer, key: &str, content_type: &str, wasm: Vec<u8>) -> Answer {
    let request = server.http.post(server.url("/v1/modules")).bearer_auth(key);
    let answer = Answer::read(request.header("content-type", content_type).body(wasm).send().await.unwrap()).await;
    crate::schema::check_answer("POST", "/v1/modules", answer.status.as_u16(), &answer.json);
    answer
}

const WASM: &str = "application/wasm";

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_put_by_its_bytes_and_bounded() {
    let (server, _, port) = server().await;
    let key = server.tenant_key(&[Role::Admin]);
    for _ in 0..2 {
        let answer = put(&server, &key, WASM, b"\0asm one".to_vec()).await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.json, json!({"module": hash::module(b"\0asm one").to_hex(), "bytes": 8}));
    }
    let largest = vec![1; 4 << 20];
    assert_eq!(put(&server, &key, WASM, largest.clone()).await.status, 201);
    let before = port.modules.lock().unwrap().len();
    for (content_type, wasm, status, code) in [
        (WASM, [largest, vec![1]].concat(), 413, "PAYLOAD_TOO_LARGE"),
        (WASM, Vec::new(), 400, "INVALID_REQUEST_BODY"),
        (WASM, REFUSED_MODULE.to_vec(), 422, "MODULE_REFUSED"),
        ("application/json", b"{}".to_vec(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("application/octet-stream", b"\0asm".to_vec(), 415, "UNSUPPORTED_MEDIA_TYPE"),
    ] {
        let answer = put(&server, &key, content_type, wasm).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, code));
    }
    assert_eq!(port.modules.lock().unwrap().len(), before, "what was refused is not stored");
}

/// An operator fetches any module, a tenant those that its own streams run, and nobody learns what else there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_fetched_by_operators_and_by_who_runs_it() {
    let (server, _, port) = server().await;
    let [mine, other] = &server.tenants;
    let (mine, other) = (mine.stream(1), other.stream(1));
    let installed = port.put_module(b"\0asm mine"[..].into()).unwrap();
    let theirs = port.put_module(b"\0asm theirs"[..].into()).unwrap();
    let pending = port.put_module(b"\0asm pending"[..].into()).unwrap();
    port.install(mine, installed);
    port.install(other, theirs);
    let operator = server.operator();
    let whole = server.get(&operator, &format!("/v1/modules/{pending}")).await;
    assert_eq!((whole.status.as_u16(), &whole.bytes[..]), (200, &b"\0asm pending"[..]));
    assert_eq!(whole.headers["content-type"], WASM);
    assert_eq!(whole.headers["cache-control"], "private, max-age=31536000, immutable");
    let key = server.tenant_key(&[Role::Agent]);
    let get = |key: &str, module: String, stream: Option<Stream>| {
        let query = stream.map_or_else(String::new, |of| format!("?tenant={}&store={}", of.tenant, of.store));
        let (server, key) = (&server, key.to_owned());
        async move { server.get(&key, &format!("/v1/modules/{module}{query}")).await }
    };
    assert_eq!(get(&key, installed.to_hex(), Some(mine)).await.bytes, b"\0asm mine");
    for (module, stream, code) in [
        (installed.to_hex(), None, "INVALID_FIELD_VALUE"),
        (theirs.to_hex(), Some(other), "OUT_OF_SCOPE"),
        (theirs.to_hex(), Some(mine), "RESOURCE_NOT_FOUND"),
        (pending.to_hex(), Some(mine), "RESOURCE_NOT_FOUND"),
        (ModuleHash::ZERO.to_hex(), Some(mine), "RESOURCE_NOT_FOUND"),
        (installed.to_hex().to_uppercase(), Some(mine), "INVALID_FIELD_VALUE"),
        ("00".to_owned(), Some(mine), "INVALID_FIELD_VALUE"),
        ("a".repeat(8000), Some(mine), "INVALID_FIELD_VALUE"),
        ("..%2f..%2fkeys".to_owned(), Some(mine), "INVALID_FIELD_VALUE"),
    ] {
        assert_eq!(get(&key, module.clone(), stream).await.error(), code, "{module}");
    }
    assert_eq!(get(&operator, ModuleHash::ZERO.to_hex(), None).await.error(), "RESOURCE_NOT_FOUND");
    let half = format!("/v1/modules/{installed}?tenant={}", mine.tenant);
    assert_eq!(server.get(&key, &half).await.error(), "INVALID_FIELD_VALUE");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugins_of_a_stream_are_for_who_reaches_it() {
    let (server, _, port) = server().await;
    let (stream, foreign) = (server.tenants[0].stream(1), server.tenants[1].stream(1));
    port.install(stream, ModuleHash::from_bytes([1; 32]));
    port.install(foreign, ModuleHash::from_bytes([2; 32]));
    server.applied().await;
    let key = server.key(scope(Some(stream.tenant), Some(vec![stream.store]), None, &[Role::Reader]));
    let list = server.get(&key, &format!("{}/plugins", base(stream))).await.json;
    assert_eq!((&list["applied"], list["plugins"].as_array().unwrap().len()), (&json!(server.gateway_size()), 1));
    let one = server.get(&key, &format!("{}/plugins/counter", base(stream))).await.json;
    assert_eq!(one["plugin"], list["plugins"][0]);
    assert_eq!(one["plugin"]["routes"][0], json!({"name": "count", "method": "GET", "path": "/count/{entity}"}));
    assert_eq!(one["plugin"]["routes"][3]["event"], "order.created");
    for (path, code) in [
        (format!("{}/plugins/nobody", base(stream)), "PLUGIN_NOT_FOUND"),
        (format!("{}/plugins/Counter", base(stream)), "INVALID_FIELD_VALUE"),
        (format!("{}/plugins/{}", base(stream), "a".repeat(65)), "INVALID_FIELD_VALUE"),
        (format!("{}/plugins/..%2Fcounter", base(stream)), "INVALID_FIELD_VALUE"),
        (format!("{}/plugins", base(foreign)), "OUT_OF_SCOPE"),
        (format!("{}/plugins/counter", base(foreign)), "OUT_OF_SCOPE"),
        (format!("{}/plugins/counter/logs", base(foreign)), "OUT_OF_SCOPE"),
        (format!("{}/plugins/counter/state/00", base(foreign)), "OUT_OF_SCOPE"),
        (format!("{}/openapi.json", base(foreign)), "OUT_OF_SCOPE"),
        (format!("/plugins/{}/{}/counter/count/1", foreign.tenant, foreign.store), "OUT_OF_SCOPE"),
        (format!("{}/plugins", base(server.tenants[0].stream(2))), "OUT_OF_SCOPE"),
        (format!("{}/plugins", base(Stream::new(tally_testkit::tenant_id(77), stream.store))), "OUT_OF_SCOPE"),
        ("/v1/streams/x/y/plugins".to_owned(), "INVALID_FIELD_VALUE"),
    ] {
        assert_eq!(server.get(&key, &path).await.error(), code, "{path}");
    }
    let query = format!("{}/plugins/counter/query", base(foreign));
    assert_eq!(server.post(&key, &query, &json!({})).await.error(), "OUT_OF_SCOPE");
    assert!(port.asked.lock().unwrap().is_empty(), "nothing was asked for who may not ask");
}

/// S-009 for what is not approved yet: a pending release is its registry's owner's and the operators'.
#[tokio::test(flavor = "multi_thread")]
async fn a_pending_release_is_seen_by_its_owner_and_operators_only() {
    let (server, _, port) = server().await;
    let [mine, other] = &server.tenants;
    let put = |wasm: &'static [u8]| port.put_module(wasm.into()).unwrap();
    let (old, new, own, hidden) = (put(b"old"), put(b"new"), put(b"own"), put(b"hidden"));
    let release = |module: ModuleHash, version: &str, status: &str, at: u64| {
        let inner = json!({"version": version, "module_hash": module.to_hex()});
        json!({"release": inner, "status": status, "submitted_index": at})
    };
    let shelf = |registry: Stream, name: &str, status: &'static str, releases: Vec<Value>| {
        let newest = releases.last().unwrap();
        let module = newest["release"]["module_hash"].as_str().unwrap();
        let id = PluginId::new(name).unwrap();
        let mut info = crate::port::plugin(id, ModuleHash::from_hex(module).unwrap());
        newest["release"]["version"].as_str().unwrap().clone_into(&mut info.version);
        (info.status, info.routes) = (status, Vec::new());
        info.record = json!({"releases": releases, "head": "00"});
        port.installed.lock().unwrap().push((registry, info));
    };
    let both = vec![release(old, "1.0.0", "approved", 3), release(new, "2.0.0", "pending", 9)];
    shelf(Stream::LEDGER, "shop", "pending", both);
    shelf(Stream::LEDGER, "later", "pending", vec![release(hidden, "1.0.0", "pending", 10)]);
    shelf(Stream::control(mine.id), "own", "pending", vec![release(own, "1.0.0", "pending", 11)]);
    let (tenant, neighbour) =
        (server.tenant_key(&[Role::Reader]), server.key(scope(Some(other.id), None, None, &[Role::Reader])));
    let operator = server.operator();
    let list = |key: &str, of: Stream| {
        let (server, key) = (&server, key.to_owned());
        async move { server.get(&key, &format!("{}/plugins", base(of))).await }
    };
    let all = list(&operator, Stream::LEDGER).await.json;
    assert_eq!(all["plugins"].as_array().unwrap().len(), 2);
    for key in [&tenant, &neighbour] {
        let seen = list(key, Stream::LEDGER).await.json;
        let [shop] = &seen["plugins"].as_array().unwrap()[..] else { panic!("{seen}") };
        assert_eq!(
            (&shop["version"], &shop["status"], &shop["installed"]),
            (&json!("1.0.0"), &json!("approved"), &json!(3))
        );
        assert_eq!((&shop["module"], shop["record"]["releases"].as_array().unwrap().len()), (&json!(old.to_hex()), 1));
        assert!(!seen.to_string().contains("2.0.0") && !seen.to_string().contains(&new.to_hex()));
        let later = server.get(key, &format!("{}/plugins/later", base(Stream::LEDGER))).await;
        assert_eq!(later.error(), "PLUGIN_NOT_FOUND");
    }
    let control = Stream::control(mine.id);
    assert_eq!(list(&tenant, control).await.json["plugins"][0]["status"], "pending");
    assert_eq!(list(&operator, control).await.json["plugins"][0]["status"], "pending");
    assert_eq!(list(&neighbour, control).await.error(), "OUT_OF_SCOPE");
    for (key, of, module, expected) in [
        (&tenant, Stream::LEDGER, old, None),
        (&neighbour, Stream::LEDGER, old, None),
        (&tenant, Stream::LEDGER, new, Some("RESOURCE_NOT_FOUND")),
        (&tenant, Stream::LEDGER, hidden, Some("RESOURCE_NOT_FOUND")),
        (&tenant, control, own, None),
        (&tenant, control, new, Some("RESOURCE_NOT_FOUND")),
        (&neighbour, control, own, Some("OUT_OF_SCOPE")),
        (&neighbour, Stream::control(other.id), own, Some("RESOURCE_NOT_FOUND")),
        (&operator, Stream::LEDGER, new, None),
    ] {
        let path = format!("/v1/modules/{module}?tenant={}&store={}", of.tenant, of.store);
        let answer = server.get(key, &path).await;
        match expected {
            None => assert_eq!(answer.status, 200, "{path} {answer:?}"),
            Some(code) => assert_eq!(answer.error(), code, "{path}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_passed_byte_for_byte_and_its_failures_have_codes() {
    let (server, _, port) = server().await;
    let key = server.tenant_key(&[Role::Reader]);
    let path = format!("{}/plugins/counter/query", base(server.tenants[0].stream(1)));
    port.answers(Ok("any\u{0} bytes"));
    let answer = server.post_bytes(&key, &path, b"{ not canonical, \xff not even text".to_vec()).await;
    assert_eq!(port.asked.lock().unwrap()[0], b"{ not canonical, \xff not even text");
    assert_eq!(answer.json["body"], STANDARD.encode("any\u{0} bytes"));
    assert_eq!(answer.json["logs"], json!(["asked"]));
    assert_eq!(server.post_bytes(&key, &path, vec![b'x'; 64 << 10]).await.status, 200);
    let count = port.asked.lock().unwrap().len();
    assert_eq!(server.post_bytes(&key, &path, vec![b'x'; (64 << 10) + 1]).await.error(), "PAYLOAD_TOO_LARGE");
    assert_eq!(port.asked.lock().unwrap().len(), count);
    let own = str::to_owned;
    for (error, status, code, shown) in [
        (PluginPortError::NotFound(own("no such plugin")), 404, "PLUGIN_NOT_FOUND", true),
        (PluginPortError::Refused(own("no such question")), 400, "INVALID_REQUEST_BODY", true),
        (PluginPortError::NotRunning(own("it is in quarantine")), 409, "PLUGIN_NOT_RUNNING", true),
        (PluginPortError::Guest(own("out_of_gas")), 502, "PLUGIN_FAILED", true),
        (PluginPortError::Busy, 429, "RATE_LIMIT_EXCEEDED", false),
        (PluginPortError::Failed(own("/secret/path is full")), 503, "SERVICE_UNAVAILABLE", false),
    ] {
        let words = error.to_string();
        port.answers(Err(error));
        let answer = server.post(&key, &path, &json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, code));
        assert_eq!(answer.text().contains(words.rsplit(": ").next().unwrap()), shown || words == "busy", "{answer:?}");
    }
}

/// However many questions run without end, half of the reads are left to the log.
#[tokio::test(flavor = "multi_thread")]
async fn questions_without_end_leave_the_log_readable() {
    let mut setup = Setup::new();
    setup.config.limits.reads_max = 4;
    let (server, _, port) = server_with(setup).await;
    let key = server.tenant_key(&[Role::Agent]);
    let index = server.submit_ok(&key, &server.event("{}")).await;
    let path = format!("{}/plugins/counter/query", base(server.tenants[0].stream(1)));
    port.hold();
    let endless: Vec<_> = (0..6)
        .map(|_| {
            let request = server.http.post(server.url(&path)).bearer_auth(&key).body("{}");
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let began = Instant::now();
    while port.running.load(Ordering::SeqCst) < 2 {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..20 {
        assert_eq!(server.get(&key, &format!("/v1/events/{index}")).await.status, 200);
    }
    assert_eq!(port.running.load(Ordering::SeqCst), 2, "no more than half of the reads");
    // Who hangs up does not free the turn of a question that still runs.
    let gone = server.http.post(server.url(&path)).bearer_auth(&key).timeout(Duration::from_millis(50)).body("{}");
    assert!(gone.send().await.is_err());
    assert_eq!(server.post(&key, &path, &json!({})).await.error(), "RATE_LIMIT_EXCEEDED");
    port.release();
    let mut statuses = Vec::new();
    for request in endless {
        statuses.push(request.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429]);
    assert_eq!(server.post(&key, &path, &json!({})).await.status, 200);
}

/// The root that a served checkpoint commits, opened with what the ledger's genesis says.
fn committed(server: &TestServer, answer: &Value) -> StatesRoot {
    let genesis = &server.ledger.genesis;
    let key = VerifierKey::new(&outcome_log::origin(&genesis.origin), genesis.receipt_key).unwrap();
    let checkpoint = SignedCheckpoint::open(answer["checkpoint"].as_str().unwrap(), &[key]).unwrap().checkpoint;
    assert_eq!(answer["applied"], checkpoint.size.get());
    let root = outcome_log::states_root(&checkpoint).unwrap().unwrap();
    assert_eq!(answer["root"], root.to_hex());
    root
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_served_with_the_proof_that_it_is_so_or_is_not() {
    let (server, _, _) = server().await;
    let key = server.tenant_key(&[Role::Agent]);
    let stream = server.tenants[0].stream(1);
    // Others go on writing: the answer is of one moment all the same.
    let frames: Vec<_> = (0..300).map(|n| server.event(&format!("{{\"n\":{n}}}"))).collect();
    let (submitter, submitting) = (server.sequencer.as_ref().unwrap().submitter(), frames.clone());
    let writing = tokio::spawn(async move {
        for frame in submitting {
            submitter.submit(tally_core::Lane(0), vec![frame]).unwrap().await.unwrap();
        }
    });
    let plugin = counter();
    let mut last = 0;
    loop {
        let done = writing.is_finished();
        if done {
            server.applied().await;
        }
        let path = format!("{}/plugins/counter/state/{}", base(stream), hash::hex(COUNT));
        let answer = server.get(&key, &path).await;
        if answer.status == 429 && !done {
            // Somebody wrote between every look of the port's; a client asks again.
            continue;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let root = committed(&server, &answer.json);
        let proof = StateAnswer::decode(&STANDARD.decode(answer.json["proof"].as_str().unwrap()).unwrap()).unwrap();
        let at = StateAt { stream, plugin: &plugin, key: COUNT };
        match answer.json["value"].as_str() {
            None => verify_state_absent(&root, &at, &proof).unwrap(),
            Some(value) => {
                let value = STANDARD.decode(value).unwrap();
                verify_state_value(&root, &at, &value, &proof).unwrap();
                assert!(verify_state_value(&root, &at, &[value.clone(), vec![0]].concat(), &proof).is_err());
                let count = u64::from_be_bytes(value.try_into().unwrap());
                assert!(count >= last);
                last = count;
            }
        }
        if done {
            break;
        }
    }
    writing.await.unwrap();
    assert_eq!(last, 300);
    for (plugin_text, text) in [("counter", "00"), ("counter", "636f756e7400"), ("nobody", "636f756e74")] {
        let answer = server.get(&key, &format!("{}/plugins/{plugin_text}/state/{text}", base(stream))).await;
        let root = committed(&server, &answer.json);
        assert_eq!(answer.json["value"], Value::Null);
        let proof = StateAnswer::decode(&STANDARD.decode(answer.json["proof"].as_str().unwrap()).unwrap()).unwrap();
        let named = PluginId::new(plugin_text).unwrap();
        let bytes: Vec<u8> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
        verify_state_absent(&root, &StateAt { stream, plugin: &named, key: &bytes }, &proof).unwrap();
    }
    for bad in ["0", "0G", "FF", "0x00", "..%2f00", "%00", &"ab".repeat(1025), &"ab".repeat(8000)] {
        let answer = server.get(&key, &format!("{}/plugins/counter/state/{bad}", base(stream))).await;
        assert_eq!(answer.error(), "INVALID_FIELD_VALUE", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_are_paged_and_each_caller_sees_those_of_its_own_streams() {
    let (server, _, port) = server().await;
    let [mine, other] = &server.tenants;
    let key = server.key(scope(Some(mine.id), Some(vec![mine.stream(1).store]), None, &[Role::Agent]));
    let operator = server.operator();
    let mut own = Vec::new();
    for n in 0..6 {
        let event = match n % 3 {
            0 => server.event("{}"),
            1 => server.event_of(other, 1, 1, "{}"),
            _ => server.event_of(mine, 2, 1, "{}"),
        };
        let index = server.submit_ok(&operator, &event).await;
        for number in 0..2 {
            let record = json!({"kind": "mail", "n": n});
            port.effects.lock().unwrap().push(EffectInfo { index: Index::new(index), number, record });
            own.extend((n % 3 == 0).then_some((index, u64::from(number))));
        }
    }
    for (key, expected) in [(&key, 4), (&operator, 12)] {
        for limit in [1, 5, 12, 1000] {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let page = server.get(key, &format!("/v1/effects?limit={limit}{after}")).await.json;
                let effects = page["effects"].as_array().unwrap();
                seen.extend(effects.iter().map(|e| (e["index"].as_u64().unwrap(), e["number"].as_u64().unwrap())));
                match page["next_after"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => break,
                }
            }
            assert_eq!(seen.len(), expected, "{limit}");
            assert!(seen.is_sorted() && own.iter().all(|one| seen.contains(one)));
        }
    }
    for bad in ["x", "1", "1-", "01-0", "1-0-0", "-1-0", "1-4294967296", "1.0", "%00"] {
        let answer = server.get(&key, &format!("/v1/effects?after={bad}")).await;
        assert_eq!(answer.error(), "INVALID_FIELD_VALUE", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_lines_of_a_log_are_served() {
    let (server, _, port) = server().await;
    let key = server.tenant_key(&[Role::Reader]);
    for n in 1..=5 {
        let text = format!("line {n}");
        port.lines.lock().unwrap().push(LogLineInfo { index: Index::new(n), level: "info", text });
    }
    let path = format!("{}/plugins/counter/logs", base(server.tenants[0].stream(1)));
    let indexes = |answer: &Answer| -> Vec<u64> {
        answer.json["lines"].as_array().unwrap().iter().map(|line| line["index"].as_u64().unwrap()).collect()
    };
    assert_eq!(indexes(&server.get(&key, &path).await), [1, 2, 3, 4, 5]);
    assert_eq!(indexes(&server.get(&key, &format!("{path}?limit=2")).await), [4, 5]);
    assert_eq!(indexes(&server.get(&key, &format!("{path}?after=3")).await), [4, 5]);
    assert_eq!(server.get(&key, &format!("{path}?limit=0")).await.error(), "INVALID_FIELD_VALUE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_no_plugins_says_so_on_every_route_of_theirs() {
    let server = TestServer::new().await;
    let key = server.operator();
    let stream = server.tenants[0].stream(1);
    let base = base(stream);
    let declared = format!("/plugins/{}/{}/counter/count/1", stream.tenant, stream.store);
    for (method, path) in [
        (Method::GET, format!("/v1/modules/{}", ModuleHash::ZERO)),
        (Method::GET, format!("{base}/plugins")),
        (Method::GET, format!("{base}/plugins/counter")),
        (Method::POST, format!("{base}/plugins/counter/query")),
        (Method::GET, format!("{base}/plugins/counter/state/00")),
        (Method::GET, format!("{base}/plugins/counter/logs")),
        (Method::GET, format!("{base}/openapi.json")),
        (Method::GET, "/v1/effects".to_owned()),
        (Method::GET, declared.clone()),
        (Method::POST, declared),
    ] {
        let answer = server.send(method, &key, &path, Some(b"{}".to_vec())).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (501, "PLUGINS_NOT_ENABLED"), "{path}");
    }
    assert_eq!(put(&server, &key, WASM, b"\0asm".to_vec()).await.error(), "PLUGINS_NOT_ENABLED");
    let release = encode_release(&release());
    assert_eq!(server.send(Method::POST, &key, "/v1/reports", Some(release)).await.error(), "PLUGINS_NOT_ENABLED");
}

fn release() -> Release {
    Release {
        plugin: PluginId::new("counter").unwrap(),
        version: Version::new(1, 0, 0),
        module: ModuleHash::from_bytes([1; 32]),
        manifest: ManifestHash::from_bytes([2; 32]),
        abi: 1,
        state_version: 1,
        permissions: BTreeSet::new(),
        limits: BTreeMap::new(),
        price: Price { amount: 0, currency: *b"EUR", per: PricePer::Month },
        schemas: BTreeMap::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_reported_on_and_what_is_none_is_refused() {
    let (server, _counting, _port) = server().await;
    let key = server.operator();
    let post = |body: Vec<u8>| {
        let (server, key) = (&server, key.clone());
        async move { server.send(Method::POST, &key, "/v1/reports", Some(body)).await }
    };
    let answer = post(encode_release(&release())).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    crate::schema::check_answer("POST", "/v1/reports", 200, &answer.json);
    assert_eq!(answer.json["report_hash"], release().hash().to_hex(), "the port's answer for this release");
    // Members in any order and spacing are the same release.
    let spaced =
        serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&encode_release(&release())).unwrap()).unwrap();
    assert_eq!(post(spaced).await.json, answer.json);
    let mut more: Value = serde_json::from_slice(&encode_release(&release())).unwrap();
    more["colour"] = json!("red");
    for none in [b"{".to_vec(), b"[]".to_vec(), b"{}".to_vec(), more.to_string().into_bytes(), vec![b' '; 300 << 10]] {
        let answer = post(none).await;
        assert!(answer.status.is_client_error(), "{:?}", answer.json);
        assert!(["INVALID_REQUEST_BODY", "PAYLOAD_TOO_LARGE"].contains(&answer.error()), "{}", answer.error());
    }
}
